"""Bands and drummers: grooves played over a progression, with a bass, chords, a backing and a melody."""

from __future__ import annotations

import numpy as np

from natd.training.grooves import FILLS, KEYS, LOUD, Groove, pick
from natd.training.instruments import (
    BACKING,
    COMPING,
    DRIVEN,
    FAMILY,
    INSTRUMENT,
    LEADS,
    SYNTH_LEADS,
    SYNTHS_COMPING,
)
from natd.training.score import CHORD_TONES, DRUM
from natd.training.sheet import Key, Sheet, any_key, choice, nearest, progression, voiced

HIT_S = 0.12
Harmony = list[tuple[float, float, int, str]]  # first beat, last beat, root, quality


def drums(sheet: Sheet) -> bool:
    """A drum kit or hand percussion alone."""
    groove = pick(sheet.rng, sheet.bpm, hand=True)
    fill = float(sheet.rng.choice([0.1, 0.5]))
    _drums(sheet, groove, fill, leave=float(sheet.rng.choice([0.0, 0.0, 0.25])))
    if len(sheet.notes) < sheet.beats():  # too little was left to hear a beat
        sheet.notes.clear()
        _drums(sheet, groove, fill, leave=0.0)
    return True


def band(sheet: Sheet) -> bool:
    """Drums, bass, chords, often a melody, at times a backing."""
    rng = sheet.rng
    groove, key = pick(rng, sheet.bpm, hand=False), any_key(rng)
    synth = bool(rng.random() < groove.synth)
    _drums(sheet, groove, fill=0.2, leave=0.0)
    harmony = _harmony(sheet, groove, key)
    for first, last, root, quality in harmony:
        sheet.hold(sheet.at(first), sheet.at(last), root, quality)
    _bass(sheet, groove, harmony, synth)
    _comp(sheet, groove, harmony, synth)
    if rng.random() < 0.3:
        _backing(sheet, harmony, synth)
    if rng.random() < 0.75:
        _melody(sheet, groove, harmony, key, synth)
    return True


def _late(groove: Groove, swing: float, step: int) -> float:
    """The beat of a step of the piece, swung."""
    return (step + (swing if step % 2 else 0.0)) / groove.steps


def _drums(sheet: Sheet, groove: Groove, fill: float, leave: float) -> None:
    """Bar after bar of a groove, a fill now and then; `leave`: the chance that a voice is left out."""
    rng = sheet.rng
    sheet.kit = choice(rng, groove.kits)
    sheet.jitter_s = float(rng.choice([0.0, 0.003, 0.007]))
    swing = groove.swing * float(rng.uniform(0.5, 1.05))
    if groove.swing == 0 and groove.steps == 4 and rng.random() < 0.2:
        swing = float(rng.uniform(0.1, 0.33))
    voices = [v for v in groove.drums if rng.random() >= leave or v == "kick"] or list(groove.drums)
    starts = {voice: int(rng.integers(4)) for voice in voices}
    width, level = groove.beats * groove.steps, float(rng.uniform(-18, 10))
    kept = {voice: bool(rng.random() < 0.5) for voice in voices}
    for bar in range(int(sheet.beats() / groove.beats) + 1):
        filled = rng.random() < fill and groove.manner == "any"
        for voice in voices:
            patterns = groove.drums[voice]
            pattern = patterns[starts[voice] % len(patterns) if kept[voice] else (starts[voice] + bar) % len(patterns)]
            _hits(sheet, groove, (bar * width, swing, level), voice, pattern[: width - 2 * groove.steps * filled])
        if filled:
            for voice, pattern in FILLS[groove.steps]:
                _hits(sheet, groove, ((bar + 1) * width - 2 * groove.steps, swing, level), voice, pattern)
            _hits(sheet, groove, ((bar + 1) * width, swing, level), "crash", "X")


def _hits(sheet: Sheet, groove: Groove, where: tuple[int, float, float], voice: str, pattern: str) -> None:
    first, swing, level = where
    for i, mark in enumerate(pattern):
        if mark != ".":
            start = sheet.at(_late(groove, swing, first + i))
            sheet.play(start, start + HIT_S, KEYS[voice], DRUM, LOUD[mark] + level)


def _harmony(sheet: Sheet, groove: Groove, key: Key) -> Harmony:
    """A chord a bar, or two; or one for two bars."""
    bar = float(groove.beats)
    spans = [s for s in (bar / 2, bar, bar, 2 * bar) if 0.8 <= s * sheet.beat_s <= 5.0 and s == int(s)] or [bar]
    length = float(sheet.rng.choice(spans))
    count = int(sheet.beats() / length) + 1
    held = progression(sheet.rng, key, count, float(sheet.rng.choice([0.0, 0.1, 0.5])))
    if groove.name == "punk" or sheet.rng.random() < 0.05:
        held = [(root, "5" if quality in ("", "m") else quality) for root, quality in held]
    return [(i * length, (i + 1) * length, root, quality) for i, (root, quality) in enumerate(held)]


def _steps(groove: Groove, first: float, last: float, pattern: str) -> list[tuple[int, str]]:
    """The steps of a pattern that lie between two beats."""
    span = range(round(first * groove.steps), round(last * groove.steps))
    return [(step, mark) for step in span if (mark := pattern[step % len(pattern)]) != "."]


def _bass(sheet: Sheet, groove: Groove, harmony: Harmony, synth: bool) -> None:
    """The bass begins each chord on its root and then goes as the groove says."""
    rng = sheet.rng
    rows = FAMILY["synth bass" if synth or rng.random() < 0.05 else "bass"]
    jazz = "swing" in groove.name or "jazz" in groove.name or groove.name == "bossa"
    program = 32 if jazz and rng.random() < 0.8 else rows[int(rng.integers(len(rows)))].program
    pattern, loud = groove.bass[int(rng.integers(len(groove.bass)))], float(rng.uniform(75, 112))
    gate, home = float(rng.uniform(0.5, 1.0)), float(rng.uniform(32, 42))
    for number, (first, last, root, quality) in enumerate(harmony):
        low = nearest(root, home, 28, 52)
        tones = CHORD_TONES[quality]
        follow = harmony[(number + 1) % len(harmony)][2]
        marks = _steps(groove, first, last, pattern)
        marks = marks or [(round(first * groove.steps), "r")]
        if marks[0][0] == round(first * groove.steps):
            marks[0] = (marks[0][0], "r")
        ends = [step for step, _ in marks[1:]] + [round(last * groove.steps)]
        for (step, mark), end in zip(marks, ends, strict=True):
            up = {"r": 0, "8": 12, "3": tones[1], "5": next((t for t in tones if t in (6, 7)), 7)}
            midi = nearest(follow, low, 28, 54) + int(rng.choice([-1, 1])) if mark == "w" else low + up[mark]
            start = sheet.at(step / groove.steps)
            sheet.play(start, start + gate * (end - step) / groove.steps * sheet.beat_s, midi, program, loud)


def _comp(sheet: Sheet, groove: Groove, harmony: Harmony, synth: bool) -> None:
    """Chords in the rhythm of the groove, or broken."""
    rng = sheet.rng
    driven = groove.name in ("punk", "rock", "ride rock") and rng.random() < 0.5
    program = choice(rng, SYNTHS_COMPING if synth else DRIVEN if driven else COMPING)
    pattern, loud = groove.comp[int(rng.integers(len(groove.comp)))], float(rng.uniform(62, 100))
    swing, gate = groove.swing * 0.9, float(rng.choice([0.4, 0.8, 1.0]))
    middle, broken = int(rng.integers(54, 67)), bool(rng.random() < 0.2)
    for first, last, root, quality in harmony:
        shape = "5" if driven and quality in ("", "m") and rng.random() < 0.5 else quality
        tones = voiced(root, shape, middle, int(rng.integers(3)), bool(rng.random() < 0.2))
        marks = _steps(groove, first, last, pattern)
        if not marks or marks[0][0] > round(first * groove.steps) + groove.steps:
            marks = [(round(first * groove.steps), "x"), *marks]
        if broken:
            every = range(round(first * groove.steps), round(last * groove.steps))
            marks = [(step, "x") for step in every if groove.steps < 4 or step % 2 == 0]
        ends = [step for step, _ in marks[1:]] + [round(last * groove.steps)]
        for number, ((step, mark), end) in enumerate(zip(marks, ends, strict=True)):
            start = sheet.at(_late(groove, swing, step))
            stop = max(start + 0.1, start + gate * (end - step) / groove.steps * sheet.beat_s)
            for tone in [tones[number % len(tones)]] if broken else tones:
                sheet.play(start, stop, tone, program, loud + 12 * (mark == "X") - 14 * (mark == "o"))


def _backing(sheet: Sheet, harmony: Harmony, synth: bool) -> None:
    """The chords held throughout."""
    program = choice(sheet.rng, (50, 89, 90, 95) if synth else BACKING)
    loud, middle = float(sheet.rng.uniform(45, 75)), int(sheet.rng.integers(58, 73))
    for first, last, root, quality in harmony:
        for tone in voiced(root, quality, middle, int(sheet.rng.integers(3)), False):
            sheet.play(sheet.at(first), sheet.at(last) - 0.01, tone, program, loud)


def _melody(sheet: Sheet, groove: Groove, harmony: Harmony, key: Key, synth: bool) -> None:
    """One voice: tones of the chord on the beat, of the scale beside it, with rests."""
    rng = sheet.rng
    used = {note.program for note in sheet.notes}
    program = choice(rng, [p for p in (SYNTH_LEADS if synth else LEADS) if p not in used])
    one = INSTRUMENT[program]
    low, high = max(one.low, 55), min(one.high, 88)
    midi, loud, rests = float(rng.uniform(low + 6, high - 6)), float(rng.uniform(80, 115)), float(rng.uniform(0.1, 0.4))
    lengths = [x / groove.steps for x in (1, 2, 2, groove.steps, groove.steps, 2 * groove.steps)]
    beat, last = 0.0, harmony[-1][1]
    while beat < last:
        length = float(rng.choice([x for x in lengths if x * sheet.beat_s >= 0.12]))
        if rng.random() >= rests:
            chord = next(h for h in harmony if h[0] <= beat < h[1])
            target = float(np.clip(midi + rng.normal(0, 4), low, high))
            if beat == int(beat) or rng.random() < 0.5:
                tones = CHORD_TONES[chord[3]]
                played = nearest(chord[2] + int(rng.choice(tones)), target, low, high)
            else:
                played = key.near(round(target))
            start = sheet.at(_late(groove, groove.swing * 0.9, round(beat * groove.steps)))
            stop = start + min(0.95 * length * sheet.beat_s, one.longest(played))
            sheet.play(start, stop, played, program, loud)
            midi = float(played)
        beat += length
