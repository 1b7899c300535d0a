"""Audio on standard input: a WAV stream, or raw PCM whose format was declared. Never compressed audio."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import select
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import BinaryIO, Self

from natd.audio.chunks import Block, End, Format, SourceEvent
from natd.audio.pcm import SAMPLE_BYTES, RawFormat, decode
from natd.audio.wav import WavError, WavHeader, read_header
from natd.clock import Clock, SystemClock
from natd.errors import SourceError

log = logging.getLogger(__name__)
READ_BYTES = 64 << 10
QUEUE_READS = 16  # at most 1 MiB read ahead; then the writer of the pipe waits
STARVED_NS = 2_000_000_000
CURE = "pipe it through `ffmpeg -i - -f wav -` first, or declare the format of raw PCM"


class StdinSource:
    """The samples of `stream`, read to its end (or to the length its WAV header gives) by a thread of its own.

    With `raw` the bytes are samples from the first on, else they begin with a WAV header: then `__aenter__` waits for
    it. A pipe that stays silent never blocks the loop, nor the end of the process. Nothing may have been read from
    `stream` before. SourceError for what is not WAV, for a terminal, and for a failing read.
    """

    kind = "stdin"
    name = "-"
    live = False
    timed = False
    drift_ppm: float | None = None

    def __init__(
        self, stream: BinaryIO, raw: RawFormat | None = None, block_ms: float = 10.0, *, clock: Clock | None = None
    ) -> None:
        if raw is not None and raw.fmt not in SAMPLE_BYTES:
            raise SourceError(f"raw PCM format {raw.fmt!r} is not one of {', '.join(SAMPLE_BYTES)}")
        self.counters = {"partial_bytes": 0, "missing_bytes": 0}
        self._raw, self._block_ms, self._clock = raw, block_ms, clock or SystemClock()
        self._input = _Input(stream)
        self._handoff = _Handoff()
        self._done = False
        self._last_read_ns = self._clock.mono_ns()

    @property
    def format(self) -> Format:
        """Rate and channels as declared or as the WAV header says."""
        if self._raw is None:
            raise RuntimeError("StdinSource used outside its context")
        return Format(self._raw.rate, self._raw.channels)

    @property
    def state(self) -> str:
        """`starved` while the pipe is open and has brought nothing for 2 s."""
        silent_ns = 0 if self._done or self._handoff.filled else self._clock.mono_ns() - self._last_read_ns
        return "starved" if silent_ns > STARVED_NS else "live"

    async def __aenter__(self) -> Self:
        if self._input.is_terminal():
            raise SourceError(
                "standard input is a terminal; pipe audio into it, as in `arecord -f cd | natd --source -`"
            )
        loop = asyncio.get_running_loop()
        header: asyncio.Future[WavHeader] = loop.create_future()
        self._handoff.attach(loop)
        # A daemon: a read that never returns must not keep the process alive.
        threading.Thread(target=self._run, args=(header,), name="natd-stdin", daemon=True).start()
        try:
            self._raw = (await header).raw
        except BaseException:
            self._handoff.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handoff.close()

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Blocks, stamped with the time they were read, then `End("eof")`."""
        if self._raw is None:
            raise RuntimeError("StdinSource used outside its context")
        size = max(1, round(self._raw.rate * self._block_ms / 1000))
        first = 0
        while (item := await self._handoff.get()) is not None:
            if isinstance(item, SourceError):
                raise item
            data, mono_ns = item
            samples = decode(data, self._raw.fmt, self._raw.channels)
            for at in range(0, len(samples), size):
                block = samples[at : at + size]
                yield Block(first, block, mono_ns)
                first += len(block)
        self._done = True
        yield End("eof")

    # ---- in the thread

    def _run(self, header: asyncio.Future[WavHeader]) -> None:
        try:
            found = WavHeader(self._raw, None) if self._raw is not None else read_header(self._input.exactly)
            self._handoff.tell(partial(_answer, header, found))
            self._pump(found)
        except (OSError, ValueError) as error:
            cure = CURE if isinstance(error, WavError) else "is it open?"
            failure = SourceError(f"standard input: {error}; {cure}")
            self._handoff.tell(partial(_answer, header, failure))
            self._handoff.put(failure)

    def _pump(self, header: WavHeader) -> None:
        """Hand on whole samples as they come, to the end of the stream or of the declared length."""
        left, rest = header.data_bytes, b""
        while left != 0:
            data = self._input.read(READ_BYTES if left is None else min(READ_BYTES, left))
            if not data:
                break
            self._last_read_ns = self._clock.mono_ns()
            if left is not None:
                left -= len(data)
            data = rest + data
            whole = len(data) - len(data) % header.raw.frame_bytes
            rest = data[whole:]
            if whole and not self._handoff.put((data[:whole], self._last_read_ns)):
                return
        if left:
            self.counters["missing_bytes"] += left
            log.warning("standard input ended %d bytes before the length in its WAV header", left)
        if rest:
            self.counters["partial_bytes"] += len(rest)
            log.warning("standard input ended inside a sample: %d bytes dropped", len(rest))
        self._handoff.put(None)


def _answer(header: asyncio.Future[WavHeader], found: WavHeader | SourceError) -> None:
    if header.done():  # whoever waited was cancelled, or has the header and meets the failure while iterating
        return
    if isinstance(found, SourceError):
        header.set_exception(found)
    else:
        header.set_result(found)


class _Input:
    """Reads bytes as they come, from the file descriptor where there is one."""

    def __init__(self, stream: BinaryIO) -> None:
        # Not from the buffered reader: a daemon thread that sits in one holds its lock, and the interpreter aborts when
        # it cannot take that lock at exit.
        self._stream = stream
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, io.UnsupportedOperation):
            self._fd = None

    def is_terminal(self) -> bool:
        return self._fd is not None and os.isatty(self._fd)

    def read(self, most: int) -> bytes:
        """1 to `most` bytes; none at the end of the stream."""
        if self._fd is None:
            return self._stream.read(most)
        while True:
            try:
                return os.read(self._fd, most)
            except BlockingIOError:  # someone else who has the pipe made it non-blocking
                select.select([self._fd], [], [])

    def exactly(self, count: int) -> bytes:
        """`count` bytes; fewer only at the end of the stream."""
        parts = bytearray()
        while len(parts) < count and (data := self.read(count - len(parts))):
            parts += data
        return bytes(parts)


_Item = tuple[bytes, int] | SourceError | None  # bytes and when they came; a failure; the end


class _Handoff:
    """From the reading thread to the loop, at most `QUEUE_READS` items; a full one makes the thread wait."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def filled(self) -> bool:
        """Whether something waits for the loop."""
        return bool(self._items)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say whose loop it is before the thread starts."""
        self._loop = loop

    def tell(self, what: Callable[[], object]) -> bool:
        """Have the loop call `what`; False if it is closed already."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)
            return self._loop is not None
        except RuntimeError:  # the loop is closed: nobody is left to hear it
            return False

    def put(self, item: _Item) -> bool:
        """Wait for room, then hand over; False once closed. In the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < QUEUE_READS)
            if self._closed:
                return False
            self._items.append(item)
        return self.tell(self._arrived.set)

    async def get(self) -> _Item:
        """The next item, in order. In the loop."""
        while True:
            self._arrived.clear()
            with self._changed:
                if self._items:
                    self._changed.notify()
                    return self._items.popleft()
            await self._arrived.wait()

    def close(self) -> None:
        """Let a waiting thread go; what it reads from now on is nobody's."""
        with self._changed:
            self._closed = True
            self._changed.notify()
