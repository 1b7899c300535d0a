"""The backlog: files wait, live audio sheds its oldest whole frames once they are late, and says so."""

import asyncio

import numpy as np

from natd.audio.chunks import End, FrameChunk, GapChunk
from natd.backlog import Backlog
from natd.clock import FakeClock, SystemClock

FRAME_MS = 80.0


def frame(fi: int, captured_ns: int = 0) -> FrameChunk:
    return FrameChunk(fi, np.zeros(4, np.float32), captured_ns, captured_ns)


def drain(backlog: Backlog) -> list[object]:
    async def all_items() -> list[object]:
        return [await backlog.get() for _ in range(len(backlog._items))]

    return asyncio.run(all_items())


def test_a_file_waits_for_space_and_loses_nothing():
    async def scenario() -> list[int]:
        backlog = Backlog(0.24, False, FRAME_MS, FakeClock(10**15))  # room for 3, all long late
        got: list[int] = []

        async def read() -> None:
            while not isinstance(item := await backlog.get(), End):
                got.append(item.fi)
                assert len(backlog) <= 3

        reader = asyncio.create_task(read())
        for fi in range(50):
            await backlog.put(frame(fi))
        await backlog.put(End("eof"))
        await reader
        return got

    assert asyncio.run(scenario()) == list(range(50))


def test_a_late_live_stream_keeps_the_newest_frame_and_declares_the_rest_as_one_gap():
    async def scenario() -> Backlog:
        clock = FakeClock(0)
        backlog = Backlog(0.24, True, FRAME_MS, clock)
        for fi in range(3):
            await backlog.put(frame(fi, clock.now_ns))
        clock.advance(0.3)  # frame 0 is 300 ms old, patience is 240 ms
        await backlog.put(frame(3, clock.now_ns))
        return backlog

    backlog = asyncio.run(scenario())
    assert backlog.counters["frames_shed"] == 2
    items = drain(backlog)
    assert items[0] == GapChunk(0, 2, "encoder_late", 160.0)
    assert [item.fi for item in items[1:]] == [2, 3]


def test_shedding_twice_without_a_reader_still_makes_one_gap():
    async def scenario() -> Backlog:
        clock = FakeClock(0)
        backlog = Backlog(0.24, True, FRAME_MS, clock)
        for fi in range(60):
            await backlog.put(frame(fi, clock.now_ns))
            clock.advance(0.08)
        return backlog

    items = drain(asyncio.run(scenario()))
    assert [type(item) for item in items].count(GapChunk) == 1
    assert items[0].fi == 0
    assert items[0].frames + sum(isinstance(item, FrameChunk) for item in items) == 60
    assert items[1].fi == items[0].frames


def test_gaps_of_other_causes_keep_their_place():
    async def scenario() -> Backlog:
        clock = FakeClock(0)
        backlog = Backlog(0.16, True, FRAME_MS, clock)
        await backlog.put(frame(0, 0))
        await backlog.put(GapChunk(1, 4, "device_lost", 300.0))
        await backlog.put(frame(5, 0))
        clock.advance(1)
        await backlog.put(frame(6, clock.now_ns))
        return backlog

    items = drain(asyncio.run(scenario()))
    assert [(i.fi, getattr(i, "frames", 1), getattr(i, "cause", None)) for i in items] == [
        (0, 1, "encoder_late"),
        (1, 4, "device_lost"),
        (5, 1, None),
        (6, 1, None),
    ]


def test_a_fresh_burst_waits_for_the_encoder_instead_of_being_shed():
    async def scenario() -> tuple[list[int], int]:
        clock = SystemClock()
        backlog = Backlog(30.0, True, 10_000.0, clock)  # room for 3 frames, 30 s of patience
        got: list[int] = []

        async def read() -> None:
            for _ in range(200):
                got.append((await backlog.get()).fi)
                await asyncio.sleep(0)

        reader = asyncio.create_task(read())
        for fi in range(200):
            await backlog.put(frame(fi, clock.mono_ns()))
        await reader
        return got, backlog.counters["frames_shed"]

    assert asyncio.run(scenario()) == (list(range(200)), 0)


def test_a_live_backlog_with_a_dead_encoder_stays_bounded():
    async def scenario() -> Backlog:
        clock = FakeClock(0)
        backlog = Backlog(0.4, True, FRAME_MS, clock)
        for fi in range(10_000):
            await backlog.put(frame(fi, clock.now_ns))
            clock.advance(0.08)
        return backlog

    backlog = asyncio.run(scenario())
    assert len(backlog._items) <= 8
