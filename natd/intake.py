"""Intake of one stream: source -> assembler -> backlog, up to a limit of frames."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from natd.audio.chunks import Block, End, FrameAssembler, FrameChunk, GapChunk
from natd.backlog import Backlog, Item
from natd.errors import SourceError
from natd.sources import Source


class Intake:
    """Hands on what the source delivers until it ends, fails or the limit is reached; then an `End` is in the backlog.

    `failure` is what the source failed of, `t0_mono_ns` the monotonic time of its first sample.
    """

    def __init__(
        self,
        source: Source,
        assembler: FrameAssembler,
        backlog: Backlog,
        limit: int | None,
        frame_ms: float,
        draining: Callable[[], bool],
    ) -> None:
        self.failure: SourceError | None = None
        self.t0_mono_ns: int | None = None
        self._source, self._assembler, self._backlog = source, assembler, backlog
        self._limit, self._frame_ms, self._draining = limit, frame_ms, draining
        self._pending: deque[Item] = deque()

    async def run(self) -> None:
        """Take in; a cancel while the stream drains hands on what was taken, and the end."""
        try:
            await self._take_in()
        except SourceError as error:
            self.failure = error  # what came before it is still encoded
            await self._feed(self._limited(self._assembler.feed(End("error"))))
        except asyncio.CancelledError:
            if not self._draining():
                raise
            if not any(isinstance(item, End) for item in self._pending):
                self._pending.extend(self._limited(self._assembler.feed(End("shutdown"))))
            for item in self._pending:
                self._backlog.put_nowait(item)

    async def _take_in(self) -> None:
        async for event in self._source:
            chunks = self._assembler.feed(event)
            if isinstance(event, Block) and self.t0_mono_ns is None:
                self.t0_mono_ns = event.mono_ns - self._assembler.elapsed_ns
            if await self._feed(self._limited(chunks)):
                return

    async def _feed(self, items: Sequence[Item]) -> bool:
        """Hand items on; true once an `End` was among them. What a cancel interrupts stays in `_pending`."""
        self._pending.extend(items)
        ended = any(isinstance(item, End) for item in items)
        while self._pending:
            await self._backlog.put(self._pending[0])
            self._pending.popleft()
        return ended

    def _limited(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items up to the frame limit, with an `End` in the place of what lies beyond."""
        if self._limit is None:
            return items
        kept: list[Item] = []
        for item in items:
            if isinstance(item, FrameChunk) and item.fi >= self._limit:
                return [*kept, End("eof")]
            if isinstance(item, GapChunk) and item.fi + item.frames >= self._limit:
                if item.fi < self._limit:
                    frames = self._limit - item.fi
                    kept.append(replace(item, frames=frames, lost_ms=min(item.lost_ms, frames * self._frame_ms)))
                return [*kept, End("eof")]
            kept.append(item)
            if isinstance(item, FrameChunk) and item.fi + 1 == self._limit:
                return [*kept, End("eof")]
        return kept
