import asyncio
import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from natd.clock import FakeClock
from natd.errors import OutputError
from natd.sinks.ndjson import FileSink, StdoutSink
from natd.tiling import TilingChecker
from natd.wire import Event, encode
from tests.schema import validate_line
from tests.sinks.test_files import no_file_beyond
from tests.streams import Story, heartbeat, simple

STORY = simple(300)


def publish(
    sink: FileSink | StdoutSink, story: Story, stream: str = "stage", first: int = 0, last: int = 10**9
) -> None:
    for event in [story.header, *story.events][first:last]:
        sink.publish(stream, event, encode(event))


def read(data: bytes) -> tuple[TilingChecker, dict[int, tuple[tuple[int, ...], ...]]]:
    """What a reader of these lines makes of them; each must follow the schema."""
    checker, codes = TilingChecker(), {}
    for line in data.splitlines(keepends=True):
        validate_line(line)
        full = checker.feed_line(line)
        if full is not None:
            codes[full.fi] = full.codes
    return checker, codes


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.002)


async def test_each_stream_has_its_file_byte_for_byte(tmp_path: Path):
    async with FileSink(str(tmp_path / "{stream}.ndjson")) as sink:
        for event in [STORY.header, *STORY.events]:
            sink.publish("left", event, encode(event))
            sink.publish("right", event, encode(event))
    for name in ("left", "right"):
        assert (tmp_path / f"{name}.ndjson").read_bytes() == b"".join(STORY.lines)
    size = sum(map(len, STORY.lines))
    assert sink.counters == {
        "recording_lines": 2 * len(STORY.lines),
        "recording_bytes": 2 * size,
        "recording_dropped": 0,
        "recording_errors": 0,
        "recording_files": 2,
    }
    assert sink.error is None


async def test_one_path_takes_one_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with FileSink(str(tmp_path / "a.ndjson")) as sink:
        publish(sink, STORY)
        publish(sink, STORY, "other")
    assert (tmp_path / "a.ndjson").read_bytes() == b"".join(STORY.lines)
    assert sink.counters["recording_dropped"] == len(STORY.lines)
    assert [r.message for r in caplog.records] == [
        f"stream other is not recorded: {tmp_path}/a.ndjson has no {{stream}}"
    ]


async def test_every_rotated_file_can_be_read_alone(tmp_path: Path):
    async with FileSink(str(tmp_path / "a.ndjson"), rotate_bytes=6000) as sink:
        publish(sink, STORY)
    files = sorted(tmp_path.iterdir(), key=lambda p: int(p.suffix[1:]) if p.suffix[1:].isdigit() else 10**9)
    assert len(files) > 3 and sink.counters["recording_files"] == len(files)
    together: dict[int, tuple[tuple[int, ...], ...]] = {}
    for path in files:
        assert path.stat().st_size <= 6000
        checker, codes = read(path.read_bytes())
        assert checker.faults == [] and codes
        together |= codes
    assert together == STORY.codes
    assert read(b"".join(path.read_bytes() for path in files))[0].faults == []


async def test_a_limit_below_the_preface_still_records_an_event_a_file(tmp_path: Path):
    async with FileSink(str(tmp_path / "a.ndjson"), rotate_bytes=10, keep=3) as sink:
        publish(sink, STORY, last=20)
    assert len(list(tmp_path.iterdir())) == 4
    assert sink.counters["recording_files"] == 20


async def test_rotation_by_time(tmp_path: Path):
    clock = FakeClock()
    async with FileSink(str(tmp_path / "{stream}-%H%M%S.ndjson"), rotate_s=60.0, clock=clock) as sink:
        for n in range(0, 300, 100):
            publish(sink, STORY, first=n, last=n + 100)
            await sink.flush()
            clock.advance(61)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert [len(read(p.read_bytes())[1]) for p in files] == [97, 100, 100]


async def test_a_restart_goes_on_in_the_same_file(tmp_path: Path):
    for epoch in ("e0", "e1"):
        async with FileSink(str(tmp_path / "a.ndjson")) as sink:
            publish(sink, simple(10, epoch=epoch))
    checker, _ = read((tmp_path / "a.ndjson").read_bytes())
    assert (checker.faults, checker.counts["epochs"], checker.counts["frames"]) == ([], 2, 20)


async def test_a_full_disk_stops_the_recording_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    clock, path = FakeClock(), tmp_path / "a.ndjson"
    async with FileSink(str(path), retry_s=30.0, clock=clock) as sink:
        with no_file_beyond(4000):
            for n in range(0, 200, 20):
                publish(sink, STORY, first=n, last=n + 20)
                await sink.flush()
            assert sink.error == f"{path}: File too large"
            clock.advance(31)
            publish(sink, STORY, first=200, last=210)
            await until(lambda: sink.counters["recording_errors"] == 2)
        publish(sink, STORY, first=210, last=220)  # there is room, but it is not yet time
        assert sink.error is not None
        clock.advance(31)
        publish(sink, STORY, first=220, last=221)
        await until(lambda: sink.error is None)
        publish(sink, STORY, first=221)
    checker, codes = read(path.read_bytes())
    assert all(STORY.codes[fi] == row for fi, row in codes.items())
    assert max(codes) == 299 and {fi for fi in STORY.codes if fi >= 219} <= set(codes)
    assert len(checker.faults) == 1 and "a state at seq" in checker.faults[0]
    counters = sink.counters
    assert counters["recording_lines"] == path.read_bytes().count(b"\n")
    # Header and state were handed to the writer twice: at the retry that failed and at the one that did not.
    assert counters["recording_lines"] + counters["recording_dropped"] == len(STORY.lines) + 4
    assert [r.message.split(" in ")[0] for r in caplog.records if r.levelno >= logging.WARNING] == [
        f"recording of stage stopped: File too large ({path})",
        "recording of stage goes on",
    ]


async def test_without_retry_it_stays_stopped(tmp_path: Path):
    clock = FakeClock()
    async with FileSink("/dev/full", retry_s=None, clock=clock) as sink:
        publish(sink, STORY, last=1)
        await until(lambda: sink.error)
        clock.advance(1e6)
        publish(sink, STORY, first=1)
    assert sink.error == "/dev/full: No space left on device"
    assert sink.counters["recording_errors"] == 1
    assert (sink.counters["recording_lines"], sink.counters["recording_dropped"]) == (0, len(STORY.lines))


async def test_one_bad_stream_does_not_stop_the_others(tmp_path: Path):
    (tmp_path / "bad.ndjson").mkdir()
    async with FileSink(str(tmp_path / "{stream}.ndjson")) as sink:
        publish(sink, STORY, "bad")
        publish(sink, STORY, "good")
        await sink.flush()
        assert sink.error is not None and "Is a directory" in sink.error
    assert (tmp_path / "good.ndjson").read_bytes() == b"".join(STORY.lines)


async def test_what_cannot_be_recorded_is_said_at_the_start(tmp_path: Path):
    with pytest.raises(OutputError, match="a folder"):
        async with FileSink(str(tmp_path)):
            pass


class SlowDisk:
    """A named pipe: nobody reads until `flow`; a write to it waits like one to a disk that hangs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow.ndjson"
        os.mkfifo(self.path)
        self.data = b""
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, 1031, 4096)  # F_SETPIPE_SZ: as little as there can be
        os.set_blocking(self._fd, True)

    def flow(self) -> None:
        """Read until the writer has closed."""
        opened = select.poll()
        opened.register(self._fd, select.POLLIN)
        opened.poll()  # reading before there is a writer would be taken for the end
        while chunk := os.read(self._fd, 65536):
            self.data += chunk
        os.close(self._fd)


async def test_a_disk_that_hangs_never_blocks_and_loses_only_what_it_says(tmp_path: Path):
    disk = SlowDisk(tmp_path)
    async with FileSink(str(disk.path), max_queued_bytes=8000) as sink:
        started = time.monotonic()
        publish(sink, STORY, last=250)  # far more than pipe and queue hold
        assert time.monotonic() - started < 5  # a blocked write would wait for ever
        dropped = sink.counters["recording_dropped"]
        assert dropped > 50
        reader = threading.Thread(target=disk.flow)
        reader.start()
        await sink.flush()
        publish(sink, STORY, first=250)
    await asyncio.to_thread(reader.join)
    checker, codes = read(disk.data)
    assert all(STORY.codes[fi] == row for fi, row in codes.items())
    assert {fi for fi in STORY.codes if fi >= 249} <= set(codes)
    assert len(checker.faults) == 1 and "a state at seq" in checker.faults[0]
    assert disk.data.count(b"\n") == len(STORY.lines) - dropped + 2


async def test_who_drains_loses_nothing_on_a_slow_disk(tmp_path: Path):
    disk = SlowDisk(tmp_path)
    reader = threading.Thread(target=disk.flow)
    async with FileSink(str(disk.path), max_queued_bytes=4000) as sink:
        reader.start()
        for event in [STORY.header, *STORY.events]:
            sink.publish("stage", event, encode(event))
            await sink.drain()
    await asyncio.to_thread(reader.join)
    assert disk.data == b"".join(STORY.lines)
    assert sink.counters["recording_dropped"] == 0


async def test_closing_gives_up_on_a_disk_that_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    disk = SlowDisk(tmp_path)
    async with FileSink(str(disk.path), close_s=0.05) as sink:
        publish(sink, STORY)
    assert "could not be written within 0.05 s" in caplog.text
    await asyncio.to_thread(disk.flow)  # lets the writer's thread end


class Pipe:
    """What a program that prints is connected to."""

    def __init__(self, blocking: bool = True) -> None:
        self.out, self.into = os.pipe()
        fcntl.fcntl(self.into, 1031, 4096)
        os.set_blocking(self.into, blocking)
        self.data = b""
        self._reader = threading.Thread(target=self._read)

    def flow(self) -> None:
        self._reader.start()

    def _read(self) -> None:
        while chunk := os.read(self.out, 1000):
            self.data += chunk

    async def end(self) -> bytes:
        os.close(self.into)
        await asyncio.to_thread(self._reader.join)
        os.close(self.out)
        return self.data


@pytest.mark.parametrize("blocking", [True, False])
async def test_standard_output_gets_every_line_when_the_writer_waits(blocking: bool):
    pipe = Pipe(blocking)
    most = 0
    async with StdoutSink(pipe.into, max_queued_bytes=4000) as sink:
        pipe.flow()
        for event in [STORY.header, *STORY.events]:
            sink.publish("stage", event, encode(event))
            await sink.drain()
            most = max(most, sink.queued)
        await sink.flush()
        assert sink.queued == 0
    assert await pipe.end() == b"".join(STORY.lines)
    assert most <= 2000 and sink.counters["recording_dropped"] == 0


async def test_standard_output_drops_what_a_stopped_reader_leaves_no_room_for():
    pipe = Pipe()
    async with StdoutSink(pipe.into, max_queued_bytes=8000) as sink:
        publish(sink, STORY, last=250)
        dropped = sink.counters["recording_dropped"]
        assert dropped > 50 and sink.queued <= 8000
        pipe.flow()
        await sink.flush()
        publish(sink, STORY, first=250)
    checker, codes = read(await pipe.end())
    assert all(STORY.codes[fi] == row for fi, row in codes.items())
    assert {fi for fi in STORY.codes if fi >= 249} <= set(codes)
    assert len(checker.faults) == 1 and "a state at seq" in checker.faults[0]


async def test_only_heartbeats_lost_is_nothing_lost():
    pipe = Pipe()
    beat: Event = heartbeat(-1, -1)
    async with StdoutSink(pipe.into, max_queued_bytes=3000) as sink:
        publish(sink, STORY, last=1)
        while not sink.counters["recording_dropped"]:
            sink.publish("stage", beat, encode(beat))
        pipe.flow()
        await sink.flush()
        publish(sink, STORY, first=1, last=10)
    data = await pipe.end()
    assert data.count(b'"header"') == 1 and read(data)[0].faults == []


async def test_a_reader_that_goes_is_told_once():
    pipe, told = Pipe(), []
    os.close(pipe.out)
    async with StdoutSink(pipe.into, on_closed=lambda: told.append(1)) as sink:
        publish(sink, STORY)
        await asyncio.wait_for(sink.closed.wait(), 20)
        publish(sink, simple(5, epoch="e1"))
        await sink.drain()
        await sink.flush()
    os.close(pipe.into)
    assert told == [1] and sink.error is None
    assert (sink.counters["recording_lines"], sink.counters["recording_errors"]) == (0, 1)


async def test_a_full_standard_output_is_an_error_not_the_end(caplog: pytest.LogCaptureFixture):
    fd = os.open("/dev/full", os.O_WRONLY)
    async with StdoutSink(fd) as sink:
        publish(sink, STORY)
        await sink.flush()
        assert sink.error == "standard output: No space left on device"
        assert not sink.closed.is_set()
    os.close(fd)
    assert caplog.messages == ["standard output: No space left on device"]


async def test_streams_do_not_mix_on_standard_output():
    pipe = Pipe()
    second = simple(7, epoch="e1", stream="second")
    async with StdoutSink(pipe.into) as sink:
        pipe.flow()
        publish(sink, STORY, last=100)
        publish(sink, second, "second")
        publish(sink, STORY, first=100)
        publish(sink, second, "second")
    assert await pipe.end() == b"".join(STORY.lines + second.lines)
    assert sink.counters["recording_dropped"] == len(second.lines)


PROGRAM = """
import asyncio, sys
from natd.sinks.ndjson import StdoutSink
from natd.wire import encode
from tests.streams import simple

async def main():
    story = simple(20_000)
    async with StdoutSink() as sink:
        for event in [story.header, *story.events]:
            sink.publish("stage", event, encode(event))
            await sink.drain()
            if sink.closed.is_set():
                print("closed", file=sys.stderr)
                return
        await sink.flush()

asyncio.run(main())
"""


def test_a_program_ends_cleanly_when_head_has_seen_enough():
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    first = program.stdout.readline()
    program.stdout.close()
    assert program.stderr is not None
    errors = program.stderr.read()
    program.stderr.close()
    assert (program.wait(60), errors) == (0, b"closed\n")
    assert validate_line(first)["event"] == "header"
