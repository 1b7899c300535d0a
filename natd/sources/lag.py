"""When samples arrive against when they should: late for good means that some never came."""

from __future__ import annotations

from collections import deque

PART_NS = 250_000_000
PARTS = 8  # late for 2 s on end is late for good: a stall that is caught up later has passed by then
LOST_NS = 250_000_000  # callbacks on a busy machine come up to 90 ms late
LOST_FLAGGED_NS = 20_000_000  # enough where the driver says that it lost something
FLAG_NS = 4_000_000_000
DRIFT_PPM = 500  # a slow clock is no loss; this is more than any sound card is off


class LagWatch:
    """Follows the least lateness of blocks, which bursts and late callbacks cannot raise, but lost samples do.

    The lateness of a block is its arrival minus the time its samples take since the first; only its changes matter.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._samples = 0
        self._usual: float | None = None  # lateness without loss, ns
        self._parts: deque[list[int]] = deque(maxlen=PARTS)  # [number of 250 ms, least lateness in it, ns]
        self._flag_ns: int | None = None
        self.flagged = False  # whether the driver had announced the latest loss

    def origin_ns(self) -> int:
        """When the first sample was there, by the blocks of the latest 2 s (at least one must have been fed)."""
        return min(least for _, least in self._parts)

    def latest_ns(self) -> int:
        """When the latest sample was there, likewise."""
        return self.origin_ns() + self._samples * 1_000_000_000 // self._rate

    def feed(self, count: int, mono_ns: int, flagged: bool = False) -> int:
        """`count` more samples, the last of them at `mono_ns`; returns how many were lost before them, mostly 0.

        `flagged`: the driver says that it lost some.
        """
        if flagged:
            self._flag_ns = mono_ns
        self._samples += count
        lateness = mono_ns - self._samples * 1_000_000_000 // self._rate
        part = mono_ns // PART_NS
        if self._parts and self._parts[-1][0] == part:
            self._parts[-1][1] = min(lateness, self._parts[-1][1])
            return 0
        lost = self._lost(mono_ns)
        self._parts.append([part, lateness - lost * 1_000_000_000 // self._rate])
        return lost

    def _lost(self, mono_ns: int) -> int:
        """Called as a part ends: how many samples the last 2 s are late for good; from now on they count as arrived."""
        if not self._parts:
            return 0
        last = self._parts[-1]
        allowed = PART_NS * DRIFT_PPM / 1e6
        self._usual = float(last[1]) if self._usual is None else min(float(last[1]), self._usual + allowed)
        if len(self._parts) < PARTS or last[0] - self._parts[0][0] >= PARTS:  # too few, or silence in between
            return 0
        self.flagged = self._flag_ns is not None and mono_ns - self._flag_ns < FLAG_NS
        late = int(min(least for _, least in self._parts) - self._usual)
        if late <= (LOST_FLAGGED_NS if self.flagged else LOST_NS):
            return 0
        self._flag_ns = None
        lost = late * self._rate // 1_000_000_000
        self._samples += lost
        for entry in self._parts:
            entry[1] -= lost * 1_000_000_000 // self._rate
        return lost
