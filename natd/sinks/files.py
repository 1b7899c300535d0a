"""Whole lines into files: open, append, rotate, prune. Blocking; called from a sink's own thread."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import time
from pathlib import Path

from natd.clock import Clock, SystemClock
from natd.errors import ConfigError, OutputError

_DIGITS = {
    "Y": 4,
    "m": 2,
    "d": 2,
    "H": 2,
    "M": 2,
    "S": 2,
    "y": 2,
    "j": 3,
}  # strftime directives allowed, and their width


def check_writable(path: Path) -> None:
    """OutputError if `path`, or the nearest folder above it that exists, may not be written."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if path.is_dir() or (there != path and not there.is_dir()):
        raise OutputError(f"cannot record to {path}: {there} is {'' if there.is_dir() else 'not '}a folder")
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot record to {path}: {there} may not be written")


class ShortWriteError(OSError):
    """Not all lines were written; the first `kept` of them were."""

    kept = 0


def write_lines(fd: int, data: bytes) -> None:
    """Write all of `data` (whole lines); after a ShortWriteError a regular file still ends with a whole line."""
    written = 0
    try:
        while written < len(data):
            try:
                written += os.write(fd, data[written:] if written else data)
            except BlockingIOError:  # somebody else made this terminal or pipe non-blocking
                wait = select.poll()
                wait.register(fd, select.POLLOUT)
                wait.poll()
    except OSError as error:
        whole = data.rfind(b"\n", 0, written) + 1
        if whole < written and stat.S_ISREG(os.fstat(fd).st_mode):
            os.ftruncate(fd, os.lseek(fd, whole - written, os.SEEK_CUR))
        short = ShortWriteError(error.errno, error.strerror)
        short.kept = data.count(b"\n", 0, whole)
        raise short from error


class PathPattern:
    """A path with `{stream}` and, in its file name, strftime directives of fixed width (%Y %m %d %H %M %S %y %j).

    ConfigError for any other directive.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        folder, _, name = text.rpartition("/")
        if "%" in folder:
            raise ConfigError(f"{text}: % is allowed in the file name only, not in its folder")
        if not name:
            raise ConfigError(f"{text} is a folder; a recording needs a file name")
        unknown = [d for d in re.findall(r"%(.?)", name) if d != "%" and d not in _DIGITS]
        if unknown:
            raise ConfigError(f"{text}: %{unknown[0]} is not allowed; use %{' %'.join(_DIGITS)}")

    @property
    def names_stream(self) -> bool:
        """True if streams go to files of their own."""
        return "{stream}" in self.text

    @property
    def folder_names_stream(self) -> bool:
        """True if a stream's folder is made for it; any other folder must be there: a disk may not be mounted."""
        return "{stream}" in self.text.rpartition("/")[0].rpartition("/")[2]

    def at(self, stream: str, unix_ns: int) -> Path:
        """The path for `stream` at that wall time, in local time."""
        folder, slash, name = self.text.rpartition("/")
        path = Path((folder + slash).replace("{stream}", stream))
        return path / time.strftime(name, time.localtime(unix_ns // 1_000_000_000)).replace("{stream}", stream)

    def matcher(self, stream: str) -> re.Pattern[str]:
        """Which file names in that folder are recordings of `stream`, rotated ones (`.1`, `.2` …) among them."""
        name = self.text.rpartition("/")[2]
        parts = re.split(r"(%.|\{stream\})", name)
        return re.compile("".join(self._part(part, stream) for part in parts) + r"(\.[0-9]+)?")

    @staticmethod
    def _part(part: str, stream: str) -> str:
        if part == "{stream}":
            return re.escape(stream)
        if part == "%%":
            return "%"
        return f"[0-9]{{{_DIGITS[part[1]]}}}" if part.startswith("%") else re.escape(part)


class RecordingFile:
    """The files of one stream's recording, mode 0640. A file that is already there is appended to below `max_bytes`.

    `rotate` closes the file (a name still in use gets the next number: `x.ndjson` becomes `x.ndjson.1`, then `.2` …)
    and removes the oldest so that `keep` closed files stay. Writing that would leave less than `min_free_bytes` free
    fails with ENOSPC.
    """

    def __init__(
        self,
        pattern: PathPattern,
        stream: str,
        max_bytes: int | None = None,
        keep: int | None = None,
        min_free_bytes: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.path: Path | None = None
        self._pattern, self._stream = pattern, stream
        self._max_bytes, self._keep, self._min_free = max_bytes, keep, min_free_bytes
        self._clock: Clock = clock or SystemClock()
        self._fd: int | None = None

    def open(self) -> None:
        """Open the file of this moment; OSError if that cannot be done."""
        self.close()
        self.path = self._pattern.at(self._stream, self._clock.unix_ns())
        if self._pattern.folder_names_stream:
            self.path.parent.mkdir(mode=0o750, exist_ok=True)
        if self._max_bytes is not None and self.path.is_file() and self.path.stat().st_size >= self._max_bytes:
            self._number(self.path)
        torn = self.path.is_file() and not _ends_whole(self.path)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if torn:  # by a crash: one line of garbage, but what follows is whole
            os.write(self._fd, b"\n")

    def append(self, data: bytes) -> None:
        """Append whole lines; OSError leaves whole lines behind."""
        if self._fd is None:
            self.open()
        assert self._fd is not None
        if self._min_free:
            disk = os.fstatvfs(self._fd)
            free = disk.f_bavail * disk.f_frsize
            if free < self._min_free + len(data):
                raise OSError(errno.ENOSPC, f"only {free} bytes are free; {self._min_free} are to stay so")
        write_lines(self._fd, data)

    def rotate(self) -> None:
        """Go on in a new file; OSError if that cannot be done."""
        old, now = self.path, self._pattern.at(self._stream, self._clock.unix_ns())
        self.close()
        if old == now and now.is_file():
            self._number(now)
        self.open()
        self._prune()

    def close(self) -> None:
        """Close the file now open, if there is one."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _number(self, path: Path) -> None:
        numbers = [int(p.suffix[1:]) for p in self._recordings() if p.stem == path.name and p.suffix[1:].isdigit()]
        path.rename(path.with_name(f"{path.name}.{max(numbers, default=0) + 1}"))

    def _recordings(self) -> list[Path]:
        assert self.path is not None
        matcher = self._pattern.matcher(self._stream)
        return [p for p in self.path.parent.iterdir() if matcher.fullmatch(p.name)]

    def _prune(self) -> None:
        if self._keep is None:
            return
        closed = [p for p in self._recordings() if p != self.path]
        closed.sort(key=lambda p: (p.stat().st_mtime_ns, p.name))
        for path in closed[: max(0, len(closed) - self._keep)]:
            path.unlink(missing_ok=True)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
