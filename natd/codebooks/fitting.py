"""Codebooks for an encoder, from recordings: always of what that very encoder gives, judged on what was held out.

A layer whose codebook does not stand the test of `validate` is fitted again from other seeded starts, a few times; then
the fit fails. What is stored bears the key of encoder, plan and recordings: the same again is not fitted again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import backups, fit, glossary, store, validate
from natd.codebooks.fit import Fit, Progress, nearest
from natd.codebooks.hearing import Encoder, Heard, Recording, hear
from natd.codebooks.naming import note_near
from natd.codec.descriptors import DESCRIPTORS, GATED
from natd.codec.threads import one_thread
from natd.errors import ConfigError, ModelError

METHOD = 1  # counts changes of how codebooks are fitted
ACOUSTIC = "A"


@dataclass(frozen=True, slots=True)
class Plan:
    """What shapes a fit beside the encoder and the recordings; `layers` ("S0", ..., "A"): all if none is named."""

    codes: int = 512
    levels: int = 4
    layers: tuple[str, ...] = ()
    seed: int = 0
    vectors: int = 60_000
    starts: int = 2
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is stored: its name, codebook_id and figures by layer; whether it was there, and the backup of another."""

    name: str
    codebook_id: str
    figures: Mapping[str, Any]
    cached: bool
    backup: str | None


def fit_codebooks(
    name: str, encoder: Encoder, recordings: Sequence[Recording], plan: Plan, folder: Path, progress: Progress,
    refit: bool = False,
) -> Fitted:  # fmt: skip
    """Fit codebooks to `encoder` and store them in `folder`; `refit` even if the same are there.

    What was stored before is kept as a backup. ModelError with the reason if no fit is good.
    """
    settings = encoder.settings()
    stored, key = store.fitted_name(name, settings), cache_key(settings, plan, recordings)
    if not refit:
        found = _cached(folder, stored, settings, key, progress)
        if found is not None:
            return found
    heard = hear(encoder, recordings, plan.vectors, plan.seed, progress)
    with one_thread():  # whose number shapes the sums
        tensors, figures = fit_layers(heard, plan, progress)
        legend = legend_of(heard, tensors)
    how = {"key": key, "method": METHOD, "plan": _json(plan), "figures": figures, "recordings": _listed(recordings)}
    backup = backups.keep(folder, stored)
    manifest = store.save(folder, stored, settings, tensors, legend, how)
    return Fitted(stored, manifest["codebook_id"], figures, cached=False, backup=backup)


def cache_key(settings: Mapping[str, Any], plan: Plan, recordings: Sequence[Recording]) -> str:
    """`sha256:` over all that shapes the codebooks: encoder, plan, and the recordings' names, sizes and contents."""
    everything = [dict(settings), METHOD, _json(plan), _listed(recordings)]
    return f"sha256:{hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()}"


def fit_layers(heard: Heard, plan: Plan, progress: Progress) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`S0.codes` [K, D], ... and `A.codes` [levels, K, D] of what was heard, and the figures of each layer."""
    missing = [layer for layer in plan.layers if layer not in heard.fit]
    if missing:
        raise ConfigError(f"no layer {', '.join(missing)}: the encoder has {', '.join(heard.fit)}")
    tensors: dict[str, Tensor] = {}
    figures: dict[str, Any] = {}
    for name in plan.layers or sorted(heard.fit):
        x, held = heard.fit[name], heard.held[name]
        judge = _Judge(name, plan, validate.energy(held, x.mean(0)), progress, figures)
        found = fit.in_turn(x, held, plan.levels if name == ACOUSTIC else 1, judge)
        centres = [one.centres for one in found]
        tensors[f"{name}.codes"] = torch.stack(centres) if name == ACOUSTIC else centres[0]
    return tensors, figures


@dataclass(slots=True)
class _Judge:
    """Fits one layer after another, each as often as it takes to be good; `before` is the held-out energy so far."""

    name: str
    plan: Plan
    before: float
    progress: Progress
    figures: dict[str, Any]

    def __call__(self, level: int, x: Tensor, held: Tensor) -> Fit:
        what = f"A{level}" if self.name == ACOUSTIC else self.name
        faults: list[str] = []
        for attempt in range(self.plan.attempts):
            seed = self.plan.seed + 1000 * level + 1_000_000 * attempt
            first = fit.kmeans(x, held, self.plan.codes, seed, self.plan.starts)
            found = fit.refine(x, held, first, seed)
            report = validate.judge(x, held, found.centres, self.before, seed)
            faults = report.faults()
            if not faults:
                break
            self.progress(f"{what}: attempt {attempt + 1} of {self.plan.attempts} rejected: {'; '.join(faults)}")
        else:
            raise ModelError(f"{what}: none of {self.plan.attempts} fits is good; the last: {'; '.join(faults)}")
        averaged = found is not first
        self.before = found.distortion
        self.figures[what] = {**report.as_json(), "vectors": len(x), "attempts": attempt + 1, "averaged": averaged}
        now = f"averages {first.distortion:.5g} -> {found.distortion:.5g}" if averaged else "averages would be worse"
        self.progress(
            f"{what}: {len(x)} vectors, energy left {report.energy.value:.3f} (by lot {report.energy.null:.3f}), {now}"
        )
        return found


def legend_of(heard: Heard, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """How many vectors chose each code; for semantic layers also what those frames were like, in numbers and words."""
    layers: dict[str, Any] = {}
    for name, codes in tensors.items():
        layer = name.removesuffix(".codes")
        x = heard.fit[layer]
        if layer == ACOUSTIC:
            for level, book in enumerate(codes):
                chosen = nearest(x, book)[0]
                x = x - book[chosen]
                count = torch.bincount(chosen, minlength=len(book)).tolist()
                layers[f"A{level}"] = {str(code): {"count": n} for code, n in enumerate(count)}
            continue
        names = list(DESCRIPTORS)
        entries = glossary.measure(nearest(x, codes)[0], heard.descriptors[layer], len(codes), names, GATED)
        layers[layer] = {
            str(code): {"phrase": _phrase(e.means), "count": e.count, "means": [e.means[n] for n in names]}
            for code, e in enumerate(entries)
        }
    return {"descriptors": DESCRIPTORS, "codes": layers}


def _phrase(means: Mapping[str, float | None]) -> str:
    """`mf -24 dBFS, bright 3.1 kHz, tonal, near A4`."""
    level, centroid, flatness = (means[name] for name in ("level", "centroid", "flatness"))
    if level is None or centroid is None or flatness is None:
        return "not heard"
    f0 = means["f0"]
    pitch = f", near {note_near(f0)}" if f0 is not None else ""
    return glossary.dynamics(level, centroid, flatness) + pitch


def _cached(folder: Path, stored: str, settings: Mapping[str, Any], key: str, progress: Progress) -> Fitted | None:
    """What is stored, if it is of this key and whole."""
    if not (folder / f"{stored}.json").exists():
        return None
    try:
        how = store.read_manifest(folder, stored).get("fit", {})
        codebook_id = store.load(folder, stored, settings)[2]
    except ModelError as error:
        progress(f"what is stored cannot be used: {error}")
        return None
    if how.get("key") != key:
        progress(f"{stored} was fitted by another plan or to other recordings: it becomes a backup")
        return None
    return Fitted(stored, codebook_id, how.get("figures", {}), cached=True, backup=None)


def _json(plan: Plan) -> dict[str, Any]:
    return {**asdict(plan), "layers": list(plan.layers)}


def _listed(recordings: Sequence[Recording]) -> list[list[Any]]:
    return [[r.name, r.bytes, r.sha256] for r in recordings]
