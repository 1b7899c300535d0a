"""What is learned from and what is scored."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from natd.evaluation import material
from natd.evaluation.material import choose, classes_of, described, load, places
from tests.evaluation.made import Made, write_recordings


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audio")
    write_recordings(root)
    return root


def test_what_is_scored_is_never_learned_from(audio: Path):
    fit, held = choose(audio, 0)
    assert {c.fold for c in fit if c.label} == {1, 2} and {c.fold for c in held if c.label} == {3}
    assert {c.path.name for c in held if not c.label} == {"b.wav", "d.wav"}
    assert not {c.path for c in fit} & {c.path for c in held}
    assert classes_of(fit) == ["clock_tick", "dog", "rain", "sea_waves"]


def test_others_are_drawn_up_to_a_length_by_the_seed(audio: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(material, "FIT_SECONDS", 1.0)
    drawn = {seed: {c.path.name for c in choose(audio, seed)[0] if not c.label} for seed in range(8)}
    assert all(len(names) == 1 for names in drawn.values()) and set().union(*drawn.values()) == {"a.wav", "c.wav"}
    assert all(sum(bool(c.label) for c in choose(audio, seed)[0]) == 24 for seed in range(3))


def test_codes_meet_the_80_ms_that_their_middle_lies_in(audio: Path):
    held = choose(audio, 0)[1][:3]
    found = load(Made(), held, ["clock_tick"], 1.0, str, "scored")
    assert [len(x) for x in found.audio] == [24_000] * 3 and len(found.heard) == 36
    spec = Made().spec
    assert described(found, spec, "S0").tolist() == list(range(36))
    assert described(found, spec, "S1").tolist() == [i // 2 for i in range(72)]
    level = found.heard.descriptors[:, 0]
    assert torch.equal(found.coded.silent["S0"], found.heard.silent)
    assert ((-level / 4 - found.coded.codes["S1"][::2]).abs()[~found.heard.silent] < 0.51).all()


def test_a_tokenizer_of_another_rate_is_met_in_time(audio: Path):
    class Faster(Made):
        def __init__(self) -> None:
            super().__init__()
            self.spec = replace(self.spec, sr=16_000, frame_samples=320)  # 20 ms

    found = load(Faster(), choose(audio, 0)[1][:2], ["clock_tick"], 1.0, str, "scored")
    assert [len(x) for x in found.audio] == [16_000] * 2
    at = described(found, Faster().spec, "S0")
    # 50 codes a second against 12 whole frames of 80 ms: the last two lie in none.
    assert at.tolist() == [*(i // 4 for i in range(48)), -1, -1, *(12 + i // 4 for i in range(48)), -1, -1]


def test_places_start_anew_with_each_clip():
    assert places(torch.tensor([0, 0, 0, 2, 2, 3])).tolist() == [0, 1, 2, 0, 1, 0]
    assert places(torch.zeros(0, dtype=torch.int64)).tolist() == []
