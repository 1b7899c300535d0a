"""Known pieces against codes that are known."""

import numpy as np
import pytest
import torch

from natd.errors import ConfigError
from natd.evaluation import meaning, rendered
from natd.evaluation.coding import Coded
from natd.evaluation.rendered import ASKED, bpm_of, octave_right, pieces, tempo_right, tempo_truth, truth
from natd.training import midi
from natd.training.midi import EVALUATION_SEEDS, Chord, Note, Piece
from tests.evaluation.made import PHRASES, Made

HZ = 12.5
HELD, EVERY, HELD_CLASS, _, ROOT, QUALITY, BAND_ROOT = ASKED
SOLO = Piece("solo", 1, 0.0, 4.0, (Note(0.0, 1.0, 69, 0), Note(1.2, 2.0, 72, 0)), ())
CHORDS = Piece("chords", 1, 0.0, 4.0, (), (Chord(0.0, 1.0, 6, "m7"), Chord(1.0, 2.0, 2, "5")))
BAND = Piece("band", 1, 120.0, 4.0, (), (Chord(0.0, 4.0, 3, ""),))


def coded(codes: list[int], silent: tuple[int, ...] = ()) -> Coded:
    """50 frames a piece, each of one code."""
    n = 50 * len(codes)
    quiet = torch.zeros(n, dtype=torch.bool)
    quiet[list(silent)] = True
    clip = torch.arange(len(codes)).repeat_interleave(50)
    return Coded({"S1": torch.tensor(codes)[clip]}, {"S1": clip}, {"S1": quiet}, len(codes))


def test_a_note_is_asked_where_it_sounds_and_where_it_has_been_held():
    blank = coded([0, 0, 0])
    played = [CHORDS, SOLO, BAND]
    every = truth(blank, "S1", HZ, played, EVERY).tolist()
    assert every[:50] == [-1] * 50 == every[100:]
    # Frame 12 is 0.96 .. 1.04 s: its middle is where the note ends; frame 15 has the first middle after 1.2 s.
    assert every[50:100] == [69] * 12 + [-1] * 3 + [72] * 10 + [-1] * 25
    held = truth(blank, "S1", HZ, played, HELD).tolist()[50:100]
    assert held == [-1] * 2 + [69] * 10 + [-1] * 5 + [72] * 8 + [-1] * 25
    assert set(truth(blank, "S1", HZ, played, HELD_CLASS).tolist()) == {-1, 9, 0}
    assert truth(coded([0, 0, 0], (52, 53)), "S1", HZ, played, HELD).tolist()[50:55] == [-1] * 4 + [69]


def test_a_chord_is_asked_by_style_and_a_bare_fifth_has_no_quality():
    blank, played = coded([0, 0, 0]), [CHORDS, SOLO, BAND]
    roots = truth(blank, "S1", HZ, played, ROOT).tolist()
    assert roots[:25] == [-1] * 4 + [6] * 8 + [-1] * 4 + [2] * 9 and set(roots[25:]) == {-1}
    assert {x for x in truth(blank, "S1", HZ, played, QUALITY).tolist() if x >= 0} == {rendered.chord_label((6, "m7"))}
    assert set(truth(blank, "S1", HZ, played, BAND_ROOT).tolist()[104:]) == {3}


def test_a_tempo_is_right_within_8_percent_and_in_its_octave_within_4():
    played = [SOLO, BAND, BAND, BAND, BAND]
    bpm = torch.tensor([torch.nan, 128.0, 61.0, 122.0], dtype=torch.float64)
    codes = coded([1, 0, 1, 2, 3])
    assert tempo_right(bpm, codes, "S1", HZ, played, None).tolist() == [[0, 0], [0, 1], [1, 1], [0, 1], [1, 1]]
    assert octave_right(bpm, codes, "S1", HZ, played, None).tolist() == [[0, 0], [0, 1], [0, 1], [1, 1], [1, 1]]
    step = tempo_truth(codes, "S1", HZ, played)
    assert set(step[:50].tolist()) == {-1} and np.allclose(bpm_of(step[50:]).numpy(), 120.0, rtol=0.02)


def test_pieces_are_of_seeds_that_no_training_has_and_never_scored_and_learned_from():
    learned, scored = ({(p.style, p.seed) for p in part} for part in pieces(0))
    assert not learned & scored and not learned & {(p.style, p.seed) for p in pieces(1)[0]}
    assert all(seed >= EVALUATION_SEEDS for _, seed in learned | scored)
    assert {style for style, _ in scored} == {"solo", "band"}


def test_without_a_synthesiser_the_rows_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(midi, "FONTS", tmp_path)
    rows = meaning.scores_of_pieces(Made(), 0)
    assert len(rows) == 2 * len(ASKED) + 4
    assert all(row.value is None and "apt-get install fluidsynth" in row.note for row in rows)


def _installed() -> bool:
    try:
        return bool(rendered.evaluation_soundfont())
    except ConfigError:
        return False


if _installed():

    def test_pieces_are_heard_and_words_that_are_always_120_bpm_are_right_where_it_is_120(
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(rendered, "SCORED", {"solo": 2, "band": 1, "drums": 1})
        tokenizer = Made()
        tokenizer.glossary = {"S0": {code: f"sound {code}, about 120 bpm" for code in PHRASES}}
        rows = {row.figure: row for row in meaning.scores_of_pieces(tokenizer, 2)}
        true = [p.bpm for p in pieces(2)[1] if p.bpm and p.style in ("drums", "band")]
        right = sum(abs(120 / bpm - 1) <= 0.08 for bpm in true) / len(true)
        assert rows["tempo within 8 %, pieces, in words"].value == pytest.approx(right)
        assert rows["tempo within 8 %, pieces, in words"].n == len(true) == 2
        assert rows["note, exact, solo pieces, all, in words"].value is None
        assert rows["note, exact, solo pieces, all, probe"].n == 2
        assert rows["note, exact, solo pieces, all, probe"].value is not None
