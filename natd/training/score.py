"""What a synthetic piece of music is: its notes, its chords and its beat."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

DRUM = -1  # the program of a drum hit, whose `midi` is a General MIDI percussion key
STYLES = ("solo", "chords", "band", "drums", "ensemble")
EVALUATION_SEEDS = 1_000_000  # training uses seeds below, evaluation this one and those above: never the same piece
CHORD_TONES = MappingProxyType(
    {
        "": (0, 4, 7), "m": (0, 3, 7), "dim": (0, 3, 6), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10),
        "maj7": (0, 4, 7, 11), "sus4": (0, 5, 7), "5": (0, 7),
    }
)  # fmt: skip
QUALITIES = tuple(CHORD_TONES)


@dataclass(frozen=True, slots=True)
class Note:
    """A key held from `start_s` to `end_s`; `program` is General MIDI 0..127 or DRUM, `velocity` 1..127."""

    start_s: float
    end_s: float
    midi: int
    program: int
    velocity: int = 90


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord that holds from `start_s` to `end_s`: `root` 0 is C, `quality` one of QUALITIES."""

    start_s: float
    end_s: float
    root: int
    quality: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece with all that sounds in it; notes by their beginning.

    `bpm` is the beat that a listener taps, 0.0 where there is none; `cents` the tuning of all but drums; `kit` the
    General MIDI program of the drums.
    """

    style: str
    seed: int
    bpm: float
    seconds: float
    notes: tuple[Note, ...]
    chords: tuple[Chord, ...]
    cents: float = 0.0
    kit: int = 0
