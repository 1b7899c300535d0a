"""A known score against codes that are known."""

import numpy as np
import torch

from natd.audio.demo import ScoreEvent
from natd.audio.voices import RATE
from natd.evaluation.coding import Coded
from natd.evaluation.synthetic import (
    TASKS,
    chord_label,
    majority,
    pieces,
    right,
    said,
    seeds,
    tempo_right,
    tempo_truth,
    truth,
)

HZ = 12.5


def coded(codes: torch.Tensor, clips: int) -> Coded:
    clip = torch.arange(clips).repeat_interleave(len(codes) // clips)
    return Coded({"S1": codes}, {"S1": clip}, {"S1": torch.zeros(len(codes), dtype=torch.bool)}, clips)


NOTES, CLASS_OF_NOTES, ROOTS, BAND_ROOTS, CHORDS = TASKS
SCORE = [
    ScoreEvent("section", 0, 2 * RATE, "melody", bpm=120),
    ScoreEvent("note", 0, RATE, "A4", 69),
    ScoreEvent("note", RATE, RATE, "C5", 72),
    ScoreEvent("section", 2 * RATE, 2 * RATE, "chords", bpm=120),
    ScoreEvent("chord", 2 * RATE, 2 * RATE, "F#m7"),
    ScoreEvent("section", 4 * RATE, 4 * RATE, "band", bpm=120),
    ScoreEvent("chord", 4 * RATE, 4 * RATE, "Bm7b5"),
    ScoreEvent("note", 4 * RATE, RATE, "E5", 76),
]


def test_truth_is_what_sounds_at_the_middle_of_a_code():
    blank = coded(torch.zeros(100, dtype=torch.int64), 1)
    notes = truth(blank, "S1", HZ, [SCORE], NOTES).tolist()
    assert notes == [69] * 12 + [72] * 13 + [-1] * 75  # frame 12 is 0.96 .. 1.04 s: its middle is at 1.0 s
    assert set(truth(blank, "S1", HZ, [SCORE], CLASS_OF_NOTES).tolist()) == {9, 0, -1}
    assert set(truth(blank, "S1", HZ, [SCORE], ROOTS)[25:50].tolist()) == {6}
    assert set(truth(blank, "S1", HZ, [SCORE], BAND_ROOTS)[50:].tolist()) == {11}
    assert set(truth(blank, "S1", HZ, [SCORE], CHORDS)[25:50].tolist()) == {chord_label((6, "m7"))}
    assert set(tempo_truth(blank, "S1", HZ, [SCORE])[50:].tolist()) == {120}


def test_codes_that_are_the_notes_are_all_right_and_others_not():
    labels = torch.tensor([60, 60, 62, 62, -1, 64])
    codes, clip = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1])
    table = majority(codes, labels, 4)
    assert table.tolist() == [60, 62, 64, 60]
    assert right(table, codes, labels, clip, 2).tolist() == [[3, 3], [2, 2]]
    assert right(said({0: 60}, 4), codes, labels, clip, 2).tolist() == [[2, 3], [0, 2]]


def test_a_tempo_counts_within_8_percent_of_the_median():
    bpm = torch.tensor([torch.nan, 128.0, 131.0, 60.0], dtype=torch.float64)
    for code, hits in ((0, 0), (1, 1), (2, 0), (3, 0)):
        found = tempo_right(bpm, coded(torch.full((100,), code), 1), "S1", HZ, [SCORE], None)
        assert found.tolist() == [[hits, 1]]


def test_pieces_are_those_of_their_seeds_and_never_scored_and_learned_from():
    learned, scored = seeds(3)
    assert not set(learned) & set(scored) and not set(seeds(2)[0]) & set(learned)
    audio, scores = pieces([5], 16_000)
    assert len(audio[0]) == 40 * 16_000 and audio[0].dtype == np.float32 and 0.05 < np.abs(audio[0]).max() <= 1.1
    assert {e.name for e in scores[0] if e.kind == "section"} == {"melody", "chords", "drums", "band"}
    assert all(e.first < 40 * RATE for e in scores[0])
