import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from natd.audio.chunks import Block, End, Format
from natd.errors import SourceError
from natd.sources.file import FileSource
from tests.sources.collect import FakeTime, all_of, assert_contiguous, samples_of

NOISE = (np.random.default_rng(0).standard_normal((100_001, 2)) * 0.1).astype(np.float32)
SHARED = os.environ.get("NATD_SHARED")
RECORDINGS = sorted(Path(SHARED, "audio", "recordings").glob("*.ogg"))[:3] if SHARED else []


def write(path: Path, samples: np.ndarray = NOISE, rate: int = 44_100, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


async def read(source: FileSource) -> tuple[Format, list]:
    async with source:
        return source.format, await all_of(source)


@pytest.mark.parametrize(
    "suffix, subtype", [("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", "PCM_24"), ("aiff", "PCM_16")]
)
def test_every_sample_comes_once_and_in_order(tmp_path, suffix, subtype):
    path = write(tmp_path / f"noise.{suffix}", subtype=subtype)
    form, events = asyncio.run(read(FileSource(path, False, False)))
    assert form == Format(44_100, 2)
    assert assert_contiguous(events) == len(NOISE)
    assert events[-1] == End("eof")
    np.testing.assert_allclose(samples_of(events), NOISE, atol={"FLOAT": 0, "PCM_24": 2e-7, "PCM_16": 4e-5}[subtype])


@pytest.mark.parametrize("block_ms, longest", [(10, 441), (1, 44), (80, 3528), (5000, 44_100)])
def test_blocks_hold_at_most_what_was_asked_and_the_samples_stay_the_same(tmp_path, block_ms, longest):
    _, events = asyncio.run(read(FileSource(write(tmp_path / "a.wav", subtype="FLOAT"), block_ms=block_ms)))
    assert max(len(e.samples) for e in events if isinstance(e, Block)) == longest
    np.testing.assert_array_equal(samples_of(events), NOISE)


if RECORDINGS:

    @pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.name)
    def test_recordings_give_what_libsndfile_gives(path):
        form, events = asyncio.run(read(FileSource(path)))
        want, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert form == Format(rate, want.shape[1])
        np.testing.assert_array_equal(samples_of(events), want)


def test_a_name_that_is_no_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.wav")
    soundfile.write(os.fsencode(path), np.zeros(100, np.float32), 8000)
    source = FileSource(path)
    _, events = asyncio.run(read(source))
    assert assert_contiguous(events) == 100 and source.name == f"{tmp_path}/bad\\xff.wav"


def test_paced_blocks_come_when_they_would_have_been_heard(tmp_path):
    time = FakeTime()
    path = write(tmp_path / "a.wav", NOISE[:44_100], subtype="FLOAT")
    _, events = asyncio.run(read(FileSource(path, paced=True, clock=time, sleep=time.sleep)))
    blocks = [e for e in events if isinstance(e, Block)]
    due = [round((b.first + len(b.samples)) * 1e9 / 44_100) for b in blocks]
    assert [b.mono_ns for b in blocks] == pytest.approx(due, abs=2)


def test_a_paced_file_waits_for_a_slow_reader_and_then_goes_on_at_its_own_speed(tmp_path):
    time = FakeTime()
    path = write(tmp_path / "a.wav", NOISE[:88_200], subtype="FLOAT")

    async def stall() -> list[Block]:
        blocks = []
        async with FileSource(path, paced=True, clock=time, sleep=time.sleep) as source:
            async for event in source:
                if isinstance(event, Block):
                    blocks.append(event)
                    if event.first == 4410:
                        time.advance(30.0)
        return blocks

    blocks = asyncio.run(stall())
    np.testing.assert_array_equal(np.concatenate([b.samples for b in blocks]), NOISE[:88_200])
    assert blocks[-1].mono_ns == pytest.approx(32e9, abs=0.2e9)  # 2 s of audio and the 30 s; no hurry to catch up


def test_a_loop_is_one_sample_axis(tmp_path):
    path = write(tmp_path / "a.wav", NOISE[:1000], subtype="FLOAT")

    async def three_times() -> tuple[list, dict]:
        events = []
        async with FileSource(path, loop=True, block_ms=1000) as source:
            async for event in source:
                events.append(event)
                if len(events) == 3:
                    break
            return events, source.counters

    events, counters = asyncio.run(three_times())
    assert [e.first for e in events] == [0, 1000, 2000]
    np.testing.assert_array_equal(samples_of(events), np.concatenate([NOISE[:1000]] * 3))
    assert counters["file_loops"] >= 2


def test_leaving_early_closes_the_file_while_a_read_is_under_way(tmp_path):
    path = write(tmp_path / "a.wav")

    async def first_block() -> int:
        async with FileSource(path) as source:
            async for event in source:
                return event.first
        return -1

    assert asyncio.run(first_block()) == 0


def bad_files(folder: Path) -> dict[str, Path]:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "text.wav").write_text("this is no audio")
    (folder / "empty.flac").write_bytes(b"")
    (folder / "samples.raw").write_bytes(bytes(1000))
    return {
        name: folder / name for name in ("absent.wav", "folder", "pipe.wav", "text.wav", "empty.flac", "samples.raw")
    }


@pytest.mark.parametrize("name", ["absent.wav", "folder", "pipe.wav", "text.wav", "empty.flac", "samples.raw"])
def test_what_cannot_be_read_is_named_with_its_cure(tmp_path, name):
    path = bad_files(tmp_path)[name]
    with pytest.raises(SourceError, match=rf"{name}.*(check|pipe|convert)"):
        asyncio.run(read(FileSource(path)))


def test_a_file_without_samples_ends_at_once_and_cannot_be_looped(tmp_path):
    path = write(tmp_path / "none.wav", NOISE[:0])
    assert asyncio.run(read(FileSource(path)))[1] == [End("eof")]
    with pytest.raises(SourceError, match="holds no samples"):
        asyncio.run(read(FileSource(path, loop=True)))


def test_a_damaged_file_gives_its_good_part_and_then_says_where_it_is_broken(tmp_path):
    path = write(tmp_path / "a.flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    events: list = []

    async def into_events() -> None:
        async with FileSource(path) as source:
            async for event in source:
                events.append(event)

    with pytest.raises(SourceError, match=r"a\.flac: cannot be decoded after 1\.000 s"):
        asyncio.run(into_events())
    assert assert_contiguous(events) == 44_100


def test_a_file_shorter_than_its_header_says_so(tmp_path, caplog):
    path = write(tmp_path / "a.mp3", NOISE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, events = asyncio.run(read(FileSource(path)))
    assert 0 < assert_contiguous(events) < len(NOISE)
    assert "its header says 2.26" in caplog.text


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_file_that_was_cut_off_says_so(tmp_path, caplog, subtype):
    """libsndfile tells the length that is there, not the one in the header."""
    path = write(tmp_path / "cut.wav", subtype=subtype)
    asyncio.run(read(FileSource(path)))
    assert not caplog.records
    os.truncate(path, path.stat().st_size // 2)
    _, events = asyncio.run(read(FileSource(path)))
    assert 49_000 < assert_contiguous(events) <= 50_001
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{path}: ends after 1.13") and said.endswith("its header says 2.268 s; truncated?")
