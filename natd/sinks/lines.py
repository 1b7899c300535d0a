"""Between the event loop and a writer thread: a bounded queue of lines, and what lets a reader start anywhere."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from natd.unpacker import Decoder
from natd.wire import Event, Header, Sequenced, encode

BATCH_BYTES = 256 << 10  # lines for one target are joined up to this much


@dataclass(frozen=True, slots=True)
class Job:
    """Whole lines for one target; `fresh` asks for a new file (or a new attempt) before they are written."""

    target: str
    data: bytes
    lines: int
    fresh: bool = False


class LinePump:
    """One thread that hands queued jobs to `work`, in order, joined per target; at most `max_bytes` wait.

    `work` must not raise; `done` is called in the thread as its last act.
    """

    def __init__(
        self, work: Callable[[Job], None], max_bytes: int, name: str, done: Callable[[], None] = lambda: None
    ) -> None:
        self._work, self._done = work, done
        self._max_bytes = max_bytes
        self._jobs: deque[Job] = deque()
        self._queued = 0
        self._closing = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def queued(self) -> int:
        """Bytes that wait or are being written."""
        return self._queued

    def start(self) -> None:
        """Start the thread; call it on the event loop that will `drain`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def offer(self, job: Job) -> bool:
        """Queue the job; False (and nothing queued) if there is no room."""
        with self._changed:
            if not self.has_room(len(job.data)):
                return False
            self._queued += len(job.data)
            self._jobs.append(job)
            self._changed.notify()
        return True

    def has_room(self, size: int) -> bool:
        """True if `size` more bytes would be taken."""
        return not self._closing and self._queued + size <= self._max_bytes

    async def drain(self, below: int | None = None) -> None:
        """Return once at most `below` bytes wait (half the bound unless given)."""
        limit = self._max_bytes // 2 if below is None else below
        await asyncio.sleep(0)  # who drains after every line must not starve the loop
        while self._queued > limit:
            self._room.clear()
            self._waiting += 1
            try:
                if self._queued > limit:
                    await self._room.wait()
            finally:
                self._waiting -= 1

    async def close(self, timeout_s: float) -> bool:
        """Let the thread write what waits and end; False if it was still busy after `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout_s):
                await self.drain(0)
        except TimeoutError:
            return False
        self._thread.join()  # it has nothing left to do but to return
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                job = self._take() if self._jobs else None
            if job is None:
                self._done()
                return
            self._work(job)
            with self._changed:
                self._queued -= len(job.data)
            if self._waiting and self._loop is not None:
                self._loop.call_soon_threadsafe(self._room.set)

    def _take(self) -> Job:
        """The next job, joined with those behind it that go to the same place."""
        first = self._jobs.popleft()
        parts, lines, size = [first.data], first.lines, len(first.data)
        while self._jobs and size < BATCH_BYTES:
            job = self._jobs[0]
            if job.target != first.target or job.fresh:
                break
            self._jobs.popleft()
            parts.append(job.data)
            lines, size = lines + job.lines, size + len(job.data)
        return Job(first.target, b"".join(parts), lines, first.fresh)


class Continuity:
    """What must come before the next line of one stream so that a reader who has only this output can go on.

    After a hole, and at the start of a file, that is the header and the state before the next event.
    """

    def __init__(self) -> None:
        self.broken = False  # something the reader needs was not written
        self._decoder = Decoder()
        self._header_line = b""

    def lines(self, event: Event, line: bytes, fresh: bool = False) -> list[bytes]:
        """`line`, with header and state before it where it starts a `fresh` file or something was lost."""
        if not (fresh or self.broken) or isinstance(event, Header) or not self._header_line:
            return [line]
        return [self._header_line, encode(self._decoder.state()), line]

    def feed(self, event: Event, line: bytes, written: bool) -> None:
        """Take note of the event, and whether its line found room."""
        self._decoder.feed(event)
        if isinstance(event, Header):
            self._header_line = line
        self.broken = not written and (self.broken or isinstance(event, Header | Sequenced))
