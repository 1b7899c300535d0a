"""What phrases say."""

import pytest
import torch

from natd.evaluation.words import LEAST_NOTES, chord, class_votes, names_class, note, pitch_class, read, tempo
from tests.evaluation.made import CLASSES, Made


@pytest.mark.parametrize(
    ("phrase", "midi"),
    [
        ("note A4", 69), ("strong single pitch G#4", 68), ("C-1", 0), ("Bb3", None), ("chord A7", None),
        ("mix of C4 E4", None), ("A0 layer2", 21), ("unpitched", None), ("D7", 98),
    ],
)  # fmt: skip
def test_notes(phrase, midi):
    assert note(phrase) == midi


@pytest.mark.parametrize(
    ("phrase", "number"), [("single pitch G#, f0 about 415 Hz", 8), ("note A4", 9), ("clear mix of G# F E", None)]
)
def test_pitch_classes(phrase, number):
    assert pitch_class(phrase) == number


@pytest.mark.parametrize(
    ("phrase", "named"),
    [
        ("chord F#m7", (6, "m7")), ("chord C", (0, "")), ("G# minor-like, clear tone", (8, "m")), ("D7", None),
        ("chord D7", (2, "7")), ("Bm7b5", (11, "m7b5")), ("clear mix of G# F E", None), ("C major or A minor", None),
        ("pitch A4", None), ("Ddim", (2, "dim")), ("A sound", None), ("chord A5", (9, "5")), ("C#5", None),
    ],
)  # fmt: skip
def test_chords(phrase, named):
    assert chord(phrase) == named


def test_tempi():
    assert tempo("strict pulse about 120 bpm, onset") == 120.0
    assert tempo("~90bpm") == 90.0
    assert tempo("no pulse") is None and tempo("60 bpm or 120 bpm") is None


@pytest.mark.parametrize(
    ("phrase", "label", "named"),
    [
        ("a dog barks", "dog", True), ("hotdog", "dog", False), ("train", "rain", False), ("Raining", "rain", True),
        ("waves of the sea", "sea_waves", True), ("sea", "sea_waves", False), ("clock ticks", "clock_tick", True),
    ],
)  # fmt: skip
def test_classes(phrase, label, named):
    assert names_class(phrase, label) is named


def test_votes_are_the_codes_that_name_a_class():
    votes = class_votes(Made(), sorted(CLASSES))  # clock_tick, dog, rain, sea_waves
    assert list(votes) == ["S0"]
    assert votes["S0"].argmax(1)[1:].tolist() == [1, 2, 3, 0] and votes["S0"].sum(1).tolist() == [0, 1, 1, 1, 1]


def test_records_of_kinds_come_before_phrases():
    tokenizer = Made()
    tokenizer.kinds = {"S0": {1: {"rain": 0.75, "sea_waves": 0.25}, 2: {"clock_tick": 1.0}}}
    votes = class_votes(tokenizer, sorted(CLASSES))
    assert torch.equal(votes["S0"][1:3], torch.tensor([[0.0, 0.0, 0.75, 0.25], [1.0, 0.0, 0.0, 0.0]]))


def test_words_that_name_few_classes_are_no_measure():
    assert class_votes(Made(), [*CLASSES, "cow", "hen", "pig", "sheep", "frog"]) == {}
    assert class_votes(Made(), []) == {}


def test_reading_needs_enough_different_answers():
    assert read(Made(), tempo) == {"S0": {4: 120.0}}
    assert read(Made(), tempo, 2) == {} and read(Made(), note, LEAST_NOTES) == {}
