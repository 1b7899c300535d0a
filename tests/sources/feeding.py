"""A producer's side of the ingest: messages as they should be, and about forty ways to get them wrong."""

from typing import Any

import msgspec
import numpy as np

GOOD: dict[str, Any] = {
    "v": 1, "seq": 0, "first_sample": 0, "rate": 48_000, "channels": 2, "fmt": "s16le", "t_ns": 10**18,
}  # fmt: skip
PCM = bytes(1920)  # 10 ms of GOOD
NAN_PCM = np.full(960, np.nan, "<f4").tobytes()


def header(**changes: Any) -> bytes:
    """GOOD with `changes`; a value of `...` leaves the field out."""
    return msgspec.msgpack.encode({k: v for k, v in {**GOOD, **changes}.items() if v is not ...})


def floats(first: int, count: int, seq: int = 0, rate: int = 48_000, **changes: Any) -> tuple[bytes, bytes]:
    """A message of one channel whose samples say their own number."""
    pcm = np.arange(first, first + count, dtype="<f4").tobytes()
    return header(seq=seq, first_sample=first, rate=rate, channels=1, fmt="f32le", **changes), pcm


def _nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def mutations(name: bytes) -> list[tuple[str, str, list[bytes]]]:
    """(what is wrong, the reason it must be refused for, the frames)."""
    wrong_headers = {
        "empty": ("header", b""),
        "not msgpack": ("header", b"\xc1\xc1\xc1"),
        "json": ("header", b'{"v":1,"seq":0}'),
        "nil": ("header", b"\xc0"),
        "a list": ("header", msgspec.msgpack.encode(list(GOOD.values()))),
        "cut short": ("header", header()[:-3]),
        "bytes after it": ("header", header() + b"\xc0"),
        "padded beyond 512 bytes": ("header", header(pad="x" * 600)),
        "nested 400 deep": ("header", b"\x82\xa1v\x01\xa1x" + _nested(400)),
        "nested 60000 deep": ("header", _nested(60_000)),
        "array of 2^32": ("header", b"\xdd\xff\xff\xff\xff"),
        "map of 2^32": ("header", b"\xdf\xff\xff\xff\xff"),
        "string of 2^32": ("header", b"\xdb\xff\xff\xff\xff"),
        "binary of 2^32": ("header", b"\xc6\xff\xff\xff\xff"),
        "extension type": ("header", b"\xc7\x04\x05abcd"),
        "text that is no UTF-8": ("header", header(fmt="s16le").replace(b"s16le", b"\xff\xfe\xff\xfe\xff")),
        "no v": ("header", header(v=...)),
        "no seq": ("header", header(seq=...)),
        "no first_sample": ("header", header(first_sample=...)),
        "no rate": ("header", header(rate=...)),
        "no channels": ("header", header(channels=...)),
        "no fmt": ("header", header(fmt=...)),
        "seq is text": ("header", header(seq="0")),
        "seq is true": ("header", header(seq=True)),
        "seq is 0.5": ("header", header(seq=0.5)),
        "seq is NaN": ("header", header(seq=float("nan"))),
        "seq is nil": ("header", header(seq=None)),
        "seq is a list": ("header", header(seq=[0])),
        "seq is -1": ("header", header(seq=-1)),
        "first_sample is -1": ("header", header(first_sample=-1)),
        "first_sample is 2^63": ("header", header(first_sample=2**63)),
        "first_sample is 2^64 - 1": ("header", header(first_sample=2**64 - 1)),
        "t_ns is -1": ("header", header(t_ns=-1)),
        "t_ns is text": ("header", header(t_ns="now")),
        "producer is empty": ("header", header(producer="")),
        "producer is long": ("header", header(producer="x" * 65)),
        "producer is a number": ("header", header(producer=7)),
        "v is 2": ("version", header(v=2)),
        "v is 0": ("version", header(v=0)),
        "rate is 0": ("rate", header(rate=0)),
        "rate is 7999": ("rate", header(rate=7999)),
        "rate is -48000": ("rate", header(rate=-48_000)),
        "rate is 192001": ("rate", header(rate=192_001)),
        "rate is 2^63": ("rate", header(rate=2**63)),
        "channels is 0": ("channels", header(channels=0)),
        "channels is 33": ("channels", header(channels=33)),
        "channels is -2": ("channels", header(channels=-2)),
        "fmt is u8": ("fmt", header(fmt="u8")),
        "fmt is s16be": ("fmt", header(fmt="s16be")),
        "fmt is O": ("fmt", header(fmt="O")),
        "fmt is long": ("fmt", header(fmt="s" * 300)),
    }
    found = [(what, reason, [name, body, PCM]) for what, (reason, body) in wrong_headers.items()]
    found += [
        ("no PCM", "length", [name, header(), b""]),
        ("one byte too few", "length", [name, header(), PCM[:-1]]),
        ("one byte too many", "length", [name, header(), PCM + b"\0"]),
        ("half a frame", "length", [name, header(), PCM + bytes(2)]),
        ("a sample more than 1 s", "too_long", [name, header(rate=8000), bytes(4 * 8001)]),
        ("2 s of 32 channels in 1 MiB", "too_long", [name, header(channels=32, rate=8000), bytes(1 << 20)]),
        ("one frame", "frames", [name]),
        ("two frames", "frames", [name, header()]),
        ("four frames", "frames", [name, header(), PCM, PCM]),
        ("a thousand frames", "frames", [name, *[b""] * 999]),
        ("empty name", "stream", [b"", header(), PCM]),
        ("name in capitals", "stream", [b"STAGE", header(), PCM]),
        ("name with a newline", "stream", [b"stage\n", header(), PCM]),
        ("name of 100 kB", "stream", [b"s" * 100_000, header(), PCM]),
        ("another stream", "unknown_stream", [b"nobody", header(), PCM]),
    ]
    return found
