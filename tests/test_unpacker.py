from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.errors import WireError
from natd.unpacker import Decoder, FullFrame
from natd.wire import ErrorEvent, Event, Frame, Gap, Layer, Reset, State, decode, encode
from tests.streams import Story, header, heartbeat, simple, stories

RLE = Layer("S0", "semantic", "", 512, 1, "rle")
DENSE = Layer("A0", "acoustic", "", 1024)
PAIR = Layer("A1", "acoustic", "", 1024, 2, "rle")
HEAD = header([RLE, DENSE, PAIR])
KEY = Frame(0, 0, 0.0, (1,), (5, [7, 8]), kf=True)


def decoded(events: list[Event], decoder: Decoder | None = None) -> dict[int, tuple[tuple[int, ...], ...]]:
    decoder = decoder or Decoder()
    fulls = [decoder.feed(decode(encode(event))) for event in events]
    return {full.fi: full.codes for full in fulls if full is not None}


@given(stories(), st.data())
def test_begun_at_any_state_it_agrees_with_the_start(story: Story, data):
    """Second law, for joiners: header + state + the rest."""
    at = data.draw(st.integers(0, len(story.events)))
    before = Decoder()
    decoded([story.header, *story.events[:at]], before)
    joined = Decoder()
    got = decoded([story.header, before.state(), *story.events[at:]], joined)
    last = before.fi if before.fi is not None else -1
    assert got == {fi: codes for fi, codes in story.codes.items() if fi > last}
    assert (joined.skipped, joined.missing, joined.repeats) == (0, 0, 0)
    decoded(story.events[at:], before)
    assert joined.state() == before.state()


@given(stories(), st.data())
def test_begun_at_any_event_it_agrees_from_the_next_keyframe(story: Story, data):
    """Second law, for those who open a stream in the middle."""
    at = data.draw(st.integers(0, len(story.events)))
    decoder = Decoder()
    got = decoded([story.header, *story.events[at:]], decoder)
    assert all(story.codes[fi] == codes for fi, codes in got.items())
    rest = [e for e in story.events[at:] if isinstance(e, Frame)]
    key = next((e.fi for e in rest if e.kf), None)
    assert {e.fi for e in rest if key is not None and e.fi >= key} <= set(got)
    assert len(got) + decoder.skipped == len(rest)


@given(stories(), st.data())
def test_after_lost_events_no_code_is_guessed(story: Story, data):
    first = data.draw(st.integers(0, len(story.events)))
    last = data.draw(st.integers(first, len(story.events)))
    decoder = Decoder()
    got = decoded([story.header, *story.events[:first], *story.events[last:]], decoder)
    assert all(story.codes[fi] == codes for fi, codes in got.items())
    if 0 < first < last < len(story.events):
        assert decoder.hole == (first, last - 1) and decoder.missing == last - first
    else:
        assert decoder.hole is None and decoder.missing == 0


@given(stories(), st.data())
def test_events_that_come_twice_change_nothing(story: Story, data):
    """A replay may overlap what has already come."""
    at = data.draw(st.integers(0, len(story.events)))
    back = data.draw(st.integers(0, at))
    decoder = Decoder()
    got = decoded([story.header, *story.events[:at], *story.events[back:]], decoder)
    assert got == story.codes
    assert (decoder.repeats, decoder.missing) == (at - back, 0)


def test_a_frame_is_filled_in_per_layer():
    decoder = Decoder()
    decoder.feed(HEAD)
    assert decoder.feed(KEY) == FullFrame(0, 0, 0.0, ((1,), (5,), (7, 8)))
    full = decoder.feed(Frame(1, 1, 80.0, (), (6, None), lat=2.5))
    assert full == FullFrame(1, 1, 80.0, ((1,), (6,), (7, 8)), 2.5)


def test_a_frame_without_held_codes_is_a_start():
    decoder = Decoder()
    decoder.feed(HEAD)
    assert decoder.feed(Frame(4, 9, 720.0, (), (6, None))) is None
    assert decoder.feed(Frame(5, 10, 800.0, (1,), (6, [1, 2]))) is not None
    assert (decoder.skipped, decoder.missing, decoder.started) == (1, 0, True)


def test_a_gap_ends_what_was_held():
    decoder = Decoder()
    decoded([HEAD, KEY, Gap(1, 1, 3, 5760, "xrun")], decoder)
    assert not decoder.started and decoder.fi == 3
    assert decoder.feed(Frame(2, 4, 320.0, (), (6, None))) is None


def test_frames_before_a_header_are_skipped():
    decoder = Decoder()
    assert decoder.feed(KEY) is None and decoder.skipped == 1
    assert decoder.state() == State(0, 0)


def test_what_is_not_part_of_the_stream_is_passed_over():
    decoder = Decoder()
    events = [HEAD, KEY, heartbeat(99, 99), Reset("epoch", 4), ErrorEvent("a", "b")]
    assert decoded(events, decoder) == {0: ((1,), (5,), (7, 8))}
    assert (decoder.seq, decoder.missing) == (0, 0)


def test_a_new_epoch_starts_afresh():
    story = simple(3)
    decoder = Decoder()
    decoded([story.header, *story.events], decoder)
    assert decoder.glosses and decoder.ended
    decoder.feed(replace(story.header, epoch="e1"))
    assert (decoder.seq, decoder.fi, decoder.glosses, decoder.started, decoder.ended) == (None, None, {}, False, False)
    assert decoded(story.events, decoder) == story.codes


def test_the_same_header_again_changes_nothing():
    decoder = Decoder()
    assert 1 in decoded([HEAD, KEY, HEAD, Frame(1, 1, 80.0, (), (6, None))], decoder)
    with pytest.raises(WireError, match="layers changed within epoch e0"):
        decoder.feed(header([RLE, DENSE]))


def test_a_state_ahead_is_a_hole_and_an_old_one_is_ignored():
    decoder = Decoder()
    decoded([HEAD, KEY], decoder)
    decoder.feed(State(5, 9, (3,), (4, [1, 1])))
    assert (decoder.hole, decoder.missing, decoder.seq, decoder.fi) == ((1, 5), 5, 5, 9)
    decoder.feed(State(2, 3, (9,), (9, [9, 9])))
    assert decoder.state() == State(5, 9, (3,), (4, [1, 1]))
    assert decoder.feed(Frame(6, 10, 800.0, (), (8, None))).codes == ((3,), (8,), (1, 1))


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (Frame(0, 0, 0.0, (1, 2), (5, [7, 8])), "2 codes in S; the header names 1"),
        (Frame(0, 0, 0.0, (1,), (5,)), "1 codes in A; the header names 2"),
        (Frame(0, 0, 0.0, (512,), (5, [7, 8])), "S0 is 512; its codes are below 512"),
        (Frame(0, 0, 0.0, (1,), (5, [7, 1024])), "A1 is .* below 1024"),
        (Frame(0, 0, 0.0, ([1],), (5, [7, 8])), "S0 is .* 1 codes per frame"),
        (Frame(0, 0, 0.0, (1,), (5, 7)), "A1 is 7; the header says 2"),
        (Frame(0, 0, 0.0, (1,), (5, [7, 8, 9])), "A1 is .* 2 codes per frame"),
        (Frame(0, 0, 0.0, (1,), (5, [])), "A1 is"),
        (State(0, 0, (1,)), "leaves out codes"),
        (State(0, 0, (1,), (5, 6)), "A1 is 6"),
    ],
)
def test_what_contradicts_the_header_is_an_error(event: Event, says: str):
    decoder = Decoder()
    decoder.feed(HEAD)
    with pytest.raises(WireError, match=says):
        decoder.feed(event)


def test_a_state_does_not_borrow_codes_from_before():
    decoder = Decoder()
    decoded([HEAD, KEY], decoder)
    with pytest.raises(WireError, match="leaves out"):
        decoder.feed(State(5, 9, (3,)))


def test_held_codes_are_not_carried_over_a_hole():
    """The lost frame changed S0; the next one holds it."""
    decoder = Decoder()
    decoded([HEAD, KEY], decoder)
    assert decoder.feed(Frame(2, 2, 160.0, (None,), (6, [1, 1]))) is None
    assert (decoder.hole, decoder.skipped, decoder.started) == ((1, 1), 1, False)
    full = decoder.feed(Frame(3, 3, 240.0, (4,), (6, [1, 1]), kf=True))
    assert full is not None and full.codes == ((4,), (6,), (1, 1))
