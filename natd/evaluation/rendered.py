"""Notes, chords and tempi of pieces that FluidSynth renders: many timbres and tempi, of seeds that no training has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from natd.codec.mel import SR
from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import Coded, Samples
from natd.evaluation.material import places
from natd.evaluation.synthetic import NOT_ASKED, QUALITIES, chord_label
from natd.training.midi import EVALUATION_SEEDS, Chord, Note, Piece, compose, evaluation_soundfont, render_many

LEARNED = {"solo": 24, "chords": 14, "band": 12, "drums": 6}  # pieces, each of its own seed
SCORED = {"solo": 24, "chords": 14, "band": 14, "drums": 10}
BEATING = ("drums", "band")
NOTE_HELD_S, CHORD_HELD_S = 0.16, 0.32
WITHIN, WITHIN_OCTAVE = 0.08, 0.04
LEAST_BPM, BIN = 50.0, 1.04  # tempi are learned in steps of 4 %


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the pieces of a style: a label for what has sounded for `held_s` seconds, or NOT_ASKED."""

    name: str
    style: str
    held_s: float
    of: Callable[[Note | Chord], int]


def _midi(event: Note | Chord) -> int:
    return event.midi if isinstance(event, Note) else NOT_ASKED


def _pitch_class(event: Note | Chord) -> int:
    return event.midi % 12 if isinstance(event, Note) else NOT_ASKED


def _root(event: Note | Chord) -> int:
    return event.root if isinstance(event, Chord) else NOT_ASKED


def _chord(event: Note | Chord) -> int:
    """Root and quality; a bare fifth is neither major nor minor and is not asked."""
    known = isinstance(event, Chord) and event.quality in QUALITIES
    return chord_label((event.root, event.quality)) if isinstance(event, Chord) and known else NOT_ASKED


ASKED = (
    Asked("note, exact, solo pieces, held 160 ms", "solo", NOTE_HELD_S, _midi),
    Asked("note, exact, solo pieces, all", "solo", 0.0, _midi),
    Asked("note, pitch class, solo pieces, held 160 ms", "solo", NOTE_HELD_S, _pitch_class),
    Asked("note, pitch class, solo pieces, all", "solo", 0.0, _pitch_class),
    Asked("chord root, chord pieces, held 320 ms", "chords", CHORD_HELD_S, _root),
    Asked("chord, root and quality, chord pieces, held 320 ms", "chords", CHORD_HELD_S, _chord),
    Asked("chord root, band pieces, held 320 ms", "band", CHORD_HELD_S, _root),
)


def pieces(seed: int) -> tuple[list[Piece], list[Piece]]:
    """Pieces to learn from and to score: never the same, and none of the training's."""
    first = EVALUATION_SEEDS + 1000 * seed
    learned, scored = (
        [compose(style, begin + i) for style, count in counts.items() for i in range(count)]
        for counts, begin in ((LEARNED, first), (SCORED, first + 500))
    )
    return learned, scored


def audio(played: Sequence[Piece], sr: int) -> list[Samples]:
    """The pieces at `sr`, by a sound font that the training does not use; ConfigError where FluidSynth is missing."""
    sounds = render_many(played, evaluation_soundfont())
    return [x if sr == SR else soxr.resample(x, SR, sr).astype(np.float32) for x in sounds]


def truth(coded: Coded, layer: str, rate: float, played: Sequence[Piece], asked: Asked) -> Tensor:
    """The label of each code [N] by what sounds at its middle; -1 where nothing of it does, or the frame is silent."""
    clip = coded.clip[layer]
    middle = (places(clip) + 0.5) / rate
    labels = torch.full((len(clip),), NOT_ASKED, dtype=torch.int64)
    for number, piece in enumerate(played):
        if piece.style != asked.style:
            continue
        at = torch.nonzero(clip == number)[:, 0]
        events: Sequence[Note | Chord] = piece.notes if asked.style == "solo" else piece.chords
        for event in events:
            inside = (middle[at] >= event.start_s + asked.held_s) & (middle[at] < event.end_s)
            labels[at[inside]] = asked.of(event)
    return torch.where(coded.silent[layer], NOT_ASKED, labels)


def tempo_truth(coded: Coded, layer: str, rate: float, played: Sequence[Piece]) -> Tensor:
    """The step of 4 % that the tempo of drums and bands lies in, for each code [N]; -1 elsewhere."""
    steps = [
        round(float(np.log(piece.bpm / LEAST_BPM) / np.log(BIN))) if piece.style in BEATING else NOT_ASKED
        for piece in played
    ]
    return torch.tensor(steps, dtype=torch.int64)[coded.clip[layer]]


def bpm_of(steps: Tensor) -> Tensor:
    """Beats per minute of steps of 4 %."""
    return torch.as_tensor(LEAST_BPM * BIN ** steps.double())


def tempo_right(
    bpm: Tensor, coded: Coded, layer: str, rate: float, played: Sequence[Piece], shuffle: Tensor | None
) -> Floats:
    """Per piece: 1 if the median of what the codes of its second half say is right within 8 %, pieces asked [C, 2]."""
    return _tempi(bpm, coded, layer, played, shuffle, lambda found, true: abs(found / true - 1.0) <= WITHIN)


def octave_right(
    bpm: Tensor, coded: Coded, layer: str, rate: float, played: Sequence[Piece], shuffle: Tensor | None
) -> Floats:
    """The same within 4 % of the tempo, of twice or of half of it."""
    times = (0.5, 1.0, 2.0)
    return _tempi(
        bpm,
        coded,
        layer,
        played,
        shuffle,
        lambda found, true: any(abs(found / t / true - 1) <= WITHIN_OCTAVE for t in times),
    )


def _tempi(
    bpm: Tensor,
    coded: Coded,
    layer: str,
    played: Sequence[Piece],
    shuffle: Tensor | None,
    right: Callable[[float, float], bool],
) -> Floats:
    clip, codes = coded.clip[layer], coded.codes[layer]
    said = bpm[codes if shuffle is None else codes[shuffle]]
    out = np.zeros((coded.clips, 2))
    for number, piece in enumerate(played):
        if piece.style in BEATING:
            found = said[clip == number]
            found = found[len(found) // 2 :]
            found = found[~found.isnan()]
            out[number] = (len(found) > 0 and right(float(found.median()), piece.bpm), 1)
    return out
