import numpy as np
import pytest
from hypothesis import given

from natd.errors import WireError
from natd.packer import Packer
from natd.unpacker import Decoder
from natd.wire import Frame, Gap, Gloss, Layer, State, StreamEnd, decode, encode
from tests.streams import INPUT, LAYERS, Story, Teller, header, stories

RLE = Layer("S0", "semantic", "", 512, 1, "rle")
DENSE = Layer("A0", "acoustic", "", 1024)
A, B, C = [[1], [5]], [[1], [6]], [[2], [6]]


def packer(interval_s: float = 5.0, glossary: dict[str, dict[int, str]] | None = None) -> Packer:
    return Packer([RLE, DENSE], 24000, 1920, interval_s, glossary)


def test_a_stream_in_full():
    """Every field of every event of a small stream, written down by hand."""
    pack = packer(0.24, {"S0": {1: "one", 2: "two"}, "A0": {6: "six"}})
    events = pack.frame(0, A, 4.1)
    events += pack.frame(1, A)
    events += pack.frame(2, B)
    events += pack.frame(3, B)
    events += pack.gap(4, 2, "xrun", 100.5)
    events += pack.frame(6, B)
    events += pack.format(INPUT)
    events += pack.frame(7, C)
    events += pack.end("eof", {"x": 1})
    assert b"".join(map(encode, events)).decode().splitlines() == [
        '{"event":"gloss","seq":0,"codes":{"S0":{"1":"one"}}}',
        '{"event":"frame","seq":1,"fi":0,"ts":0.0,"kf":true,"S":[1],"A":[5],"lat":4.1}',
        '{"event":"frame","seq":2,"fi":1,"ts":80.0,"A":[5]}',
        '{"event":"gloss","seq":3,"codes":{"A0":{"6":"six"}}}',
        '{"event":"frame","seq":4,"fi":2,"ts":160.0,"A":[6]}',
        '{"event":"frame","seq":5,"fi":3,"ts":240.0,"kf":true,"S":[1],"A":[6]}',
        '{"event":"gap","seq":6,"fi":4,"frames":2,"samples":3840,"cause":"xrun","lost_ms":100.5}',
        '{"event":"frame","seq":7,"fi":6,"ts":480.0,"kf":true,"S":[1],"A":[6]}',
        '{"event":"format","seq":8,"input":{"source":"device","name":"hw:1","rate":48000,"channels":2,'
        '"resampler":"soxr-hq","delay_ms":1.2}}',
        '{"event":"gloss","seq":9,"codes":{"S0":{"2":"two"}}}',
        '{"event":"frame","seq":10,"fi":7,"ts":560.0,"kf":true,"S":[2],"A":[6]}',
        '{"event":"end","seq":11,"reason":"eof","frames":6,"gaps":2,"stats":{"x":1}}',
    ]
    assert (pack.seq, pack.fi) == (11, 7)


@given(stories())
def test_decoding_gives_every_code_back(story: Story):
    """First law: decode(encode(x)) == x for any codes and any choice of rle and dense."""
    decoder, got = Decoder(), {}
    for line in story.lines:
        full = decoder.feed(decode(line))
        if full is not None:
            got[full.fi] = full.codes
    assert got == story.codes


@given(stories())
def test_frames_and_gaps_add_up_to_the_length(story: Story):
    """Third law: they tile the axis from 0, in order, and `seq` counts every event."""
    at = 0
    for n, event in enumerate(story.events):
        assert event.seq == n
        if isinstance(event, Frame | Gap):
            assert event.fi == at
            at += event.frames if isinstance(event, Gap) else 1
        if isinstance(event, Gap):
            assert event.samples == event.frames * story.header.frame_samples
        if isinstance(event, Frame):
            assert event.ts == pytest.approx(event.fi * story.header.frame_samples * 1000 / story.header.sr, abs=0.0005)
    frames = sum(isinstance(e, Frame) for e in story.events)
    assert at == frames + sum(e.frames for e in story.events if isinstance(e, Gap))
    for end in story.events:
        if isinstance(end, StreamEnd):
            assert (end.frames, end.frames + end.gaps) == (frames, at)


@given(stories())
def test_keyframes_are_there_when_they_must_be(story: Story):
    most = max(1.0, story.header.keyframe_interval_s * story.header.sr / story.header.frame_samples)
    due, last = True, 0
    for event in story.events:
        if isinstance(event, Frame):
            if due or event.kf:
                assert event.kf and None not in event.S + event.A
                due, last = False, event.fi
            assert event.fi - last < most + 1e-6
        elif not isinstance(event, Gloss):
            due = True


@given(stories())
def test_a_code_is_glossed_once_and_before_its_first_frame(story: Story):
    decoder, glossed = Decoder(), {}
    decoder.feed(story.header)
    used: set[tuple[str, int]] = set()
    for event in story.events:
        if isinstance(event, Gloss):
            for name, words in event.codes.items():
                for code, phrase in words.items():
                    assert (name, int(code)) not in used and (name, code) not in glossed
                    assert phrase == f"{name} {code}"
                    glossed[name, code] = phrase
        full = decoder.feed(event)
        for layer, codes in zip(story.header.layers, full.codes if full else (), strict=False):
            used |= {(layer.name, code) for code in codes}
    with_words = {name for name, _ in glossed}
    assert {(name, code) for name, code in used if name in with_words and code < 2} == {
        (name, int(code)) for name, code in glossed
    }


@given(stories())
def test_its_state_is_the_readers(story: Story):
    decoder = Decoder()
    decoder.feed(story.header)
    for n, event in enumerate(story.events, start=1):
        decoder.feed(event)
        if n in story.states:
            assert decoder.state() == story.states[n]


def test_a_requested_keyframe_is_the_next_frame_only():
    pack = packer()
    pack.frame(0, A)
    pack.request_keyframe()
    assert [pack.frame(fi, A)[-1].kf for fi in (1, 2)] == [True, False]


def test_a_request_waits_for_a_frame():
    pack = packer()
    pack.frame(0, A)
    pack.request_keyframe()
    pack.gap(1, 1, "xrun")
    assert [pack.frame(fi, A)[-1].kf for fi in (2, 3)] == [True, False]


@pytest.mark.parametrize(
    ("interval_s", "keyframes"),
    [(0.001, [0, 1, 2, 3, 4, 5, 6]), (0.16, [0, 2, 4, 6]), (0.24, [0, 3, 6]), (0.3, [0, 3, 6]), (9.0, [0])],
)
def test_keyframes_come_no_farther_apart_than_the_interval(interval_s: float, keyframes: list[int]):
    pack = packer(interval_s)
    assert [fi for fi in range(7) if pack.frame(fi, A)[-1].kf] == keyframes


def test_only_rle_layers_hold():
    pack = packer()
    pack.frame(0, A)
    frame = pack.frame(1, A)[0]
    assert (frame.S, frame.A) == ((None,), (5,))


def test_a_layer_of_several_codes_holds_as_a_whole():
    pack = Packer([Layer("S0", "semantic", "", 9, 2, "rle")], 24000, 1920)
    rows = [pack.frame(fi, [codes])[-1].S for fi, codes in enumerate([(1, 2), (1, 2), (1, 3), (1, 3)])]
    assert rows == [([1, 2],), (None,), ([1, 3],), (None,)]


def test_before_the_first_frame_no_code_holds():
    pack = packer()
    assert pack.state() == State(-1, -1)
    assert (pack.seq, pack.fi) == (-1, -1)


def test_after_a_gap_no_code_holds():
    pack = packer()
    pack.frame(0, A)
    assert (pack.state().S, pack.state().A) == ((1,), (5,))
    pack.gap(1, 3, "overrun")
    assert pack.state() == State(1, 3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.frame(2, A), "frame 2 after frame 0"),
        (lambda p: p.frame(0, A), "frame 0 after frame 0"),
        (lambda p: p.gap(2, 1, "xrun"), "frame 2 after frame 0"),
        (lambda p: p.gap(1, 0, "xrun"), "a gap of 0 frames"),
        (lambda p: p.gap(1, -3, "xrun"), "a gap of -3 frames"),
        (lambda p: p.gap(1, 1, "boredom"), "boredom"),
        (lambda p: p.end("done", {}), "done"),
        (lambda p: p.frame(1, [[1]]), "codes of 1 layers; the header names 2"),
        (lambda p: p.frame(1, [[1], [5], [6]]), "codes of 3 layers"),
        (lambda p: p.frame(1, [[1], []]), "0 codes in A0"),
        (lambda p: p.frame(1, [[1, 2], [5]]), "2 codes in S0"),
        (lambda p: p.frame(1, [[512], [5]]), "S0 holds .* below 512"),
        (lambda p: p.frame(1, [[-1], [5]]), "S0 holds"),
        (lambda p: p.frame(1, [[1.0], [5]]), "S0 holds"),
        (lambda p: p.frame(1, np.array(A)), "S0 holds"),
    ],
)
def test_what_would_break_the_stream_is_refused_and_changes_nothing(call, says: str):
    pack = packer()
    pack.frame(0, A)
    before = pack.state()
    with pytest.raises(WireError, match=says):
        call(pack)
    assert pack.state() == before
    assert [type(e) for e in pack.frame(1, B)] == [Frame]


def test_nothing_follows_the_end():
    for call in (
        lambda p: p.frame(0, A),
        lambda p: p.gap(0, 1, "xrun"),
        lambda p: p.format(INPUT),
        lambda p: p.end("eof", {}),
    ):
        pack = packer()
        pack.end("eof", {})
        with pytest.raises(WireError, match="ended"):
            call(pack)


def test_a_state_is_not_changed_by_what_comes_after():
    teller = Teller(header(LAYERS), {"S0": {0: "a", 1: "b"}})
    teller.frame([[0], [0], [0], [0, 0]])
    before = teller.packer.state()
    copy = State(before.seq, before.fi, before.S, before.A, {k: dict(v) for k, v in before.codes.items()})
    teller.frame([[1], [1], [1], [1, 1]])
    assert before == copy


def test_held_codes_make_a_slow_stream_smaller():
    """Where nothing changes, rle must pay: measured, not assumed."""
    still = [RLE, Layer("A0", "acoustic", "", 1024, 1, "rle")]
    sizes = []
    for layers in (still, [Layer(x.name, x.type, x.about, x.vocab) for x in still]):
        pack = Packer(layers, 24000, 1920)
        sizes.append(sum(len(encode(e)) for fi in range(100) for e in pack.frame(fi, A)))
    assert sizes[0] < sizes[1]
