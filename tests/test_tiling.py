import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from natd.tiling import MAX_FAULTS, TilingChecker
from natd.unpacker import Decoder
from natd.wire import ErrorEvent, Event, Frame, Gap, Gloss, Header, Reset, Sequenced, State, StreamEnd, encode
from tests.streams import Story, Teller, header, heartbeat, simple, stories


def checked(events: list[Event], start_fi: int | None = 0) -> TilingChecker:
    checker = TilingChecker(start_fi)
    for event in events:
        checker.feed_line(encode(event))
    return checker


@given(stories())
def test_a_packed_stream_has_no_fault(story: Story):
    checker = checked([story.header, *story.events])
    assert checker.faults == []
    frames = sum(isinstance(e, Frame) for e in story.events)
    lost = sum(e.frames for e in story.events if isinstance(e, Gap))
    assert (checker.counts["frames"], checker.counts["gap_frames"]) == (frames, lost)
    assert checker.length == frames + lost
    assert checker.counts["keyframes"] == sum(e.kf for e in story.events if isinstance(e, Frame))
    assert checker.decoder.ended == any(isinstance(e, StreamEnd) for e in story.events)


@given(stories(), st.data())
def test_a_stream_joined_anywhere_has_no_fault(story: Story, data):
    at = data.draw(st.integers(0, len(story.events)))
    before = Decoder()
    for event in [story.header, *story.events[:at]]:
        before.feed(event)
    assert checked([story.header, before.state(), *story.events[at:]]).faults == []


@given(stories(), st.data())
def test_any_lost_event_is_found(story: Story, data):
    """All but a loss that lasts to the end of what came: that one only a heartbeat tells."""
    assume(story.events)
    first = data.draw(st.integers(0, len(story.events) - 1))
    last = data.draw(st.integers(first + 1, len(story.events)))
    checker = checked([story.header, *story.events[:first], *story.events[last:]])
    if last == len(story.events):
        assert checker.faults == []
        checker.feed(heartbeat(len(story.events) - 1, 0))
    assert checker.faults


@given(stories(), st.data())
def test_any_two_events_in_the_wrong_order_are_found(story: Story, data):
    assume(len(story.events) > 1)
    at = data.draw(st.integers(0, len(story.events) - 2))
    events = list(story.events)
    events[at], events[at + 1] = events[at + 1], events[at]
    assert checked([story.header, *events]).faults


@given(stories(), st.data())
def test_any_doubled_event_is_found(story: Story, data):
    assume(story.events)
    at = data.draw(st.integers(0, len(story.events) - 1))
    assert checked([story.header, *story.events[: at + 1], *story.events[at:]]).faults


@given(stories(), st.data())
def test_silently_lost_frames_are_found(story: Story, data):
    """The fault that a `seq` without holes would hide: frames are missing and no gap says so."""
    at = data.draw(st.integers(0, len(story.events)))
    shift = data.draw(st.sampled_from([-1, 1, 7]))
    ms = story.header.frame_samples * 1000 / story.header.sr
    moved: list[Event] = []
    for event in story.events[at:]:
        if isinstance(event, Frame) and event.fi + shift >= 0:
            event = replace(event, fi=event.fi + shift, ts=(event.fi + shift) * ms)
        elif isinstance(event, Gap) and event.fi + shift >= 0:
            event = replace(event, fi=event.fi + shift)
        moved.append(event)
    assume(any(isinstance(e, Frame | Gap) and e.fi + shift >= 0 for e in story.events[at:]))
    assert any("was due" in fault for fault in checked([story.header, *story.events[:at], *moved]).faults)


def story_of(*steps: str) -> Story:
    teller = Teller(header(keyframe_interval_s=0.4), {"S0": {1: "one"}})
    for i, step in enumerate(steps):
        if step == "gap":
            teller.gap(2, "xrun", 100.0)
        elif step == "format":
            teller.format()
        elif step == "end":
            teller.end()
        else:
            teller.frame([[i % 2], [0], [i], [i, i]])
    return teller.story


STORY = story_of("f", "f", "f", "gap", "f", "f", "format", "f", "f", "end")
# seq:             0    1  2 3    4      5  6     7         8   9   10


@pytest.mark.parametrize(
    ("kind", "nth", "change", "says"),
    [
        (Frame, 1, {"ts": 80.02}, "has ts 80.02; its samples begin at 80.000"),
        (Frame, 0, {"kf": False}, "frame 0 must be a keyframe"),
        (Frame, 3, {"kf": False}, "frame 5 must be a keyframe"),
        (Frame, 5, {"kf": False}, "frame 7 must be a keyframe"),
        (Frame, 1, {"A": (1, [1, 1024])}, "A1 is .* below 1024"),
        (Frame, 1, {"S": (1, 0, 0)}, "3 codes in S; the header names 2"),
        (Gap, 0, {"frames": 1}, "3840 samples in 1 frames"),
        (Gap, 0, {"samples": 3841}, "3841 samples in 2 frames"),
        (Gap, 0, {"lost_ms": 160.1}, "lost 160.1 ms, more than its 2 frames"),
        (Gap, 0, {"lost_ms": -1.0}, "lost -1.0 ms"),
        (Gloss, 0, {"codes": {"S0": {"0": "zero"}}}, "S0 0 was used before its gloss"),
        (StreamEnd, 0, {"frames": 6}, "the end counts 6 frames and 2 lost; the stream covers 9"),
        (StreamEnd, 0, {"frames": 6, "gaps": 3}, "the end counts 6 frames; 7 came"),
    ],
)
def test_each_fault_is_named(kind: type, nth: int, change: dict[str, object], says: str):
    events: list[Event] = list(STORY.events)
    at = [i for i, e in enumerate(events) if isinstance(e, kind)][nth]
    events[at] = replace(events[at], **change)
    faults = checked([STORY.header, *events]).faults
    assert any(re.search(says, fault) for fault in faults), faults


def test_the_story_without_a_fault():
    assert checked([STORY.header, *STORY.events]).faults == []


def test_missing_keyframes_are_found():
    story = simple(10, keyframe_interval_s=0.4)
    events = [replace(e, kf=False) if isinstance(e, Frame) and e.fi == 5 else e for e in story.events]
    assert checked([story.header, *events]).faults == [
        f"frame {fi}: no keyframe for {fi * 0.08:.3f} s" for fi in (6, 7, 8, 9)
    ]


def test_one_hole_is_one_fault():
    story = simple(200)
    checker = checked([story.header, *story.events[:10], *story.events[12:]])
    assert checker.faults == ["seq 12 where 10 was due", "a frame at frame 10 where 8 was due: a hole"]


def test_a_gloss_that_comes_twice_is_found():
    events = [STORY.header, Gloss(0, {"S0": {"3": "a"}}), Gloss(1, {"S0": {"3": "a"}})]
    assert checked(events).faults == ["S0 3 is glossed twice"]


def test_events_before_the_header_are_found():
    assert checked(list(STORY.events[:1])).faults == ["Frame before the header"]


def test_events_after_the_end_are_found():
    extra = Gap(len(STORY.events), 9, 1, 1920, "xrun")
    assert checked([STORY.header, *STORY.events, extra]).faults == [f"seq {extra.seq} comes after the end"]


def test_heartbeats_show_what_was_lost_at_the_end():
    checker = checked([STORY.header, *STORY.events[:4], heartbeat(3, 2)])
    assert checker.faults == [] and checker.counts["heartbeats"] == 1
    checker.feed(heartbeat(4, 4))
    checker.feed(heartbeat(3, 2, epoch="e9"))
    assert checker.faults == ["a heartbeat says seq 4; the last that came is 3", "a heartbeat of epoch e9 in epoch e0"]


def test_a_heartbeat_before_the_first_frame_is_right():
    assert checked([STORY.header, heartbeat(-1, -1)]).faults == []
    assert checked([STORY.header, heartbeat(0, 0)]).faults


def test_a_state_in_the_middle_must_be_what_its_stream_gives():
    for change, says in [
        ({}, None),
        ({"fi": 1}, "is not what its stream gives"),
        ({"S": (0, 1)}, "is not what its stream gives"),
        ({"codes": {}}, "is not what its stream gives"),
        ({"seq": 9}, "a state at seq 9 after seq 3"),
        ({"seq": 2}, "a state at seq 2 after seq 3"),
    ]:
        checker = checked([STORY.header, *STORY.events[:4], STORY.header])
        checker.feed(replace(checker.decoder.state(), **change))
        assert (says is None) == (checker.faults == []) and (says or "") in "".join(checker.faults)


def test_a_reset_is_a_fault():
    checker = checked([STORY.header, *STORY.events[:4], Reset("too_old", 80), STORY.header, State(90, 90)])
    assert checker.faults == ["a reset (too_old): events up to 80 were not delivered", "a state at seq 90 after seq 3"]


def test_several_epochs_each_start_at_zero():
    second: Header = replace(STORY.header, epoch="e1")
    checker = checked([STORY.header, *STORY.events, second, *STORY.events])
    assert (checker.faults, checker.counts["epochs"], checker.counts["frames"]) == ([], 2, 14)
    assert checked([STORY.header, *STORY.events[:3], second, *STORY.events[1:]]).faults


@pytest.mark.parametrize(("start_fi", "faults"), [(0, True), (5, False), (4, True), (None, False)])
def test_the_start_may_be_given(start_fi: int | None, faults: bool):
    rest = [e for e in STORY.events if isinstance(e, Sequenced) and e.seq >= 5]
    assert bool(checked([STORY.header, *rest], start_fi).faults) == faults


def test_lines_that_are_no_events():
    checker = checked([STORY.header, *STORY.events[:4]])
    checker.feed_line(b'{"event":"from_the_future"}\n')
    assert checker.counts["unknown"] == 1 and checker.faults == []
    checker.feed_line(b'{"event":"fra\n')
    checker.feed(ErrorEvent("a", "b"))
    assert checker.counts["faults"] == len(checker.faults) == 1 and "fra" in checker.faults[0]


def test_faults_are_all_counted_but_not_all_kept():
    checker = TilingChecker()
    for _ in range(3 * MAX_FAULTS):
        checker.feed_line(b"x")
    assert (checker.counts["faults"], len(checker.faults)) == (3 * MAX_FAULTS, MAX_FAULTS)
