"""The legend of `ears`: what every code was chosen by, in numbers, and the phrase that is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import glossary
from natd.codebooks.kinds import WIDER, WIDER_OF
from natd.codec import dynamics, ears, harmony_net, rhythm_net, scene_net
from natd.codec.descriptors import COLUMN, DESCRIPTORS, GATED
from natd.codec.ears_names import GRADED
from natd.codec.scene_net import CALLS, FIRST, NOT_YET

EXAMPLES = 3
Closest = Mapping[int, Mapping[str, float]]


def make(
    codes: Mapping[str, Tensor],
    descriptors: Tensor,
    origin: Sequence[str],
    take: Tensor,
    closest: Closest,
    harmony: Mapping[int, str],
    middles: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Codes [N] by layer and descriptors [N, 29] of recordings, the take of each frame [N] and where takes come from.

    `closest`: code of S0 -> the true kinds of what was called so. `harmony`: the phrases of S1.
    `middles`: descriptor -> its value in the middle of each code of S3 [384], in place of a mean that was not measured.
    """
    names = list(DESCRIPTORS)
    layers: dict[str, Any] = {}
    for layer, (size, _) in ears.SEMANTIC.items():
        entries = glossary.measure(codes[layer], descriptors, size, names, GATED, LIKE.get(layer))
        examples = _examples(codes[layer], take, origin, size)
        layers[layer] = {}
        for code, entry in enumerate(entries):
            row: dict[str, Any] = {"count": entry.count, "means": [entry.means[name] for name in names]}
            if examples[code]:
                row["examples"] = examples[code]
            layers[layer][str(code)] = row
    _scene(layers["S0"], closest)
    for layer, said in (("S1", harmony), ("S2", rhythm_net.names())):
        for code, phrase in said.items():
            layers[layer][str(code)]["phrase"] = phrase
    _dynamics(layers["S3"], middles)
    for layer in ears.ACOUSTIC:
        count = torch.bincount(codes[layer], minlength=ears.ACOUSTIC_SIZE).tolist()
        layers[layer] = {str(code): {"count": n} for code, n in enumerate(count)}
    return {"descriptors": DESCRIPTORS, "codes": layers}


def like_scene(_name: str) -> Tensor:
    """Codes of one call."""
    return scene_net.cells()[0] + 1


def like_harmony(_name: str) -> Tensor:
    """Notes, chords of one quality, and the cells, each by themselves."""
    h = harmony_net
    group = torch.arange(h.SIZE)
    group[h.FIRST_NOTE : h.FIRST_CHORD] = h.FIRST_NOTE
    group[h.FIRST_CHORD : h.FIRST_MIX] = h.FIRST_CHORD + torch.arange(h.CHORDS) % len(h.QUALITIES)
    return group


def like_rhythm(name: str) -> Tensor:
    """For the onset, codes of one onset level; for all else, codes of one state."""
    r = rhythm_net
    group = torch.arange(r.CODES)
    said = torch.arange(r.UNHEARD_ONSET - r.FIRST_CODE)
    levels = len(r.ONSETS)
    # A state's group bears the number of its first code, a level's that of its code in the first state.
    group[r.FIRST_CODE : r.UNHEARD_ONSET] = r.FIRST_CODE + (said % levels if name == "onset" else said - said % levels)
    return group


LIKE = {"S0": like_scene, "S1": like_harmony, "S2": like_rhythm}


def _examples(codes: Tensor, take: Tensor, origin: Sequence[str], size: int) -> list[list[str]]:
    """Per code, the origins whose frames chose it most often."""
    found: list[Counter[str]] = [Counter() for _ in range(size)]
    pairs, counts = torch.unique(torch.stack([codes, take]), dim=1, return_counts=True)
    for (code, number), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        found[code][origin[number]] += n
    return [[name for name, _ in sorted(c.items(), key=lambda p: (-p[1], p[0]))[:EXAMPLES]] for c in found]


def _scene(rows: dict[str, Any], closest: Closest) -> None:
    call, tier = scene_net.cells()
    for code in range(scene_net.SIZE):
        row = rows[str(code)]
        if code < FIRST:
            row |= {"phrase": glossary.NOT_YET if code == NOT_YET else glossary.SILENCE, "called": ""}
            continue
        name, shares = CALLS[int(call[code])], closest[code]
        if tier[code] == 0:
            name = WIDER_OF.get(name, name)  # not sure enough to name the kind: it is what the wider kind is closest to
        members = WIDER.get(name, (name,))
        confidence = sum(shares.get(kind, 0.0) for kind in members)
        row |= {"called": name, "closest": dict(shares), "confidence": round(confidence, 3)}
        row["phrase"] = glossary.scene(name, shares, means_of(row) if row["count"] else {})


def means_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Names of descriptors -> the means that are known."""
    return {name: mean for name, mean in zip(DESCRIPTORS, row["means"], strict=True) if mean is not None}


def _dynamics(rows: dict[str, Any], middles: Mapping[str, Tensor]) -> None:
    for code in range(dynamics.SIZE):
        means = rows[str(code)]["means"]
        for name in GRADED:
            if means[COLUMN[name]] is None:
                means[COLUMN[name]] = round(float(middles[name][code]), 3)
        graded = glossary.dynamics(*(means[COLUMN[name]] for name in GRADED))
        # The order of the codes follows the middles, so that codes of one name stand together.
        rows[str(code)]["name"] = short_grade(middles, code)
        rows[str(code)]["phrase"] = graded if code else glossary.SILENCE


def short_grade(middles: Mapping[str, Tensor], code: int) -> str:
    """Loudness and brightness in the middle of a code of S3, for the header: `mf bright`."""
    if not code:
        return glossary.SILENCE
    return glossary.grade(*(float(middles[name][code]) for name in GRADED)).rsplit(" ", 1)[0]


def empty() -> dict[str, Any]:
    """A legend without words, for a tokenizer whose codes are still to be named."""
    return {"descriptors": DESCRIPTORS, "codes": {layer: {} for layer in (*ears.SEMANTIC, *ears.ACOUSTIC)}}
