import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from natd.wire import CAUSES, END_REASONS, NAMES, RESET_REASONS, STATES, decode, encode
from tests.schema import SCHEMA, validate_line
from tests.streams import Story, stories
from tests.test_wire import LINES

PROTOCOL = (Path(__file__).parents[1] / "clients" / "PROTOCOL.md").read_text()
EXAMPLES = [line for line in PROTOCOL.splitlines() if line.startswith('{"event"')]


@given(stories())
def test_every_line_of_any_stream_follows_the_schema(story: Story):
    for line in story.lines:
        validate_line(line)


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=lambda line: line[10:30].decode())
def test_every_event_follows_and_every_damage_does_not(line: bytes):
    event = validate_line(line)
    optional = {"kf", "S", "A", "lat"}
    for key in event:
        damaged: list[dict[str, Any]] = [{**event, key: ["?"]}, {**event, key + "_": 1}]
        if key not in optional:
            damaged.append({k: v for k, v in event.items() if k != key})
        for body in damaged:
            with pytest.raises(AssertionError):
                validate_line(orjson.dumps(body) + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"kf":true,"S":[null,1]}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"kf":true}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"kf":false,"S":[1]}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"S":[null,null]}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0,"S":[]}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":null}\n',
        b'{"event":"frame","seq":-1,"fi":0,"ts":0.0}\n',
        b'{"event":"gloss","seq":0,"codes":{}}\n',
        b'{"event":"gloss","seq":0,"codes":{"S0":{"a":"b"}}}\n',
        b'{"event":"frame","seq":0,"fi":0,"ts":0.0}',
        b'{"event":"frame","seq":0,"fi":0,\n"ts":0.0}\n',
        b'{"event":"other"}\n',
    ],
)
def test_what_natd_must_not_send_is_refused(line: bytes):
    with pytest.raises(AssertionError):
        validate_line(line)


def test_the_closed_lists_are_those_of_the_code():
    parts = SCHEMA["$defs"]
    assert set(parts["gap"]["properties"]["cause"]["enum"]) == set(CAUSES)
    assert parts["end"]["properties"]["reason"]["enum"] == list(END_REASONS)
    assert parts["hb"]["properties"]["state"]["enum"] == list(STATES)
    assert parts["reset"]["properties"]["reason"]["enum"] == list(RESET_REASONS)
    assert {ref["$ref"].rpartition("/")[2] for ref in SCHEMA["oneOf"]} == {*NAMES.values(), "answer", "streams"}
    assert all(f"{cause}" in PROTOCOL for cause in (*CAUSES, *STATES, *RESET_REASONS))


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_in_the_protocol_is_what_natd_would_send(line: str):
    validate_line(line.encode() + b"\n")
    event = decode(line.encode())
    assert event is not None and encode(event) == line.encode() + b"\n"


def test_the_protocol_shows_every_event():
    assert {json.loads(line)["event"] for line in EXAMPLES} == set(NAMES.values())
