"""Pieces of music by style and seed, with everything that sounds in them written down."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from natd.training import band
from natd.training.instruments import CHORDAL, CHORDAL_MORE, FAMILY, INSTRUMENT, SECTIONS, SOLO, Instrument
from natd.training.score import CHORD_TONES, STYLES, Piece
from natd.training.sheet import Sheet, any_key, nearest, progression, voiced

LEAST_S, MOST_S = 12.0, 20.0
SLOWEST, FASTEST = 50.0, 200.0  # bpm
CENTS = 30.0


def compose(style: str, seed: int) -> Piece:
    """The piece of this style and seed; the same on every machine."""
    rng = np.random.default_rng((STYLES.index(style), seed))
    seconds = round(float(rng.uniform(LEAST_S, MOST_S)), 3)
    bpm = round(float(np.exp(rng.uniform(np.log(SLOWEST), np.log(FASTEST)))), 2)
    sheet = Sheet(rng, seconds, bpm, lead_s=float(rng.uniform(0.0, 0.6)))
    pulse = WRITERS[style](sheet)
    cents = round(float(rng.uniform(-CENTS, CENTS)) if rng.random() < 0.6 else 0.0, 1)
    chords = tuple(sheet.chords)
    return Piece(style, seed, bpm if pulse else 0.0, seconds, sheet.played(), chords, cents, sheet.kit)


def solo(sheet: Sheet) -> bool:
    """One line of one instrument, anywhere in its range; in time or free."""
    rng = sheet.rng
    rows = FAMILY[SOLO[int(rng.integers(len(SOLO)))]]
    instrument = rows[int(rng.integers(len(rows)))]
    in_time = bool(rng.random() < 0.5)
    low, high = _register(rng, instrument)
    key, wander = any_key(rng), rng.random()
    midi = int(rng.integers(low, high + 1))
    gate, rests, again = rng.choice([0.99, 0.95, 0.8, 0.55]), rng.uniform(0.0, 0.2), rng.uniform(0.0, 0.2)
    loud, free_s = rng.uniform(45, 115), float(np.exp(rng.uniform(np.log(0.3), np.log(1.5))))
    at = sheet.lead_s
    while at < sheet.seconds - 0.25:
        length = _length(sheet, in_time, free_s)
        loud = float(np.clip(loud + rng.normal(0, 10), 30, 122))
        if rng.random() >= rests:
            held = min(gate * length, instrument.longest(midi))
            sheet.play(at, at + held, midi, instrument.program, loud)
            if rng.random() >= again:
                midi = _next(rng, midi, low, high, wander)
                midi = midi if wander > 0.7 else key.near(midi)
        at += length
    return in_time


def _register(rng: np.random.Generator, instrument: Instrument) -> tuple[int, int]:
    """The part of a range that a piece keeps to: some two octaves, at times all of it."""
    if rng.random() < 0.25:
        return instrument.low, instrument.high
    width = int(rng.integers(10, 26))
    low = int(rng.integers(instrument.low, max(instrument.low + 1, instrument.high - width + 1)))
    return low, min(instrument.high, low + width)


def _length(sheet: Sheet, in_time: bool, free_s: float) -> float:
    """Seconds to the next note: 0.25 to 2.5."""
    if in_time:
        beats = [b for b in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0) if 0.25 <= b * sheet.beat_s <= 2.5]
        return float(sheet.rng.choice(beats)) * sheet.beat_s
    return float(np.clip(free_s * np.exp(sheet.rng.normal(0.0, 0.6)), 0.25, 2.5))


def _next(rng: np.random.Generator, midi: int, low: int, high: int, wander: float) -> int:
    """A step, a leap, or any note of the register."""
    if wander > 0.85:
        return int(rng.integers(low, high + 1))
    step = int(rng.choice([-2, -1, -1, 1, 1, 2])) * 2 if rng.random() < 0.7 else int(rng.integers(-12, 13))
    midi += step
    while midi < low or midi > high:
        midi += 12 if midi < low else -12
        if high - low < 12 and not low <= midi <= high:
            return int(rng.integers(low, high + 1))
    return midi


def chords(sheet: Sheet) -> bool:
    """Chords of one instrument: struck, repeated or broken, in any inversion."""
    rng = sheet.rng
    rows = [row for name in CHORDAL for row in FAMILY[name]] + [INSTRUMENT[p] for p in CHORDAL_MORE]
    instrument = rows[int(rng.integers(len(rows)))]
    length = float(rng.choice([b for b in (1, 2, 3, 4, 8) if 0.6 <= b * sheet.beat_s <= 4.0]))
    held = progression(rng, any_key(rng), int(sheet.beats() / length) + 1, float(rng.choice([0.15, 0.5, 1.0])))
    manner, gate = str(rng.choice(["block", "block", "beats", "broken", "strum"])), float(rng.choice([1.0, 1.0, 0.8]))
    loud, middle, octaves = rng.uniform(55, 110), int(rng.integers(52, 72)), rng.random() < 0.35
    for number, (root, quality) in enumerate(held):
        start, end = sheet.at(number * length), sheet.at((number + gate) * length)
        tones = voiced(root, quality, middle, int(rng.integers(4)), bool(rng.random() < 0.25))
        tones = [t for t in tones if instrument.low <= t <= instrument.high] or tones
        if octaves and instrument.low <= tones[0] - 12:
            tones = sorted({*tones, nearest(root, 42, max(28, instrument.low), instrument.low + 40)})
        sheet.hold(start, end, root, quality)
        _strike(sheet, tones, start, end, instrument.program, (manner, length, loud))
    return manner in ("beats", "broken") or length * sheet.beat_s <= 1.3


def _strike(
    sheet: Sheet, tones: list[int], start: float, end: float, program: int, how: tuple[str, float, float]
) -> None:
    """The tones of a chord: at once, at every beat, one after the other, or with the hand drawn over them."""
    manner, length, loud = how
    if manner == "beats":
        for beat in range(int(length)):
            for tone in tones:
                begin = start + beat * sheet.beat_s
                sheet.play(begin, min(end, begin + 0.9 * sheet.beat_s), tone, program, loud - 6 * (beat > 0))
        return
    if manner == "broken":
        step = sheet.beat_s / (2 if sheet.bpm > 90 else 4)
        order = [*tones, *tones[-2:0:-1]]
        for i in range(round(length * sheet.beat_s / step)):
            begin = start + i * step
            stop = end if i < len(tones) else min(end, begin + 2 * step)
            sheet.play(begin, stop, order[i % len(order)], program, loud)
        return
    late = 0.02 if manner == "strum" else 0.0
    for i, tone in enumerate(tones):
        sheet.play(start + i * late, end, tone, program, loud)


def ensemble(sheet: Sheet) -> bool:
    """Several voices that move from chord to chord with small steps; in a pulse or held."""
    rng = sheet.rng
    programs = SECTIONS[list(SECTIONS)[int(rng.integers(len(SECTIONS)))]]
    length = float(rng.choice([b for b in (1, 2, 3, 4, 6) if 0.7 <= b * sheet.beat_s <= 5.0]))
    held = progression(rng, any_key(rng), int(sheet.beats() / length) + 1, float(rng.choice([0.0, 0.1, 0.6])))
    manner = str(rng.choice(["held", "pulse", "sung"]))
    voices = [float(v) for v in np.array([76, 69, 64, 57, 43]) + int(rng.integers(-4, 5))]
    loud = rng.uniform(55, 110)
    for number, (root, quality) in enumerate(held):
        start, end = sheet.at(number * length), sheet.at((number + 1) * length)
        sheet.hold(start, end, root, quality)
        tones = CHORD_TONES[quality]
        bass = 0 if rng.random() < 0.8 else int(rng.integers(len(tones)))
        for voice, program in enumerate(programs):
            one = INSTRUMENT[program]
            turned = voice + (number if rng.random() < 0.3 else 0)
            tone = tones[bass if voice == 4 else turned % len(tones)]
            midi = nearest(root + tone, voices[voice], one.low, one.high)
            voices[voice] = 0.7 * midi + 0.3 * voices[voice]
            _voice(sheet, (start, end), midi, program, loud - 5 * (0 < voice < 4), manner if voice < 4 else "held")
        loud = float(np.clip(loud + rng.normal(0, 7), 45, 118))
    return manner != "held" or length * sheet.beat_s <= 1.3


def _voice(sheet: Sheet, span: tuple[float, float], midi: int, program: int, loud: float, manner: str) -> None:
    """A tone over a chord: held, or again at every beat, detached (`pulse`) or not (`sung`)."""
    start, end = span
    if manner == "held":
        sheet.play(start, end - 0.01, midi, program, loud)
        return
    at = start
    while at < end - 0.05:
        gate = 0.95 if manner == "sung" else 0.7
        sheet.play(at, at + gate * (min(end, at + sheet.beat_s) - at), midi, program, loud)
        at += sheet.beat_s


WRITERS: MappingProxyType[str, Callable[[Sheet], bool]] = MappingProxyType(
    {"solo": solo, "chords": chords, "band": band.band, "drums": band.drums, "ensemble": ensemble}
)
