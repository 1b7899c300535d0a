"""The card: credits of what was fitted on and of nothing else, figures as they were measured."""

import os
from pathlib import Path
from typing import Any

import pytest

from natd.errors import SourceError
from natd.training import card
from natd.training.open_world import COVERAGES, SAID
from natd.training.recordings import clips_of, samples_of
from tests.training import toy_recordings


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_recordings.folder(tmp_path_factory.mktemp("audio"), seconds=0.5)


def row(takes: int) -> dict[str, Any]:
    return {name: 0.2 for name in SAID} | {"takes": takes}


FIGURES: dict[str, Any] = {
    "seconds": 3660.0,
    "scene": {
        "known": row(90) | {"by kind": {"dog": row(41)}},
        "left out": row(12) | {"by kind": {"thunder": row(7)}},
        "coverage": [{"coverage": c, "accuracy": 1.0 - c / 2} for c in COVERAGES],
    },
    "evaluation": {
        "rows": [
            {"figure": "ESC-10 probe", "of": "S", "value": 0.8125, "low": 0.7, "high": 0.9, "nulls": {"shuffled": 0.1},
             "unit": "share", "n": 80, "note": ""},
            {"figure": "chords", "of": "S1", "value": None, "low": None, "high": None, "nulls": {}, "unit": "share",
             "n": 0, "note": "no font"},
        ]
    },
}  # fmt: skip
MANIFEST = {"codebook_id": "sha256:abc", "files": {"ears.safetensors": {"bytes": 12, "sha256": "ff"}}}


@pytest.fixture(scope="module")
def text(audio: Path) -> str:
    return card.write(FIGURES, clips_of(audio), audio, MANIFEST, seed=7, threads=2)


def test_it_credits_what_was_fitted_on_and_nothing_else(text: str) -> None:
    assert "- Ada, CC-BY-4.0: Song <https://example.org/1>" in text and "Bob" not in text
    assert "- Cy, CC0 1.0: Wind <https://example.org/1>" in text
    assert "- speech_198.wav: Read by H. B. CC-BY 4.0" in text and "speech_5703.wav:" not in text
    assert "rex, CC-BY (ESC-10): bark.wav <http://example.org/bark>" in text
    assert "### sonic-pi" in text and "### drums" in text
    assert "FluidR3_GM" in text and "espeak-ng" in text


def test_folders_that_are_not_there_are_not_credited(audio: Path) -> None:
    music = [clip for clip in clips_of(audio) if clip.folder == "music" and clip.part == "fit"]
    credits = card.credits_of(music, audio)
    assert "### music" in credits and not any(word in credits for word in ("sonic-pi", "- speech_198", "rex"))


def test_it_tells_what_was_counted_and_what_made_it(text: str) -> None:
    assert "| esc10 | 4 | 2 |" in text and "| music | 4 | 2 |" in text and "| drums | 2 | 0 |" in text
    assert "`sha256:abc`" in text and "| ears.safetensors | 12 | ff |" in text
    assert "seed 7, 2 threads, 61 min" in text and "nat train ears --audio DIR --out DIR" in text


def test_it_holds_every_figure_with_its_interval_and_null(text: str) -> None:
    assert "| ESC-10 probe | S | 0.812 | 0.700 to 0.900 | shuffled 0.100 | share | 80 |" in text
    assert "| chords (no font) | S1 | - | - | - | share | - |" in text
    assert "| **known** | 0.2 | 0.2 | 0.2 | 0.2 | 0.2 | 90 |" in text
    assert "| thunder | 0.2 | 0.2 | 0.2 | 0.2 | 0.2 | 7 |" in text and "| dog |" not in text
    assert "| coverage | 10% | 20% |" in text and "| accuracy | 0.95 | 0.90 |" in text


def test_every_layer_is_described(text: str) -> None:
    for layer in ("S0", "S1", "S2", "S3", "A0-A3"):
        assert f"\n| {layer} | " in text


def test_which_recordings_are_held_out(audio: Path) -> None:
    parts = {str(c.path.relative_to(audio)): c.part for c in clips_of(audio)}
    assert parts["esc10/dog/2-000-A.wav"] == "fit" and parts["esc10/dog/3-000-A.wav"] == "held"
    assert not any("/4-" in name for name in parts)
    assert parts["recordings/speech_198.wav"] == "fit" and parts["recordings/speech_5703.wav"] == "held"
    assert parts["music/dev/rock_0__ada.wav"] == "held" and parts["sounds/train/wind__Cy1_howl.wav"] == "fit"
    assert len(samples_of(audio / "music/dev/rock_0__ada.wav")) == 12_000

    odd = Path(os.fsdecode(b"%s/music/train/odd\xff.wav" % os.fsencode(audio)))  # no UTF-8
    odd.hardlink_to(audio / "music/dev/rock_0__ada.wav")
    try:
        assert len(samples_of(odd)) == 12_000
    finally:
        odd.unlink()


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recording"):
        clips_of(tmp_path)
