"""The f0 by the notes that codes name."""

import numpy as np
import pytest

from natd.evaluation import pitch
from natd.evaluation.pitch import FIGURES
from tests.evaluation.made import SR, Made, Tuned, material_of, tone

COUNT = 6


def test_a_note_says_the_f0(tmp_path):
    hiss = (0.1 * np.random.default_rng(0).standard_normal(SR)).astype(np.float32)
    sounds = [tone(440.0 * 2 ** (i * 5 / 12), 1) for i in range(4)] + [tone(110.0, 1), hiss]
    held = material_of(tmp_path, sounds, [("sounds", f"x{i}", "") for i in range(COUNT)], Tuned())
    close, near, told = pitch.rows(Tuned(), held, 0)
    assert [row.figure for row in (close, near, told)] == list(FIGURES) and close.of == "S0"
    assert close.value > 0.99 and close.nulls["shuffled"] < 0.2 and close.n == 4
    assert near.value == 1.0 and near.nulls["shuffled"] < 0.6
    assert told.n == 5 and told.value == pytest.approx(0.8, abs=0.02)  # A2 is below the notes that it names


def test_a_semitone_and_a_half_is_not_within_one(tmp_path):
    tokenizer = Tuned()
    shifted = {code: tokenizer.glossary["S0"][max(0, code - 2)] for code in range(62, 128)}
    tokenizer.glossary = {"S0": shifted}
    sounds = [tone(440.0 * 2 ** (i / 2), 1) for i in range(3)]
    held = material_of(tmp_path, sounds, [("sounds", f"x{i}", "") for i in range(3)], tokenizer)
    close, near, _ = pitch.rows(tokenizer, held, 0)
    assert near.value == 0.0 and 0.5 < close.value < 0.95


def test_a_tokenizer_without_notes_is_told_why(tmp_path):
    held = material_of(tmp_path, [tone(500.0, 1)], [("sounds", "x", "")])
    rows = pitch.rows(Made(), held, 0)
    assert [row.unit for row in rows] == list(FIGURES.values()) and all(row.value is None for row in rows)
