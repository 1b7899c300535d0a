"""The f0 of a frame from the note that its code names: how close, and how often one is named."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from natd.codec import Tokenizer
from natd.codec.descriptors import COLUMN
from natd.codec.harmony import PITCHED
from natd.evaluation import recovery, words
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import per_clip, sizes_of
from natd.evaluation.material import Material, described
from natd.evaluation.recovery import Measured

A4_HZ, A4_MIDI = 440.0, 69
WITHIN_SEMITONES = 1.0
FIGURES = {
    "f0, where a note is coded": "R2",
    "f0 within 1 semitone, where a note is coded": "share",
    "note coded, where there is an f0": "share",
}


def rows(tokenizer: Tokenizer, held: Material, seed: int) -> list[Row]:
    """R2 and share within a semitone of the f0 (log2 Hz) by the note in a code's words; share of f0 with a note."""
    named = words.read(tokenizer, words.note, words.LEAST_NOTES)
    if not named:
        return [missing(f, "S", unit, "its codes name no notes") for f, unit in FIGURES.items()]
    layer = max(named, key=lambda name: len(named[name]))
    table = torch.full((sizes_of(tokenizer.spec)[layer], 1), torch.nan, dtype=torch.float64)
    for code, midi in named[layer].items():
        table[code] = math.log2(A4_HZ) + (midi - A4_MIDI) / 12
    pitched = _pitched(tokenizer, held, layer)
    has_note = ~table[:, 0].isnan()
    coded = pitched.part(has_note[pitched.codes])
    mixed = coded.shuffled(seed)
    close = [estimate(recovery.errors(table, part), recovery.variance_share, seed) for part in (coded, mixed)]
    near = [estimate(_near(table, part), ratio, seed) for part in (coded, mixed)]
    told = estimate(_hits(has_note[pitched.codes], pitched), ratio, seed)
    rows = []
    for (figure, unit), (found, chance) in zip(FIGURES.items(), (close, near), strict=False):
        why = "" if found.n else "no frame with an f0 has one"
        rows.append(row(figure, layer, unit, found, {"shuffled": chance.value}, why))
    return [*rows, row(list(FIGURES)[2], layer, "share", told)]


def _pitched(tokenizer: Tokenizer, held: Material, layer: str) -> Measured:
    """Codes and measured f0 of sounding frames that have one."""
    heard = held.heard
    known = ~heard.silent & (heard.descriptors[:, COLUMN["salience"]] >= PITCHED)
    at = described(held, tokenizer.spec, layer)
    keep = at >= 0
    keep[keep.clone()] = known[at[keep]]
    values = heard.descriptors[at[keep], COLUMN["f0"], None].double()
    return Measured(held.coded.codes[layer][keep], values, held.coded.clip[layer][keep], held.coded.clips)


def _near(table: Tensor, part: Measured) -> Floats:
    semitones = 12 * (part.values[:, 0] - table[part.codes, 0]).abs()
    return _hits(semitones <= WITHIN_SEMITONES, part)


def _hits(hits: Tensor, part: Measured) -> Floats:
    return per_clip([hits, torch.ones(len(hits))], part.clip, part.clips)
