"""A figure and its interval from sums over clips: whole clips are drawn again, as frames of one clip are alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 500
COVERAGE, NORMAL = 0.95, 1.96
Floats = NDArray[np.float64]
Figure = Callable[[Floats], Floats]  # sums of the clips' statistics [B, K] -> the figure [B]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the bounds of its 95 % interval, from `n` clips; None: not measured, and not zero."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: figure, of which layer or group, unit, value, bounds, what chance gives, clips, a remark."""

    figure: str
    of: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    nulls: Mapping[str, float | None] = field(default_factory=dict)
    n: int = 0
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def row(
    figure: str, of: str, unit: str, found: Estimate, nulls: Mapping[str, float | None] | None = None, note: str = ""
) -> Row:
    """A line from an estimate; numbers are rounded to six digits behind the point, that they read well as JSON."""
    rounded = {name: _rounded(value) for name, value in (nulls or {}).items()}
    value, low, high = _rounded(found.value), _rounded(found.low), _rounded(found.high)
    return Row(figure, of, unit, value, low, high, rounded, found.n, note)


def missing(figure: str, of: str, unit: str, why: str) -> Row:
    """A line for what cannot be measured, and why."""
    return Row(figure, of, unit, None, note=why)


def estimate(stats: Floats, figure: Figure, seed: int, centred: bool = False) -> Estimate:
    """`figure` of the sums of `stats` [clips, K]; clips whose statistics are all zero do not count.

    The interval runs between percentiles of 500 draws; `centred`: 1.96 of their standard deviations about the value,
    for what is always lower for drawn clips than for all of them (entropy, codes used).
    """
    stats = stats[np.any(stats != 0, axis=1)]
    n = len(stats)
    if not n:
        return Estimate(None, None, None, 0)
    value = float(figure(stats.sum(0, keepdims=True))[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n)
    if n < 2:
        return Estimate(value, None, None, n)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=DRAWS).astype(np.float64)
    drawn = figure(times @ stats)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < DRAWS / 2:
        return Estimate(value, None, None, n)
    tail = 100 * (1 - COVERAGE) / 2
    low, high = (float(q) for q in np.percentile(drawn, (tail, 100 - tail)))
    if centred:
        wide = NORMAL * float(drawn.std())
        low, high = max(0.0, value - wide), value + wide
    return Estimate(value, low, high, n)


def ratio(sums: Floats) -> Floats:
    """First column over second."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
