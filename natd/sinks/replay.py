"""The last minute of one stream, byte for byte, and the snapshot from which a joiner goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from natd.unpacker import Decoder
from natd.wire import Event, Header, Reset, Sequenced, StreamEnd, encode


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    end_ms: float  # sample time covered by the stream once this event had come
    line: bytes


class StreamLog:
    """Sequenced events of the newest epoch: at most `window_s` of sample time and `max_bytes`, the oldest go first.

    `dropped` counts those that went. One owner: not for use from several threads at once.
    """

    def __init__(self, window_s: float = 60.0, max_bytes: int = 4 << 20) -> None:
        self.dropped = 0
        self._window_ms = window_s * 1000
        self._max_bytes = max_bytes
        self._begin()

    def _begin(self) -> None:
        self._decoder = Decoder()
        self._header_line = b""
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._end_line: bytes | None = None
        self._state_line: bytes | None = None

    @property
    def epoch(self) -> str | None:
        """Of the newest header; None before the first."""
        return None if self._decoder.header is None else self._decoder.header.epoch

    @property
    def last_seq(self) -> int:
        """Of the newest event; -1 before the first."""
        return -1 if self._decoder.seq is None else self._decoder.seq

    @property
    def last_fi(self) -> int:
        """The last frame covered by a frame or gap; -1 before the first."""
        return -1 if self._decoder.fi is None else self._decoder.fi

    @property
    def ended(self) -> bool:
        """Whether the newest event is the epoch's end."""
        return self._end_line is not None

    @property
    def oldest_seq(self) -> int:
        """The smallest `from_seq` that can be answered."""
        return self._kept[0].seq if self._kept else self.last_seq + 1

    def append(self, event: Event, line: bytes) -> None:
        """Take the next event of the stream; heartbeats, stats and errors are not kept. A new epoch begins afresh."""
        if isinstance(event, Header):
            if event.epoch != self.epoch:
                self._begin()
            self._header_line = line
            self._decoder.feed(event)
        elif isinstance(event, Sequenced) and self._decoder.header is not None:
            if isinstance(event, StreamEnd):
                self._state_line = self._state()  # what joiners of an ended stream get is the state before its end
                self._end_line = line
            else:
                self._state_line = None
            self._decoder.feed(event)
            header = self._decoder.header
            end_ms = (self.last_fi + 1) * header.frame_samples * 1000 / header.sr
            self._kept.append(_Kept(event.seq, end_ms, line))
            self._bytes += len(line)
            self._trim(end_ms)

    def snapshot(self) -> list[bytes]:
        """Header and state (and the end of an ended stream): the live stream goes on after them; [] before a header."""
        if self._decoder.header is None:
            return []
        return [self._header_line, self._state()] + ([self._end_line] if self._end_line else [])

    def since(self, epoch: str, from_seq: int) -> list[bytes]:
        """Events from `from_seq` on, byte for byte; or a reset and the snapshot where that cannot be given."""
        if epoch != self.epoch:
            return self._reset("epoch")
        if from_seq > self.last_seq + 1:
            return self._reset("future")
        if from_seq < self.oldest_seq:
            return self._reset("too_old")
        return [kept.line for kept in islice(self._kept, from_seq - self.oldest_seq, None)]

    def _state(self) -> bytes:
        if self._state_line is None:
            self._state_line = encode(self._decoder.state())
        return self._state_line

    def _reset(self, reason: str) -> list[bytes]:
        return [encode(Reset(reason, self.oldest_seq)), *self.snapshot()]

    def _trim(self, now_ms: float) -> None:
        while self._kept and (self._kept[0].end_ms < now_ms - self._window_ms or self._bytes > self._max_bytes):
            self._bytes -= len(self._kept.popleft().line)
            self.dropped += 1
