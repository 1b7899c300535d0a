"""Log lines to standard error that never make the caller wait: a bounded queue, a writer thread, a limit per cause."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

QUEUE_LINES = 1000
LIMIT_S = 10.0  # of one cause, the first line is written at once and the rest is counted for this long
LIMIT_CAUSES = 1000
FLUSH_S = 1.0  # how long the end waits for a slow reader
_TICK_S = 1.0
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class Limiter(logging.Filter):
    """Lets the first record of a cause (logger and message template) through, then counts for `LIMIT_S`.

    Debug records are not limited. At most `LIMIT_CAUSES` causes are remembered; the oldest is forgotten first.
    """

    def __init__(self, counters: dict[str, int], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._counters = counters
        self._now = now
        self._lock = threading.Lock()
        self._causes: OrderedDict[tuple[str, str], _Cause] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if record.levelno <= logging.DEBUG:
            return True
        key, now = (record.name, str(record.msg)), self._now()
        with self._lock:
            cause = self._causes.get(key)
            if cause is not None and now < cause.until:
                cause.count += 1
                cause.latest = record
                self._counters["log_suppressed"] += 1
                return False
            if cause is None:
                cause = self._causes[key] = _Cause(record)
                if len(self._causes) > LIMIT_CAUSES:
                    self._causes.popitem(last=False)
            cause.until = now + LIMIT_S
            return True

    def due(self, at_end: bool = False) -> list[logging.LogRecord]:
        """One record for each cause whose time is over and that was held back meanwhile."""
        now, records = self._now(), []
        with self._lock:
            for key in [k for k, c in self._causes.items() if at_end or now >= c.until]:
                cause = self._causes.pop(key)
                if cause.count:
                    records.append(_repeated(cause))
        return records


class _Cause:
    __slots__ = ("count", "latest", "until")

    def __init__(self, first: logging.LogRecord) -> None:
        self.latest, self.until, self.count = first, 0.0, 0


def _repeated(cause: _Cause) -> logging.LogRecord:
    latest = cause.latest
    more = f"{cause.count} more like this, the latest: {latest.getMessage()}"
    return logging.LogRecord(latest.name, latest.levelno, "", 0, "%s", (more,), None)


class Lines(logging.Formatter):
    """One line a record, control characters escaped; for the journal with its priority instead of a time."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line, and an indented line for each line of a traceback."""
        lines = [f"{record.levelname.lower()} {record.name}: {escaped(record.getMessage())}"]
        if record.exc_info and record.exc_info[0] is not None:
            lines += ["  " + escaped(line) for line in self.formatException(record.exc_info).splitlines()]
        if self._journal:
            prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        else:
            prefix = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d} "
        return "\n".join(prefix + line for line in lines)


class Logs(logging.Handler):
    """Takes over the root logger while it is entered. Full queue: the newest line is dropped and counted."""

    def __init__(self, level: str = "info", fd: int | None = None, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.counters = {"log_dropped": 0, "log_suppressed": 0}
        self._level = level
        self._fd = sys.stderr.fileno() if fd is None else fd
        self._limiter = Limiter(self.counters, now)
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._thread = threading.Thread(target=self._write_all, name="logs", daemon=True)
        self._over = threading.Event()
        self._reported = 0
        self.addFilter(self._limiter)
        self.setFormatter(Lines(to_journal(self._fd)))

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = root.handlers[:], root.level
        root.handlers[:] = [self]
        self.set_level(self._level)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        self._say_repeated(at_end=True)
        self._over.set()
        with suppress(queue.Full):  # then the writer is awake, or stuck with a reader that does not read
            self._queue.put_nowait(None)
        self._thread.join(FLUSH_S)  # a stuck one ends with the process: it is a daemon

    def set_level(self, level: str) -> None:
        """Write records of `level` (debug, info, warning or error) and above."""
        logging.getLogger().setLevel(level.upper())

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record as text (called by `handle`, which holds this handler's lock); never waits."""
        try:
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self.counters["log_dropped"] += 1

    def _say_repeated(self, at_end: bool = False) -> None:
        self.acquire()
        for record in self._limiter.due(at_end):
            self.emit(record)
        self.release()

    def _write_all(self) -> None:
        while True:
            try:
                text = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                text = ""
            try:
                self._write(text or "")
            except OSError:  # standard error is gone: the counter is the only place left to say so
                self.acquire()
                self.counters["log_dropped"] += 1
                self.release()
            if self._over.is_set() and self._queue.empty():
                return
            self._say_repeated()

    def _write(self, text: str) -> None:
        dropped = self.counters["log_dropped"]
        if text and dropped > self._reported:
            lost = (dropped - self._reported,)
            note = logging.LogRecord(__name__, logging.WARNING, "", 0, "%d lines dropped", lost, None)
            text = f"{self.format(note)}\n{text}"
            self._reported = dropped
        data = (text + "\n").encode() if text else b""
        while data:
            data = data[os.write(self._fd, data) :]


def escaped(text: str) -> str:
    """`text` with everything that is not printable (controls, line ends, bidirectional marks) as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def to_journal(fd: int) -> bool:
    """Whether `fd` is the journal's stream, as JOURNAL_STREAM says it (device:inode)."""
    said = os.environ.get("JOURNAL_STREAM")
    if not said:
        return False
    found = os.fstat(fd)
    return said == f"{found.st_dev}:{found.st_ino}"
