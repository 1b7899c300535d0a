"""The header of a WAV stream, also of one whose writer could not know its length. Nothing seeks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from natd.audio.pcm import MAX_CHANNELS, MAX_RATE, MIN_RATE, RawFormat

_FORMATS = {(1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}  # (format tag, bits)
_EXTENSIBLE, _GUID_TAIL = 0xFFFE, bytes.fromhex("000000001000800000aa00389b71")
_MAX_SKIPPED = 16 << 20  # bytes of other chunks (cover pictures, metadata) before the samples
_OTHERS = {
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b".snd": "AU", b"RIFX": "RIFX",
    b"riff": "Wave64", b"\x1aE\xdf\xa3": "Matroska", b"ADIF": "AAC",
}  # fmt: skip


class WavError(ValueError):
    """Bytes that are no WAV stream of a format natd reads; the message says what they are."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Format of the samples that follow, and their length in bytes (None: until the stream ends)."""

    raw: RawFormat
    data_bytes: int | None


def read_header(read: Callable[[int], bytes]) -> WavHeader:
    """Header of the stream that `read` reads, which stands at the first sample afterwards.

    `read(n)` returns n bytes, fewer only at the end of the stream. WavError if it is not WAV, or not PCM of 16, 24, 32
    bits or float of 32 bits. A length of 0 or within 64 KiB of 2 GiB or 4 GiB is what ffmpeg, sox and arecord write
    into a pipe: it means "unknown".
    """
    start = read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        raise WavError(_what_it_is(start))
    raw: RawFormat | None = None
    long_size: int | None = None
    skipped = 0
    while True:
        name, size = _chunk(read(8))
        if name == b"data":
            if raw is None:
                raise WavError("WAV whose samples come before their format")
            return WavHeader(raw, _known(long_size if size == 0xFFFFFFFF and long_size else size))
        skipped += size
        if skipped > _MAX_SKIPPED:
            raise WavError(f"WAV with a chunk {name!r} of {size} bytes before the samples")
        body = read(size + size % 2)
        if len(body) < size:
            raise WavError("WAV that ends inside its header")
        if name == b"fmt ":
            raw = _format(body[:size])
        elif name == b"ds64" and size >= 16:
            long_size = struct.unpack_from("<Q", body, 8)[0]


def _chunk(head: bytes) -> tuple[bytes, int]:
    if len(head) < 8:
        raise WavError("WAV that ends before its samples")
    return head[:4], struct.unpack("<I", head[4:])[0]


def _known(size: int) -> int | None:
    unknown = size == 0 or 0x7FFF0000 <= size <= 0x80000000 or 0xFFFF0000 <= size <= 0xFFFFFFFF
    return None if unknown else size


def _format(body: bytes) -> RawFormat:
    if len(body) < 16:
        raise WavError(f"WAV with a format chunk of {len(body)} bytes")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE:
        if len(body) < 40 or body[26:40] != _GUID_TAIL:
            raise WavError("WAV in an extensible format that is not PCM")
        tag = struct.unpack_from("<H", body, 24)[0]
    fmt = _FORMATS.get((tag, bits))
    if fmt is None:
        raise WavError(f"WAV of format {tag} with {bits} bits; PCM of 16, 24, 32 bits or float of 32 bits is read")
    if not (1 <= channels <= MAX_CHANNELS and MIN_RATE <= rate <= MAX_RATE):
        limits = f"1 to {MAX_CHANNELS} at {MIN_RATE} to {MAX_RATE} are read"
        raise WavError(f"WAV with {channels} channels at {rate} Hz; {limits}")
    raw = RawFormat(fmt, rate, channels)
    if align != raw.frame_bytes:
        raise WavError(f"WAV that packs {channels} channels of {bits} bits in {align} bytes")
    return raw


def _what_it_is(start: bytes) -> str:
    if not start:
        return "nothing: it ended before its first byte"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return name
    if start[4:8] == b"ftyp":
        return "MP4"
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0:
        return "MP3 or AAC"
    return "no WAV header"
