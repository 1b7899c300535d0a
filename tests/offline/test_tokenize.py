"""Recordings to tokens: the same codes for any chunks and by any way in, and nothing but lines on standard output."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from natd.errors import ConfigError, OutputError, SourceError
from natd.offline.check import Recording
from natd.offline.recording import read
from natd.offline.tokenize import stream_name, tokenize_files
from natd.wire import decode
from tests.codec.look_ahead_models import published, save
from tests.codec.look_ahead_models import sound as noise
from tests.running import ENDLESS_WAV

NAT = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())"]


def tokenize(tmp_path: Path, *files: object, chunk_ms: float = 1000.0) -> list[bytes]:
    out = tmp_path / f"{chunk_ms}.ndjson"
    assert tokenize_files([str(file) for file in files], out, "ears", chunk_ms) == 0
    return out.read_bytes().splitlines(keepends=True)


def codes(lines: list[bytes]) -> list[object]:
    """What depends on the samples alone: all of frames but the latency, gaps and glosses."""
    events = [json.loads(line) for line in lines]
    kept = [e for e in events if e["event"] in ("frame", "gap", "gloss")]
    return [{key: value for key, value in event.items() if key != "lat"} for event in kept]


@pytest.fixture(scope="module")
def whole(recording, tmp_path_factory) -> list[bytes]:
    return tokenize(tmp_path_factory.mktemp("whole"), recording)


def test_a_recording_is_tiled_by_frames(whole, recording):
    checked = Recording()
    checked.feed(read(io.BytesIO(b"".join(whole))))
    frames = soundfile.info(recording).frames * 24000 // 44100 // 1920
    assert checked.faults == []
    assert (checked.counts["frames"], checked.counts["gaps"], checked.counts["ends"]) == (frames, 0, 1)
    header, end = decode(whole[0]), decode(whole[-1])
    assert (header.stream, header.input.rate, header.input.channels) == ("two-channels", 44100, 2)
    assert (end.reason, end.frames, end.gaps) == ("eof", frames, 0)


@pytest.mark.parametrize("chunk_ms", [1.0, 37.3, 250.0])
def test_the_size_of_the_chunks_changes_nothing(whole, recording, tmp_path, chunk_ms):
    assert codes(tokenize(tmp_path, recording, chunk_ms=chunk_ms)) == codes(whole)


def test_a_codec_that_looks_ahead_gives_every_frame_its_published_codes(tmp_path):
    here = published("snac")
    save(here.checkpoint, tmp_path)
    frame, wave, out = here.tokenizer.spec.frame_samples, tmp_path / "noise.wav", tmp_path / "out.ndjson"
    samples = noise(1, 7 * frame)[0].numpy()
    soundfile.write(wave, samples[: 6 * frame + 100], 24_000, "FLOAT")
    assert tokenize_files([str(wave)], out, f"snac:model=24khz:from={tmp_path}", 100.0) == 0
    events = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert not events[0]["tokenizer"]["causal"]
    assert events[0]["tokenizer"]["lookahead_ms"] == 256.0
    frames = [event for event in events if event["event"] == "frame"]
    assert [event["fi"] for event in frames] == list(range(6))
    theirs = here.encode(torch.from_numpy(samples[None, : 6 * frame]))
    for layer, whole in enumerate(theirs):
        codes = [event["A"][layer] for event in frames]  # a layer of one code a frame is a number, not a list
        assert np.array(codes).reshape(-1).tolist() == whole[0].tolist()
    assert events[-1] | {"stats": None, "seq": 0} == {
        "event": "end", "seq": 0, "reason": "eof", "frames": 6, "gaps": 0, "stats": None,
    }  # fmt: skip


def test_standard_input_gives_the_same_and_standard_output_holds_lines_alone(whole, recording):
    run = subprocess.run([*NAT, "tokenize", "-"], input=recording.read_bytes(), capture_output=True, timeout=60)
    assert run.returncode == 0
    lines = run.stdout.splitlines(keepends=True)
    assert all(decode(line) is not None for line in lines)
    assert codes(lines) == codes(whole)
    said = run.stderr.decode()
    assert said.startswith("-: 31 frames, 2.48 s of audio in ") and ", real-time factor 0." in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (2400, 24_000, "1 frames, 0.08 s of audio in"),
        (2400, 24_000, "; the last 20 ms are not coded (a frame has 80 ms)\n"),
        (3840 + 23, 24_000, "; the last 0.9 ms are not coded (a frame has 80 ms)\n"),
        (3839, 24_000, "; the last 79.9 ms are not coded (a frame has 80 ms)\n"),
        (44_100, 44_100, "; the last 40 ms are not coded (a frame has 80 ms)\n"),
    ],
)
def test_what_is_left_over_at_the_end_is_said(tmp_path, capsys, samples, rate, said):
    soundfile.write(tmp_path / "short.wav", np.zeros(samples), rate)
    assert tokenize_files([str(tmp_path / "short.wav")], tmp_path / "out.ndjson", "ears", 1000.0) == 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("samples", [1920, 3840 + 2, 100])
def test_nothing_is_said_of_nothing_left_over_or_of_no_frame(tmp_path, capsys, samples):
    soundfile.write(tmp_path / "whole.wav", np.zeros(samples), 24_000)
    assert tokenize_files([str(tmp_path / "whole.wav")], tmp_path / "out.ndjson", "ears", 1000.0) == 0
    said = capsys.readouterr().err
    assert "not coded" not in said and said.count("\n") == 1


def test_a_recording_is_not_written_over_by_its_tokens(recording, tmp_path):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(recording.read_bytes())
    with pytest.raises(ConfigError, match="copy.wav is what is read: give another file to write to"):
        tokenize_files([str(recording), str(copy)], copy, "ears", 1000.0)
    assert copy.read_bytes() == recording.read_bytes()


def test_a_bad_file_does_not_stop_the_others(recording, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF, but no more than that")
    out = tmp_path / "out.ndjson"
    assert tokenize_files([str(recording), str(bad), str(recording)], out, "ears", 1000.0) == SourceError.exit_code
    checked = Recording()
    checked.feed(read(io.BytesIO(out.read_bytes())))
    assert checked.faults == []
    assert (checked.counts["epochs"], checked.counts["frames"], checked.counts["ends"]) == (2, 62, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert "nat: " in said.err and "bad.wav" in said.err and said.err.count("real-time factor") == 2


def test_a_reader_that_leaves_ends_it_quietly(recording):
    # More lines than a pipe holds: the writer must notice that nobody reads.
    command = [*NAT, "tokenize", *[str(recording)] * 20]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert decode(process.stdout.readline()) is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert "Traceback" not in said and "Exception" not in said
    assert said.count("real-time factor") < 20


def test_output_that_cannot_be_written_is_an_error(recording, tmp_path):
    with pytest.raises(OutputError, match="No space left"):
        tokenize_files([str(recording)], Path("/dev/full"), "ears", 1000.0)
    with pytest.raises(OutputError, match="No such file"):
        tokenize_files([str(recording)], tmp_path / "none" / "out", "ears", 1000.0)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/a/Stage Mix (2).FLAC", "stage-mix-2"),
        ("-", "stdin"),
        ("_.wav", "file"),
        ("é.wav", "file"),
        ("a" * 99, "a" * 64),
    ],
)
def test_streams_are_named_after_files(file, name):
    assert stream_name(file) == name


def test_what_came_before_a_damage_is_tokenized(recording, tmp_path, capsys):
    samples = np.random.default_rng(5).uniform(-0.5, 0.5, 3 * 24_000).astype(np.float32)
    damaged, out = tmp_path / "cut.flac", tmp_path / "cut.ndjson"
    soundfile.write(damaged, samples, 24_000)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 5 // 6])
    assert tokenize_files([str(damaged)], out, "ears", 1000.0) == 66
    assert "cannot be decoded after 2.000 s" in capsys.readouterr().err
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [e["event"] for e in events[-2:]] == ["error", "end"] and events[-1]["reason"] == "error"
    assert sum(e["event"] == "frame" for e in events) == 25  # of 2 s


def test_what_writes_nothing_takes_nothing_away(tmp_path):
    kept, none = tmp_path / "kept.ndjson", tmp_path / "none.ndjson"
    kept.write_bytes(b"dear\n")
    for out in (kept, none):
        with pytest.raises(ConfigError, match="no option"):
            tokenize_files([str(tmp_path / "nosuch.wav")], out, "mimi:colour=red", 1000.0)
        assert tokenize_files([str(tmp_path / "nosuch.wav")], out, "ears", 1000.0) == 66
    assert kept.read_bytes() == b"dear\n" and not none.exists()


def test_a_recording_is_written_over(recording, tmp_path):
    out = tmp_path / "over.ndjson"
    out.write_bytes(b"x" * 10_000_000)
    assert tokenize_files([str(recording)], out, "ears", 1000.0) == 0
    assert out.read_bytes().startswith(b'{"event":"header"')


def test_an_interrupted_recording_is_ended_as_any_other():
    command = [*NAT, "tokenize", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(ENDLESS_WAV + bytes(2 * 24_000))
        process.stdin.flush()
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        assert (process.wait(60), process.stderr.read()) == (130, b"")
    checked = Recording()
    checked.feed(read(io.BytesIO(b"".join(lines))))
    end = decode(lines[-1])
    assert checked.faults == [] and checked.counts["ends"] == 1
    assert end.reason == "shutdown" and end.frames == checked.counts["frames"] > 0
