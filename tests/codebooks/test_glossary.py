"""Entries are measured means; phrases are made of those numbers and of how often a call was right."""

import pytest
import torch

from natd.codebooks import glossary
from natd.codebooks.kinds import KINDS
from natd.codec.descriptors import DESCRIPTORS, GATED

MEANS = {"salience": 0.3, "flatness": -20.0, "wavering": 1.0, "centroid": 10.5, "onset_rate": 0.0}


def test_means_are_over_the_frames_that_chose_the_code() -> None:
    names = ["level", "salience", "f0"]
    table = torch.tensor([[-10.0, 0.9, 8.0], [-20.0, 0.9, 9.0], [-30.0, 0.2, 5.0], [-40.0, 0.1, 6.0]])
    entries = glossary.measure(torch.tensor([1, 1, 1, 2]), table, 4, names, {"f0": ("salience", 0.8)})
    assert [e.count for e in entries] == [0, 3, 1, 0]
    assert entries[1].means == {"level": -20.0, "salience": pytest.approx(0.667), "f0": 8.5}
    assert entries[2].means["f0"] is None and entries[2].means["level"] == -40.0
    assert entries[3].means == {"level": None, "salience": None, "f0": None}


def test_a_code_that_few_frames_chose_leans_on_its_group() -> None:
    """Codes 0 to 2 are one group, code 3 is another that no frame chose, code 4 a third with a gate never passed."""
    codes = torch.tensor([0] * 2000 + [1] * 2 + [4] * 1000)
    table = torch.tensor([[-20.0, 9.0, 1.0]] * 2000 + [[-60.0, 9.0, 1.0]] * 2 + [[-40.0, 5.0, 0.0]] * 1000)
    group = torch.tensor([0, 0, 0, 1, 2])
    gates = {"f0": ("salience", 0.8)}
    entries = glossary.measure(codes, table, 5, ["level", "f0", "salience"], gates, lambda name: group)
    level = [entry.means["level"] for entry in entries]
    assert [entry.count for entry in entries] == [2000, 2, 0, 0, 1000]
    assert level[0] == pytest.approx(-20.0, abs=0.2) and level[2] == pytest.approx(-20.0, abs=0.5)
    assert level[2] > level[1] > -40.0 and level[4] == pytest.approx(-40.0, abs=0.5)
    assert level[3] is None  # nothing is known of any code of its group
    assert [entry.means["f0"] for entry in entries][:2] == [9.0, 9.0] and entries[4].means["f0"] is None


def test_gates_name_descriptors() -> None:
    assert all(name in DESCRIPTORS and gate in DESCRIPTORS for name, (gate, _) in GATED.items())
    assert set(MEANS) <= set(DESCRIPTORS)


@pytest.mark.parametrize(
    ("name", "shares", "phrase"),
    [
        ("rain", {"rain": 0.82, "sea waves": 0.13}, "rain 0.82 (or sea waves 0.13)"),
        ("rain", {"rain": 0.9, "sea waves": 0.1}, "rain 0.90"),
        ("rain", {"wind": 0.5, "rain": 0.4, "dog": 0.1}, "rain 0.40 (or wind 0.50)"),
        ("animal", {"dog": 0.4, "cat": 0.3, "rain": 0.2}, "animal 0.70, closest to: dog 0.40, cat 0.30"),
        ("animal", {"rain": 0.6, "dog": 0.25}, "animal 0.25, closest to: rain 0.60, dog 0.25"),
        ("unknown", {"unknown": 0.5, "wind": 0.31}, "unknown, closest to: wind 0.31"),
        ("unknown", {}, "unknown"),
        ("dog", {}, "dog 0.00"),
    ],
)
def test_a_scene_says_what_is_called_how_surely_and_what_else_it_may_be(
    name: str, shares: dict[str, float], phrase: str
) -> None:
    assert glossary.scene(name, shares, {}) == phrase


def test_only_what_is_unknown_is_described_by_its_texture() -> None:
    assert glossary.scene("dog", {"dog": 0.7}, MEANS) == "dog 0.70"
    hiss = MEANS | {"flatness": -3.0, "centroid": 9.0}
    assert glossary.scene("unknown", {"wind": 0.31}, hiss) == "unknown, closest to: wind 0.31: steady dark noise"


@pytest.mark.parametrize(
    ("means", "texture"),
    [
        ({"salience": 0.8, "centroid": 8.0}, "steady deep tone"),
        ({"flatness": -10.0, "wavering": 4.0}, "uneven mid noisy sound"),
        ({"wavering": 12.0, "onset_rate": 4.4}, "bursts of mid sound, 4 onsets/s"),
        ({"centroid": 12.5, "onset_rate": 1.4}, "steady hissing sound"),
    ],
)
def test_textures(means: dict[str, float], texture: str) -> None:
    assert glossary.texture(MEANS | means) == texture


@pytest.mark.parametrize(
    ("level", "centroid", "flatness", "phrase", "grade"),
    [
        (-24.4, 11.632, -20.0, "mf -24 dBFS, bright 3.2 kHz, tonal", "mf bright tonal"),
        (-60.0, 8.0, -40.0, "ppp -60 dBFS, deep 256 Hz, pure", "ppp deep pure"),
        (-5.0, 12.2, -9.0, "ff -5 dBFS, hissing 4.7 kHz, noisy", "ff hissing noisy"),
    ],
)
def test_dynamics_by_letter_and_figure(level: float, centroid: float, flatness: float, phrase: str, grade: str) -> None:
    assert glossary.dynamics(level, centroid, flatness) == phrase
    assert glossary.grade(level, centroid, flatness) == grade


def test_steps_begin_at_their_value_and_the_first_has_no_end() -> None:
    words = [glossary.step(value, glossary.LOUD) for value in (-150.0, -56.01, -56.0, -13.0, 5.0)]
    assert words == ["ppp", "ppp", "pp", "ff", "ff"]


def test_words_of_a_grade_are_single_and_no_kind_of_sound() -> None:
    """A grade is three words, whatever the values: readers split it."""
    words = [word for steps in (glossary.LOUD, glossary.BRIGHT, glossary.NOISY) for _, word in steps]
    assert all(len(word.split()) == 1 for word in words) and not set(words) & set(KINDS)
