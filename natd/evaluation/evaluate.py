"""`nat eval tokenizer`: every figure of one tokenizer, each beside what chance gives and with a bootstrap interval."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from natd.codec import Tokenizer, open_tokenizer
from natd.codec.threads import one_thread
from natd.evaluation import (
    acoustic,
    calibration,
    calling,
    cost,
    meaning,
    pitch,
    probe,
    robustness,
    sameness,
    usage,
    words,
)
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, Samples, encode, groups_of, rate_of, sizes_of
from natd.evaluation.material import FIT_EXCERPT_S, HELD_EXCERPT_S, Material, choose, classes_of, load
from natd.training.recordings import samples_of

Progress = Callable[[str], None]
NOISE_DBFS, NOISE_CLIPS, NOISE_S, SILENCE_S = -20.0, 8, 8.0, 12.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A tokenizer, what it makes of the clips to learn from, of those to score, of white noise and of silence."""

    tokenizer: Tokenizer
    fit: Material
    held: Material
    classes: list[str]
    noise: Coded
    silence: Coded
    seed: int


def evaluate(
    name: str, audio_dir: Path, seed: int, progress: Progress, tokenizer: Tokenizer | None = None
) -> dict[str, Any]:
    """Identity of the tokenizer, what was scored, the rows and the curves; the same for the same files and seed.

    But for the part "cost", which is measured on this machine. `tokenizer`: one that is open already and bears `name`.

    On one thread. ConfigError or ModelError from the tokenizer, SourceError from the recordings.
    """
    with one_thread():
        subject = _subject(tokenizer or open_tokenizer(name), audio_dir, seed, progress)
        rows = []
        for name_of, part in PARTS.items():
            progress(name_of)
            rows += [{"part": name_of} | line.as_json() for line in part(subject)]
    spec = subject.tokenizer.spec
    return {
        "tokenizer": {"name": name, "version": spec.info.version, "codebook_id": spec.info.codebook_id},
        "sr": spec.sr,
        "frame_samples": spec.frame_samples,
        "seed": seed,
        "clips": {"learned": len(subject.fit.clips), "scored": len(subject.held.clips)},
        "rows": rows,
        "curves": calibration.curves(subject.tokenizer, subject.held),
    }


def _subject(tokenizer: Tokenizer, audio_dir: Path, seed: int, progress: Progress) -> Subject:
    fit, held = choose(audio_dir, seed)
    classes = classes_of(fit)
    held = [c for c in held if not c.label or c.label in classes]
    sr = tokenizer.spec.sr
    rng = np.random.default_rng(seed)
    level = np.float32(10.0 ** (NOISE_DBFS / 20))
    noise = [level * rng.standard_normal(int(NOISE_S * sr)).astype(np.float32) for _ in range(NOISE_CLIPS)]
    return Subject(
        tokenizer,
        load(tokenizer, fit, classes, FIT_EXCERPT_S, progress, "learned from"),
        load(tokenizer, held, classes, HELD_EXCERPT_S, progress, "scored"),
        classes,
        encode(tokenizer, noise),
        encode(tokenizer, [np.zeros(int(SILENCE_S * sr), np.float32)]),
        seed,
    )


def probes(subject: Subject) -> list[Row]:
    """ESC-10 by a linear probe."""
    spec, fit, held = subject.tokenizer.spec, subject.fit, subject.held
    sizes = sizes_of(spec)
    groups = {layer.name: [layer.name] for layer in spec.layers} | groups_of(spec)
    rows = []
    for figure, silent in (("ESC-10 probe", True), ("ESC-10 probe, no silent frames", False)):
        learned, scored = (m.coded if silent else m.coded.sounding() for m in (fit, held))
        generator = torch.Generator().manual_seed(subject.seed)
        mixed = [part.shuffled(generator) for part in (learned, scored)]
        for group in ("S", "A", "S+A"):
            if group not in groups:
                rows.append(missing(figure, group, "share", "it has no such layers"))
        for of, layers in groups.items():
            found, chance = (
                estimate(probe.linear(a, fit.labels, b, held.labels, layers, sizes), ratio, subject.seed)
                for a, b in ((learned, scored), (mixed[0], mixed[1]))
            )
            why = "" if found.n else "no clips with a class to learn from and to score"
            rows.append(row(figure, of, "share", found, {"shuffled": chance.value}, why))
    return rows


def legends(subject: Subject) -> list[Row]:
    """ESC-10 by the words of the codes alone."""
    held, votes = subject.held, words.class_votes(subject.tokenizer, subject.classes)
    rows = []
    for figure, silent in (("ESC-10 legend only", True), ("ESC-10 legend only, no silent frames", False)):
        if not votes:
            rows.append(missing(figure, "S", "share", "the words of its codes do not name the classes"))
            continue
        scored = held.coded if silent else held.coded.sounding()
        mixed = scored.shuffled(torch.Generator().manual_seed(subject.seed))
        found, chance = (estimate(probe.by_legend(c, held.labels, votes), ratio, subject.seed) for c in (scored, mixed))
        rows.append(row(figure, "+".join(votes), "share", found, {"shuffled": chance.value}))
    return rows


def kinds(subject: Subject) -> list[Row]:
    """Kinds of sound by the names of the codes."""
    tokenizer, held, seed = subject.tokenizer, subject.held, subject.seed
    found = calling.by_time(tokenizer, held, seed) + calling.music(tokenizer, held, seed)
    return found + calling.starts(tokenizer, held, seed)


def confidences(subject: Subject) -> list[Row]:
    """How far the shares of kinds can be believed."""
    return calibration.rows(subject.tokenizer, subject.held, subject.seed)


def recoveries(subject: Subject) -> list[Row]:
    """Descriptors recovered from the legend alone."""
    return meaning.recoveries(subject.tokenizer, subject.fit, subject.held, subject.seed)


def scores(subject: Subject) -> list[Row]:
    """Notes, chords and tempi of synthetic music."""
    rows = meaning.scores(subject.tokenizer, subject.seed)
    return rows + meaning.false_names(subject.tokenizer, subject.held, subject.noise, subject.silence, subject.seed)


def pitches(subject: Subject) -> list[Row]:
    """The f0 by the notes that codes name."""
    return pitch.rows(subject.tokenizer, subject.held, subject.seed)


def log_mels(subject: Subject) -> list[Row]:
    """Log-mel error by the number of acoustic layers."""
    tokenizer, held = subject.tokenizer, subject.held
    layers = groups_of(tokenizer.spec).get("A", [])
    figure = "log-mel L1"
    if not layers or (why := acoustic.fault(tokenizer)):
        return [missing(figure, "A", "dB", why if layers else "it has no acoustic layers")]
    floor = acoustic.mean_frame(subject.fit.heard).expand_as(held.heard.log_mel)
    n = len(held.clips)
    rows = [row(figure, "no layer", "dB", estimate(acoustic.error(floor, held.heard, n), ratio, subject.seed))]
    mixed = held.coded.shuffled(torch.Generator().manual_seed(subject.seed))
    for count in range(1, len(layers) + 1):
        found, chance = (
            estimate(
                acoustic.error(acoustic.decoded(tokenizer, coded, layers[:count]), held.heard, n), ratio, subject.seed
            )
            for coded in (held.coded, mixed)
        )
        rows.append(row(figure, "+".join(layers[:count]), "dB", found, {"shuffled": chance.value}))
    return rows


def usages(subject: Subject) -> list[Row]:
    """Use of the alphabets and rate of change."""
    spec, held = subject.tokenizer.spec, subject.held.coded
    mixed = held.shuffled(torch.Generator().manual_seed(subject.seed))
    rows: list[Row] = []
    for layer in spec.layers:
        of, size, rate = layer.name, layer.vocab, rate_of(spec, layer.name)
        parts = {"": held.sounding(), "noise": subject.noise, "silence": subject.silence}
        counts = {name: usage.counts(coded, of, size) for name, coded in parts.items()}
        for figure, unit, fn in (
            ("codes used", f"of {size}", usage.used),
            ("perplexity", "codes", usage.perplexity),
            ("entropy", "bits/s", functools.partial(_bits_a_second, rate)),
        ):
            found = {name: estimate(c, fn, subject.seed, centred=True) for name, c in counts.items()}
            nulls = {name: found[name].value for name in ("noise", "silence")}
            rows.append(row(figure, of, unit, found[""], nulls))
        rows.append(Row("tokens", of, "1/s", rate))
        moving = {"": held, "shuffled": mixed, "noise": subject.noise, "silence": subject.silence}
        change = {
            name: estimate(usage.changes(coded, of), functools.partial(_changes_a_second, rate), subject.seed)
            for name, coded in moving.items()
        }
        nulls = {name: c.value for name, c in change.items() if name}
        rows.append(row("changes", of, "1/s", change[""], nulls))
    rows += _totals(subject)
    figures = [line.figure for line in rows]
    return sorted(rows, key=lambda line: figures.index(line.figure))


def _bits_a_second(rate: float, sums: Floats) -> Floats:
    return usage.bits(sums) * rate


def _changes_a_second(rate: float, sums: Floats) -> Floats:
    return ratio(sums) * rate


def _totals(subject: Subject) -> list[Row]:
    """Tokens and bits of all layers together."""
    spec = subject.tokenizer.spec
    sounding = subject.held.coded.sounding()
    rates = [rate_of(spec, layer.name) for layer in spec.layers]
    ends = np.cumsum([layer.vocab for layer in spec.layers])[:-1]

    def bits(sums: Floats) -> Floats:
        parts = np.split(sums, ends, axis=1)
        return np.asarray(sum(_bits_a_second(rate, part) for rate, part in zip(rates, parts, strict=True)))

    counts = np.hstack([usage.counts(sounding, layer.name, layer.vocab) for layer in spec.layers])
    found = estimate(counts, bits, subject.seed, centred=True)
    return [Row("tokens", "all", "1/s", sum(rates)), row("entropy", "all", "bits/s", found)]


def agreements(subject: Subject) -> list[Row]:
    """Codes that stay the same when the sound is changed."""
    spec, held = subject.tokenizer.spec, subject.held
    audio: list[Samples] = [samples_of(c.path, spec.sr, robustness.EXCERPT_S) for c in held.clips]
    clean = encode(subject.tokenizer, audio)
    rows = []
    for name, change in robustness.changed(spec.sr, subject.seed).items():
        figure = f"same codes, {name}"
        if name == robustness.MP3 and (why := robustness.mp3_fault(spec.sr)):
            rows += [missing(figure, layer.name, "share", why) for layer in spec.layers]
            continue
        other = encode(subject.tokenizer, [change(x, i) for i, x in enumerate(audio)])
        mixed = other.shuffled(torch.Generator().manual_seed(subject.seed))
        for layer in spec.layers:
            found, chance = (
                estimate(robustness.agreement(clean, coded, layer.name), ratio, subject.seed)
                for coded in (other, mixed)
            )
            rows.append(row(figure, layer.name, "share", found, {"shuffled": chance.value}))
    return rows


def laws(subject: Subject) -> list[Row]:
    """Codes that must be the same."""
    return sameness.rows(subject.tokenizer, subject.held, subject.noise, subject.silence, subject.seed)


def costs(subject: Subject) -> list[Row]:
    """Processor time of a frame."""
    return cost.rows(subject.tokenizer, subject.held.audio)


PARTS: dict[str, Callable[[Subject], list[Row]]] = {
    "probe": probes,
    "legend": legends,
    "kinds": kinds,
    "calibration": confidences,
    "recovery": recoveries,
    "score": scores,
    "f0": pitches,
    "log-mel": log_mels,
    "usage": usages,
    "agreement": agreements,
    "sameness": laws,
    "cost": costs,
}
