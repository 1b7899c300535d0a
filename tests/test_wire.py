import json
from dataclasses import fields, replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.errors import WireError
from natd.wire import (
    MAX_LINE,
    NAMES,
    ErrorEvent,
    Event,
    FormatEvent,
    Frame,
    Gap,
    Gloss,
    Layer,
    Reset,
    State,
    Stats,
    StreamEnd,
    decode,
    encode,
)
from tests.schema import SCHEMA
from tests.streams import INPUT, header, heartbeat, sent, simple, stories

WINDOW = {"capture": {"p50": 1.5, "p99": None, "max": None}}
HEADER = header([Layer("S0", "semantic", "scene", 512, 1, "rle")])
LINES: list[tuple[Event, bytes]] = [
    (
        HEADER,
        b'{"event":"header","schema":"lam_audio_tokens","format_version":"2.0","stream":"stage","epoch":"e0",'
        b'"tokenizer":{"name":"ears","version":"1","codebook_id":"sha256:00","causal":true,"lookahead_ms":0.0,'
        b'"dtype":"float32","batch_invariant":true},"sr":24000,"frame_samples":1920,"frame_ms":80.0,'
        b'"frames_per_second":12.5,"time_units":"ms","input":{"source":"device","name":"hw:1","rate":48000,"channels":2,'
        b'"resampler":"soxr-hq","delay_ms":1.2},"clock":{"t0_unix_ns":1700000000000000000,"t0_mono_ns":12345},'
        b'"layers":[{"name":"S0","type":"semantic","about":"scene","vocab":512,"per_frame":1,"encoding":"rle"}],'
        b'"keyframe_interval_s":5.0,"legend":{}}\n',
    ),
    (Frame(0, 0, 0.0, (1,), (3,), kf=True), b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"kf":true,"S":[1],"A":[3]}\n'),
    (
        Frame(812, 811, 64880.0, (None, 37), ([9, 8], 227), lat=4.1),
        b'{"event":"frame","seq":812,"fi":811,"ts":64880.0,"S":[null,37],"A":[[9,8],227],"lat":4.1}\n',
    ),
    (Frame(1, 7, 81.27), b'{"event":"frame","seq":1,"fi":7,"ts":81.27}\n'),
    (
        Gap(813, 812, 6, 11520, "device_lost", 450.5),
        b'{"event":"gap","seq":813,"fi":812,"frames":6,"samples":11520,"cause":"device_lost","lost_ms":450.5}\n',
    ),
    (
        Gap(0, 0, 1, 1920, "epoch_start"),
        b'{"event":"gap","seq":0,"fi":0,"frames":1,"samples":1920,"cause":"epoch_start","lost_ms":null}\n',
    ),
    (Gloss(3, {"S1": {"37": "A minor"}}), b'{"event":"gloss","seq":3,"codes":{"S1":{"37":"A minor"}}}\n'),
    (
        FormatEvent(4, INPUT),
        b'{"event":"format","seq":4,"input":{"source":"device","name":"hw:1","rate":48000,"channels":2,'
        b'"resampler":"soxr-hq","delay_ms":1.2}}\n',
    ),
    (
        heartbeat(813, 817),
        b'{"event":"hb","epoch":"e0","last_seq":813,"last_fi":817,"state":"live","mono_ns":1,"unix_ns":2,'
        b'"drift_ppm":null,"counters":{"frames":3},"level_dbfs":{"peak":-3.0,"rms":-20.5}}\n',
    ),
    (
        Stats(10.0, WINDOW, 0.012, 100.0, 900.5, 0, 0),
        b'{"event":"stats","window_s":10.0,"latency_ms":{"capture":{"p50":1.5,"p99":null,"max":null}},"rtf":0.012,'
        b'"tokens_per_second":100.0,"bits_per_second":900.5,"dropped":0,"xruns":0}\n',
    ),
    (State(-1, -1), b'{"event":"state","seq":-1,"fi":-1,"codes":{}}\n'),
    (
        State(813, 817, (112, [5, 6]), (928,), {"S0": {"112": "applause"}}),
        b'{"event":"state","seq":813,"fi":817,"S":[112,[5,6]],"A":[928],"codes":{"S0":{"112":"applause"}}}\n',
    ),
    (
        StreamEnd(9, "eof", 7, 2, {"seconds": 0.72}),
        b'{"event":"end","seq":9,"reason":"eof","frames":7,"gaps":2,"stats":{"seconds":0.72}}\n',
    ),
    (Reset("too_old", 17), b'{"event":"reset","reason":"too_old","oldest_seq":17}\n'),
    (ErrorEvent("bad_op", "what?"), b'{"event":"error","code":"bad_op","message":"what?"}\n'),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda x: NAMES.get(type(x), ""))
def test_each_event_has_exactly_these_bytes_and_comes_back(event: Event, line: bytes):
    assert encode(event) == line
    assert decode(line) == event


def test_every_event_is_among_the_lines():
    assert {type(event) for event, _ in LINES} == set(NAMES)


@given(stories())
def test_decode_of_encode_is_the_event(story):
    for event in [story.header, *story.events]:
        line = encode(event)
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        assert decode(line) == decode(line[:-1]) == sent(event)
        assert encode(decode(line)) == line
        json.loads(line, parse_constant=pytest.fail)


def test_times_have_three_digits():
    assert b'"ts":11.61,"lat":1.235' in encode(Frame(0, 1, 11.609977, lat=1.23456))


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (Frame(0, 0, float("nan")), "nan is not a JSON number"),
        (Frame(0, 0, 0.0, lat=float("inf")), "inf"),
        (Frame(0, 0, 0.0, (np.int64(1),)), "int64"),
        (Frame(0, 0, 0.0, (), ([1, np.int32(1)],)), "int32"),
        (Frame(0, 0, 0.0, (True,)), "bool"),
        (Frame(0, 0, 0.0, (1.0,)), "float"),
        (Frame(0, 0, 0.0, (-1,)), "-1"),
        (Frame(0, 0, 0.0, (2**31,)), "not a code"),
        (Frame(np.int64(0), 0, 0.0), "numpy.int64"),
        (Frame(0, 0, 0.0, (1, None), kf=True), "null"),
        (State(0, 0, (1, None)), "null"),
        (StreamEnd(0, "eof", 0, 0, {"deep": [{"x": float("-inf")}]}), "-inf"),
        (StreamEnd(0, "eof", 0, 0, {1: 2}), "str"),
        (Stats(10.0, {"a": {"p50": float("nan")}}, None, 0.0, 0.0, 0, 0), "nan"),
        (replace(HEADER, input=replace(INPUT, delay_ms=float("nan"))), "nan"),
        (ErrorEvent("\ud800", ""), "UTF-8"),
    ],
)
def test_what_json_cannot_carry_is_refused(event: Event, says: str):
    with pytest.raises(WireError, match=says):
        encode(event)


def test_an_event_that_is_its_own_part_is_refused():
    stats: dict[str, object] = {}
    stats["stats"] = stats
    with pytest.raises(WireError, match="end cannot be written"):
        encode(StreamEnd(0, "eof", 0, 0, stats))


@pytest.mark.parametrize("line", [b'{"event":"bye","at":[1,{}]}\n', b'{"event":"Frame"}', b'{"event":""}'])
def test_an_unknown_event_is_skipped(line: bytes):
    assert decode(line) is None


def test_unknown_fields_are_skipped():
    assert decode(b'{"new":{"a":[null]},"event":"reset","reason":"epoch","oldest_seq":4,"x":1}') == Reset("epoch", 4)


FRAME = b'{"event":"frame","seq":1,"fi":0,"ts":0.0'


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"[]",
        b"null",
        b'"frame"',
        b"{}",
        b'{"event":1}',
        b'{"event":null}',
        b'{"event":"frame"}',
        FRAME,
        FRAME + b"}{}",
        FRAME + b"}\n" + FRAME + b"}",
        FRAME + b',"S":[NaN]}',
        FRAME + b',"S":[-1]}',
        FRAME + b',"S":[1.5]}',
        FRAME + b',"S":["1"]}',
        FRAME + b',"S":[true]}',
        FRAME + b',"S":[2147483648]}',
        FRAME + b',"S":[[1,null]]}',
        FRAME + b',"S":{"0":1}}',
        FRAME + b',"S":7}',
        FRAME + b',"S":[' + b"1," * 100 + b"1]}",
        FRAME + b',"S":' + b"[" * 100_000,
        FRAME + b',"kf":true,"S":[null]}',
        FRAME + b',"kf":1}',
        b'{"event":"state","seq":0,"fi":0,"S":[1,null],"codes":{}}',
        FRAME + b',"lat":"4"}',
        b'{"event":"frame","seq":-1,"fi":0,"ts":0.0}',
        b'{"event":"frame","seq":9007199254740992,"fi":0,"ts":0.0}',
        b'{"event":"frame","seq":99999999999999999999999,"fi":0,"ts":0.0}',
        b'{"event":"frame","seq":1e999,"fi":0,"ts":0.0}',
        b'{"event":"frame","seq":0,"fi":0,"ts":1e999}',
        b'{"event":"frame","seq":0,"fi":0,"ts":Infinity}',
        b'{"event":"gap","seq":0,"fi":0,"frames":0,"samples":0,"cause":"xrun"}',
        b'{"event":"gap","seq":0,"fi":0,"frames":1,"samples":1,"cause":"boredom"}',
        b'{"event":"gap","seq":0,"fi":0,"frames":1,"samples":1,"cause":"xrun\\n"}',
        b'{"event":"end","seq":0,"reason":"eof!","frames":0,"gaps":0,"stats":{}}',
        b'{"event":"end","seq":0,"reason":"eof","frames":0,"gaps":0,"stats":{"x":' + b"[" * 100_000,
        b'{"event":"reset","reason":"?","oldest_seq":0}',
        b'{"event":"gloss","seq":0,"codes":{"S0":{"1":2}}}',
        b'\xff{"event":"reset"}',
        b'{"event":"\xff"}',
        b'{"event":"reset","reason":"epoch","oldest_seq":0' + b" " * MAX_LINE + b"}",
        LINES[0][1].replace(b'"2.0"', b'"1.5"'),
        LINES[0][1].replace(b'"2.0"', b'"3.0"'),
        LINES[0][1].replace(b"lam_audio_tokens", b"other"),
        LINES[0][1].replace(b'"stage"', b'"../stage"'),
        LINES[0][1].replace(b'"stage"', b'"stage\\n"'),
        LINES[0][1].replace(b'"e0"', b'""'),
        LINES[0][1].replace(b'"sr":24000', b'"sr":0'),
        LINES[0][1].replace(b'"vocab":512', b'"vocab":0'),
        LINES[0][1].replace(b'"S0"', b'"X0"'),
        LINES[0][1].replace(b'"rle"', b'"zip"'),
        LINES[0][1].replace(b'"keyframe_interval_s":5.0', b'"keyframe_interval_s":0'),
    ],
    ids=lambda line: line[:60].decode("ascii", "replace"),
)
def test_garbage_is_an_error(line: bytes):
    with pytest.raises(WireError):
        decode(line)


def test_a_later_minor_version_is_read():
    assert decode(LINES[0][1].replace(b'"2.0"', b'"2.7"')) == HEADER


@given(st.binary(max_size=200))
def test_any_bytes_give_an_event_nothing_or_a_wire_error(line: bytes):
    _decodes_or_refuses(line)


@given(st.data())
def test_any_damaged_line_gives_an_event_nothing_or_a_wire_error(data):
    line = bytearray(data.draw(st.sampled_from([line for _, line in LINES])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        line += b" "
    _decodes_or_refuses(bytes(line))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_any_value_in_any_field_gives_an_event_nothing_or_a_wire_error(data):
    body = orjson.loads(data.draw(st.sampled_from([line for _, line in LINES])))
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(JSON)
    _decodes_or_refuses(json.dumps(body).encode())


def _decodes_or_refuses(line: bytes) -> None:
    try:
        event = decode(line)
    except WireError:
        return
    if event is not None:
        assert decode(encode(event)) == sent(event)


def test_the_schema_names_the_fields_of_every_event():
    derived = {"header": {"schema", "format_version", "frame_ms", "frames_per_second", "time_units"}}
    for kind, name in NAMES.items():
        named = {f.name for f in fields(kind)} | {"event"} | derived.get(name, set())
        assert set(SCHEMA["$defs"][name]["properties"]) == named, name


def test_lines_of_a_simple_stream_are_small():
    """What a change of the format must not do unnoticed: more bytes than the plainest form of the same codes."""
    story = simple(250)
    plain = sum(
        len(orjson.dumps({"event": "frame", "seq": 0, "fi": fi, "ts": fi * 80.0, "S": codes[:2], "A": codes[2:]})) + 1
        for fi, codes in story.codes.items()
    )
    assert sum(len(line) for line in story.lines if b'"frame"' in line[:16]) < plain
