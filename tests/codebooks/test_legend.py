"""What is told of codes on request, with all that there may be and with as little as there may be."""

from types import SimpleNamespace

import orjson
import pytest

from natd.codebooks.legend import answer, entry
from natd.codec import Spec
from natd.errors import ConfigError
from natd.wire import Layer, TokenizerInfo
from tests.schema import validate_line

LEGEND = {
    "descriptors": {"level": "dBFS", "f0": "log2 Hz, pitched frames only"},
    "codes": {
        "S0": {
            "0": {"count": 12, "means": [-80.5, None], "phrase": "silence"},
            "1": {
                "count": 240,
                "means": [-20.25, 8.8],
                "phrase": "dog",
                "confidence": 0.82,
                "closest": {"dog": 0.8, "cat": 0.1},
                "examples": ["speech_en (train)"],
            },
        },
        "A0": {"2": {"count": 3, "means": [-9.0, None]}},
    },
}


def toy(**parts: object) -> SimpleNamespace:
    layers = (Layer("S0", "semantic", "scene", 4), Layer("A0", "acoustic", "residual", 4))
    spec = Spec(TokenizerInfo("toy", "1", "sha256:0"), 24000, 1920, layers)
    return SimpleNamespace(spec=spec, glossary={"S0": {0: "silence", 1: "dog"}}, **parts)


def test_all_that_is_known_of_a_code():
    told = answer(toy(legend=LEGEND), "S0", 1)
    assert told == {
        "layer": "S0",
        "code": 1,
        "phrase": "dog",
        "count": 240,
        "confidence": 0.82,
        "closest": {"dog": 0.8, "cat": 0.1},
        "examples": ["speech_en (train)"],
        "means": {
            "level": {"mean": -20.25, "unit": "dBFS"},
            "f0": {"mean": 8.8, "unit": "log2 Hz, pitched frames only"},
        },
    }


def test_what_is_not_known_is_left_out():
    assert answer(toy(legend=LEGEND), "S0", 0) == {
        "layer": "S0", "code": 0, "phrase": "silence", "count": 12, "means": {"level": {"mean": -80.5, "unit": "dBFS"}}
    }  # fmt: skip
    assert entry(toy(legend=LEGEND), "A0", 2) == {"count": 3, "means": {"level": {"mean": -9.0, "unit": "dBFS"}}}
    assert answer(toy(legend=LEGEND), "S0", 3) == {"layer": "S0", "code": 3}
    assert answer(toy(), "S0", 1) == {"layer": "S0", "code": 1, "phrase": "dog"}


def test_phrases_of_all_layers_or_one():
    assert answer(toy()) == {"codes": {"S0": {"0": "silence", "1": "dog"}}}
    assert answer(toy(legend=LEGEND), "S0") == {"codes": {"S0": {"0": "silence", "1": "dog"}}}
    assert answer(toy(), "A0") == {"codes": {"A0": {}}}


@pytest.mark.parametrize(
    ("layer", "code", "match"),
    [(None, 3, "code 3 of which layer"), ("S7", None, "no layer 'S7'; there are S0, A0"),
     ("S7", 1, "no layer 'S7'"), ("S0", 4, "no code 4 in S0: they are 0 to 3")],
)  # fmt: skip
def test_codes_that_there_are_not(layer, code, match):
    with pytest.raises(ConfigError, match=match):
        answer(toy(legend=LEGEND), layer, code)


def test_the_answers_follow_the_schema():
    for said in (answer(toy(legend=LEGEND), "S0", 1), answer(toy(), "S0", 1), answer(toy()), answer(toy(), "S0")):
        validate_line(orjson.dumps({"event": "answer", "op": "legend", **said}) + b"\n")
