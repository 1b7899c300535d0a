"""Entries are measured means; phrases are made of those numbers and nothing else."""

import pytest
import torch

from natd.codebooks import glossary
from natd.codec.descriptors import DESCRIPTORS, GATED

NEUTRAL = {
    "level": -30.0, "trend": 0.0, "centroid": 10.5, "bandwidth": 1.0, "rolloff": 11.0, "flatness": -20.0, "f0": None,
    "salience": 0.3, "tonalness": 0.1, "onset": 0.5, "onset_rate": 0.0, "pulse": 0.1, "tempo": None, "slow": 0.2,
    "fast": 0.1, "wavering": 1.0, "duty": 1.0,
} | {f"chroma_{n}": 1 / 12 for n in glossary.NOTES}  # fmt: skip


def phrase(layer: str, **means: float) -> str:
    assert set(means) <= set(DESCRIPTORS)
    return glossary.phrase(layer, glossary.Entry(10, NEUTRAL | means))


def test_means_are_over_the_frames_that_chose_the_code() -> None:
    names = ["level", "salience", "f0"]
    table = torch.tensor([[-10.0, 0.9, 8.0], [-20.0, 0.9, 9.0], [-30.0, 0.2, 5.0], [-40.0, 0.1, 6.0]])
    entries = glossary.measure(torch.tensor([1, 1, 1, 2]), table, 4, names, {"f0": ("salience", 0.8)})
    assert [e.count for e in entries] == [0, 3, 1, 0]
    assert entries[1].means == {"level": -20.0, "salience": pytest.approx(0.667), "f0": 8.5}
    assert entries[2].means["f0"] is None and entries[2].means["level"] == -40.0
    assert entries[3].means == {"level": None, "salience": None, "f0": None}


def test_a_code_no_frame_chose_says_so() -> None:
    assert glossary.phrase("S0", glossary.Entry(0, {})) == glossary.UNHEARD


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ({"flatness": -3.0, "centroid": 12.0, "level": -32.4}, ["steady", "bright", "noise", "4.1 kHz", "-32 dBFS"]),
        ({"salience": 0.9, "centroid": 8.0}, ["deep", "tone", "256 Hz"]),
        ({"wavering": 12.0, "onset_rate": 4.0}, ["bursts of", "4 onsets/s"]),
    ],
)
def test_scene(means: dict[str, float], words: list[str]) -> None:
    assert all(word in phrase("S0", **means) for word in words), phrase("S0", **means)


def chroma(**shares: float) -> dict[str, float]:
    rest = (1.0 - sum(shares.values())) / (12 - len(shares))
    return {f"chroma_{n}": shares.get(n.replace("#", "s"), rest) for n in glossary.NOTES}


def test_harmony() -> None:
    assert phrase("S1", **chroma(A=0.3, C=0.3, E=0.3), salience=0.7).startswith("A minor-like, clear")
    assert phrase("S1", **chroma(F=0.3, A=0.3, C=0.3), salience=0.95).startswith("F major-like, strong")
    single = phrase("S1", **chroma(A=0.8), salience=0.95, f0=8.78136)
    assert single == "strong single pitch A4"
    assert phrase("S1", **chroma(D=0.8), salience=0.95, f0=8.78136) == "strong single pitch D, f0 about 440 Hz"
    assert phrase("S1").startswith("unpitched")


def test_rhythm() -> None:
    assert phrase("S2", pulse=0.5, tempo=6.907, onset=9.0) == "regular pulse about 120 bpm, strong onset"
    assert phrase("S2", onset_rate=3.0) == "irregular events, no onset, 3/s"
    assert phrase("S2", slow=1.0).endswith("syllabic") and phrase("S2", fast=0.8).endswith("fluttering")


def test_dynamics() -> None:
    assert phrase("S3", level=-60.0, trend=-6.0, flatness=-4.0) == "very soft -60 dBFS, falling, mid 1.4 kHz, noisy"
    assert phrase("S3", level=-10.0, f0=8.0, salience=0.9).endswith("f0 256 Hz")


def test_gates_name_descriptors() -> None:
    assert all(name in DESCRIPTORS and gate in DESCRIPTORS for name, (gate, _) in GATED.items())
