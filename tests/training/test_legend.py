"""The legend: numbers of the frames that chose a code, where they came from, and a phrase for every code."""

import pytest
import torch

from natd.codebooks import glossary
from natd.codec import dynamics, ears, ears_names, harmony_net, rhythm_net, scene_net
from natd.codec.descriptors import COLUMN, DESCRIPTORS
from natd.codec.harmony_net import HarmonyNet
from natd.codec.scene_net import CALLS
from natd.training import legend

FRAMES = 400
DOG, ANIMAL, NOTHING = (CALLS.index(name) for name in ("dog", "animal", "unknown"))
ORIGINS = ["esc10/dog", "sounds/wind", "sounds/rain", "music/rock"]


def code_of(call: int, tier: int) -> int:
    calls, tiers = scene_net.cells()
    return int(((calls == call) & (tiers == tier)).nonzero()[0])


@pytest.fixture(scope="module")
def phrases() -> dict[int, str]:
    return HarmonyNet(harmony_net.initial_tensors(0)).names()


@pytest.fixture(scope="module")
def made(phrases: dict[int, str]) -> dict:
    """The first take is always the sure dog, at -20 dBFS; the others are random."""
    draw = torch.Generator().manual_seed(0)
    sizes: dict[str, int] = ears.SETTINGS["sizes"]
    codes = {layer: torch.randint(size, (FRAMES,), generator=draw) for layer, size in sizes.items()}
    take = torch.arange(len(ORIGINS)).repeat_interleave(FRAMES // len(ORIGINS))
    codes["S0"] = torch.where(take == 0, code_of(DOG, 2), 0)
    codes["S0"][200], codes["S0"][300:320] = code_of(NOTHING, 0), 1
    codes["S3"] = torch.where(take == 0, 9, 0)
    table = torch.randn(FRAMES, len(DESCRIPTORS), generator=draw)
    table[:, COLUMN["level"]] = torch.where(take == 0, -20.0, -90.0)
    table[:, COLUMN["salience"]] = 0.0
    closest = {code: {"dog": 0.8, "cat": 0.15} for code in range(scene_net.FIRST, scene_net.SIZE)}
    closest[code_of(DOG, 0)] = {"dog": 0.3, "cat": 0.1, "rain": 0.4}
    middles = {name: torch.full((dynamics.SIZE,), 10.0) for name in dynamics.WEIGHTS}
    middles["level"] = torch.linspace(-90.0, -5.0, dynamics.SIZE)
    return legend.make(codes, table, ORIGINS, take, closest, phrases, middles)


def test_every_layer_has_every_code_and_every_semantic_one_a_phrase(made: dict) -> None:
    assert made["descriptors"] == DESCRIPTORS
    for layer, (size, _) in ears.SEMANTIC.items():
        rows = made["codes"][layer]
        assert list(rows) == [str(code) for code in range(size)] and all(row["phrase"] for row in rows.values())
        assert all(len(row["means"]) == len(DESCRIPTORS) for row in rows.values())
        assert rows["0"]["phrase"] == glossary.SILENCE
    for layer in ears.ACOUSTIC:
        assert sum(row["count"] for row in made["codes"][layer].values()) == FRAMES
        assert len(made["codes"][layer]) == ears.ACOUSTIC_SIZE


def test_a_code_tells_how_often_where_and_with_which_means_it_was_chosen(made: dict) -> None:
    row = made["codes"]["S0"][str(code_of(DOG, 2))]
    assert row["count"] == 100 and row["examples"] == ["esc10/dog"]
    assert row["means"][COLUMN["level"]] == pytest.approx(-20.0, abs=1.0) and row["means"][COLUMN["f0"]] is None
    assert made["codes"]["S0"]["0"]["examples"] == ["sounds/wind", "sounds/rain", "music/rock"]
    unheard = made["codes"]["S0"][str(code_of(ANIMAL, 1))]
    assert unheard["count"] == 0 and "examples" not in unheard


def test_a_scene_code_says_what_it_is_called_and_how_often_that_was_right(made: dict) -> None:
    rows = made["codes"]["S0"]
    sure = rows[str(code_of(DOG, 2))]
    assert (sure["called"], sure["confidence"], sure["phrase"]) == ("dog", 0.8, "dog 0.80 (or cat 0.15)")
    unsure = rows[str(code_of(DOG, 0))]  # named by its wider kind
    assert (unsure["called"], unsure["confidence"]) == ("animal", 0.4)
    assert unsure["phrase"] == "animal 0.40, closest to: rain 0.40, dog 0.30" and unsure["closest"]["rain"] == 0.4
    wide = rows[str(code_of(ANIMAL, 2))]
    assert (wide["called"], wide["confidence"]) == ("animal", 0.95)
    nothing = rows[str(code_of(NOTHING, 0))]
    assert nothing["called"] == "unknown" and nothing["confidence"] == 0.0
    assert nothing["phrase"].startswith("unknown, closest to: dog 0.80, cat 0.15: ")
    assert rows["0"]["called"] == rows["1"]["called"] == "" and rows["1"]["phrase"] == glossary.NOT_YET


def test_harmony_and_rhythm_have_the_phrases_of_their_nets(made: dict, phrases: dict[int, str]) -> None:
    for layer, said in (("S1", phrases), ("S2", rhythm_net.names())):
        assert {int(code): row["phrase"] for code, row in made["codes"][layer].items()} == said


def test_codes_lean_on_those_that_say_the_same_of_a_descriptor() -> None:
    calls, _ = scene_net.cells()
    of_scene = legend.like_scene("level")
    assert [int(x) for x in torch.unique(of_scene[calls == DOG])] == [DOG + 1] and len(of_scene) == scene_net.SIZE
    notes = legend.like_harmony("f0")[harmony_net.FIRST_NOTE : harmony_net.FIRST_CHORD]
    assert len(torch.unique(notes)) == 1
    said = rhythm_net.names()
    for name, place in (("onset", 1), ("tempo", 0)):  # of "steady, no onset"
        group = legend.like_rhythm(name)
        words: dict[int, set[str]] = {}
        for code in range(rhythm_net.FIRST_CODE, rhythm_net.UNHEARD_ONSET):
            words.setdefault(int(group[code]), set()).add(said[code].split(", ")[place])
        assert all(len(of_group) == 1 for of_group in words.values()) and len(words) > 5


def test_a_level_that_no_frame_had_is_named_by_the_middle_of_its_cell(made: dict) -> None:
    rows = made["codes"]["S3"]
    assert rows["9"]["count"] == 100 and rows["9"]["phrase"].startswith("f -20 dBFS")
    last = rows[str(dynamics.SIZE - 1)]
    assert last["count"] == 0 and last["phrase"] == glossary.dynamics(-5.0, 10.0, 10.0)
    assert last["means"][COLUMN["rolloff"]] is None


def test_the_header_can_be_named_by_the_legend(made: dict, phrases: dict[int, str]) -> None:
    assert set(ears_names.runs(made, phrases)) == set(ears.SEMANTIC)


def test_an_empty_legend_has_every_layer() -> None:
    assert {layer: rows for layer, rows in legend.empty()["codes"].items() if rows} == {}
    assert list(legend.empty()["codes"]) == [*ears.SEMANTIC, *ears.ACOUSTIC]
