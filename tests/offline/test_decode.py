"""Recorded streams back to sound: every frame in its place, silence where frames were lost, and clear refusals."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from natd import codec
from natd.cli.nat import main
from natd.codebooks import store
from natd.codec import soundstream
from natd.errors import ConfigError, ModelError, OutputError, SourceError, WireError
from natd.offline.decode import decode_recording
from natd.offline.tokenize import tokenize_files
from natd.wire import decode, encode
from tests.codec.look_ahead_models import published, save
from tests.codec.look_ahead_models import sound as noise
from tests.codec.soundstream_weights import random_weights
from tests.sinks.test_files import no_file_beyond
from tests.streams import Story, Teller, header, simple

FRAME = soundstream.FRAME


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    store.save(folder, "soundstream", soundstream.SETTINGS, random_weights(), {})
    return folder


@pytest.fixture
def spoken(models, monkeypatch) -> codec.Tokenizer:
    monkeypatch.setenv("NATD_MODELS", str(models))
    return codec.open_tokenizer("soundstream")


def teller(tokenizer: codec.Tokenizer, stream: str = "stage", epoch: str = "e0") -> Teller:
    spec = tokenizer.spec
    head = header(spec.layers, epoch, stream, spec.sr, spec.frame_samples)
    return Teller(replace(head, tokenizer=spec.info))


def codes(tokenizer: codec.Tokenizer, frames: int, seed: int = 0) -> list[list[list[int]]]:
    drawn = np.random.default_rng(seed).integers(16, size=(frames, len(tokenizer.spec.layers), 1))
    return drawn.tolist()


def told(tokenizer: codec.Tokenizer, *parts: int, **head: str) -> tuple[Story, list[list[list[list[int]]]]]:
    """Runs of frames with gaps of 7 frames between them; the story and the codes of each run."""
    at, runs = teller(tokenizer, **head), []
    for i, frames in enumerate(parts):
        if i:
            at.gap(7)
        runs.append(codes(tokenizer, frames, seed=i))
        for frame in runs[-1]:
            at.frame(frame)
    at.end()
    return at.story, runs


def sound(tokenizer: codec.Tokenizer, run: list[list[list[int]]], layers: int = 16) -> np.ndarray:
    """What the tokenizer itself makes of a run of frames."""
    state = tokenizer.initial_decoder_state(1)
    frames = [tokenizer.decode([torch.tensor([c]) for c in frame[:layers]], state)[0].numpy() for frame in run]
    return np.concatenate(frames)


def written(tmp_path: Path, lines: list[bytes]) -> str:
    path = tmp_path / "recording.ndjson"
    path.write_bytes(b"".join(lines))
    return str(path)


def heard(path: Path, rate: int = 16_000) -> np.ndarray:
    samples, found = soundfile.read(path, dtype="float32")
    assert found == rate and samples.ndim == 1
    return samples


def test_frames_lie_in_their_places_and_gaps_are_silent(spoken, tmp_path, capsys):
    story, (first, second) = told(spoken, 5, 4)
    out = tmp_path / "out.wav"
    assert decode_recording(written(tmp_path, story.lines), out, None, None) == 0
    silence = np.zeros(7 * FRAME, np.float32)
    truth = np.concatenate([sound(spoken, first), silence, sound(spoken, second)])
    np.testing.assert_allclose(heard(out), truth, atol=2.0 / 32768)
    assert capsys.readouterr().err.endswith("9 frames, 7 lost frames left silent\n")


def test_lost_lines_are_silent_until_the_codes_are_known_again(spoken, tmp_path):
    story, (run,) = told(spoken, 6)
    lines = story.lines
    del lines[3]  # the header, frames 0 and 1, then frame 2 is not there; what it held is not known after it
    out = tmp_path / "out.wav"
    assert decode_recording(written(tmp_path, lines), out, None, None) == 0
    assert len(heard(out)) == 6 * FRAME
    np.testing.assert_allclose(heard(out)[: 2 * FRAME], sound(spoken, run[:2]), atol=2.0 / 32768)
    assert not heard(out)[2 * FRAME : 3 * FRAME].any()


@pytest.mark.parametrize("layers", [1, 6])
def test_fewer_layers(spoken, tmp_path, layers):
    story, (run,) = told(spoken, 3)
    out = tmp_path / "out.wav"
    assert main(["decode", written(tmp_path, story.lines), "-o", str(out), "--layers", str(layers)]) == 0
    np.testing.assert_allclose(heard(out), sound(spoken, run, layers), atol=2.0 / 32768)


def test_a_decoder_s_delay_is_taken_out_at_every_end(tmp_path):
    here = published("snac")
    save(here.checkpoint, tmp_path)
    name = f"snac:model=24khz:from={tmp_path}"
    tokenizer = codec.open_tokenizer(name)
    at, runs = teller(tokenizer), []
    for frames in (6, 1):
        runs.append(here.encode(noise(1, frames * tokenizer.spec.frame_samples)))
        for i in range(frames):
            widths = [layer.per_frame for layer in tokenizer.spec.layers]
            at.frame([codes[0, i * n : i * n + n].tolist() for codes, n in zip(runs[-1], widths, strict=True)])
        at.gap(3)
    at.end()
    out = tmp_path / "out.wav"
    assert decode_recording(written(tmp_path, at.story.lines), out, None, None, name) == 0
    silence = np.zeros(3 * tokenizer.spec.frame_samples, np.float32)
    parts = [part for run in runs for part in (here.decode(run)[0].numpy(), silence)]
    np.testing.assert_allclose(heard(out, 24_000), np.concatenate(parts), atol=2.0 / 32768)


def test_one_of_several_streams_and_its_epochs(spoken, tmp_path):
    lines = [
        *told(spoken, 2, stream="stage")[0].lines,
        *told(spoken, 3, stream="hall", epoch="e1")[0].lines,
        *told(spoken, 4, stream="stage", epoch="e2")[0].lines,
    ]
    file, out = written(tmp_path, lines), tmp_path / "out.wav"
    with pytest.raises(ConfigError, match="the streams stage and hall: say which with --stream"):
        decode_recording(file, out, None, None)
    assert not out.exists()
    assert main(["decode", file, "-o", str(out), "--stream", "stage"]) == 0
    truth = np.concatenate([sound(spoken, codes(spoken, 2)), sound(spoken, codes(spoken, 4))])
    np.testing.assert_allclose(heard(out), truth, atol=2.0 / 32768)
    with pytest.raises(SourceError, match="no header of the stream room"):
        decode_recording(file, out, None, "room")


def test_a_recording_by_another_model_is_refused_and_the_file_there_is_kept(spoken, tmp_path):
    story, _ = told(spoken, 2)
    other = replace(story.header, tokenizer=replace(spoken.spec.info, version="9", codebook_id="sha256:" + "ab" * 32))
    out = tmp_path / "out.wav"
    out.write_bytes(b"dear")
    with pytest.raises(ModelError, match=r"coded by soundstream 9 \(sha256:abababababab…\); here is soundstream lyra"):
        decode_recording(written(tmp_path, [encode(other), *story.lines[1:]]), out, None, None)
    assert out.read_bytes() == b"dear"


@pytest.mark.parametrize("layers", [0, 17])
def test_layers_that_are_not_there_are_refused(spoken, tmp_path, layers):
    story, _ = told(spoken, 2)
    with pytest.raises(ConfigError, match=f"{layers} layers; the stream stage has 1 to 16 that sound"):
        decode_recording(written(tmp_path, story.lines), tmp_path / "out.wav", layers, None)


def test_what_is_no_recording_is_refused(spoken, tmp_path):
    out = tmp_path / "out.wav"
    with pytest.raises(SourceError, match="No such file"):
        decode_recording(str(tmp_path / "none"), out, None, None)
    with pytest.raises(SourceError, match="no header of a stream"):
        decode_recording(written(tmp_path, []), out, None, None)
    story, _ = told(spoken, 2)
    with pytest.raises(WireError, match="line 3: "):
        decode_recording(written(tmp_path, [*story.lines[:2], b"RIFF\n"]), out, None, None)
    assert not out.exists()


def test_a_recording_that_was_cut_off_within_a_line_is_decoded_up_to_it(spoken, tmp_path, capsys):
    story, (run,) = told(spoken, 9)
    lines = story.lines[: 1 + 5]  # the header and five frames
    whole, cut = tmp_path / "whole.wav", tmp_path / "cut.wav"
    assert decode_recording(written(tmp_path, lines), whole, None, None) == 0
    assert decode_recording(written(tmp_path, [*lines, story.lines[6][:-2]]), cut, None, None) == 0
    assert "recording.ndjson: cut off within line 7, which is left out" in capsys.readouterr().err
    assert len(heard(cut)) == 5 * FRAME and cut.read_bytes() == whole.read_bytes()
    assert decode_recording(written(tmp_path, [*lines, story.lines[6][:-1]]), cut, None, None) == 0
    assert len(heard(cut)) == 6 * FRAME  # only its line feed is missing
    with pytest.raises(WireError, match="line 1: "):
        decode_recording(written(tmp_path, [story.lines[0][:-2]]), cut, None, None)


def test_a_recording_that_was_cut_off_and_gone_on_with_is_decoded_but_for_that_line(spoken, tmp_path, capsys):
    first, _ = told(spoken, 9)
    second, _ = told(spoken, 4, epoch="e1")
    lines = [*first.lines[:6], first.lines[6][:-20] + b"\n", *second.lines]
    out = tmp_path / "out.wav"
    assert decode_recording(written(tmp_path, lines), out, None, None) == 0
    assert "cut off within line 7, which is left out" in capsys.readouterr().err
    assert len(heard(out)) == (5 + 4) * FRAME
    with pytest.raises(WireError, match="line 7: "):  # what follows is no beginning
        decode_recording(written(tmp_path, [*lines[:7], *second.lines[1:]]), out, None, None)


def test_streams_without_sound_and_unknown_tokenizers_are_refused(tmp_path):
    story = simple(3)
    mute = replace(story.header, layers=story.header.layers[:2])
    with pytest.raises(ConfigError, match="stage has no acoustic layers"):
        decode_recording(written(tmp_path, [encode(mute)]), tmp_path / "out.wav", None, None)
    unknown = replace(story.header, tokenizer=replace(story.header.tokenizer, name="nose"))
    with pytest.raises(ConfigError, match="no tokenizer is called 'nose'"):
        decode_recording(written(tmp_path, [encode(unknown)]), tmp_path / "out.wav", None, None)


def test_more_than_a_wav_file_holds_is_refused(spoken, tmp_path):
    at = teller(spoken)
    at.frame(codes(spoken, 1)[0])
    at.gap(1 << 40)
    with pytest.raises(OutputError, match="more than the 37 hours"):
        decode_recording(written(tmp_path, at.story.lines), tmp_path / "out.wav", None, None)
    with pytest.raises(OutputError, match="none"):
        decode_recording(written(tmp_path, at.story.lines), tmp_path / "none" / "out.wav", None, None)


def test_a_recording_is_not_written_over_by_its_sound(spoken, tmp_path):
    story, _ = told(spoken, 2)
    file = written(tmp_path, story.lines)
    (tmp_path / "link.wav").symlink_to(file)
    for out in (file, str(tmp_path / "link.wav")):
        with pytest.raises(ConfigError, match="is what is read: give another file to write to"):
            decode_recording(file, Path(out), None, None)
    assert Path(file).read_bytes() == b"".join(story.lines)


@pytest.mark.parametrize("change", [{"vocab": 5000}, {"per_frame": 2}, {"name": "A7"}])
def test_layers_that_are_not_those_of_the_tokenizer_are_refused(spoken, tmp_path, change):
    head = told(spoken, 1)[0].header
    head = replace(head, layers=(head.layers[0], replace(head.layers[1], **change), *head.layers[2:]))
    with pytest.raises(WireError, match="recording.ndjson: line 1: the acoustic layers of stage are not those of soun"):
        decode_recording(written(tmp_path, [encode(head)]), tmp_path / "out.wav", None, None)
    file = written(tmp_path, [encode(head)])
    with pytest.raises(WireError, match="are not those of soundstream:9.2; it was coded by soundstream$"):
        decode_recording(file, tmp_path / "out.wav", None, None, "soundstream:9.2")


def test_a_code_that_is_too_large_is_told_with_its_line(spoken, tmp_path):
    story, _ = told(spoken, 2)
    lines = [*story.lines[:2], story.lines[2].replace(b'"A":[', b'"A":[77,', 1)]
    with pytest.raises(WireError, match=r"recording.ndjson: line 3: "):
        decode_recording(written(tmp_path, lines), tmp_path / "out.wav", None, None)
    assert not (tmp_path / "out.wav").exists()


def test_a_place_where_nothing_can_be_written_is_named(spoken, tmp_path):
    file = written(tmp_path, told(spoken, 1)[0].lines)
    for out, said in ((tmp_path, "Is a directory"), (tmp_path / "none" / "out.wav", "No such file or directory")):
        with pytest.raises(OutputError, match=f"^{out}: {said}$"):
            decode_recording(file, out, None, None)


def test_a_full_disk_is_called_that_and_the_file_there_is_kept(spoken, tmp_path):
    file, out = written(tmp_path, told(spoken, 40)[0].lines), tmp_path / "out.wav"
    out.write_bytes(b"dear")
    with no_file_beyond(16_000), pytest.raises(OutputError, match="^the samples cannot be written: File too large$"):
        decode_recording(file, out, None, None)
    assert out.read_bytes() == b"dear" and sorted(tmp_path.iterdir()) == [out, Path(file)]


def test_standard_input(spoken, tmp_path, monkeypatch):
    story, (run,) = told(spoken, 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(story.lines))))
    assert decode_recording("-", tmp_path / "out.wav", None, None) == 0
    np.testing.assert_allclose(heard(tmp_path / "out.wav"), sound(spoken, run), atol=2.0 / 32768)


def test_ears_gives_back_what_was_loud_where_it_was(recording, tmp_path):
    tokens, out = tmp_path / "tokens.ndjson", tmp_path / "out.wav"
    assert tokenize_files([str(recording)], tokens, "ears", 1000.0) == 0
    assert decode_recording(str(tokens), out, None, None) == 0
    found = heard(out, 24_000)
    frames = sum(b'"event":"frame"' in line for line in tokens.read_bytes().splitlines())
    assert len(found) == frames * 1920 and decode(tokens.read_bytes().splitlines()[0]) is not None
    original, rate = soundfile.read(recording)
    at = np.arange(len(found)) * rate // 24_000
    blocks = [x[: len(found) // 960 * 960].reshape(-1, 960) for x in (found, original.mean(axis=1)[at])]
    level = [20 * np.log10(np.sqrt((x**2).mean(axis=1)) + 1e-3) for x in blocks]
    assert np.corrcoef(*level)[0, 1] > 0.8
    assert abs(level[0].mean() - level[1].mean()) < 8.0


def draw_codes(layers, frames: int, seed: int = 0) -> list[list[list[int]]]:
    drawn = np.random.default_rng(seed)
    return [[drawn.integers(16, size=layer.per_frame).tolist() for layer in layers] for _ in range(frames)]


@pytest.mark.parametrize("acoustic", ["soundstream", "ears", "snac"])
def test_a_hybrid_sounds_as_its_acoustic_part_and_at_that_one_s_rate(spoken, tmp_path, acoustic):
    """Frames of 80 ms beside those of 20 ms at 16 kHz, or of 85 ms whose samples are late; with gaps of two frames."""
    if acoustic == "snac":
        save(published("snac").checkpoint, tmp_path)
        acoustic = f"snac:from={tmp_path}"
    part, both = codec.open_tokenizer(acoustic), codec.open_tokenizer(f"ears+{acoustic}")
    steps, two, one = both.parts[1].steps, teller(both), teller(part)
    own = [layer for layer in part.spec.layers if layer.type == "acoustic"]
    for frames in (3, 2):
        for frame in draw_codes(own, frames * steps, seed=frames):
            one.frame([[1]] * (len(part.spec.layers) - len(own)) + frame)
        flat = draw_codes(own, frames * steps, seed=frames)
        for at in range(0, len(flat), steps):
            joined = [sum(codes, []) for codes in zip(*flat[at : at + steps], strict=True)]
            two.frame([[1] * layer.per_frame for layer in both.spec.layers[:4]] + joined)
        two.gap(2)
        one.gap(2 * steps)
    outs = [tmp_path / "two.wav", tmp_path / "one.wav"]
    for told, out, name in zip((two, one), outs, (f"ears+{acoustic}", acoustic), strict=True):
        told.end()
        assert main(["decode", written(tmp_path, told.story.lines), "-o", str(out), "--tokenizer", name]) == 0
    about = soundfile.info(outs[0])
    assert (about.samplerate, about.frames) == (part.spec.sr, 9 * steps * part.spec.frame_samples)
    assert outs[0].read_bytes() == outs[1].read_bytes() and np.abs(heard(outs[0], about.samplerate)).max() > 0.01


def test_a_hybrid_whose_sound_is_also_in_layers_that_are_left_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("natd.codec.ears.Ears.decodes", ("semantic", "acoustic"), raising=False)
    at = teller(codec.open_tokenizer("ears+ears"))
    with pytest.raises(ConfigError, match="that of ears is also in its semantic layers, .*; record ears alone"):
        decode_recording(written(tmp_path, at.story.lines), tmp_path / "out.wav", None, None)
