"""The sample count is the clock: capture time by counting, wall and monotonic time only as a mapping onto it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol


class Clock(Protocol):
    """Where times come from; `FakeClock` in tests, `SystemClock` in life."""

    def mono_ns(self) -> int:
        """Monotonic time, ns (CLOCK_MONOTONIC: comparable between the processes of one machine)."""

    def unix_ns(self) -> int:
        """Wall time, ns since the epoch; may step."""


class SystemClock:
    """The clocks of this machine."""

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC, ns."""
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        """CLOCK_REALTIME, ns."""
        return time.time_ns()


@dataclass(slots=True)
class FakeClock:
    """A clock that moves only when told to."""

    now_ns: int = 0
    wall_offset_ns: int = 1_700_000_000_000_000_000

    def mono_ns(self) -> int:
        """The time set by `advance`, ns."""
        return self.now_ns

    def unix_ns(self) -> int:
        """Monotonic time plus a fixed offset, ns."""
        return self.now_ns + self.wall_offset_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self.now_ns += round(seconds * 1e9)


@dataclass(slots=True)
class SampleClock:
    """Capture time by counting samples; the monotonic clock only sets the anchor."""

    rate: int
    anchor_ns: int
    anchor_sample: int = 0

    def t_ns(self, sample: int) -> int:
        """Monotonic time of `sample`, ns."""
        return self.anchor_ns + (sample - self.anchor_sample) * 1_000_000_000 // self.rate


@dataclass(slots=True)
class DriftEstimator:
    """How fast a source's sample clock runs against the monotonic clock.

    Blocks come late by chance and in bursts, never early, so of each second only the earliest block counts (its samples
    against its time); a line is fitted through the latest 10 min of these, those far off it are left out, and it is
    fitted again. Stretches parted by `restart` share the slope only.
    """

    rate: int
    _stretch: int = 0
    _origin_ns: int | None = None
    _seconds: deque[_Second] = field(default_factory=lambda: deque(maxlen=600))

    LEAST_S = 30  # measured: within 10 ppm of the truth on a busy machine; 15 s were off by 50 to 140

    def restart(self) -> None:
        """Samples were lost or the device was opened again: counts and times go on elsewhere."""
        self._stretch += 1

    def feed(self, samples: int, mono_ns: int) -> None:
        """In this stretch `samples` have arrived, the last of them at `mono_ns`."""
        if self._origin_ns is None:
            self._origin_ns = mono_ns
        t = mono_ns - self._origin_ns
        late = t - samples * 1_000_000_000 / self.rate
        latest = self._seconds[-1] if self._seconds else None
        if latest is None or latest.stretch != self._stretch or latest.number != t // 1_000_000_000:
            self._seconds.append(_Second(self._stretch, t // 1_000_000_000, t, late))
        elif late < latest.late:
            latest.t, latest.late = t, late

    @property
    def ppm(self) -> float | None:
        """Positive: more samples than the nominal rate. None before `LEAST_S` seconds with audio."""
        points = list(self._seconds)
        if len(points) <= self.LEAST_S:
            return None
        slope, residuals = _fit(points)
        usual = median(abs(r) for r in residuals)
        kept = [p for p, r in zip(points, residuals, strict=True) if abs(r) <= 4 * usual + 1e5]
        slope, _ = _fit(kept)
        return -1e6 * slope


@dataclass(slots=True)
class _Second:
    """The earliest block of one second of a stretch: its time, and how late it was (ns; an offset is arbitrary)."""

    stretch: int
    number: int
    t: int
    late: float


def _fit(points: list[_Second]) -> tuple[float, list[float]]:
    """Slope of `late` over `t` by least squares, each stretch with its own height; and each point's residual, ns."""
    stretches: dict[int, list[_Second]] = {}
    for p in points:
        stretches.setdefault(p.stretch, []).append(p)
    means = {k: (sum(p.t for p in of) / len(of), sum(p.late for p in of) / len(of)) for k, of in stretches.items()}
    centred = [(p.t - means[p.stretch][0], p.late - means[p.stretch][1]) for p in points]
    spread = sum(t * t for t, _ in centred)
    slope = sum(t * late for t, late in centred) / spread if spread else 0.0
    return slope, [late - slope * t for t, late in centred]
