from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.chunks import Block, Format, FormatChange, Loss, SourceEvent
from natd.sources.recent import LIMIT_EVENTS, Recent


def block(first: int, count: int) -> Block:
    return Block(first, np.arange(first, first + count, dtype=np.float32)[:, None], 0)


def drained(recent: Recent) -> Iterator[SourceEvent]:
    while (event := recent.take()) is not None:
        yield event


def kinds(events: list[SourceEvent]) -> list[tuple]:
    return [
        (e.first, len(e.samples)) if isinstance(e, Block)
        else (e.first, e.count, e.cause) if isinstance(e, Loss)
        else (e.format.rate, e.lost_s)
        for e in events
    ]  # fmt: skip


def test_up_to_two_seconds_wait():
    recent = Recent(Format(1000, 1))
    for first in range(0, 2000, 500):
        recent.put(block(first, 500))
    assert kinds(list(drained(recent))) == [(0, 500), (500, 500), (1000, 500), (1500, 500)]
    assert recent.counters == {"overruns": 0, "overrun_samples": 0}


def test_then_the_oldest_go_as_one_declared_loss():
    recent = Recent(Format(1000, 1))
    for first in range(0, 5000, 500):
        recent.put(block(first, 500))
    assert kinds(list(drained(recent))) == [(0, 3000, "overrun"), (3000, 500), (3500, 500), (4000, 500), (4500, 500)]
    assert recent.counters == {"overruns": 1, "overrun_samples": 3000}


def test_losses_beside_an_overrun_become_part_of_it():
    recent = Recent(Format(1000, 1))
    for event in (Loss(0, 100, "ingest_seq_gap"), block(100, 900), Loss(1000, 7, "ingest_invalid"), block(1007, 1000)):
        recent.put(event)
    recent.put(block(2007, 1000))
    assert kinds(list(drained(recent))) == [(0, 1007, "overrun"), (1007, 1000), (2007, 1000)]
    assert recent.counters == {"overruns": 1, "overrun_samples": 900}


def test_a_format_that_lost_everything_is_time_lost_before_the_next():
    recent = Recent(Format(1000, 1))
    for event in (
        block(0, 500),
        FormatChange(Format(2000, 2), 0.25),
        block(0, 1000),
        FormatChange(Format(500, 1), 0.5),
    ):
        recent.put(event)
    for first in range(0, 1000, 250):
        recent.put(block(first, 250))
    assert kinds(list(drained(recent))) == [(0, 500, "overrun"), (500, 1.25), *((f, 250) for f in range(0, 1000, 250))]


def test_many_short_messages_are_bounded_too():
    recent = Recent(Format(48_000, 1))
    for first in range(3 * LIMIT_EVENTS):
        recent.put(block(first, 1))
    events = list(drained(recent))
    assert len(events) <= LIMIT_EVENTS
    assert kinds(events)[0] == (0, 3 * LIMIT_EVENTS - len(events) + 1, "overrun")


STEPS = st.lists(
    st.tuples(st.sampled_from(["block", "block", "block", "loss", "format", "take", "take"]), st.integers(1, 1000)),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_nothing_is_lost_in_silence(steps):
    """Time in == time out: blocks, losses and `lost_s` tile each format's axis, and blocks hold their own samples."""
    recent, rate, at = Recent(Format(1000, 1)), 1000, 0
    put_s, out = 0.0, []
    for what, number in steps:
        if what == "take":
            out += [e] if (e := recent.take()) is not None else []
            continue
        if what == "format":
            rate, at = 1000 + number % 3 * 500, 0
            recent.put(FormatChange(Format(rate, 1), number / 1000))
            put_s += number / 1000
        elif what == "loss":
            recent.put(Loss(at, number, "ingest_seq_gap"))
        else:
            recent.put(block(at, number))
        if what != "format":
            at, put_s = at + number, put_s + number / rate
    out += drained(recent)
    rate, at, out_s = 1000, 0, 0.0
    for event in out:
        if isinstance(event, FormatChange):
            rate, at, out_s = event.format.rate, 0, out_s + event.lost_s
            continue
        count = len(event.samples) if isinstance(event, Block) else event.count
        assert event.first == at
        if isinstance(event, Block):
            assert event.samples[0, 0] == at
        at, out_s = at + count, out_s + count / rate
    assert abs(out_s - put_s) < 1e-6
