"""The short names of the codes of `ears` that every header carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from natd.codebooks import glossary
from natd.codebooks.naming import PITCH_CLASSES, Name, Notes, Product, Run, fold
from natd.codec import dynamics, harmony_net, rhythm_net, scene_net
from natd.codec.harmony import NOTES

GRADED = ("level", "centroid", "flatness")


def runs(legend: Mapping[str, Any], harmony: Mapping[int, str]) -> dict[str, Sequence[Run]]:
    """Layer -> runs of names, from the legend and the phrases of S1."""
    scene, levels = legend["codes"]["S0"], legend["codes"]["S3"]
    called = {int(code): row["called"] or row["phrase"] for code, row in scene.items()}
    graded = {int(code): row["name"] for code, row in levels.items()}
    return {
        "S0": fold(called, scene_net.SIZE),
        "S1": _harmony(harmony),
        "S2": _rhythm(),
        "S3": fold(graded, dynamics.SIZE),
    }


def _harmony(phrases: Mapping[int, str]) -> list[Run]:
    """Notes and chords as products; mixes by their strongest pitch classes, unpitched ones alike."""
    h = harmony_net
    out: list[Run] = [Name(code, phrases[code]) for code in range(h.FIRST_NOTE)]
    out.append(Product(h.FIRST_NOTE, "note {}", (Notes(h.LOWEST_MIDI, NOTES),)))
    out.append(Product(h.FIRST_CHORD, "chord {}{}", (PITCH_CLASSES, h.QUALITIES)))
    out += [Name(code, phrases[code]) for code in range(h.FIRST_MIX, h.FIRST_NOISE)]
    return [*out, Name(h.FIRST_NOISE, "unpitched")]


def _rhythm() -> list[Run]:
    r = rhythm_net
    phrases = r.names()
    figures = tuple(phrases[code].rsplit(", ", 1)[0] for code in range(r.FIRST_CODE, r.UNHEARD_ONSET, len(r.ONSETS)))
    return [
        Name(r.SILENCE, glossary.SILENCE),
        Name(r.UNHEARD, glossary.NOT_YET),
        Product(r.FIRST_CODE, "{}, {}", (figures, r.ONSETS)),
        Product(r.UNHEARD_ONSET, glossary.NOT_YET + ", {}", (r.ONSETS[1:],)),
    ]
