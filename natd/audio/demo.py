"""A small band with a known score: what it plays is a pure function of the seed and the sample number.

48 kHz stereo, as a sound card delivers it, so that the demo takes the way of live audio: downmix, resampler and all.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from natd.audio.chunks import Format
from natd.audio.voices import CLAPS, RATE, strike

FORMAT = Format(RATE, 2)
SECTIONS = (("melody", 8), ("chords", 8), ("drums", 8), ("band", 16), ("applause", 6), ("silence", 4))  # seconds
CYCLE = sum(seconds for _, seconds in SECTIONS) * RATE  # samples; key and tempo change with each cycle
TEMPI = (90, 120, 150)  # bpm: whole bars of 4/4 in 8 s, whole samples in an eighth
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_TILE = RATE // 10  # rendered at once, so that no chunk size can change a sample
_FADE = RATE // 50  # at the end of a section: nothing rings on into silence
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major, minor
_PROGRESSIONS = (((0, 4, 5, 3), (0, 5, 3, 4), (1, 4, 0, 5)), ((0, 5, 2, 6), (0, 3, 6, 2), (0, 6, 5, 4)))
_QUALITIES = {
    (4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 7, 11): "maj7", (4, 7, 10): "7", (3, 7, 10): "m7", (3, 6, 10): "m7b5",
}  # fmt: skip
_RHYTHMS = ((2, 2, 2, 2), (3, 1, 2, 2), (2, 1, 1, 4), (1, 1, 2, 1, 1, 2), (4, 4))  # eighths, one bar each
_KICKS = ((0, 4), (0, 3, 4), (0, 4, 5), (0, 4, 7))  # eighths of a bar


@dataclass(frozen=True, slots=True)
class ScoreEvent:
    """What truly sounds in samples [first, first + count): `kind` is section, note, chord, bass or drum.

    `name` is a section ("band"), a pitch ("A4"), a chord ("F#m7") or a drum ("kick"). `midi` goes with pitches, `bpm`
    with sections that have a beat (the first beat is at `first`).
    """

    kind: str
    first: int
    count: int
    name: str
    midi: int | None = None
    bpm: int | None = None


@dataclass(frozen=True, slots=True)
class _Stroke:
    first: int
    voice: str
    midi: int
    count: int
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class _Section:
    first: int
    count: int
    events: tuple[ScoreEvent, ...]
    strokes: tuple[_Stroke, ...]  # by `first`


@dataclass(frozen=True, slots=True)
class Demo:
    """The band of one seed."""

    seed: int = 0

    def render(self, first: int, count: int) -> NDArray[np.float32]:
        """Samples [first, first + count) as [count, 2], within -1..1; the same whatever was asked for before."""
        tiles = [_tile(self.seed, index) for index in range(first // _TILE, (first + count - 1) // _TILE + 1)]
        if not tiles:
            return np.zeros((0, 2), np.float32)
        return np.concatenate(tiles)[first % _TILE : first % _TILE + count]

    def score(self, first: int, end: int) -> list[ScoreEvent]:
        """Every event that sounds somewhere in samples [first, end), by its beginning; a section before its content."""
        found: list[ScoreEvent] = []
        at = max(0, first)
        while at < end:
            section = _section_at(self.seed, at)
            found += [e for e in section.events if e.first < end and e.first + e.count > first]
            at = section.first + section.count
        return found


def note_name(midi: int) -> str:
    """Scientific name of a MIDI number: 69 is "A4"."""
    return f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"


def _section_at(seed: int, sample: int) -> _Section:
    cycle, within = divmod(sample, CYCLE)
    ends = list(accumulate(seconds * RATE for _, seconds in SECTIONS))
    return _section(seed, cycle, bisect.bisect_right(ends, within))


@lru_cache(maxsize=16)
def _tile(seed: int, index: int) -> NDArray[np.float32]:
    """Samples [index * _TILE, (index + 1) * _TILE); each is the sum of its strokes in the order of the score."""
    first = index * _TILE
    section = _section_at(seed, first)
    out = np.zeros((_TILE, 2), np.float32)
    begin = bisect.bisect_left(section.strokes, first - 4 * RATE, key=lambda s: s.first)  # no stroke rings for 4 s
    for stroke in section.strokes[begin:]:
        if stroke.first >= first + _TILE:
            break
        wave = strike(stroke.voice, stroke.midi, stroke.count)
        a, b = max(first, stroke.first), min(first + _TILE, stroke.first + len(wave))
        if a < b:
            part = wave[a - stroke.first : b - stroke.first]
            out[a - first : b - first, 0] += np.float32(stroke.left) * part
            out[a - first : b - first, 1] += np.float32(stroke.right) * part
    to_end = section.first + section.count - np.arange(first, first + _TILE)
    out *= np.minimum(1, to_end / _FADE).astype(np.float32)[:, None]
    np.clip(out, -1, 1, out=out)
    out.setflags(write=False)
    return out


@lru_cache(maxsize=16)
def _section(seed: int, cycle: int, index: int) -> _Section:
    name, seconds = SECTIONS[index]
    first = cycle * CYCLE + sum(s for _, s in SECTIONS[:index]) * RATE
    count = seconds * RATE
    dice = random.Random(f"{seed}/{cycle}")
    key = _Key(dice.randrange(12), _SCALES[minor := dice.randrange(2)], _PROGRESSIONS[minor][dice.randrange(3)])
    bpm = TEMPI[(cycle + dice.randrange(3)) % 3]
    dice = random.Random(f"{seed}/{cycle}/{index}")
    bars = [(first + bar, RATE * 30 // bpm) for bar in range(0, count, RATE * 240 // bpm)]
    parts: list[tuple[ScoreEvent | None, list[_Stroke]]] = []
    for number, (at, eighth) in enumerate(bars):
        if name in ("chords", "band"):
            parts += _chord(key, number, at, eighth, dice)
        if name == "band":
            parts += _bassline(key, number, at, eighth)
        if name in ("melody", "band"):
            parts += _melody(key, at, eighth, dice)
        if name in ("drums", "band"):
            parts += _drums(at, eighth, dice)
    if name == "applause":
        parts += _applause(first, count, dice)
    beat = bpm if name in ("melody", "chords", "drums", "band") else None
    events = sorted((event for event, _ in parts if event is not None), key=lambda e: e.first)
    strokes = sorted((s for _, group in parts for s in group), key=lambda s: s.first)
    return _Section(first, count, (ScoreEvent("section", first, count, name, bpm=beat), *events), tuple(strokes))


@dataclass(frozen=True, slots=True)
class _Key:
    tonic: int
    scale: tuple[int, ...]
    progression: tuple[int, ...]

    def midi(self, degree: int, octave: int) -> int:
        """Degree 0 is the tonic, 7 the one above."""
        up, step = divmod(degree, 7)
        return 12 * (octave + 1 + up) + self.tonic + self.scale[step]


_Part = Iterator[tuple[ScoreEvent | None, list[_Stroke]]]


def _chord(key: _Key, bar: int, at: int, eighth: int, dice: random.Random) -> _Part:
    """One chord a bar: a triad or a seventh of the key, struck twice."""
    degree = key.progression[bar % 4]
    tones = [key.midi(degree + third, 3) for third in ((0, 2, 4, 6) if dice.random() < 0.5 else (0, 2, 4))]
    quality = _QUALITIES[tuple(tone - tones[0] for tone in tones[1:])]
    pans = [(0.8, 0.5), (0.5, 0.8), (0.7, 0.6), (0.6, 0.7)]
    strokes = [
        _Stroke(at + half, "keys", tone, 4 * eighth, *pan)
        for half in (0, 4 * eighth)
        for tone, pan in zip(tones, pans, strict=False)
    ]
    yield ScoreEvent("chord", at, 8 * eighth, NOTE_NAMES[tones[0] % 12] + quality), strokes


def _bassline(key: _Key, bar: int, at: int, eighth: int) -> _Part:
    """Root, root, fifth, root."""
    degree = key.progression[bar % 4]
    for beat, step in enumerate((0, 0, 4, 0)):
        midi, begin = key.midi(degree + step, 1), at + 2 * beat * eighth
        event = ScoreEvent("bass", begin, 2 * eighth, note_name(midi), midi)
        yield event, [_Stroke(begin, "bass", midi, 2 * eighth - eighth // 4, 0.7, 0.7)]


def _melody(key: _Key, at: int, eighth: int, dice: random.Random) -> _Part:
    """One voice walking through the scale in small steps, no two notes at once."""
    degree = dice.randrange(5)
    for length in dice.choice(_RHYTHMS):
        midi = key.midi(degree, 4)
        event = ScoreEvent("note", at, length * eighth, note_name(midi), midi)
        yield event, [_Stroke(at, "lead", midi, length * eighth - 1_920, 0.75, 0.65)]
        at += length * eighth
        degree = min(8, max(0, degree + dice.choice((-2, -1, -1, 1, 1, 2, 4))))


def _drums(at: int, eighth: int, dice: random.Random) -> _Part:
    kicks = dice.choice(_KICKS)
    for step in range(8):
        begin = at + step * eighth
        gain = 0.8 if step % 2 == 0 else 0.5
        yield ScoreEvent("drum", begin, 3_840, "hat"), [_Stroke(begin, "hat", 0, 0, 0.6 * gain, gain)]
        if step in kicks:
            yield ScoreEvent("drum", begin, 14_400, "kick"), [_Stroke(begin, "kick", 0, 0, 0.9, 0.9)]
        if step in (2, 6):
            yield ScoreEvent("drum", begin, 9_600, "snare"), [_Stroke(begin, "snare", 0, 0, 0.9, 0.8)]


def _applause(first: int, count: int, dice: random.Random) -> _Part:
    """A hall that claps: 160 a second, swelling and dying away; a texture, so it is no event but its section."""
    strokes = []
    for _ in range(160 * count // RATE):
        at = dice.random()
        loud = min(1.0, 6 * at, 3 * (1 - at)) * (0.2 + 0.8 * dice.random())
        side = dice.random()
        strokes.append(
            _Stroke(first + int(at * count), "clap", dice.randrange(CLAPS), 0, loud * side, loud * (1 - side))
        )
    yield None, strokes
