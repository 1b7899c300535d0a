"""Following a daemon that runs."""

import json
import re

import pytest

from natd.errors import SourceError
from natd.offline.tail import Address, follow


@pytest.fixture
def address(daemon) -> Address:
    return Address(daemon.publish, daemon.control)


def test_plain_lines_of_the_only_stream(address, capsys):
    assert follow(address, None, raw=False, seconds=1.0) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert "listening to stage: demo demo:0, 48000 Hz, 2 ch, tokenizer ears" in first
    assert rest and all(
        re.match(r"\d\d:\d\d:\d\d\.\d +0:00:\d\d\.\d  (scene|harmony|rhythm|dynamics): ", line) for line in rest
    )


@pytest.mark.parametrize("way", ["zeromq", "http"])
def test_lines_as_they_come(address, daemon, way, capsys):
    if way == "http":
        address = Address("", "", http=daemon.http)
    assert follow(address, "stage", raw=True, seconds=1.0) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events[:2]] == ["header", "state"]
    frames = [event["fi"] for event in events if event["event"] == "frame"]
    assert frames == list(range(events[1]["fi"] + 1, events[1]["fi"] + 1 + len(frames))) and frames


def test_the_only_stream_over_http(daemon, capsys):
    assert follow(Address("", "", http=daemon.http), None, raw=True, seconds=0.2) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["stream"] == "stage"


def test_nobody_there():
    nowhere = Address("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", http="http://127.0.0.1:1")
    with pytest.raises(SourceError, match="Connection refused"):
        follow(nowhere, None, raw=True, seconds=1.0)
    with pytest.raises(SourceError, match="is natd running"):
        follow(Address("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"), None, raw=True, seconds=1.0)


def test_a_stream_that_is_not_published_over_http(daemon):
    with pytest.raises(SourceError, match="Not Found"):
        follow(Address("", "", http=daemon.http), "other", raw=True, seconds=1.0)


def test_a_stream_that_is_not_there_is_an_error_also_within_seconds(address):
    with pytest.raises(SourceError, match="nothing came from a stream nosuch in 0.5 s"):
        follow(address, "nosuch", raw=True, seconds=0.5)
