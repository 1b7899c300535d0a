"""The header's names of `ears` say what the phrases of the codes say, in few bytes."""

import pytest
import torch

from natd.codebooks import glossary, naming
from natd.codec import dynamics, ears_names, harmony_net, rhythm_net, scene_net
from natd.codec.harmony_net import HarmonyNet
from natd.wire import Layer

SIZES = {"S0": scene_net.SIZE, "S1": harmony_net.SIZE, "S2": rhythm_net.CODES, "S3": dynamics.SIZE}


def legend() -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Every S0 code called by its place, S3 codes by twelve."""
    call, _ = scene_net.cells()
    scene: dict[str, dict[str, object]] = {}
    for code in range(scene_net.SIZE):
        name = scene_net.CALLS[int(call[code])] if call[code] >= 0 else ""
        first = glossary.NOT_YET if code else glossary.SILENCE
        scene[str(code)] = {"called": name, "phrase": f"{name} 0.50" if name else first}
    levels: dict[str, dict[str, object]] = {}
    for code in range(dynamics.SIZE):
        levels[str(code)] = {"name": f"grade {code // 12}"}
    return {"codes": {"S0": scene, "S3": levels}}


@pytest.fixture(scope="module")
def phrases() -> dict[int, str]:
    tensors = harmony_net.initial_tensors(0)
    tensors["S1.cells"] = torch.rand(tensors["S1.cells"].shape, generator=torch.Generator().manual_seed(1))
    return HarmonyNet(tensors).names()


@pytest.fixture(scope="module")
def named(phrases: dict[int, str]) -> dict[str, dict[int, str]]:
    runs = ears_names.runs(legend(), phrases)
    return {layer: naming.expand(runs[layer], size) for layer, size in SIZES.items()}


def test_every_code_has_a_name(named: dict[str, dict[int, str]]) -> None:
    assert {layer: len(names) for layer, names in named.items()} == SIZES


def test_the_scene_is_named_as_it_is_called(named: dict[str, dict[int, str]]) -> None:
    call, _ = scene_net.cells()
    assert named["S0"][0] == "silence" and named["S0"][scene_net.NOT_YET] == "not heard long enough"
    for code in range(scene_net.FIRST, scene_net.SIZE):
        assert named["S0"][code] == scene_net.CALLS[int(call[code])]


def test_notes_chords_and_mixes_are_named_as_their_phrases_say(
    named: dict[str, dict[int, str]], phrases: dict[int, str]
) -> None:
    for code, phrase in phrases.items():
        if code >= harmony_net.FIRST_NOISE:
            phrase = "unpitched"
        assert named["S1"][code] == phrase


def test_rhythm_is_named_as_its_phrases_say(named: dict[str, dict[int, str]]) -> None:
    phrases = rhythm_net.names()
    assert named["S2"][rhythm_net.UNHEARD] == glossary.NOT_YET
    assert all(named["S2"][code] == phrase for code, phrase in phrases.items() if code != rhythm_net.UNHEARD)


def test_dynamics_are_named_by_their_grade(named: dict[str, dict[int, str]]) -> None:
    assert named["S3"][0] == "grade 0" and named["S3"][13] == "grade 1"


def test_all_names_fit_a_header(phrases: dict[int, str]) -> None:
    layers = [Layer(name, "semantic", "", size) for name, size in SIZES.items()]
    body = naming.legend(ears_names.runs(legend(), phrases), layers)
    assert naming.names_bytes(body) <= naming.MAX_BYTES
