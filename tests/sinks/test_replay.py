from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.sinks.replay import StreamLog
from natd.tiling import TilingChecker
from natd.unpacker import Decoder
from natd.wire import ErrorEvent, Frame, Gap, StreamEnd, decode, encode
from tests.streams import Story, header, heartbeat, simple, stories


def filled(story: Story, window_s: float = 1e9, max_bytes: int = 1 << 30) -> StreamLog:
    log = StreamLog(window_s, max_bytes)
    for event, line in zip([story.header, *story.events], story.lines, strict=True):
        log.append(event, line)
    return log


def names(lines: list[bytes]) -> list[str]:
    return [orjson.loads(line)["event"] for line in lines]


@given(stories(), st.data())
def test_every_question_has_the_right_answer(story: Story, data):
    """The events from `from_seq` on, byte for byte; or a reset with its reason, and the snapshot."""
    window_s = data.draw(st.sampled_from([0.0, 0.05, 0.2, 1e9]))
    log = filled(story, window_s, data.draw(st.sampled_from([0, 200, 2000, 1 << 30])))
    epoch = data.draw(st.sampled_from(["e0", "e0", "e0", "e1", ""]))
    from_seq = data.draw(st.integers(-3, len(story.events) + 3) | st.sampled_from([-(2**63), 2**63, 2**64]))
    answer = log.since(epoch, from_seq)
    if epoch == "e0" and log.oldest_seq <= from_seq <= len(story.events):
        assert answer == [encode(event) for event in story.events[from_seq:]]
        return
    reason = "epoch" if epoch != "e0" else "future" if from_seq > len(story.events) else "too_old"
    assert orjson.loads(answer[0]) == {"event": "reset", "reason": reason, "oldest_seq": log.oldest_seq}
    assert answer[1:] == log.snapshot()


@given(stories(), st.sampled_from([0.0, 0.05, 0.2, 1e9]), st.sampled_from([0, 150, 600, 1 << 30]))
def test_what_is_kept_is_bounded_and_no_less_than_promised(story: Story, window_s: float, max_bytes: int):
    log = filled(story, window_s, max_bytes)
    kept = story.events[log.oldest_seq :]
    assert sum(len(encode(e)) for e in kept) <= max_bytes
    assert log.dropped == len(story.events) - len(kept)
    if log.dropped:  # one more would have been too many
        extra = story.events[log.oldest_seq - 1 :]
        frame_s = story.header.frame_samples / story.header.sr
        end = next(
            (e.fi + getattr(e, "frames", 1) for e in reversed(story.events[: log.oldest_seq]) if hasattr(e, "fi")), 0
        )
        too_old = end * frame_s < (log.last_fi + 1) * frame_s - window_s + 1e-9
        assert too_old or sum(len(encode(e)) for e in extra) > max_bytes


@given(stories(), st.data())
def test_a_joiner_goes_on_from_any_snapshot(story: Story, data):
    """Header, state, then the live events: every code is there and nothing is missing."""
    at = data.draw(st.integers(0, len(story.events)))
    log = StreamLog()
    for event, line in list(zip([story.header, *story.events], story.lines, strict=True))[: at + 1]:
        log.append(event, line)
    joined, codes = TilingChecker(), {}
    for line in [*log.snapshot(), *story.lines[at + 1 :]]:
        full = joined.feed_line(line)
        if full is not None:
            codes[full.fi] = full.codes
    assert joined.faults == []
    assert codes == {fi: row for fi, row in story.codes.items() if fi > log.last_fi}
    assert log.last_seq == at - 1


def test_the_snapshot_of_an_ended_stream_ends():
    story = simple(20)
    log = filled(story)
    assert names(log.snapshot()) == ["header", "state", "end"]
    assert log.snapshot()[2] == story.lines[-1]
    checker = TilingChecker()
    for line in log.snapshot():
        checker.feed_line(line)
    assert checker.faults == [] and checker.decoder.ended
    assert log.since("e0", log.last_seq) == [story.lines[-1]]


def test_before_a_header_there_is_nothing_to_join():
    log = StreamLog()
    frame = simple(1).events[-2]
    log.append(frame, encode(frame))
    assert (log.snapshot(), log.epoch, log.last_seq, log.last_fi) == ([], None, -1, -1)
    assert names(log.since("e0", 0)) == ["reset"]


def test_after_the_header_a_joiner_gets_an_empty_state():
    log = StreamLog()
    log.append(header(), encode(header()))
    assert log.snapshot() == [encode(header()), b'{"event":"state","seq":-1,"fi":-1,"codes":{}}\n']
    assert log.since("e0", 0) == []
    assert orjson.loads(log.since("e0", 1)[0])["reason"] == "future"


def test_a_new_epoch_begins_afresh():
    story = simple(20)
    log = filled(story)
    second = replace(story.header, epoch="e1")
    log.append(second, encode(second))
    assert (log.epoch, log.last_seq, log.last_fi, log.oldest_seq) == ("e1", -1, -1, 0)
    assert names(log.since("e0", 5)) == ["reset", "header", "state"]
    assert names(log.snapshot()) == ["header", "state"]
    for event in story.events:
        log.append(event, encode(event))
    assert log.since("e1", 0) == story.lines[1:]


def test_the_same_header_again_keeps_what_was_said():
    story = simple(20, ended=False)
    log = filled(story)
    log.append(story.header, story.lines[0])
    assert log.since("e0", 0) == story.lines[1:]


def test_heartbeats_and_the_like_are_not_kept():
    story = simple(5, ended=False)
    log = filled(story)
    snapshot = log.snapshot()
    for event in (heartbeat(5, 4), ErrorEvent("a", "b")):
        log.append(event, encode(event))
    assert (log.snapshot(), log.since("e0", 0)) == (snapshot, story.lines[1:])


@pytest.mark.parametrize(("window_s", "oldest_fi"), [(0.0, 99), (0.08, 98), (1.0, 87), (7.99, 0)])
def test_the_window_is_sample_time(window_s: float, oldest_fi: int):
    log = filled(simple(100, ended=False), window_s=window_s)
    oldest = decode(log.since("e0", log.oldest_seq)[0])
    assert getattr(oldest, "fi", 0) == oldest_fi


def test_a_long_gap_ages_what_came_before():
    story = simple(10, ended=False)
    log = filled(story, window_s=60.0)
    gap = Gap(len(story.events), 10, 1000, 1_920_000, "device_lost", 80_000.0)
    log.append(gap, encode(gap))
    assert log.since("e0", log.last_seq) == [encode(gap)]
    assert log.oldest_seq == log.last_seq and log.last_fi == 1009


def test_the_state_is_that_of_a_reader():
    story = simple(30, ended=False)
    log, reader = filled(story), Decoder()
    for line in story.lines:
        reader.feed(decode(line))
    assert decode(log.snapshot()[1]) == reader.state()
    assert isinstance(story.events[-1], Frame) and not isinstance(story.events[-1], StreamEnd)
