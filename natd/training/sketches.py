"""Scores played roughly and quickly by made-up instruments: what a tempo is learned from, at a tenth of the cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from natd.codec.mel import SR
from natd.training.score import DRUM, Note, Piece

LOW, MIDDLE = (35, 36, 41, 43, 45, 47, 48, 50, 60, 61, 62, 63, 64), (37, 38, 39, 40, 65, 66)  # GM keys; others: metal
_Float = NDArray[np.float64]


def play(piece: Piece, seed: int) -> NDArray[np.float32]:
    """The piece as mono float32 at 24 kHz, in time with its score; the seed chooses the instruments."""
    rng = np.random.default_rng((seed, piece.seed, 3))
    out = np.zeros(round(piece.seconds * SR) + SR)
    hits: dict[int, _Float] = {}
    drums_alone = rng.random() < 0.25
    missing = {key for key in sorted({n.midi for n in piece.notes if n.program == DRUM}) if rng.random() < 0.12}
    balance, swell = 10 ** (rng.uniform(-18, 0) / 20), rng.uniform(0.4, 1.6)
    decays = {program: np.exp(rng.uniform(np.log(0.08), np.log(2.0))) for program in range(-1, 128)}
    for note in piece.notes:
        gain = (note.velocity / 127) ** swell
        begin = int(note.start_s * SR)
        if note.program == DRUM:
            if note.midi in missing and not drums_alone:
                continue
            wave = hits.setdefault(note.midi, _hit(note.midi, rng))
        elif drums_alone:
            continue
        else:
            wave = balance * _tone(note, float(decays[note.program]), rng)
        wave = wave[: len(out) - begin]
        out[begin : begin + len(wave)] += gain * wave
    out = out[: round(piece.seconds * SR)]
    scaled: NDArray[np.float32] = (0.9 * out / (np.abs(out).max() + 1e-9)).astype(np.float32)
    return scaled


def _hit(key: int, rng: np.random.Generator) -> _Float:
    """A drum: a falling tone, a rattle or a sizzle."""
    decay = np.exp(rng.uniform(np.log(0.02), np.log(0.15)))
    n = int(5 * decay * SR)
    t = np.arange(n) / SR
    noise = rng.standard_normal(n)
    if key in LOW:
        hz = rng.uniform(45, 75) if key in (35, 36) else rng.uniform(80, 350)
        body = np.sin(2 * np.pi * (hz * t + 0.3 * hz * decay * (1 - np.exp(-t / (0.2 * decay)))))
        body += rng.uniform(0, 0.2) * noise * np.exp(-t / 0.003)
        loud = 1.0
    elif key in MIDDLE:
        body = rng.uniform(0, 1) * np.sin(2 * np.pi * rng.uniform(150, 400) * t) + rng.uniform(0.3, 1) * noise
        loud = rng.uniform(0.4, 1.0)
    else:
        body = np.diff(np.diff(noise, prepend=0), prepend=0)
        loud = rng.uniform(0.05, 0.3)
    out: _Float = loud * body * np.exp(-t / decay)
    return out


def _tone(note: Note, decay: float, rng: np.random.Generator) -> _Float:
    """A note with a few partials that dies away and ends where it should."""
    n = int(min(note.end_s - note.start_s, 4 * decay, 3.0) * SR) + 480
    t = np.arange(n) / SR
    phase = 2 * np.pi * 440 * 2 ** ((note.midi - 69) / 12) * t
    wave = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase + 1)
    edge = np.minimum(1.0, np.minimum(np.arange(n) / rng.uniform(20, 600), np.arange(n)[::-1] / 480))
    out: _Float = 0.3 * wave * edge * np.exp(-t / decay)
    return out
