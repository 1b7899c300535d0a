"""The page that a piece is written on: a grid of beats, the notes so far, and the harmony they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from natd.training.score import CHORD_TONES, DRUM, QUALITIES, Chord, Note

SHORTEST_S = 0.03
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_TRIADS = (("", "m", "m", "", "", "m", "dim"), ("m", "dim", "", "m", "", "", ""))
_SEVENTHS = (("maj7", "m7", "m7", "maj7", "7", "m7", "dim"), ("m7", "dim", "maj7", "m7", "7", "maj7", "7"))
_WALKS = (
    ((0, 4, 5, 3), (0, 5, 3, 4), (1, 4, 0, 5), (0, 3, 4, 4), (0, 2, 3, 4), (5, 3, 0, 4), (0, 3, 0, 4), (0, 6, 3, 0)),
    ((0, 5, 2, 6), (0, 3, 6, 2), (0, 6, 5, 4), (0, 3, 4, 0), (0, 5, 3, 4), (0, 1, 4, 0), (0, 0, 3, 4)),
)


@dataclass(slots=True)
class Sheet:
    """Notes and chords of a piece that lasts `seconds`; beat 0 is at `lead_s`."""

    rng: np.random.Generator
    seconds: float
    bpm: float
    lead_s: float = 0.0
    jitter_s: float = 0.0
    notes: list[Note] = field(default_factory=list)
    chords: list[Chord] = field(default_factory=list)
    kit: int = 0

    @property
    def beat_s(self) -> float:
        """Seconds of a beat."""
        return 60.0 / self.bpm

    def at(self, beat: float) -> float:
        """Seconds at a beat."""
        return self.lead_s + beat * self.beat_s

    def beats(self) -> float:
        """Beats until the piece ends."""
        return (self.seconds - self.lead_s) / self.beat_s

    def play(self, start_s: float, end_s: float, midi: int, program: int, velocity: float) -> None:
        """Write a note; what lies outside the piece is left out."""
        late = float(np.clip(self.rng.normal(0.0, 1.0), -2.5, 2.5)) * self.jitter_s if self.jitter_s else 0.0
        start_s, end_s = max(0.0, start_s + late), min(self.seconds, end_s + late)
        if end_s - start_s >= SHORTEST_S:
            loud = int(np.clip(round(velocity + self.rng.normal(0.0, 4.0)), 1, 127))
            self.notes.append(Note(round(start_s, 4), round(end_s, 4), int(midi), program, loud))

    def hold(self, start_s: float, end_s: float, root: int, quality: str) -> None:
        """Write down that a chord holds."""
        start_s, end_s = max(0.0, start_s), min(self.seconds, end_s)
        if end_s - start_s >= SHORTEST_S:
            self.chords.append(Chord(round(start_s, 4), round(end_s, 4), root % 12, quality))

    def played(self) -> tuple[Note, ...]:
        """The notes by beginning; where a key is struck while it is held, the earlier note ends before."""
        following: dict[tuple[int, int], float] = {}
        kept = []
        for note in sorted(self.notes, key=lambda n: (n.start_s, n.program, n.midi), reverse=True):
            again = following.get((note.program, note.midi), np.inf)
            if note.program != DRUM and again - note.start_s < SHORTEST_S:
                continue  # the same key at the same time: one note
            end_s = note.end_s if note.program == DRUM else min(note.end_s, round(again - 0.005, 4))
            following[note.program, note.midi] = note.start_s
            kept.append(Note(note.start_s, end_s, note.midi, note.program, note.velocity))
        return tuple(reversed(kept))


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (0 is C) and its scale."""

    tonic: int
    minor: bool

    @property
    def scale(self) -> tuple[int, ...]:
        """Semitones above the tonic."""
        return _MINOR if self.minor else _MAJOR

    def chord(self, degree: int, seventh: bool) -> tuple[int, str]:
        """Root and quality of the chord on a degree."""
        table = _SEVENTHS if seventh else _TRIADS
        return (self.tonic + self.scale[degree]) % 12, table[self.minor][degree]

    def near(self, midi: int) -> int:
        """The tone of the scale that is nearest to a MIDI number, the lower of two."""
        classes = {(self.tonic + step) % 12 for step in self.scale}
        return min((abs(d), midi + d) for d in range(-2, 3) if (midi + d) % 12 in classes)[1]


def any_key(rng: np.random.Generator) -> Key:
    """Each of the 24 keys alike."""
    return Key(int(rng.integers(12)), bool(rng.integers(2)))


def progression(rng: np.random.Generator, key: Key, count: int, strange: float) -> list[tuple[int, str]]:
    """So many chords of a key in the usual order; a share `strange` of them is any root and quality at all."""
    walks = _WALKS[key.minor]
    walk = walks[int(rng.integers(len(walks)))]
    sevenths = rng.choice([0.0, 0.3, 0.9])
    found = []
    for i in range(count):
        if rng.random() < strange:
            found.append((int(rng.integers(12)), str(rng.choice(QUALITIES))))
            continue
        root, quality = key.chord(walk[i % len(walk)], bool(rng.random() < sevenths))
        if quality in ("", "7") and rng.random() < 0.08:
            quality = "sus4"
        found.append((root, quality))
    return found


def voiced(root: int, quality: str, middle: int, inversion: int, spread: bool) -> list[int]:
    """The tones of a chord about a MIDI number, lowest first; an inversion moves that many tones up an octave."""
    tones = list(CHORD_TONES[quality])
    for _ in range(inversion % len(tones)):
        tones.append(tones.pop(0) + 12)
    if spread and len(tones) > 2:
        tones[1] += 12
    base = root + 12 * round((middle - root - float(np.mean(tones))) / 12)
    return sorted(base + tone for tone in tones)


def nearest(pitch_class: int, midi: float, low: int, high: int) -> int:
    """The MIDI number of a pitch class that is nearest to `midi` within a range of at least an octave."""
    return min((m for m in range(low, high + 1) if m % 12 == pitch_class % 12), key=lambda m: abs(m - midi))


def choice(rng: np.random.Generator, items: Sequence[int]) -> int:
    """One of some programs."""
    return int(items[int(rng.integers(len(items)))])
