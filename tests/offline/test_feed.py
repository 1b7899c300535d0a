"""Audio sent to the ingest socket becomes the same tokens as the file itself."""

import json

import pytest

from natd.errors import ConfigError, SourceError
from natd.offline.feed import Target, feed_file
from natd.offline.tokenize import tokenize_files
from tests.offline.conftest import start, stop
from tests.running import until


def frames(path):
    """fi and codes of every frame written so far."""
    events = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [(e["fi"], e.get("S"), e.get("A")) for e in events if e["event"] == "frame"]


@pytest.mark.parametrize("fast", [True, False])
def test_a_recording_fed_is_the_recording(recording, tmp_path, capsys, fast):
    expected, heard = tmp_path / "expected.ndjson", tmp_path / "heard.ndjson"
    assert tokenize_files([str(recording)], expected, "ears", 1000.0) == 0
    running = start("--source", "zeromq:", "--stream", "hall", "--output", str(heard))
    try:
        assert feed_file(str(recording), Target(running.ingest, "hall"), fast=fast) == 0
        until(lambda: heard.exists() and len(frames(heard)) >= 30)
    finally:
        assert stop(running) == 0
    # The end of a feed is not known to be one, so what the resampler still holds back may be missing.
    fed, whole = frames(heard), frames(expected)
    assert fed == whole[: len(fed)] and len(whole) - len(fed) <= 1
    assert "2.50 s of audio sent in" in capsys.readouterr().err


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(SourceError, match="cannot be read"):
        feed_file(str(tmp_path / "text.wav"), Target("tcp://127.0.0.1:1", "hall"), fast=True)


def test_messages_have_a_greatest_length(recording):
    with pytest.raises(ConfigError, match="at most 100 ms"):
        feed_file(str(recording), Target("tcp://127.0.0.1:1", "hall", message_ms=101.0), fast=True)


def test_nobody_there(recording, monkeypatch):
    monkeypatch.setattr("natd.offline.feed.PATIENCE_S", 0.1)
    with pytest.raises(SourceError, match="nobody takes the audio"):
        feed_file(str(recording), Target("tcp://127.0.0.1:1", "hall"), fast=True)
