"""Recordings: the lines of a stream in a file, or on standard output. A slow or full disk never holds up the stream."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from natd.clock import Clock, SystemClock
from natd.sinks.files import PathPattern, RecordingFile, ShortWriteError, check_writable, write_lines
from natd.sinks.lines import Continuity, Job, LinePump
from natd.wire import Event, StreamEnd

log = logging.getLogger(__name__)
MAX_QUEUED = 8 << 20  # bytes between the loop and the writer
CLOSE_S = 2.0  # what waits may still be written for this long
_COUNTERS = ("recording_lines", "recording_bytes", "recording_dropped", "recording_errors", "recording_files")


@dataclass(slots=True)
class _Recording:
    """One stream's output. The loop owns all but `error` and `failed_ns`, which the writer sets."""

    file: RecordingFile
    continuity: Continuity = field(default_factory=Continuity)
    bytes: int = 0  # handed to the present file
    events: int = 0  # … beyond its preface
    opened_ns: int = 0
    tried_ns: int = 0  # when a retry was last handed to the writer
    failed_ns: int = 0
    error: str | None = None


class _Counted:
    """Counters that the loop and the writer both move."""

    def __init__(self, *names: str) -> None:
        self._counts = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    @property
    def now(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)


class FileSink:
    """Appends each stream's lines to a file; `path` may hold `{stream}` and strftime directives in its name.

    Files begin with header and state, so each can be read alone; a new one after `rotate_bytes` or `rotate_s`, of which
    `keep` closed ones stay. An OSError stops that recording (`error`, a counter, one log line); after `retry_s` it is
    tried again (None: never). Lines for which the queue has no room are dropped and counted; who may wait awaits
    `drain` instead. Without `{stream}` the path takes the first stream only.
    """

    def __init__(
        self,
        path: str,
        *,
        rotate_bytes: int | None = None,
        rotate_s: float | None = None,
        keep: int | None = None,
        min_free_bytes: int = 0,
        retry_s: float | None = 30.0,
        max_queued_bytes: int = MAX_QUEUED,
        close_s: float = CLOSE_S,
        clock: Clock | None = None,
    ) -> None:
        self._pattern = PathPattern(path)
        self._rotate_bytes, self._rotate_s = rotate_bytes, rotate_s
        self._keep, self._min_free, self._retry_s = keep, min_free_bytes, retry_s
        self._close_s = close_s
        self._clock: Clock = clock or SystemClock()
        self._recordings: dict[str, _Recording] = {}
        self._refused: set[str] = set()
        self._counts = _Counted(*_COUNTERS)
        self._pump = LinePump(self._write, max_queued_bytes, "recorder", self._close_files)

    @property
    def counters(self) -> Mapping[str, int]:
        """Lines and bytes written, lines dropped, times that writing failed, files begun."""
        return self._counts.now

    @property
    def error(self) -> str | None:
        """Why a recording has stopped, in words; None while all of them run."""
        return next((r.error for r in self._recordings.values() if r.error), None)

    @property
    def queued(self) -> int:
        """Bytes that wait to be written."""
        return self._pump.queued

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(check_writable, self._pattern.at("stream", self._clock.unix_ns()))
        self._pump.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not await self._pump.close(self._close_s):
            log.error("recorder: %d bytes could not be written within %s s", self._pump.queued, self._close_s)

    async def drain(self) -> None:
        """Return once the queue is half empty."""
        await self._pump.drain()

    async def flush(self) -> None:
        """Return once nothing waits to be written."""
        await self._pump.drain(0)

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Queue the line for its stream's file; dropped and counted where that cannot be."""
        recording = self._recordings.get(stream)
        if recording is None:
            if self._recordings and not self._pattern.names_stream:
                self._refuse(stream)
                return
            recording = self._recordings[stream] = self._begin(stream)
        now = self._clock.mono_ns()
        retry = recording.error is not None
        job: Job | None = None
        if self._pump.has_room(len(line)) and not (retry and now < self._retry_at(recording)):
            fresh = retry or self._rotation_due(recording, len(line), now)
            lines = recording.continuity.lines(event, line, fresh)
            job = Job(stream, b"".join(lines), len(lines), fresh)
        written = job is not None and self._pump.offer(job)
        recording.continuity.feed(event, line, written)
        if job is None or not written:
            self._counts.add("recording_dropped")
            return
        if job.fresh:
            recording.bytes = recording.events = 0
            recording.opened_ns = recording.tried_ns = now
        recording.bytes += len(job.data)
        recording.events += 1

    def _begin(self, stream: str) -> _Recording:
        file = RecordingFile(self._pattern, stream, self._rotate_bytes, self._keep, self._min_free, self._clock)
        return _Recording(file, opened_ns=self._clock.mono_ns())

    def _retry_at(self, recording: _Recording) -> float:
        if self._retry_s is None:
            return math.inf
        return max(recording.failed_ns, recording.tried_ns) + self._retry_s * 1e9

    def _rotation_due(self, recording: _Recording, size: int, now: int) -> bool:
        if not recording.events:
            return False
        if self._rotate_bytes is not None and recording.bytes + size > self._rotate_bytes:
            return True
        return self._rotate_s is not None and now - recording.opened_ns >= self._rotate_s * 1e9

    def _refuse(self, stream: str) -> None:
        self._counts.add("recording_dropped")
        if stream not in self._refused:
            self._refused.add(stream)
            log.error("stream %s is not recorded: %s has no {stream}", stream, self._pattern.text)

    def _close_files(self) -> None:
        """In the writer's thread, when it ends."""
        for recording in self._recordings.values():
            recording.file.close()

    def _write(self, job: Job) -> None:
        """In the writer's thread."""
        recording = self._recordings[job.target]
        file = recording.file
        try:
            if recording.error is not None and not job.fresh:
                self._counts.add("recording_dropped", job.lines)
                return
            if file.path is None or recording.error is not None:
                file.open()
                self._counts.add("recording_files")
            elif job.fresh:
                file.rotate()
                self._counts.add("recording_files")
            file.append(job.data)
        except OSError as error:
            kept = error.kept if isinstance(error, ShortWriteError) else 0
            self._counts.add("recording_errors")
            self._counts.add("recording_lines", kept)
            self._counts.add("recording_dropped", job.lines - kept)
            if recording.error is None:
                log.error("recording of %s stopped: %s (%s)", job.target, error.strerror, file.path)
            recording.failed_ns = self._clock.mono_ns()
            recording.error = f"{file.path}: {error.strerror}"
            return
        if recording.error is not None:
            log.warning("recording of %s goes on in %s", job.target, file.path)
            recording.error = None
        self._counts.add("recording_lines", job.lines)
        self._counts.add("recording_bytes", len(job.data))


class StdoutSink:
    """The lines of one stream on standard output (or another descriptor), through a thread of its own.

    A reader that has gone (EPIPE) sets `closed` and calls `on_closed`, both on the loop; any other error sets `error`.
    After either nothing is written any more. Lines for which the queue has no room are dropped and counted; who may
    wait awaits `drain` instead, and `flush` at the end. Another stream's lines are refused before the first has ended:
    they would mix.
    """

    def __init__(
        self,
        fd: int = 1,
        *,
        max_queued_bytes: int = MAX_QUEUED,
        close_s: float = CLOSE_S,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        self.closed = asyncio.Event()
        self.error: str | None = None
        self._fd, self._close_s = fd, close_s
        self._on_closed = on_closed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream: str | None = None
        self._over = False
        self._continuity = Continuity()
        self._counts = _Counted(*_COUNTERS)
        self._pump = LinePump(self._write, max_queued_bytes, "stdout")

    @property
    def counters(self) -> Mapping[str, int]:
        """As of `FileSink`."""
        return self._counts.now

    @property
    def queued(self) -> int:
        """Bytes that wait to be written."""
        return self._pump.queued

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._pump.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not await self._pump.close(self._close_s):
            log.error("standard output: %d bytes could not be written within %s s", self._pump.queued, self._close_s)

    async def drain(self) -> None:
        """Return once the queue is half empty, or the output closed."""
        await self._pump.drain()

    async def flush(self) -> None:
        """Return once all is written, or the output closed."""
        await self._pump.drain(0)

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Queue the line; dropped and counted where that cannot be."""
        if self._stream is None:
            self._stream = stream
        elif self._stream != stream:
            self._counts.add("recording_dropped")
            return
        lines = self._continuity.lines(event, line) if self._pump.has_room(len(line)) else []
        written = bool(lines) and self._pump.offer(Job(stream, b"".join(lines), len(lines)))
        self._continuity.feed(event, line, written)
        if not written:
            self._counts.add("recording_dropped")
        if isinstance(event, StreamEnd):
            self._stream = None

    def _write(self, job: Job) -> None:
        """In the writer's thread."""
        if self._over:
            self._counts.add("recording_dropped", job.lines)
            return
        try:
            write_lines(self._fd, job.data)
        except OSError as error:
            self._over = True
            kept = error.kept if isinstance(error, ShortWriteError) else 0
            self._counts.add("recording_errors")
            self._counts.add("recording_lines", kept)
            self._counts.add("recording_dropped", job.lines - kept)
            if error.errno == errno.EPIPE:
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._close)
            else:
                self.error = f"standard output: {error.strerror}"
                log.error("%s", self.error)
            return
        self._counts.add("recording_lines", job.lines)
        self._counts.add("recording_bytes", len(job.data))

    def _close(self) -> None:
        self.closed.set()
        if self._on_closed is not None:
            self._on_closed()
