"""Descriptors, notes and tempi of a tokenizer whose words are known."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from natd.audio.demo import Demo
from natd.audio.voices import RATE
from natd.evaluation import meaning, synthetic
from natd.evaluation.coding import encode
from natd.evaluation.material import Material, load
from natd.training.recordings import Clip
from tests.evaluation.made import PHRASES, SR, Made, tone


def test_a_tokenizer_that_always_says_150_is_right_where_it_is_150(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthetic, "LEARNED", 2)
    monkeypatch.setattr(synthetic, "SCORED", 5)
    tokenizer = Made()
    tokenizer.glossary = {"S0": {code: f"sound {code}, about 150 bpm" for code in PHRASES}}
    sections = [e for seed in synthetic.seeds(1)[1] for e in Demo(seed).score(0, 40 * RATE) if e.kind == "section"]
    played = [e.bpm for e in sections if e.name in ("drums", "band")]
    assert 0 < played.count(150) != played.count(90) and len(played) == 10
    rows = {row.figure: row for row in meaning.scores(tokenizer, 1)}
    assert rows["tempo within 8 %, in words"].value == played.count(150) / 10
    assert rows["tempo within 8 %, in words"].nulls["shuffled"] == played.count(150) / 10
    assert rows["note, exact, in words"].value is None and rows["note, exact, probe"].n == 5


def material(folder: Path, sounds: list[np.ndarray]) -> Material:
    folder.mkdir()
    clips = []
    for number, sound in enumerate(sounds):
        clips.append(Clip(folder / f"{number}.wav", "music", "held", "music"))
        soundfile.write(clips[-1].path, sound, SR, subtype="FLOAT")
    return load(Made(), clips, [], 5.0, str, "")


def test_a_pitch_is_recovered_only_where_there_is_one(tmp_path: Path):
    hiss = (0.1 * np.random.default_rng(0).standard_normal(SR)).astype(np.float32)
    tones = [tone(hz, 1) for hz in (500.0, 500.0, 1000.0, 1000.0)]
    fit, held = material(tmp_path / "fit", [*tones, hiss]), material(tmp_path / "held", [*tones[1:3], hiss])
    rows = {row.figure: row for row in meaning.recoveries(Made(), fit, held, 0)}
    pitch, level = rows["legend only, f0"], rows["legend only, level"]
    assert (pitch.of, pitch.n, level.n) == ("S0", 2, 3)
    assert pitch.value > 0.99 and pitch.nulls["shuffled"] < 0.5
    assert rows["legend only, chroma"].unit == "cosine" and rows["legend only, chroma"].value > 0.9
    assert len(rows) == 18


def test_names_where_there_is_nothing_to_name(tmp_path: Path):
    held = material(tmp_path / "held", [tone(1000.0, 1), tone(4000.0, 2)])
    rain = [Clip(c.path, "esc10", "held", "environment", "rain", 3) for c in held.clips]
    held = Material(rain, held.labels, held.audio, held.coded, held.heard)
    quiet = encode(Made(), [np.zeros(SR, np.float32)])
    tempo, note = meaning.false_names(Made(), held, quiet, quiet, 0)
    assert tempo.value == 0.5 and tempo.nulls == {"noise": 0.0, "silence": 0.0} and tempo.n == 2  # 4 kHz is the clock
    assert note.value is None and note.note
    assert torch.equal(held.coded.codes["S0"][:20], torch.full((20,), 2))
