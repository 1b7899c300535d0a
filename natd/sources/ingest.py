"""What may come in through the ingest socket: one message checked, in full, before anything believes it. No socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from natd.audio.chunks import Format
from natd.audio.pcm import MAX_CHANNELS, MAX_RATE, MIN_RATE, SAMPLE_BYTES, RawFormat

MAX_HEADER_BYTES = 512
MAX_MESSAGE_BYTES = 1 << 20
MAX_MESSAGE_S = 1
VERSION = 1

# Why a message is refused: a closed list, each with its counter `ingest_refused_<reason>`. The first three concern no
# known stream.
STRAY_REASONS = ("frames", "stream", "unknown_stream")
REASONS = ("header", "version", "rate", "channels", "fmt", "length", "too_long", "producer", "quarantined")

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Refused(Exception):
    """A message that is not taken; `reason` is one of `STRAY_REASONS` or `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Header(msgspec.Struct, frozen=True):
    """The msgpack header as protocol.md has it; `producer` is a random id that tells one producer from another."""

    v: int
    seq: _Count
    first_sample: _Count
    rate: int
    channels: int
    fmt: str
    t_ns: _Count | None = None
    producer: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


_DECODER = msgspec.msgpack.Decoder(_Header)


@dataclass(frozen=True, slots=True)
class Message:
    """Samples [first, first + count) of a producer's own count; `seq` is +1 for each of its messages."""

    seq: int
    first: int
    count: int
    raw: RawFormat
    producer: str | None
    pcm: bytes

    @property
    def format(self) -> Format:
        """Rate and channels."""
        return Format(self.raw.rate, self.raw.channels)


def check(header: bytes, pcm: bytes) -> Message:
    """The message of these two frames; Refused if anything about it is not as it should be."""
    if len(header) > MAX_HEADER_BYTES:
        raise Refused("header")
    try:
        said = _DECODER.decode(header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Refused("header") from None
    if said.v != VERSION:
        raise Refused("version")
    if not MIN_RATE <= said.rate <= MAX_RATE:
        raise Refused("rate")
    if not 1 <= said.channels <= MAX_CHANNELS:
        raise Refused("channels")
    if said.fmt not in SAMPLE_BYTES:
        raise Refused("fmt")
    raw = RawFormat(said.fmt, said.rate, said.channels)
    count, rest = divmod(len(pcm), raw.frame_bytes)
    if rest or not count:
        raise Refused("length")
    if count > said.rate * MAX_MESSAGE_S or len(pcm) > MAX_MESSAGE_BYTES:
        raise Refused("too_long")
    return Message(said.seq, said.first_sample, count, raw, said.producer, pcm)
