import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from natd.audio.chunks import End, Format
from natd.audio.pcm import RawFormat, decode
from natd.clock import FakeClock
from natd.errors import SourceError
from natd.sources.stdin import STARVED_NS, StdinSource
from tests.sources.collect import all_of, assert_contiguous, samples_of

SAMPLES = (np.random.default_rng(1).standard_normal((50_000, 2)) * 0.1).astype(np.float32)


def wav_bytes(subtype: str = "FLOAT") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, SAMPLES, 44_100, subtype, format="WAV")
    return out.getvalue()


async def read(source: StdinSource) -> tuple[Format, list]:
    async with source:
        return source.format, await all_of(source)


@pytest.fixture
def pipe() -> Iterator[tuple[io.BufferedReader, io.BufferedWriter]]:
    r, w = os.pipe()
    with open(r, "rb") as reader, open(w, "wb", buffering=0) as writer:
        yield reader, writer


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_a_wav_stream_gives_what_libsndfile_gives(subtype):
    data = wav_bytes(subtype)
    form, events = asyncio.run(read(StdinSource(io.BytesIO(data))))
    want, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert form == Format(44_100, 2) and events[-1] == End("eof")
    assert assert_contiguous(events) == len(SAMPLES)
    np.testing.assert_array_equal(samples_of(events), want)


def test_raw_pcm_in_the_declared_format():
    data = bytes(range(256)) * 30
    source = StdinSource(io.BytesIO(data), RawFormat("s24le", 22_050, 2))
    form, events = asyncio.run(read(source))
    assert form == Format(22_050, 2)
    np.testing.assert_array_equal(samples_of(events), decode(data, "s24le", 2))
    assert max(len(e.samples) for e in events[:-1]) == 220


def test_a_half_sample_at_the_end_is_dropped_and_counted(caplog):
    source = StdinSource(io.BytesIO(bytes(1003)), RawFormat("s16le", 8000, 2))
    _, events = asyncio.run(read(source))
    assert assert_contiguous(events) == 250
    assert source.counters == {"partial_bytes": 3, "missing_bytes": 0}
    assert "3 bytes dropped" in caplog.text


def test_an_early_end_is_counted_against_the_header(caplog):
    data = wav_bytes()
    source = StdinSource(io.BytesIO(data[:-80_001]))
    _, events = asyncio.run(read(source))
    assert assert_contiguous(events) == len(SAMPLES) - 10_001
    assert source.counters == {"partial_bytes": 7, "missing_bytes": 80_001}
    assert "80001 bytes before" in caplog.text


def test_what_follows_the_samples_of_a_wav_file_is_no_audio():
    _, events = asyncio.run(read(StdinSource(io.BytesIO(wav_bytes() + b"LIST" + bytes(1000)))))
    assert assert_contiguous(events) == len(SAMPLES)


def test_bytes_that_trickle_make_the_same_samples(pipe):
    reader, writer = pipe
    data = wav_bytes("PCM_16")[:5000]
    source = StdinSource(reader, block_ms=1000)

    async def trickle() -> list:
        feeding = asyncio.create_task(asyncio.to_thread(feed))
        async with source:
            events = await all_of(source)
        await feeding
        return events

    def feed() -> None:
        for at in range(0, len(data), 7):
            writer.write(data[at : at + 7])
        writer.close()

    np.testing.assert_array_equal(samples_of(asyncio.run(trickle())), decode(data[44:], "s16le", 2))


def test_a_silent_pipe_blocks_neither_the_loop_nor_the_way_out(pipe):
    reader, writer = pipe
    clock = FakeClock()

    async def wait_for_nothing() -> str:
        async with StdinSource(reader, RawFormat("s16le", 8000, 1), clock=clock) as source:
            waiting = asyncio.create_task(all_of(source))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done() and source.state == "live"
            clock.now_ns += STARVED_NS + 1
            waiting.cancel()
            return source.state

    assert asyncio.run(wait_for_nothing()) == "starved"


def test_waiting_for_a_header_can_be_cancelled(pipe):
    async def cancel() -> bool:
        entering = asyncio.create_task(StdinSource(pipe[0]).__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        return (await asyncio.wait([entering]))[0].pop().cancelled()

    assert asyncio.run(cancel())


def test_a_reader_that_waits_makes_the_writer_wait(pipe):
    """A pipe never loses audio: with nobody iterating, no more is read than the queue and the pipe hold."""
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)

    async def fill() -> tuple[int, int]:
        source = StdinSource(reader, RawFormat("f32le", 48_000, 1))
        written, full = 0, 0
        async with source:
            while full < 50:  # the thread has had 50 turns and takes no more
                if (count := writer.write(bytes(65_536))) is None:
                    full += 1
                    await asyncio.sleep(0.001)
                else:
                    written, full = written + count, 0
            writer.close()
            return written, assert_contiguous(await all_of(source)) * 4

    written, got = asyncio.run(fill())
    assert written == got and written < 4 << 20


@pytest.mark.parametrize(
    "data, says", [(b"fLaC" + bytes(99), "FLAC.*ffmpeg"), (b"", "nothing"), (bytes(99), "declare")]
)
def test_what_is_not_wav_is_refused_with_the_cure(data, says):
    with pytest.raises(SourceError, match=says):
        asyncio.run(read(StdinSource(io.BytesIO(data))))


def test_an_unknown_raw_format_is_refused():
    with pytest.raises(SourceError, match="'u8' is not one of s16le"):
        StdinSource(io.BytesIO(), RawFormat("u8", 8000, 1))


def test_a_terminal_is_refused():
    master, slave = os.openpty()
    with (
        open(master, "rb", buffering=0),
        open(slave, "rb", buffering=0) as terminal,
        pytest.raises(SourceError, match="pipe"),
    ):
        asyncio.run(read(StdinSource(terminal)))


def test_a_pipe_that_someone_made_non_blocking_is_read_all_the_same(pipe):
    reader, writer = pipe
    os.set_blocking(reader.fileno(), False)

    async def late() -> list:
        async with StdinSource(reader, RawFormat("s16le", 8000, 1)) as source:
            waiting = asyncio.create_task(all_of(source))
            await asyncio.sleep(0)
            writer.write(bytes(100))
            writer.close()
            return await waiting

    assert assert_contiguous(asyncio.run(late())) == 50


def test_ctrl_c_ends_a_process_that_waits_for_a_silent_pipe():
    program = """
        import asyncio, sys
        from natd.sources.stdin import StdinSource
        async def main():
            print("waiting", flush=True)
            async with StdinSource(sys.stdin.buffer):
                pass
        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()  # to its end: the process is gone
        assert process.wait() == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt") and "Fatal" not in said
