"""What a source delivered, written down: one float32 WAV for each stretch without loss, for exact comparison."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import soundfile

from natd.audio.chunks import Block, Format, SourceEvent
from natd.errors import OutputError
from natd.sources import Source


class Tap:
    """Delivers what `source` delivers, and writes its blocks to PATH.0.wav, PATH.1.wav …: a new file after each loss.

    A block is written before it is delivered: a tool for debugging, which waits for the disk. Errors:
    OutputError where a file cannot be written.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self._source, self._path = source, path
        self.kind, self.name, self.live, self.timed = source.kind, source.name, source.live, source.timed
        self.counters: Mapping[str, int] = source.counters
        self.files: list[Path] = []
        self._file: soundfile.SoundFile | None = None
        self._next = 0

    @property
    def format(self) -> Format:
        """The source's."""
        return self._source.format

    @property
    def state(self) -> str:
        """The source's."""
        return self._source.state

    @property
    def drift_ppm(self) -> float | None:
        """The source's."""
        return self._source.drift_ppm

    async def __aenter__(self) -> Self:
        # One thread, so that the disk does not stop the loop and blocks stay in order.
        self._thread = ThreadPoolExecutor(1, "tap")
        await self._source.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._source.__aexit__(kind, error, trace)
        finally:
            try:
                # In the thread, behind the block that it may still be writing.
                await asyncio.get_running_loop().run_in_executor(self._thread, self._cut)
            finally:
                self._thread.shutdown(wait=False)

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """The source's events."""
        async for event in self._source:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._note, event)
            yield event

    def _note(self, event: SourceEvent) -> None:
        if not isinstance(event, Block):
            self._cut()
            return
        if event.first != self._next:
            self._cut()
        try:
            if self._file is None:
                path = self._path.with_name(f"{self._path.name}.{len(self.files)}.wav")
                form = self._source.format
                self._file = soundfile.SoundFile(path, "w", form.rate, form.channels, "FLOAT")
                self.files.append(path)
            self._file.write(event.samples)
        except (OSError, soundfile.SoundFileError) as error:
            raise OutputError(f"{self._path}: {error}") from error
        self._next = event.first + len(event.samples)

    def _cut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
