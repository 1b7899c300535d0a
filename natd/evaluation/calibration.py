"""Whether a code's share of its kind is how often that kind is right, and what is right when only the surest answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.calling import NONE, UNNAMED, Names, Told, names_of, with_kind
from natd.evaluation.coding import per_clip
from natd.evaluation.material import Material

BINS = 10
COVERAGES = (0.25, 0.5, 0.75, 1.0)
CURVE = 20  # points of a coverage curve


@dataclass(frozen=True, slots=True)
class Claims:
    """What was claimed: confidence [N] 0..1, whether it is right [N], the clip of each [N], how many clips."""

    confidence: Tensor
    right: Tensor
    clip: Tensor
    clips: int


# ---- what is claimed


def kinds(names: Names, part: Told) -> Claims:
    """Where a code is called a kind: the share of that kind."""
    return _claims(names, part, names.kind[part.codes] != NONE)


def wider_kinds(names: Names, part: Told) -> Claims:
    """Where a code is called a wider kind only: the share of all its kinds."""
    kind, wider = names.kind[part.codes], names.wider[part.codes]
    return _claims(names, part, (kind == NONE) & (wider != NONE))


def either(names: Names, part: Told) -> Claims:
    """Both: each name by its own share and its own truth."""
    return _claims(names, part, names.wider[part.codes] != NONE)


def _claims(names: Names, part: Told, keep: Tensor) -> Claims:
    part = part.only(keep)
    kind, wider = names.kind[part.codes], names.wider[part.codes]
    of_kind = names.shares[part.codes, kind.clamp(min=0)]
    of_wider = names.wider_shares[part.codes, wider]
    narrow = kind != NONE
    right = torch.where(narrow, kind == part.kind, wider == part.wider)
    return Claims(torch.where(narrow, of_kind, of_wider), right, part.clip, part.clips)


def guesses(names: Names, part: Told) -> Claims:
    """One kind for every code: the one that it is called, else the likeliest; a code without shares is never right."""
    likeliest = names.shares.argmax(1)
    kind = torch.where(names.kind != NONE, names.kind, likeliest)
    confidence = names.shares[torch.arange(len(kind)), kind]
    right = (kind[part.codes] == part.kind) & (confidence[part.codes] > 0)
    return Claims(confidence[part.codes], right, part.clip, part.clips)


# ---- figures


def bins(confidence: Tensor) -> Tensor:
    """Number of the bin [N], 0 to 9: of equal mass as far as equal confidences, which stay together, allow."""
    at, counts = _levels(confidence)
    middle = np.cumsum(counts) - counts / 2
    number = np.floor(middle / max(1.0, float(counts.sum())) * BINS).astype(np.int64)
    return torch.from_numpy(np.minimum(number, BINS - 1))[at]


def binned(claims: Claims) -> Floats:
    """Per clip and bin: claims, sum of their confidence, right ones [C, 30]; `gap` and `reliability` read it."""
    number = bins(claims.confidence)
    inside = [number == i for i in range(BINS)]
    columns = [part * mask for part in (torch.ones_like(claims.confidence), claims.confidence, claims.right)
               for mask in inside]  # fmt: skip
    return per_clip(columns, claims.clip, claims.clips)


def gap(sums: Floats) -> Floats:
    """Expected calibration error [B] of sums [B, 30]: mean of |confidence - share right| over claims."""
    count, confidence, right = np.split(sums, 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(confidence - right).sum(axis=1) / count.sum(axis=1))


def answered(confidence: Tensor, share: float) -> Tensor:
    """How far each is among the `share` most confident [N], 0..1: those at the border of it count in part, alike."""
    at, counts = _levels(confidence)
    surer = counts.sum() - np.cumsum(counts)
    return torch.from_numpy(np.clip((share * len(confidence) - surer) / counts, 0.0, 1.0))[at]


def _levels(confidence: Tensor) -> tuple[Tensor, Floats]:
    """Which of the different confidences each is [N], and how many have each, from the least upward."""
    _, at, counts = np.unique(confidence.numpy(), return_inverse=True, return_counts=True)
    return torch.from_numpy(at.reshape(-1)), counts.astype(np.float64)


def answered_right(claims: Claims, share: float) -> Floats:
    """Per clip: how many answers of the most confident `share` are right, how many there are [C, 2]."""
    weight = answered(claims.confidence, share)
    return per_clip([weight * claims.right, weight], claims.clip, claims.clips)


# ---- rows


def rows(tokenizer: Any, held: Material, seed: int) -> list[Row]:
    """Calibration of the names, and accuracy by coverage."""
    layers = names_of(tokenizer)
    ece: dict[str, Callable[[Names, Told], Claims]] = {
        "called a kind": kinds,
        "called a wider kind only": wider_kinds,
        "called either": either,
    }
    out: list[Row] = []
    for names in layers:
        scored = with_kind(held.coded, held.clips, names.layer)
        mixed = scored.shuffled(seed)
        for who, claim in ece.items():
            # Of drawn clips the error is larger than of all of them: the interval is laid about the value.
            found, chance = (estimate(binned(claim(names, part)), gap, seed, centred=True) for part in (scored, mixed))
            why = "" if found.n else f"none is {who}"
            out.append(row(f"calibration error, {who}", names.layer, "share", found, {"shuffled": chance.value}, why))
        for share in COVERAGES:
            found, chance = (
                estimate(answered_right(guesses(names, part), share), ratio, seed) for part in (scored, mixed)
            )
            why = "the kind it is called, else the likeliest"
            out.append(row(_surest(share), names.layer, "share", found, {"shuffled": chance.value}, why))
    figures = [f"calibration error, {who}" for who in ece] + [_surest(share) for share in COVERAGES]
    return out or [missing(figure, "S", "share", UNNAMED) for figure in figures]


def _surest(share: float) -> str:
    return f"kind right, {100 * share:.0f} % most confident"


def curves(tokenizer: Any, held: Material) -> dict[str, dict[str, list[list[float]]]]:
    """Layer -> `reliability`: by bin [confidence, share right, share of claims]; `coverage`: [coverage, accuracy]."""
    out = {}
    for names in names_of(tokenizer):
        scored = with_kind(held.coded, held.clips, names.layer)
        count, confidence, right = binned(either(names, scored)).sum(0).reshape(3, BINS)
        total = max(float(count.sum()), 1.0)
        reliability = [[c / n, r / n, n / total] for n, c, r in zip(count, confidence, right, strict=True) if n]
        claims = guesses(names, scored)
        coverage = []
        for share in (i / CURVE for i in range(1, CURVE + 1)):
            hits, of = answered_right(claims, share).sum(0)
            coverage += [[share, hits / of]] if of else []
        rounded = {"reliability": reliability, "coverage": coverage}
        out[names.layer] = {k: [[round(float(x), 6) for x in point] for point in v] for k, v in rounded.items()}
    return out
