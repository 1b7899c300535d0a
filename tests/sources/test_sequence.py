import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from natd.audio.chunks import Block, Format, FormatChange, Loss, SourceEvent
from natd.sources.ingest import Refused, check
from natd.sources.sequence import MAX_HOLE_S, MAX_RUNS, QUARANTINE_S, SILENT_S, Sequence
from tests.sources.feeding import floats, header

MONO = Format(48_000, 1)
MS = 1_000_000


class Feed:
    """A sequence with a clock that advances by what is sent."""

    def __init__(self, format: Format = MONO) -> None:
        self.sequence, self.now_ns = Sequence(format), 0

    def send(self, first: int, seq: int, count: int = 480, rate: int = 48_000, wait_s: float = 0.0, **more) -> list:
        self.now_ns += round(wait_s * 1e9) + count * 1_000_000_000 // rate
        return shorten(self.sequence.accept(check(*floats(first, count, seq, rate, **more)), self.now_ns))


def shorten(events: list[SourceEvent]) -> list[tuple]:
    """Blocks as (place on the axis, the producer's number of the sample, count)."""
    return [
        (e.first, int(e.samples[0, 0]), len(e.samples)) if isinstance(e, Block)
        else (e.first, e.count, e.cause) if isinstance(e, Loss)
        else (e.format.rate, round(e.lost_s, 6))
        for e in events
    ]  # fmt: skip


def test_a_stream_may_begin_anywhere_in_the_producers_count():
    feed = Feed()
    assert feed.send(48_000, seq=100) == [(0, 48_000, 480)]
    assert feed.send(48_480, seq=101) == [(480, 48_480, 480)]


def test_the_first_message_settles_the_format_without_loss():
    assert Feed(Format(48_000, 2)).send(0, 0) == [(48_000, 0.0), (0, 0, 480)]
    assert Feed().send(0, 0, rate=44_100) == [(44_100, 0.0), (0, 0, 480)]


def test_a_hole_is_declared_with_its_cause():
    feed = Feed()
    feed.send(0, 0)
    assert feed.send(1440, 3) == [(480, 960, "ingest_seq_gap"), (1440, 1440, 480)]
    feed.sequence.refuse()
    assert feed.send(2400, 5) == [(1920, 480, "ingest_invalid"), (2400, 2400, 480)]
    assert feed.send(3360, 7) == [(2880, 480, "ingest_seq_gap"), (3360, 3360, 480)]
    assert feed.sequence.counters["ingest_lost_samples"] == 960 + 480 + 480


@pytest.mark.parametrize("first, seq", [(0, 1), (480, 1), (240, 1), (959, 2), (0, 7)])
def test_repeats_and_overlaps_are_dropped_whole_and_counted(first, seq):
    feed = Feed()
    feed.send(0, 0)
    feed.send(480, 1)
    assert feed.send(first, seq) == []
    assert feed.sequence.counters["ingest_duplicates"] == 1
    assert feed.send(960, 2) == [(960, 960, 480)]


def test_the_first_message_twice_is_a_repeat_not_a_restart():
    feed = Feed()
    feed.send(0, 0)
    assert feed.send(0, 0) == []
    assert feed.send(480, 1) == [(480, 480, 480)]


def test_first_sample_is_believed_over_seq():
    feed = Feed()
    feed.send(0, 5)
    assert feed.send(480, 9) == [(480, 480, 480)]
    assert feed.send(960, 2) == [(960, 960, 480)]


def test_a_restart_is_a_new_run_that_tells_how_long_there_was_no_sound():
    feed = Feed()
    feed.send(0, 0)
    feed.send(480, 1)
    assert feed.send(0, 0, wait_s=0.7) == [(48_000, 0.7), (0, 0, 480)]
    assert feed.send(480, 1) == [(480, 480, 480)]
    assert feed.sequence.counters["ingest_runs"] == 1


def test_a_restart_whose_first_messages_were_missed_is_recognised_after_the_silence():
    feed = Feed()
    for n in range(100):
        feed.send(480 * n, n)
    assert feed.send(480, 1, wait_s=1.0) == []
    assert feed.send(960, 2, wait_s=1.5) == [(48_000, 2.51), (0, 960, 480)]


def test_a_pause_without_a_jump_is_no_hole():
    feed = Feed()
    feed.send(0, 0)
    assert feed.sequence.starved(feed.now_ns + round(SILENT_S * 1e9)) is False
    assert feed.sequence.starved(feed.now_ns + round(SILENT_S * 1e9) + 1) is True
    assert feed.send(480, 1, wait_s=60.0) == [(480, 480, 480)]


def test_a_jump_beyond_belief_is_a_new_run_not_a_gap_of_years():
    feed = Feed()
    feed.send(0, 0)
    hour = MAX_HOLE_S * 48_000
    assert feed.send(480 + hour, 1) == [(480, hour, "ingest_seq_gap"), (480 + hour, float32(480 + hour), 480)]
    assert feed.send(2**62, 2, wait_s=1.0)[0] == (48_000, 1.0)


def float32(number: int) -> int:
    return int(np.float32(number))


@pytest.mark.parametrize("change", [{"rate": 44_100}, {"channels": 2}, {"fmt": "s32le"}])
def test_another_format_is_a_new_run_and_loses_nothing_while_seq_goes_on(change):
    feed = Feed()
    feed.send(0, 0)
    mono = {"seq": 1, "first_sample": 480, "channels": 1, "fmt": "f32le"}
    message = check(header(**{**mono, **change}), bytes(480 * 4 * 2))
    events = feed.sequence.accept(message, feed.now_ns + 500 * MS)
    assert events[0] == FormatChange(message.format, 0.0)
    assert isinstance(events[1], Block) and events[1].first == 0


def test_a_second_producer_is_refused_until_the_first_is_silent():
    feed = Feed()
    feed.send(0, 0, producer="a")
    for who in ("b", None):
        with pytest.raises(Refused, match="producer"):
            feed.send(0, 0, producer=who)
    assert feed.send(480, 1, producer="a") == [(480, 480, 480)]
    assert feed.send(960, 4, producer="b", wait_s=2.5) == [(48_000, 2.5), (0, 960, 480)]
    with pytest.raises(Refused, match="producer"):
        feed.send(960, 2, producer="a")


def test_with_an_id_message_0_again_is_a_repeat():
    feed = Feed()
    for n in range(3):
        feed.send(480 * n, n, producer="a")
    assert feed.send(0, 0, producer="a") == []
    assert feed.send(1440, 3, producer="a") == [(1440, 1440, 480)]


def test_two_producers_without_ids_never_mix_within_a_run():
    feed = Feed()
    events: list[tuple] = []
    for n in range(50):
        feed.now_ns -= 10 * MS
        events += feed.send(480 * n + 240_000, n + 500)
        events += feed.send(480 * n + 100, n + 1)
    assert [e for e in events if len(e) == 3 and e[1] < 240_000] == []  # the one behind is a repeat, every time
    assert feed.sequence.counters["ingest_duplicates"] == 50


def test_one_that_never_counts_is_shut_out_and_let_in_again():
    feed = Feed()
    refused = 0
    for n in range(200):
        try:
            feed.send(0, 0, count=480 + n % 2)
        except Refused as error:
            assert error.reason == "quarantined"
            refused += 1
    assert refused == 200 - 1 - MAX_RUNS and feed.sequence.counters["ingest_quarantines"] == 1
    events = feed.send(480, 1, wait_s=QUARANTINE_S)
    assert events[0] == (48_000, pytest.approx(QUARANTINE_S + refused * 0.01, abs=0.01))
    assert events[1] == (0, 480, 480)
    assert feed.send(960, 2) == [(480, 960, 480)]


class Line(RuleBasedStateMachine):
    """A producer that restarts, and a line that drops, repeats, delays and spoils its messages.

    The model is the truth itself: what each accepted sample's number was. Within a run the blocks and losses tile the
    axis, a block's samples are those that belong at its place, and nothing comes twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sequence = Sequence(MONO)
        self.now_ns, self.seq, self.first = 0, 0, 0
        self.sent: list[tuple[int, int, int]] = []
        self.at, self.base = 0, None
        self.taken = self.repeats = self.refused = self.tried = 0
        self.lost_here = self.spoiled = False

    def deliver(self, first: int, count: int, seq: int) -> None:
        self.tried += 1
        try:
            events = self.sequence.accept(check(*floats(first, count, seq)), self.now_ns)
        except Refused:
            self.refused += 1
            return
        self.repeats += not events
        for event in events:
            if isinstance(event, FormatChange):
                assert event.format == MONO and event.lost_s >= 0
                self.at, self.base = 0, None
            elif isinstance(event, Loss):
                assert event.first == self.at and event.count > 0
                assert event.cause == ("ingest_invalid" if self.spoiled else "ingest_seq_gap")
                assert self.lost_here, "a hole where nothing was lost"
                self.at += event.count
            else:
                assert isinstance(event, Block) and event.first == self.at and event.mono_ns == self.now_ns
                self.base = first - self.at if self.base is None else self.base
                np.testing.assert_array_equal(
                    event.samples[:, 0], np.arange(self.base + self.at, self.base + self.at + count)
                )
                self.at += count
                self.taken += 1
                self.spoiled = False
        if events:
            self.lost_here = False

    @rule(count=st.integers(1, 960), fate=st.sampled_from(["comes", "comes", "comes", "is lost", "is spoiled"]))
    def next_message(self, count, fate):
        self.now_ns += count * 1_000_000_000 // 48_000
        first, seq = self.first, self.seq
        self.first, self.seq = first + count, seq + 1
        if fate == "comes":
            if seq:  # message 0 again may be a restart: see the examples above
                self.sent = [*self.sent[-20:], (first, count, seq)]
            self.deliver(first, count, seq)
        else:
            self.lost_here = True
            if fate == "is spoiled" and self.taken:
                self.sequence.refuse()
                self.spoiled = True

    @precondition(lambda self: self.sent and not self.sequence.starved(self.now_ns))
    @rule(choice=st.integers(0, 20))
    def repeat(self, choice):
        before = self.taken
        self.deliver(*self.sent[choice % len(self.sent)])
        assert self.taken == before, "sound that was heard before"

    @precondition(lambda self: self.taken)
    @rule(silent_s=st.floats(0.0, 1.9))
    def restart(self, silent_s):
        self.now_ns += round(silent_s * 1e9)
        self.seq = self.first = 0
        self.sent = []
        self.now_ns += 200 * MS
        self.next_message(480, "comes")
        self.lost_here = False

    @rule(silent_s=st.floats(0.0, 1.5))
    def pause(self, silent_s):
        self.now_ns += round(silent_s * 1e9)

    @invariant()
    def every_message_is_counted(self):
        counted = self.sequence.counters
        assert (counted["ingest_accepted"], counted["ingest_duplicates"]) == (self.taken, self.repeats)
        assert self.taken + self.repeats + self.refused == self.tried


TestLine = Line.TestCase
TestLine.settings = settings(stateful_step_count=40)
