"""Frames waiting for the encoder: a live stream sheds its oldest whole frames and declares them, any other waits."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from natd.audio.chunks import End, FormatChunk, FrameChunk, GapChunk
from natd.clock import Clock

Item = FrameChunk | GapChunk | FormatChunk | End


class Backlog:
    """A bounded queue between one stream's intake and the engine.

    At most `patience_s` of frames wait. When a live backlog is full and its oldest frame was captured longer ago than
    that, only the newest frame stays and one gap (cause `encoder_late`) takes the place of the others, so that being
    late costs one reset, not one a frame. A burst of fresh audio is not late: it waits in the source's own buffer.
    """

    def __init__(self, patience_s: float, live: bool, frame_ms: float, clock: Clock) -> None:
        self.counters = {"frames_shed": 0}
        self._limit = max(2, round(patience_s * 1000 / frame_ms))
        self._patience_ns = round(patience_s * 1e9)
        self._live, self._frame_ms, self._clock = live, frame_ms, clock
        self._items: deque[Item] = deque()
        self._frames = 0
        self._ready = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()

    def __len__(self) -> int:
        """Frames that wait."""
        return self._frames

    @property
    def degraded(self) -> bool:
        """Whether more than half of what may wait does."""
        return self._live and self._frames * 2 > self._limit

    async def put(self, item: Item) -> None:
        """Add an item; a frame waits for space, on a live stream only until the oldest is late."""
        while isinstance(item, FrameChunk) and self._frames >= self._limit:
            left_s = self._left_ns() / 1e9 if self._live else None
            if left_s is not None and left_s <= 0:
                self._shed()
                break
            self._space.clear()
            with suppress(TimeoutError):  # the loop looks again and then sheds
                await asyncio.wait_for(self._space.wait(), left_s)
        self.put_nowait(item)

    def put_nowait(self, item: Item) -> None:
        """Add an item without waiting; what ends a stream must always find a place."""
        self._items.append(item)
        self._frames += isinstance(item, FrameChunk)
        self._ready.set()

    async def get(self) -> Item:
        """The oldest item; waits for one."""
        while not self._items:
            self._ready.clear()
            await self._ready.wait()
        item = self._items.popleft()
        if isinstance(item, FrameChunk):
            self._frames -= 1
            self._space.set()
        return item

    def _left_ns(self) -> int:
        """Time until the oldest waiting frame is late, ns."""
        oldest = next(item for item in self._items if isinstance(item, FrameChunk))
        return oldest.captured_ns + self._patience_ns - self._clock.mono_ns()

    def _shed(self) -> None:
        """Replace all but the newest frame by gaps, merged with an `encoder_late` gap they touch."""
        drop = self._frames - 1
        kept: deque[Item] = deque()
        for item in self._items:
            if isinstance(item, FrameChunk) and drop > 0:
                drop -= 1
                self._frames -= 1
                self.counters["frames_shed"] += 1
                _append_gap(kept, GapChunk(item.fi, 1, "encoder_late", self._frame_ms))
            else:
                kept.append(item)
        self._items = kept


def _append_gap(items: deque[Item], gap: GapChunk) -> None:
    last = items[-1] if items else None
    if isinstance(last, GapChunk) and last.cause == gap.cause and last.fi + last.frames == gap.fi:
        lost = None if last.lost_ms is None or gap.lost_ms is None else last.lost_ms + gap.lost_ms
        items[-1] = GapChunk(last.fi, last.frames + gap.frames, gap.cause, lost)
    else:
        items.append(gap)
