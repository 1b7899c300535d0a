"""The sample count is the clock: capture time by counting, wall and monotonic time only as a mapping onto it."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
