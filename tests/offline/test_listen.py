"""Files, recorded streams and running ones told in words."""

import io
import sys

import pytest

from natd.errors import SourceError, WireError
from natd.llm.view import Style
from natd.offline.listen import listen_live, listen_to_files
from natd.offline.tail import Address
from natd.offline.tokenize import tokenize_files
from tests.codec import mimi_models
from tests.codec.look_ahead_models import save
from tests.llm.heard import Scene


@pytest.fixture
def recorded(tmp_path):
    """A stream of 2 s with a loss, as `natd --output` writes it."""
    scene = Scene().hear(1, 4, 8, 1, frames=12)
    scene.gap(3, "overrun", 200.0)
    scene.hear(5, 1, 2, 2, frames=10)
    scene.end()
    path = tmp_path / "stage.ndjson"
    path.write_bytes(b"".join(scene.story.lines))
    return path


TOLD = [
    "0:00  scene: rain | harmony: unpitched | rhythm: syllabic | level -18 dBFS, bright 3.1 kHz, noisy",
    "0:00  gap: 3 frames lost, 200 ms of audio: overrun",
    "0:01  scene: piano | harmony: A4 | rhythm: tempo 120 bpm, 10 strong onsets | "
    "level -20 dBFS, bright 2.6 kHz, noisy",
    "0:02  end: eof: 22 frames, 3 lost",
]


NO_WORDS = "the codes of {} have no words; those of ears have: --tokenizer ears"


def body(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_a_recorded_stream(recorded, capsys):
    assert listen_to_files([str(recorded)], "ears", Style()) == 0
    out = capsys.readouterr().out
    assert out.startswith("# What is heard in stage (device hw:1) by natd") and body(out) == TOLD


def test_what_has_no_header_is_no_recording(recorded, capsys):
    recorded.write_bytes(b"".join(recorded.read_bytes().splitlines(keepends=True)[1:]))
    assert listen_to_files([str(recorded)], "ears", Style()) == SourceError.exit_code
    assert "no header of a stream" in capsys.readouterr().err


def test_a_stream_on_standard_input(recorded, monkeypatch, capsys):
    with recorded.open("rb") as opened:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(opened))
        assert listen_to_files(["-"], "ears", Style()) == 0
        sys.stdin.detach()
    assert body(capsys.readouterr().out) == TOLD


def test_a_recording_is_told_as_its_tokens_are(recording, tmp_path, capsys):
    assert listen_to_files([str(recording)], "ears", Style(brief=True)) == 0
    straight = capsys.readouterr().out
    tokens = tmp_path / "tokens.ndjson"
    assert tokenize_files([str(recording)], tokens, "ears", 1000.0) == 0
    assert listen_to_files([str(tokens)], "ears", Style(brief=True)) == 0
    assert [line[:8] for line in body(straight)] == [line[:8] for line in body(capsys.readouterr().out)]
    assert len(body(straight)) >= 2 and straight.splitlines()[-1].startswith("0:02  end: eof: 31 frames, 0 lost")


def test_a_bad_file_does_not_stop_the_next(recorded, tmp_path, capsys):
    bad = tmp_path / "bad.ndjson"
    bad.write_bytes(recorded.read_bytes().splitlines(keepends=True)[0] + b'{"event":"frame"}\n')
    gone = tmp_path / "gone.wav"
    assert listen_to_files([str(gone), str(bad), str(recorded)], "ears", Style()) == WireError.exit_code
    captured = capsys.readouterr()
    assert body(captured.out.split("\n\n")[-1]) == TOLD
    errors = captured.err.splitlines()
    assert errors[0] == f"nat: {gone}: No such file or directory"
    assert errors[1].startswith(f"nat: {bad}: line 2: not an event")
    assert listen_to_files([str(gone)], "ears", Style()) == SourceError.exit_code


def test_a_tokenizer_without_words_is_refused_before_anything_is_told(recorded, tmp_path, capsys):
    head = tmp_path / "sound.ndjson"
    line = recorded.read_bytes().splitlines(keepends=True)[0]
    head.write_bytes(line.replace(b'"S', b'"A').replace(b'"semantic"', b'"acoustic"'))
    assert listen_to_files([str(head)], "ears", Style()) == 78
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == f"nat: {NO_WORDS.format('ears')}\n"


def test_semantic_codes_without_words_are_refused_not_told_as_numbers(recording, tmp_path, capsys):
    save(mimi_models.checkpoint(mimi_models.published(**mimi_models.SMALL)), tmp_path)
    name, tokens = f"mimi:from={tmp_path}", tmp_path / "tokens.ndjson"
    assert tokenize_files([str(recording)], tokens, name, 1000.0) == 0
    capsys.readouterr()
    assert listen_to_files([str(recording)], name, Style()) == 78
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == f"nat: {NO_WORDS.format('mimi')}\n"
    assert listen_to_files([str(tokens)], name, Style()) == 78
    captured = capsys.readouterr()
    assert body(captured.out) == [] and captured.err == f"nat: {NO_WORDS.format('mimi')}\n"


@pytest.mark.parametrize("way", ["zeromq", "http"])
def test_a_stream_that_runs(daemon, way, capsys):
    address = Address(daemon.publish, daemon.control, daemon.http if way == "http" else None)
    assert listen_live(address, None, 1.5, Style(every_s=0.5)) == 0
    head, *rest = capsys.readouterr().out.splitlines()
    assert head.startswith("# What is heard in stage (demo demo:0) by natd, tokenizer ears")
    assert len(body("\n".join(rest))) >= 2
