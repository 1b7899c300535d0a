"""What tests of sources share: all events of a source, and time that only sleepers move."""

from collections.abc import AsyncIterable
from dataclasses import dataclass, field

import numpy as np

from natd.audio.chunks import Block, Loss, SourceEvent
from natd.clock import FakeClock


async def all_of(source: AsyncIterable[SourceEvent]) -> list[SourceEvent]:
    return [event async for event in source]


def samples_of(events: list[SourceEvent]) -> np.ndarray:
    return np.concatenate([e.samples for e in events if isinstance(e, Block)])


def assert_contiguous(events: list[SourceEvent]) -> int:
    """Blocks and losses follow each other without hole or overlap; returns where they end."""
    at = 0
    for event in events:
        if isinstance(event, Block | Loss):
            assert event.first == at
            at += len(event.samples) if isinstance(event, Block) else event.count
    return at


@dataclass
class FakeTime(FakeClock):
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
