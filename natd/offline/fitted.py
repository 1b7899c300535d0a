"""Fitted codebooks from the command line: fit them to an encoder and a folder of recordings, verify, go back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import soundfile
import torch
from rich.console import Console
from rich.table import Table

from natd.codebooks import backups, store
from natd.codebooks.fitting import Plan, fit_codebooks
from natd.codebooks.hearing import Encoder, Recording
from natd.errors import ConfigError, ModelError, OutputError, SourceError
from natd.training.recordings import samples_of

ENCODERS = {
    "ears": "natd.codec.ears_front:open_encoder",
    **dict.fromkeys(("hubert", "wavlm", "wav2vec2", "mert"), "natd.codec.ssl:open_encoder"),
}
ANY_LAYERS = ("ears",)  # encoders whose codebooks are of use one by one; no tokenizer is made of them
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf")
FIGURES = ("energy", "silhouette", "variances", "separation", "dead", "twins", "unheard")
SAID = {"variances": "variance ratio", "energy": "energy left", "dead": "dead codes", "unheard": "unheard codes"}


def folder() -> Path:
    """Where fitted codebooks lie, in the models folder."""
    return store.models_folder() / "codebooks"


def fit(name: str, audio_dir: Path, plan: Plan, refit: bool) -> int:
    """Fit codebooks to the encoder `name` or `name:options`; figures on standard output, the way on standard error."""
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    encoder = open_encoder(name)
    if plan.layers:
        _check_layers(name, encoder, plan.layers)
    recordings = recordings_of(audio_dir)
    progress(f"{len(recordings)} recordings, {sum(r.seconds for r in recordings):.0f} s")
    try:
        fitted = fit_codebooks(name.partition(":")[0], encoder, recordings, plan, folder(), progress, refit)
    except OSError as error:
        raise OutputError(f"{folder()}: {error.strerror}") from error
    _show(fitted.figures)
    if fitted.cached:
        print(f"{fitted.name}: fitted before to the same, taken from the cache: {fitted.codebook_id}")
        return 0
    if fitted.backup:
        print(f"what was there before: nat codebook backups {fitted.name} --restore {fitted.backup}")
    print(f"{fitted.name}: {fitted.codebook_id} in {folder()}")
    return 0


def open_encoder(name: str) -> Encoder:
    """The encoder `name` or `name:options`; ConfigError for one that no codebooks are fitted to."""
    base, _, options = name.partition(":")
    _known(base, ())
    module, _, attribute = ENCODERS[base].partition(":")
    opened: Callable[..., Encoder] = getattr(import_module(module), attribute)
    return opened(base, options=options)


def _check_layers(name: str, encoder: Encoder, layers: Sequence[str]) -> None:
    """ConfigError for layers that the encoder has not, or without some that its tokenizer needs."""
    silence = torch.zeros(1, encoder.frame_samples)
    there = sorted(encoder.vectors(silence, encoder.initial_state(1)))
    if unknown := [layer for layer in layers if layer not in there]:
        raise ConfigError(f"{name} has no layer {', '.join(unknown)}: it has {', '.join(there)}")
    base = name.partition(":")[0]
    left = [layer for layer in there if layer not in layers]
    if left and base not in ANY_LAYERS:
        fewer = f"; for fewer of them, fit {base}:semantic=LAYER,..." if left != ["A"] else ""
        raise ConfigError(f"{base} needs all its layers, also {', '.join(left)}: leave --layers out{fewer}")


def recordings_of(audio_dir: Path) -> list[Recording]:
    """Every recording below a folder, in the order of their paths; SourceError where there is none or one is bad."""
    if not audio_dir.is_dir():
        raise SourceError(f"there is no folder {audio_dir}")
    paths = sorted(path for path in audio_dir.rglob("*") if path.suffix.lower() in AUDIO and path.is_file())
    if not paths:
        raise SourceError(f"{audio_dir} holds no recording ({' '.join(AUDIO)})")
    return [_recording(path, path.relative_to(audio_dir).as_posix()) for path in paths]


def _recording(path: Path, name: str) -> Recording:
    try:
        about = soundfile.info(os.fsencode(path))
        digest, size = store.file_sha256(path), path.stat().st_size
    except (soundfile.LibsndfileError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return Recording(name, size, digest, about.frames / about.samplerate, lambda sr: samples_of(path, sr))


def verify(names: list[str]) -> int:
    """Look at every byte and code of the codebooks of these encoders, or of all; 65 if one is not as it should be."""
    place, status = folder(), 0
    there = stored_names(names)
    if not there:
        print(f"there are no codebooks in {place}: nat codebook fit makes some", file=sys.stderr)
    for stored in there:
        try:
            identity = store.verify(place, stored)
            shapes: Mapping[str, list[int]] = store.read_manifest(place, stored).get("fit", {}).get("shapes", {})
            said = ", ".join(f"{layer.removesuffix('.codes')} {'x'.join(map(str, s))}" for layer, s in shapes.items())
            print(f"{stored}: {identity}, right: {said}")
        except ModelError as error:
            print(f"nat: {error}", file=sys.stderr)
            status = error.exit_code
    return status


def stored_names(names: list[str]) -> list[str]:
    """What is stored for encoders (`hubert`) or under whole names (`hubert-0123456789abcdef`); all where none is given.

    ModelError where there is nothing.
    """
    there = sorted(path.stem for path in folder().glob("*.json") if not path.name.endswith(".glossary.json"))
    found = []
    for name in names:
        base = name.partition(":")[0]
        of_name = [stored for stored in there if stored == base or stored.rpartition("-")[0] == base]
        if not of_name:
            _known(base, there)
            raise ModelError(f"no codebooks of {base} are in {folder()}; fit some: nat codebook fit {base} --audio DIR")
        found += of_name
    return found if names else there


def _known(base: str, there: Collection[str]) -> None:
    """ConfigError if `base` is no encoder that could have codebooks."""
    if base not in ENCODERS:
        stored = f"; stored are {', '.join(sorted(there))}" if there else ""
        raise ConfigError(f"no codebooks are fitted to {base!r}: there is {', '.join(ENCODERS)}{stored}")


def list_backups(name: str, stamp: str | None) -> int:
    """A line a backup of the codebooks of `name`, or put the one of `stamp` back."""
    place = folder()
    stored = _kept_names(name)
    if stamp is None:
        for one in stored:
            kept = backups.listed(place, one)
            print(f"{one}: {len(kept)} backups")
            for backup in kept:
                state = f"{backup.codebook_id[:19]}…, right" if not backup.fault else backup.fault
                print(f"  {backup.stamp}  {backup.bytes / 1e6:.1f} MB  {state}")
        return 0
    holders = [one for one in stored if any(backup.stamp == stamp for backup in backups.listed(place, one))]
    if len(holders) > 1:
        raise ConfigError(f"{stamp} is of several: {', '.join(holders)}; say which")
    one = (holders or stored)[0]
    identity, before = backups.restore(place, one, stamp)
    print(f"{one}: {identity} is back" + (f"; what was there is backup {before}" if before else ""))
    return 0


def _kept_names(name: str) -> list[str]:
    """Stored names of `name` that are there or have backups."""
    base, place = name.partition(":")[0], folder()
    kept = {path.name for path in (place / backups.FOLDER).glob("*") if path.is_dir()}
    there = {path.stem for path in place.glob("*.json") if not path.name.endswith(".glossary.json")}
    found = sorted(one for one in kept | there if one == base or one.rpartition("-")[0] == base)
    if not found:
        _known(base, kept | there)
        raise ModelError(f"no codebooks of {base} are in {place}")
    return found


def _show(figures: Mapping[str, Any]) -> None:
    """One table: what a layer attains, and what chance does."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 170  # a pipe has no width
    table = Table(title="codebooks on held-out vectors: value, and in brackets that of chance")
    table.add_column("layer", no_wrap=True)
    for name in FIGURES:
        table.add_column(SAID.get(name, name), justify="right")
    for layer, row in figures.items():
        cells = [f"{row[name]['value']:.4g} ({row[name]['null']:.4g})" for name in FIGURES]
        table.add_row(layer, *cells)
    console.print(table)
