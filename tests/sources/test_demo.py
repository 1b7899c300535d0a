import asyncio

import numpy as np
import pytest

from natd.audio.chunks import Block, End, Loss
from natd.audio.demo import FORMAT, Demo
from natd.sources.demo import DemoSource
from tests.sources.collect import FakeTime, all_of, assert_contiguous, samples_of


async def read(source: DemoSource) -> list:
    async with source:
        return await all_of(source)


@pytest.mark.parametrize("block_ms, seconds", [(10, 1.5), (33, 0.7), (700, 2.001)])
def test_it_plays_the_score_to_the_sample(block_ms, seconds):
    events = asyncio.run(read(DemoSource(paced=False, seconds=seconds, seed=4, block_ms=block_ms)))
    assert assert_contiguous(events) == round(seconds * FORMAT.rate)
    assert events[-1] == End("eof")
    np.testing.assert_array_equal(samples_of(events), Demo(4).render(0, round(seconds * FORMAT.rate)))


def test_live_blocks_come_when_they_are_due():
    time = FakeTime()
    events = asyncio.run(read(DemoSource(paced=True, seconds=1.0, clock=time, sleep=time.sleep)))
    blocks = [e for e in events if isinstance(e, Block)]
    assert [b.mono_ns for b in blocks] == [10_000_000 * (n + 1) for n in range(100)]
    assert len(time.slept) == 100


def test_only_the_paced_one_is_live():
    assert DemoSource(paced=True).live
    assert not DemoSource(paced=False).live


def test_a_late_reader_loses_the_oldest_audio_and_is_told_how_much():
    time = FakeTime()
    source = DemoSource(paced=True, seconds=20.0, clock=time, sleep=time.sleep)

    async def stall() -> list:
        events = []
        async with source:
            async for event in source:
                events.append(event)
                if isinstance(event, Block) and event.first == 480:
                    time.advance(10.0)
        return events

    events = asyncio.run(stall())
    assert assert_contiguous(events) == 20 * FORMAT.rate
    losses = [e for e in events if isinstance(e, Loss)]
    assert [e.cause for e in losses] == ["overrun"]
    assert losses[0].count == pytest.approx(8 * FORMAT.rate, abs=480)  # 10 s late, the latest 2 s are kept
    assert source.counters == {"overruns": 1, "overrun_samples": losses[0].count}
    for block in (e for e in events if isinstance(e, Block)):
        np.testing.assert_array_equal(block.samples, Demo(0).render(block.first, len(block.samples)))


def test_a_reader_that_comes_after_the_end_gets_the_loss_of_the_rest():
    time = FakeTime()

    async def stall() -> list:
        events = []
        async with DemoSource(paced=True, seconds=3.0, clock=time, sleep=time.sleep) as source:
            async for event in source:
                events.append(event)
                if isinstance(event, Block) and event.first == 0:
                    time.advance(3600.0)
        return events

    events = asyncio.run(stall())
    assert events[1:] == [Loss(480, 3 * FORMAT.rate - 480, "overrun"), End("eof")]
