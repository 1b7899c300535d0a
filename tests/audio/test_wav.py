import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.pcm import RawFormat
from natd.audio.wav import WavError, read_header

GUID = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def fmt(tag: int = 1, channels: int = 2, rate: int = 48_000, bits: int = 16, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits))


def wav(*chunks: bytes, riff: bytes = b"RIFF") -> bytes:
    return riff + b"\xff\xff\xff\xffWAVE" + b"".join(chunks)


def header(data: bytes):
    stream = io.BytesIO(data)
    return read_header(stream.read), stream.read()


@pytest.mark.parametrize(
    "subtype, name", [("PCM_16", "s16le"), ("PCM_24", "s24le"), ("PCM_32", "s32le"), ("FLOAT", "f32le")]
)
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
def test_what_libsndfile_writes(subtype, name, form):
    out = io.BytesIO()
    soundfile.write(out, np.zeros((10, 3), np.float32), 44_100, subtype, format=form)
    got, rest = header(out.getvalue())
    assert got.raw == RawFormat(name, 44_100, 3)
    assert got.data_bytes == 10 * got.raw.frame_bytes
    assert rest.startswith(bytes(got.data_bytes))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 44])
def test_a_length_the_writer_could_not_know_means_until_the_end(size):
    got, rest = header(wav(fmt(), chunk(b"data", b"", size)) + b"abcd")
    assert got.data_bytes is None and rest == b"abcd"


def test_other_chunks_are_skipped_with_their_padding():
    got, rest = header(wav(chunk(b"LIST", b"INFOx"), fmt(bits=24), chunk(b"fact", bytes(4)), chunk(b"data", b"abcdef")))
    assert got.raw == RawFormat("s24le", 48_000, 2) and got.data_bytes == 6 and rest == b"abcdef"


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "nothing"),
        (b"fLaC" + bytes(40), "FLAC"),
        (b"OggS" + bytes(40), "Ogg"),
        (b"ID3" + bytes(40), "MP3"),
        (b"\xff\xfb\x90\x44" + bytes(40), "MP3 or AAC"),
        (b"\0\0\0\x20ftypM4A " + bytes(40), "MP4"),
        (b"FORM\0\0\0\0AIFF", "AIFF"),
        (b"RIFF\0\0\0\0AVI ", "no WAV header"),
        (bytes(100), "no WAV header"),
        (wav(), "ends before its samples"),
        (wav(chunk(b"data", b"")), "before their format"),
        (wav(fmt())[:-3], "ends inside its header"),
        (wav(fmt(bits=8)), "8 bits"),
        (wav(fmt(tag=3, bits=64)), "64 bits"),
        (wav(fmt(tag=2)), "format 2"),
        (wav(fmt(tag=0xFFFE)), "extensible"),
        (wav(fmt(channels=0)), "0 channels"),
        (wav(fmt(channels=33)), "33 channels"),
        (wav(fmt(rate=7999)), "7999 Hz"),
        (wav(fmt(rate=192_001)), "192001 Hz"),
        (wav(fmt(align=6)), "in 6 bytes"),
        (wav(chunk(b"fmt ", bytes(14))), "14 bytes"),
        (wav(chunk(b"junk", b"", 0xFFFFFFF0)), "junk"),
    ],
)
def test_everything_else_is_named(data, says):
    with pytest.raises(WavError, match=says):
        header(data)


@given(st.binary(max_size=200))
def test_no_bytes_after_a_good_beginning_break_the_reader(noise):
    try:
        got, _ = header(wav(fmt()) + noise)
    except WavError:
        return
    assert got.raw.frame_bytes > 0
