"""What sources that read ahead share: blocking reads in a thread, and delivery at the speed of the samples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from natd.clock import Clock, SampleClock

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

MAX_BEHIND_S = 1.0


async def read_ahead(read: Callable[[], T | None]) -> AsyncGenerator[T, None]:
    """What the blocking `read` returns until it returns None; called in a thread, at most one call ahead."""
    loop = asyncio.get_running_loop()
    pending = loop.run_in_executor(None, read)
    try:
        # Shielded: a cancelled reader still waits (below) for the thread, which may be inside a decoder.
        while (read_now := await asyncio.shield(pending)) is not None:
            pending = loop.run_in_executor(None, read)
            yield read_now
    finally:
        await asyncio.wait([pending])
        if not pending.cancelled():
            pending.exception()  # marks it as seen: whoever still listens got it from the await above


class Pacer:
    """Says when samples are due: the first asked for is the anchor, the rest follow at `rate`.

    A reader that falls more than `MAX_BEHIND_S` behind moves the anchor: what waits is never hurried by more than that.
    """

    def __init__(self, rate: int, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._clock, self._sleep, self._rate = clock, sleep, rate
        self._due: SampleClock | None = None

    def due_ns(self, sample: int) -> int:
        """Monotonic time at which `sample` is due, ns."""
        if self._due is None:
            self._due = SampleClock(self._rate, self._clock.mono_ns())
        return self._due.t_ns(sample)

    def behind_ns(self, sample: int) -> int:
        """How long ago `sample` was due, ns; negative while it is still to come."""
        return self._clock.mono_ns() - self.due_ns(sample)

    async def wait(self, sample: int) -> None:
        """Return once `sample` is due; at once if it is late."""
        early_ns = -self.behind_ns(sample)
        if early_ns > 0:
            await self._sleep(early_ns / 1e9)

    def forgive(self, sample: int) -> None:
        """Move the anchor so that `sample` is due now, if it is late by more than `MAX_BEHIND_S`."""
        if self._due is not None and self.behind_ns(sample) > MAX_BEHIND_S * 1e9:
            self._due = SampleClock(self._rate, self._clock.mono_ns(), sample)
