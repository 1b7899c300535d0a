"""Names of codes in the header: what runs stand for, in our reader and in the client's, and what does not fit."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import natd_client
from natd.codebooks import naming
from natd.codebooks.naming import Name, Notes, Product, Run, expand, fold, legend, note, read
from natd.errors import ModelError
from natd.wire import Layer, encode
from tests.schema import validate_line
from tests.streams import header

QUALITIES = ("", "m", "dim", "7", "m7", "maj7", "sus4", "5")
TEMPI = tuple(f"tempo {round(40 * 2 ** (i / 8))} bpm" for i in range(21))
LOUD = ("very soft", "soft", "medium", "loud", "very loud")


def full() -> dict[str, tuple[Run, ...]]:
    """Names as many as a tokenizer of music, speech and surroundings has."""
    kinds = "piano,plucked strings,bowed strings,woodwind,brass,mallets,organ,singing,ensemble,band,drums,speech,crowd"
    kinds += ",applause,laughter,baby cry,dog,cat,rooster,birds,insects,rain,thunder,wind,sea waves,water,fire,engine"
    scene = [Name(0, "silence"), Name(1, "not heard long enough")]
    scene += [Name(2 + 8 * i, kind) for i, kind in enumerate(kinds.split(","))]
    mixes = tuple(" ".join(naming.PITCH_CLASSES[(i + j) % 12] for j in (0, s, 7)) for i in range(12) for s in (2, 5))
    return {
        "S0": (*scene, Name(230, "unknown")),
        "S1": (
            Name(0, "silence"),
            Name(1, "not heard long enough"),
            Name(2, "unpitched"),
            Product(3, "note {}", (Notes(21, 88),)),
            Product(91, "chord {}{}", (naming.PITCH_CLASSES, QUALITIES)),
            Product(187, "mix of {}", (mixes,)),
        ),
        "S2": (Name(0, "silence"), Product(1, "{}, {}", (TEMPI, ("no onset", "soft onset", "strong onset")))),
        "S3": (Product(0, "{} {} dBFS, {}, {}", (LOUD, ("-60", "-40"), ("dark", "mid", "bright"), ("pure", "noisy"))),),
    }


LAYERS = tuple(Layer(f"S{i}", "semantic", "", size) for i, size in enumerate((260, 260, 260, 256)))


def written(names: dict[str, Sequence[Run]], layers: Sequence[Layer] = LAYERS) -> dict:
    """A header line with these names, as a reader parses it."""
    return json.loads(encode(replace(header(layers), legend=legend(names, layers))))


def test_what_a_full_legend_says():
    head = written(full())
    validate_line(orjson.dumps(head) + b"\n")
    assert naming.names_bytes(head["legend"]) < naming.MAX_BYTES
    named = read(head)
    assert (named["S0"][1], named["S0"][2], named["S0"][9], named["S0"][10]) == (
        "not heard long enough", "piano", "piano", "plucked strings")  # fmt: skip
    assert (named["S0"][229], named["S0"][230], named["S0"][259]) == ("engine", "unknown", "unknown")
    assert (named["S1"][3], named["S1"][51], named["S1"][90]) == ("note A0", "note A4", "note C8")
    assert (named["S1"][91], named["S1"][92], named["S1"][99]) == ("chord C", "chord Cm", "chord C#")
    assert (named["S1"][186], named["S1"][187], named["S1"][210]) == ("chord B5", "mix of C D G", "mix of B E F#")
    assert 211 not in named["S1"]
    assert (named["S2"][1], named["S2"][2], named["S2"][4]) == (
        "tempo 40 bpm, no onset", "tempo 40 bpm, soft onset", "tempo 44 bpm, no onset")  # fmt: skip
    assert named["S3"][13] == "soft -60 dBFS, dark, noisy"
    assert natd_client.names(head) == named


def test_notes_have_the_names_of_the_piano():
    assert [note(midi) for midi in (0, 21, 60, 61, 69, 108)] == ["C-1", "A0", "C4", "C#4", "A4", "C8"]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[Run], int]:
    """Runs that fit a layer, and its size."""
    words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=4)
    axis = st.lists(words, min_size=1, max_size=4).map(tuple) | st.builds(Notes, st.integers(0, 127), st.integers(1, 5))
    runs: list[Run] = []
    at = 0
    for _ in range(draw(st.integers(1, 5))):
        at += draw(st.integers(0, 3))
        if draw(st.booleans()):
            runs.append(Name(at, draw(words)))
            at += draw(st.integers(1, 5))
        else:
            axes = tuple(draw(st.lists(axis, min_size=1, max_size=3)))
            parts = [part.replace("{", "").replace("}", "") for part in draw(st.tuples(*[words] * (len(axes) + 1)))]
            runs.append(Product(at, naming.PLACE.join(parts), axes))
            at += runs[-1].count
    return runs, at + draw(st.integers(0, 3))


@given(layouts())
def test_both_readers_read_what_was_written(layout):
    runs, size = layout
    layers = [Layer("S0", "semantic", "", size)]
    head = json.loads(encode(header(layers))) | {"legend": {"names": {"S0": [naming._written(run) for run in runs]}}}
    validate_line(orjson.dumps(head) + b"\n")
    assert read(head) == natd_client.names(head) == {"S0": expand(runs, size)}


@given(layouts())
def test_a_product_is_counted_as_an_odometer_turns(layout):
    runs, size = layout
    named = expand(runs, size)
    for run in runs:
        if isinstance(run, Product):
            words = [[note(a.lowest + i) for i in range(a.count)] if isinstance(a, Notes) else a for a in run.axes]
            for i, choice in enumerate(itertools.product(*words)):
                parts = run.form.split("{}")
                assert named.get(run.first + i, "") == "".join(
                    part + word for part, word in zip(parts, [*choice, ""], strict=True)
                )


@given(st.dictionaries(st.integers(0, 30), st.sampled_from(["rain", "dog", "wind"])), st.integers(31, 40))
def test_folded_names_are_the_same_names(names, size):
    runs = fold(names, size)
    assert expand(runs, size) == names
    assert all(a.name != b.name for a, b in itertools.pairwise(runs))


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        ([Name(3, "a"), Name(3, "b")], "from code 3 to 3"),
        ([Name(4, "a"), Name(3, "b")], "from code 4 to 3"),
        ([Name(10, "a")], "from code 10 to 10 in a layer of 10"),
        ([Name(-1, "a")], "from code -1"),
        ([Product(0, "{}", (("a", "b", "c"),)), Name(2, "d")], "names 3 codes from 0 on; there is place for 2"),
        ([Product(8, "{}", (Notes(21, 3),))], "names 3 codes from 8 on; there is place for 2"),
        ([Product(0, "{} {}", (("a",),))], "with 1 axes"),
        ([Product(0, "{}", ((),))], "names 0 codes"),
    ],
)
def test_runs_that_do_not_fit_are_refused(runs, match):
    with pytest.raises(ModelError, match=match):
        expand(runs, 10)


def test_a_legend_fits_the_layers_and_the_header():
    assert legend({}, LAYERS) == {} and legend({"S0": []}, LAYERS) == {}
    with pytest.raises(ModelError, match="layers that there are not: S7"):
        legend({"S7": [Name(0, "a")]}, LAYERS)
    fits = [Name(0, "x" * (naming.MAX_BYTES - len('{"names":{"S0":[[0,""]]}}')))]
    assert naming.names_bytes(legend({"S0": fits}, LAYERS)) == naming.MAX_BYTES
    with pytest.raises(ModelError, match="4097 bytes in the header; at most 4096"):
        legend({"S0": [Name(0, fits[0].name + "x")]}, LAYERS)


@pytest.mark.parametrize("size", [3, 2**31])
@pytest.mark.parametrize(
    ("runs", "named"),
    [
        ([[0, "a"], {"first": 1, "chord": "C"}, [2, "b"]], {0: "a", 2: "b"}),
        ([[0, "a"], {"first": 1, "form": "{}", "axes": [{"scale": "C"}]}, [2, "b"]], {0: "a", 2: "b"}),
        ([{"first": 0, "form": "{}{}{}", "axes": [{"lowest": 0, "count": 2**40}] * 3}, [2, "b"]],
         {0: "C-1C-1C-1", 1: "C-1C-1C#-1", 2: "b"}),
    ],
)  # fmt: skip
def test_a_reader_passes_over_what_it_does_not_know_and_expands_no_more_than_there_are(runs, named, size):
    head = json.loads(encode(header(LAYERS[:1]))) | {"legend": {"names": {"S0": runs, "S9": [[0, "x"]]}}}
    head["layers"][0]["vocab"] = size
    for found in (read(head), natd_client.names(head)):
        assert found.keys() == {"S0"} and {code: found["S0"][code] for code in named} == named
        assert len(found["S0"]) <= naming.MAX_NAMES
