"""S1, harmony: a small pitch-equivariant net names the note or the chord; what is neither gets a cell of chroma.

Every note looks at the same places of the log-frequency spectrum, counted from itself: its harmonics, and where it
would be a harmonic of a lower note. One small net serves all notes, so a transposed sound gives a transposed answer.
The notes' hidden values, folded to pitch classes, are read in the same way from each of 12 roots for the chord.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codebooks.naming import PITCH_CLASSES, note
from natd.codec import rows
from natd.codec.harmony import LOG_BINS, NOTES, PER_SEMITONE, PITCHED, WIDTH, Tonal

QUALITIES = ("", "m", "dim", "7", "m7", "maj7", "sus4", "5")
LOWEST_MIDI = 21  # A0

# Codes, in this order: silence, not heard long enough, unpitched, notes from A0, chords by root and quality, cells.
SILENCE, EARLY, UNPITCHED, FIRST_NOTE = 0, 1, 2, 3
FIRST_CHORD = FIRST_NOTE + NOTES
CHORDS = 12 * len(QUALITIES)
FIRST_MIX = FIRST_CHORD + CHORDS
MIXES, NOISES = 13, 56
FIRST_NOISE = FIRST_MIX + MIXES
SIZE = FIRST_NOISE + NOISES  # 256
GROUPS = (FIRST_CHORD, CHORDS, MIXES, NOISES)
EARLY_FRAMES = 8

# Classes of the net: unpitched, mix, notes, chords; the code of a note or chord is its class + 1.
NO_PITCH, MIX, NOTE, CHORD = 0, 1, 2, 2 + NOTES
CLASSES = CHORD + CHORDS  # 186

ROWS = 96  # eight octaves of 12 from C#0 to C8: the first 8 rows are below A0 and are never named
BELOW = ROWS - NOTES
HARMONICS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 1 / 2, 1 / 3, 3 / 2)
# A note's part of a context: three bins each of the magnitudes now, the peaks now, the magnitudes 80 ms ago and their
# mean over 0.64 s, then how near the f0 is. After the notes a row of zeros and one of what belongs to all.
SPECTRA, PART = 4, 16
AT_F0 = SPECTRA * PER_SEMITONE
CONTEXT = (NOTES + 2, PART)
NOTHING, ALL = NOTES, NOTES + 1
SLOW_SHARE = 1.0 / 8.0
NEIGHBOURS = (-24, -19, -12, -1, 1, 7, 12, 19)  # semitones; where octave and fifth errors come from
HIDDEN, SLICE, WHOLE, FOLDED, CHORD_HIDDEN = 32, 16, 32, 16, 64

# What another code must gain on the present one, summed over frames, in the net's logits: of its group, of another.
CHANGE, FAR_CHANGE = 8.0, 20.0
FOLLOW = 0.03  # share of a frame in the slow chroma, some 3 s long, that mixes and cells without pitch are chosen by
DOUBT = 8.0  # off the logit of a note that is neither the f0 nor an octave from it, where the f0 is clear
HEARD_NOTES = slice(7, 75)  # E1 to B6, where the f0 is looked for
NEVER = -1e9

SHAPES: dict[str, tuple[int, ...]] = {
    "S1.note.0": (len(HARMONICS) * PART, HIDDEN),
    "S1.note.0.bias": (HIDDEN,),
    "S1.whole.0": (HIDDEN + PART, WHOLE),
    "S1.whole.0.bias": (WHOLE,),
    "S1.whole.1": (WHOLE, HIDDEN + CHORD_HIDDEN + WHOLE),
    "S1.whole.1.bias": (HIDDEN + CHORD_HIDDEN + WHOLE,),
    "S1.note.1": (HIDDEN + len(NEIGHBOURS) * SLICE, HIDDEN),
    "S1.note.2": (HIDDEN, FOLDED + rows.ALIGN),
    "S1.note.2.bias": (FOLDED + rows.ALIGN,),
    "S1.chord.0": (12 * 3 * FOLDED, CHORD_HIDDEN),
    "S1.chord.1": (CHORD_HIDDEN, rows.ALIGN),
    "S1.chord.1.bias": (rows.ALIGN,),
    "S1.other.0": (HIDDEN, WHOLE),
    "S1.other.1": (WHOLE, rows.ALIGN),
    "S1.other.1.bias": (rows.ALIGN,),
    "S1.cells": (rows.ALIGN, rows.padded(SIZE - FIRST_CHORD)),
}
LAST = ("S1.note.2", "S1.chord.1", "S1.other.1")
Product = Callable[[Tensor, Tensor], Tensor]
Affine = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(slots=True)
class HarmonyState:
    """What a stream remembers: spectrum [B, 1, 272], slow chroma [B, 12], scores of the codes [B, 256], age [B].

    A score says how far the best course of codes that ends in this one lies behind the best of all.
    """

    previous: Tensor
    slow: Tensor
    chroma: Tensor
    scores: Tensor
    heard: Tensor


class HarmonyNet:
    """The layer over its tensors (`SHAPES`)."""

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.weights = {name: tensors[name].to(device) for name in SHAPES}
        self.device = device
        self.looks, self.near, self.turn = _looks().to(device), _near().to(device), _turn().to(device)
        self.notes = torch.arange(NOTES, dtype=torch.float32, device=device)
        self.doubted = torch.zeros(NOTES, device=device)
        self.doubted[HEARD_NOTES] = DOUBT
        self.cells = _cells(self.weights["S1.cells"])
        self.class_of, self.members, self.group_of = (x.to(device) for x in _places())
        self.never = torch.zeros(SIZE, device=device)
        self.never[:FIRST_NOTE] = NEVER
        self.mean = torch.zeros(WIDTH, rows.ALIGN, device=device)
        self.mean[:LOG_BINS] = 1.0 / LOG_BINS

    def initial_state(self, batch: int) -> HarmonyState:
        """Nothing heard."""
        return HarmonyState(
            previous=torch.zeros(batch, 1, WIDTH, device=self.device),
            slow=torch.zeros(batch, 1, WIDTH, device=self.device),
            chroma=torch.zeros(batch, 12, device=self.device),
            scores=torch.zeros(batch, SIZE, device=self.device),
            heard=torch.zeros(batch, dtype=torch.int64, device=self.device),
        )

    def __call__(self, tonal: Tonal, f0: Tensor, salience: Tensor, silent: Tensor, state: HarmonyState) -> Tensor:
        """One frame: its tonal spectrum, f0 in log2 Hz, salience, silent [B] -> codes [B]; `state` moves on."""
        logits = self.logits(self.listen(tonal, f0, salience, state))
        return self.decide(logits, tonal.chroma, f0, salience, silent, state)

    def listen(self, tonal: Tonal, f0: Tensor, salience: Tensor, state: HarmonyState) -> Tensor:
        """What the net sees of a frame and its past [B, 90, 16], whatever the gain; `state` moves on."""
        now = tonal.size.sqrt()
        state.slow.add_((now - state.slow) * SLOW_SHARE)
        spectra = torch.cat([now, tonal.peaks.sqrt(), state.previous, state.slow], dim=1)
        both = rows.product(spectra, self.mean)[:, ::3, 0]
        gain = both.amax(1, keepdim=True).clamp(min=1e-6).reciprocal()
        state.previous.copy_(now)
        by_bin = (spectra * gain[:, None])[:, :, :LOG_BINS].view(-1, SPECTRA, NOTES, PER_SEMITONE)
        out = now.new_zeros(now.shape[0], *CONTEXT)
        out[:, :NOTES, :AT_F0].view(-1, NOTES, SPECTRA, PER_SEMITONE).copy_(by_bin.transpose(1, 2))
        out[:, :NOTES, AT_F0] = (1.0 - self._distance(f0)).clamp(min=0.0) * salience[:, None]
        out[:, ALL, :4] = torch.cat([salience[:, None], tonal.tonalness[:, None], both * gain], dim=1)
        return out

    def _distance(self, f0: Tensor) -> Tensor:
        """Semitones between f0 [B] in log2 Hz and each note [B, 88]."""
        place = f0 * 12.0 + (69.0 - LOWEST_MIDI - 12.0 * math.log2(440.0))
        return (self.notes - place[:, None]).abs()

    def logits(self, context: Tensor, product: Product = rows.product, affine: Affine = rows.affine) -> Tensor:
        """What `listen` gave [B, 90, 16] -> logits of the classes [B, 186]."""
        note, said, other, to_chord = self._notes(context, product, affine)
        w, batch = self.weights, context.shape[0]
        said = said.view(batch, 8, 12, FOLDED)
        low = said[:, 0] + said[:, 1] + said[:, 2]
        high = said[:, 5] + said[:, 6] + said[:, 7]
        folded = torch.cat([low, said[:, 3] + said[:, 4], high], dim=1)  # [B, 36, 16]: by register, then pitch class
        turned = folded.index_select(1, self.turn).view(batch, 12, -1)
        chord = (product(turned, w["S1.chord.0"]) + to_chord).relu()
        chord = affine(chord, w["S1.chord.1"], w["S1.chord.1.bias"])[:, :, : len(QUALITIES)]
        return torch.cat([other, note, chord.flatten(1)], dim=1)

    def _notes(self, context: Tensor, product: Product, affine: Affine) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of the notes [B, 88], what each says to a chord [B, 96, 16], other logits [B, 2], [B, 1, 64]."""
        w, batch = self.weights, context.shape[0]
        seen = context.index_select(1, self.looks).view(batch, ROWS, -1)
        hidden = affine(seen, w["S1.note.0"], w["S1.note.0.bias"]).relu()
        whole = torch.cat([hidden[:, BELOW:].amax(1), context[:, ALL]], dim=1)[:, None]
        whole = affine(whole, w["S1.whole.0"], w["S1.whole.0.bias"]).relu()
        told = affine(whole, w["S1.whole.1"], w["S1.whole.1.bias"])
        to_note, to_chord, to_other = torch.split(told, [HIDDEN, CHORD_HIDDEN, WHOLE], dim=2)
        near = hidden.view(batch, -1, SLICE).index_select(1, self.near).view(batch, ROWS, -1)
        hidden = (product(near, w["S1.note.1"]) + to_note).relu()
        out = affine(hidden, w["S1.note.2"], w["S1.note.2.bias"])
        other = (product(hidden[:, BELOW:].amax(1, keepdim=True), w["S1.other.0"]) + to_other).relu()
        other = affine(other, w["S1.other.1"], w["S1.other.1.bias"])
        return out[:, BELOW:, FOLDED], out[:, :, :FOLDED].relu(), other[:, 0, :2], to_chord

    def decide(
        self, logits: Tensor, chroma: Tensor, f0: Tensor, salience: Tensor, silent: Tensor, state: HarmonyState
    ) -> Tensor:
        """Logits [B, 186], chroma [B, 12], f0 -> codes [B]: the end of the best course of codes, where changes cost."""
        state.heard.add_(1)
        share = state.heard.reciprocal().clamp(min=FOLLOW).masked_fill(silent, 0.0)
        state.chroma.add_((chroma - state.chroma) * share[:, None])
        wide = torch.nn.functional.pad(torch.stack([chroma, state.chroma], dim=1), (0, rows.ALIGN - chroma.shape[1]))
        fit = rows.product(wide.view(-1, 1, 2 * rows.ALIGN), self.cells)[:, 0]
        off = self._distance(f0)
        off = torch.minimum(off, (off - 12.0).abs()) >= 1.0
        logits[:, NOTE:CHORD] -= self.doubted * (off & (salience >= PITCHED)[:, None])
        # Of each group the best fit adds nothing, so that no group gains by its size; notes have no fit.
        scores = logits.index_select(1, self.class_of) + (fit - self._best_of_group(fit)) + self.never
        before = torch.maximum(state.scores, self._best_of_group(state.scores) - CHANGE)
        scores += before.clamp_(min=-FAR_CHANGE)
        best, code = scores.max(1, keepdim=True)
        state.scores.copy_((scores - best).masked_fill_(silent[:, None], 0.0))
        return code[:, 0].masked_fill(state.heard <= EARLY_FRAMES, EARLY).masked_fill_(silent, SILENCE)

    def _best_of_group(self, values: Tensor) -> Tensor:
        """For each code the highest value among its group: [B, 256] -> [B, 256]."""
        by_group = values.index_select(1, self.members).view(-1, len(GROUPS), max(GROUPS))
        return by_group.amax(2).index_select(1, self.group_of)

    def names(self) -> dict[int, str]:
        """Code -> phrase."""
        found = {SILENCE: "silence", EARLY: "not heard long enough", UNPITCHED: "unpitched"}
        found |= {FIRST_NOTE + i: f"note {note(LOWEST_MIDI + i)}" for i in range(NOTES)}
        for root, name in enumerate(PITCH_CLASSES):
            for number, quality in enumerate(QUALITIES):
                found[FIRST_CHORD + root * len(QUALITIES) + number] = f"chord {name}{quality}"
        cells = self.weights["S1.cells"][:12].T[CHORDS:]
        found |= {FIRST_MIX + i: f"mix of {_strongest(cells[i])}" for i in range(MIXES)}
        return found | {FIRST_NOISE + i: "unpitched" for i in range(NOISES)}


def initial_tensors(seed: int) -> dict[str, Tensor]:
    """Weights of an untrained net: He's scale, small where logits come out, biases and cells zero."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * math.sqrt(2.0 / shape[0]) * (0.2 if name in LAST else 1.0)
        if len(shape) == 2 and name != "S1.cells"
        else torch.zeros(shape)
        for name, shape in SHAPES.items()
    }


def _strongest(cell: Tensor) -> str:
    """The pitch classes of a cell that have at least half of the strongest's share, three at most, strongest first."""
    order = cell.argsort(descending=True, stable=True)[:3].tolist()
    return " ".join(PITCH_CLASSES[i] for i in order if cell[i] >= 0.5 * cell[order[0]])


def _cells(cells: Tensor) -> Tensor:
    """Chroma now and slow chroma [32] -> fit of each code: chords by what is now, mixes and noises by the slow one."""
    out = cells.new_zeros(2 * rows.ALIGN, SIZE)
    out[: rows.ALIGN, FIRST_CHORD:FIRST_MIX] = cells[:, :CHORDS]
    out[rows.ALIGN :, FIRST_MIX:] = cells[:, CHORDS : SIZE - FIRST_CHORD]
    return out


def _places() -> tuple[Tensor, Tensor, Tensor]:
    """Class of each code [256], the codes of each group, the first one repeated [4 * 96], group of each code [256]."""
    kinds = [NO_PITCH] * FIRST_NOTE + list(range(NOTE, CLASSES)) + [MIX] * MIXES + [NO_PITCH] * NOISES
    first = [sum(GROUPS[:i]) for i in range(len(GROUPS))]
    members = [at + (i if i < size else 0) for at, size in zip(first, GROUPS, strict=True) for i in range(max(GROUPS))]
    groups = [i for i, size in enumerate(GROUPS) for _ in range(size)]
    return torch.tensor(kinds), torch.tensor(members), torch.tensor(groups)


def _looks() -> Tensor:
    """Row of a context in which each note sees each of its harmonics, [96 * 12]."""
    steps = torch.tensor([round(12 * math.log2(h)) for h in HARMONICS])
    at = torch.arange(ROWS)[:, None] - BELOW + steps
    return torch.where((at >= 0) & (at < NOTES), at, NOTHING).flatten()


def _near() -> Tensor:
    """Slices of 16 hidden values: the note's two, then the first of each neighbour (or of row 0), [96 * 10]."""
    at = torch.arange(ROWS)[:, None]
    neighbours = at + torch.tensor(NEIGHBOURS)
    neighbours = torch.where((neighbours >= 0) & (neighbours < ROWS), neighbours, 0)
    slices = HIDDEN // SLICE
    return torch.cat([at * slices + torch.arange(slices), neighbours * slices], dim=1).flatten()


def _turn() -> Tensor:
    """Rows of the folded octaves (C#, D ... C, three registers) for each root and step above it, [12 * 36]."""
    steps = (torch.arange(12)[:, None, None] + torch.arange(12)[None, :, None] - 1) % 12
    return (steps + 12 * torch.arange(3)).flatten()
