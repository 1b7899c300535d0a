"""Samples from one process to another: a ring in shared memory, and a pipe that announces what was written.

The memory has no name (an inherited descriptor), so nothing is left behind however a process ends. The writer never
waits: it overwrites the oldest samples, and drops an announcement when the pipe is full; the reader sees both as a
jump in the sample number.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

SECONDS = 16.0  # a reader stopped for so long loses nothing
MOST_BYTES = 128 << 20
PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for
_HEAD = 4096  # bytes before the samples: how many samples were claimed, uint64
_NOTE = struct.Struct("<QQQQ")  # smaller than PIPE_BUF, so a pipe carries it whole; 4096 is a multiple of it

XRUN = 1  # flag of an announcement: the driver said that samples were lost before this block


@dataclass(frozen=True, slots=True)
class Announcement:
    """Samples [first, first + count) are in the ring; the last was there at `mono_ns`; `flags`: `XRUN`."""

    first: int
    count: int
    mono_ns: int
    flags: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a ring: capacity in frames, channels, and the largest block (frames) ever written."""

    frames: int
    channels: int
    block: int

    @classmethod
    def of(cls, rate: int, channels: int, block: int) -> Self:
        """Room for `SECONDS`, or for what `MOST_BYTES` hold, and never for less than four blocks."""
        frames = min(int(rate * SECONDS), MOST_BYTES // (4 * channels))
        return cls(max(frames, 4 * block), channels, block)

    @property
    def bytes(self) -> int:
        """Of memory."""
        return _HEAD + 4 * self.frames * self.channels


class _Memory:
    """The mapped memory of either side."""

    def __init__(self, shape: Shape, fd: int) -> None:
        self.shape = shape
        self._map = mmap.mmap(fd, shape.bytes)
        self._claimed = np.frombuffer(self._map, np.uint64, 1)
        self._data = np.frombuffer(self._map, np.float32, offset=_HEAD).reshape(shape.frames, shape.channels)

    def close(self) -> None:
        """Give the memory back; nothing may be read or written afterwards."""
        del self._claimed, self._data
        self._map.close()


class RingWriter(_Memory):
    """The side that writes, in the audio callback: two copies and one write to a pipe; no lock, no wait, no log."""

    def __init__(self, shape: Shape, memory_fd: int, pipe_fd: int) -> None:
        super().__init__(shape, memory_fd)
        os.set_blocking(pipe_fd, False)
        self._pipe = pipe_fd
        self._written = 0

    def write(self, block: NDArray[np.float32], mono_ns: int, flags: int = 0) -> bool:
        """Add `[n, channels]`, n <= shape.block; False if the announcement was dropped because the pipe is full."""
        first, count = self._written, len(block)
        self._claimed[0] = first + count
        at = first % self.shape.frames
        head = min(count, self.shape.frames - at)
        self._data[at : at + head] = block[:head]
        self._data[: count - head] = block[head:]
        self._written = first + count
        try:
            os.write(self._pipe, _NOTE.pack(first, count, mono_ns, flags))
        except BlockingIOError:
            return False
        return True


class RingReader(_Memory):
    """The side that reads; it makes the memory and the pipe, and hands `writer_fds` to the process that writes."""

    def __init__(self, shape: Shape) -> None:
        memory = _anonymous(shape.bytes)
        self.fd, pipe = os.pipe()  # `fd`: readable when something was announced, or the writer has gone
        os.set_blocking(self.fd, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            notes = 2 * shape.frames // shape.block * _NOTE.size
            with contextlib.suppress(PermissionError):  # a smaller pipe drops announcements sooner, which is declared
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, max(1 << 16, min(notes, PIPE_BYTES)))
        self.writer_fds: tuple[int, ...] = (memory, pipe)
        super().__init__(shape, memory)

    def attached(self) -> None:
        """The writer has its descriptors: close ours, so that its end is seen."""
        for fd in self.writer_fds:
            os.close(fd)
        self.writer_fds = ()

    def announcements(self) -> list[Announcement] | None:
        """What was announced since the last call, at most 128 blocks; None once the writer has gone."""
        try:
            notes = os.read(self.fd, 128 * _NOTE.size)
        except BlockingIOError:
            return []
        return [Announcement(*note) for note in _NOTE.iter_unpack(notes)] if notes else None

    def read(self, first: int, count: int) -> NDArray[np.float32] | None:
        """A copy of samples [first, first + count) `[count, channels]`; None if they may have been overwritten."""
        at = first % self.shape.frames
        head = min(count, self.shape.frames - at)
        copy = np.concatenate([self._data[at : at + head], self._data[: count - head]])
        # One block more than claimed: on processors that reorder writes, its samples may be seen before its claim.
        overwritten = int(self._claimed[0]) + self.shape.block > first + self.shape.frames
        return None if overwritten else copy

    def close(self) -> None:
        """Give memory and descriptors back."""
        self.attached()
        os.close(self.fd)
        super().close()


def _anonymous(size: int) -> int:
    """A descriptor of `size` bytes of memory that vanishes with its last user."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("natd-ring")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, size)
    return fd
