"""The built-in band as a source: live against the monotonic clock, or as fast as it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from natd.audio.chunks import Block, End, Format, Loss, SourceEvent
from natd.audio.demo import FORMAT, Demo
from natd.clock import Clock, SystemClock
from natd.sources.pacing import Pacer, Sleep, read_ahead

MAX_LATE_SAMPLES = 2 * FORMAT.rate  # like the ring of a device: a reader later than this loses the oldest audio
READ_SAMPLES = FORMAT.rate // 2


class DemoSource:
    """`seconds` of `Demo(seed)` (None: for ever) in blocks of at most `block_ms`.

    Paced it behaves as a sound card: `live`, stamped with the time each block was due, and a reader more than
    2 s late loses the oldest audio to a Loss "overrun". Unpaced it waits for its reader.
    """

    kind = "demo"
    state = "live"
    drift_ppm: float | None = None
    format: Format = FORMAT

    def __init__(
        self,
        paced: bool = True,
        seconds: float | None = None,
        seed: int = 0,
        block_ms: float = 10.0,
        *,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = f"demo:{seed}"
        self.live = self.timed = paced
        self.counters = {"overruns": 0, "overrun_samples": 0}
        self.demo = Demo(seed)
        self._end = None if seconds is None else round(seconds * FORMAT.rate)
        self._size = max(1, round(FORMAT.rate * block_ms / 1000))
        self._clock, self._sleep = clock or SystemClock(), sleep
        self._next_read = 0  # written by the reading thread only
        self._skip_to = 0  # written by the loop only

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Blocks and losses, then `End("eof")` after `seconds`."""
        pacer = Pacer(FORMAT.rate, self._clock, self._sleep)
        delivered = 0
        async with aclosing(read_ahead(self._read)) as halves:
            async for begin, samples in halves:
                for at in range(0, len(samples), self._size):
                    first, block = begin + at, samples[at : at + self._size]
                    end = first + len(block)
                    if self.live:
                        await pacer.wait(end)
                        late = pacer.behind_ns(end) * FORMAT.rate // 1_000_000_000 - MAX_LATE_SAMPLES
                        if late > 0:
                            self._skip_to = end + late
                            continue
                    if first > delivered:
                        yield self._lost(delivered, first)
                    yield Block(first, block, pacer.due_ns(end) if self.live else self._clock.mono_ns())
                    delivered = end
        if self._end is not None and delivered < self._end:
            yield self._lost(delivered, self._end)
        yield End("eof")

    def _lost(self, first: int, end: int) -> Loss:
        self.counters["overruns"] += 1
        self.counters["overrun_samples"] += end - first
        return Loss(first, end - first, "overrun")

    def _read(self) -> tuple[int, NDArray[np.float32]] | None:
        """The next half second: its first sample and `[n, 2]`; None at the end. Runs in a thread."""
        first = max(self._next_read, self._skip_to)
        count = READ_SAMPLES if self._end is None else min(READ_SAMPLES, self._end - first)
        if count <= 0:
            return None
        self._next_read = first + count
        return first, self.demo.render(first, count)
