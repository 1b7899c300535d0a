"""Notes, chords and tempi of the demo band, whose score is known: read from the words, and from codes by majority."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from natd.audio.demo import SECTIONS, Demo, ScoreEvent
from natd.audio.voices import RATE
from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import Coded, Samples
from natd.evaluation.material import places
from natd.evaluation.words import chord

LEARNED, SCORED = 16, 12  # pieces, each of its own seed
SECONDS = sum(seconds for name, seconds in SECTIONS if name in ("melody", "chords", "drums", "band"))
NOT_ASKED = -1
TEMPO_WITHIN = 0.08
QUALITIES = ("", "m", "dim", "maj7", "7", "m7", "m7b5", "sus4")
Reading = Callable[[ScoreEvent], int]


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of the frames of a section: `of` turns a score event of `kind` into a label."""

    name: str
    section: str
    kind: str
    of: Reading


def _root(event: ScoreEvent) -> int:
    named = chord(f"chord {event.name}")
    if named is None:
        raise ValueError(f"{event.name} is no chord")
    return named[0]


def _chord(event: ScoreEvent) -> int:
    return chord_label(chord(f"chord {event.name}"))


def chord_label(named: tuple[int, str] | None) -> int:
    """A number for root and quality; one that no score has where the quality is unknown."""
    if named is None or named[1] not in QUALITIES:
        return 10_000
    return named[0] * len(QUALITIES) + QUALITIES.index(named[1])


TASKS = (
    Task("note, exact", "melody", "note", lambda e: e.midi or 0),
    Task("note, pitch class", "melody", "note", lambda e: (e.midi or 0) % 12),
    Task("chord root, chords alone", "chords", "chord", _root),
    Task("chord root, full band", "band", "chord", _root),
    Task("chord, root and quality", "chords", "chord", _chord),
)


def pieces(seeds: Sequence[int], sr: int) -> tuple[list[Samples], list[list[ScoreEvent]]]:
    """The first 40 s of the bands of these seeds, mono at `sr`, and their scores."""
    audio = [soxr.resample(Demo(s).render(0, SECONDS * RATE).mean(axis=1), RATE, sr).astype(np.float32) for s in seeds]
    return audio, [Demo(s).score(0, SECONDS * RATE) for s in seeds]


def seeds(seed: int) -> tuple[list[int], list[int]]:
    """Seeds to learn from and to score: never the same."""
    first = 1000 * seed
    return [first + 1 + i for i in range(LEARNED)], [first + 501 + i for i in range(SCORED)]


def truth(coded: Coded, layer: str, rate: float, scores: Sequence[Sequence[ScoreEvent]], task: Task) -> Tensor:
    """The label of each code [N] by what sounds at its middle, -1 where nothing of the task does."""
    clip = coded.clip[layer]
    middle = (places(clip) + 0.5) / rate * RATE
    labels = torch.full((len(clip),), NOT_ASKED, dtype=torch.int64)
    for number, score in enumerate(scores):
        here = clip == number
        inside = [e for e in score if e.kind == "section" and e.name == task.section]
        for event in score:
            if event.kind == task.kind and any(s.first <= event.first < s.first + s.count for s in inside):
                labels[here & (middle >= event.first) & (middle < event.first + event.count)] = task.of(event)
    return labels


def majority(codes: Tensor, labels: Tensor, size: int) -> Tensor:
    """The label that each code has most often [size]; the commonest of all for a code that was not met."""
    asked = labels != NOT_ASKED
    wide = int(labels.max()) + 1
    table = torch.bincount(codes[asked] * wide + labels[asked], minlength=size * wide).view(size, wide)
    return torch.where(table.sum(1) > 0, table.argmax(1), table.sum(0).argmax())


def said(answers: Mapping[int, int], size: int) -> Tensor:
    """Code -> label [size]; -2, which is never right, where the words say nothing."""
    table = torch.full((size,), -2, dtype=torch.int64)
    for code, label in answers.items():
        table[code] = label
    return table


def right(table: Tensor, codes: Tensor, labels: Tensor, clip: Tensor, clips: int) -> Floats:
    """Per piece: right codes, codes asked [C, 2]."""
    asked = labels != NOT_ASKED
    columns = [
        torch.zeros(clips, dtype=torch.float64).index_add_(0, clip[asked], x.double())
        for x in ((table[codes] == labels)[asked], torch.ones(int(asked.sum())))
    ]
    return np.asarray(torch.stack(columns, dim=1).numpy())


def tempo_right(
    bpm: Tensor, coded: Coded, layer: str, rate: float, scores: Sequence[Sequence[ScoreEvent]], shuffle: Tensor | None
) -> Floats:
    """Per piece: sections of drums and band whose tempo is right within 8 %, sections [C, 2].

    A section's tempo is the median of what the codes (`bpm` [size], nan: nothing) of its second half say.
    """
    clip, codes = coded.clip[layer], coded.codes[layer]
    codes = codes if shuffle is None else codes[shuffle]
    middle = (places(clip) + 0.5) / rate * RATE
    out = np.zeros((coded.clips, 2))
    for number, score in enumerate(scores):
        for event in score:
            if event.kind != "section" or event.name not in ("drums", "band") or event.bpm is None:
                continue
            half = (middle >= event.first + event.count // 2) & (middle < event.first + event.count)
            found = bpm[codes[half & (clip == number)]]
            found = found[~found.isnan()]
            out[number, 1] += 1
            out[number, 0] += bool(len(found)) and abs(float(found.median()) / event.bpm - 1.0) <= TEMPO_WITHIN
    return out


def tempo_truth(coded: Coded, layer: str, rate: float, scores: Sequence[Sequence[ScoreEvent]]) -> Tensor:
    """Beats per minute of the drums and band that each code lies in [N], -1 elsewhere."""
    tasks = [Task("", section, "section", lambda e: e.bpm or NOT_ASKED) for section in ("drums", "band")]
    one, two = (truth(coded, layer, rate, scores, task) for task in tasks)
    return torch.maximum(one, two)
