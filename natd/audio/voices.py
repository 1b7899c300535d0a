"""The instruments of the demo: one struck note or drum each, mono at 48 kHz, the same for the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATE = 48_000  # Hz
CLAPS = 16  # different hand claps

Wave = NDArray[np.float32]
_Float = NDArray[np.float64]


@lru_cache(maxsize=96)  # some 20 MB when full; a bar repeats most of its notes
def strike(voice: str, midi: int, count: int) -> Wave:
    """Sound [n] of one stroke held for `count` samples; drums take no heed of `count`, claps use `midi` as variant."""
    wave = _VOICES[voice](midi, count).astype(np.float32)
    wave.setflags(write=False)
    return wave


def _seconds(count: int) -> _Float:
    return np.arange(count) / RATE


def _partials(phase: _Float, gains: list[_Float | float]) -> _Float:
    """Sum of `gains[h - 1] * sin(h * phase)`; the angle-addition rule needs one sine and one cosine for all of them."""
    double_cos = 2 * np.cos(phase)
    before, now = np.zeros_like(phase), np.sin(phase)
    total = gains[0] * now
    for gain in gains[1:]:
        before, now = now, double_cos * now - before
        total = total + gain * now
    return total


def _edges(count: int, attack_s: float, release_s: float) -> _Float:
    """1 inside, straight ramps at both ends."""
    at = _seconds(count)
    return np.minimum(1, np.minimum(at / attack_s, at[::-1] / release_s))


def _hertz(midi: int) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))


def _lead(midi: int, count: int) -> _Float:
    at = _seconds(count + 1_920)
    vibrato = 0.06 * np.sin(2 * np.pi * 5.5 * at) * np.minimum(1, at / 0.4)
    wave = _partials(2 * np.pi * _hertz(midi) * at + vibrato, [1, 0.45, 0.28, 0.14, 0.09, 0.05])
    return 0.20 * wave * (0.6 + 0.4 * np.exp(-6 * at)) * _edges(len(at), 0.008, 0.04)


def _keys(midi: int, count: int) -> _Float:
    at = _seconds(count + 3_840)
    gains: list[_Float | float] = [g * np.exp(-(0.9 + 0.8 * h) * at) for h, g in enumerate([1, 0.4, 0.22, 0.16, 0.06])]
    return 0.10 * _partials(2 * np.pi * _hertz(midi) * at, gains) * _edges(len(at), 0.004, 0.08)


def _bass(midi: int, count: int) -> _Float:
    at = _seconds(count + 960)
    wave = _partials(2 * np.pi * _hertz(midi) * at, [1, 0.5, 0.25, 0.1])
    return 0.22 * wave * (0.5 + 0.5 * np.exp(-5 * at)) * _edges(len(at), 0.005, 0.02)


def _noise(count: int, variant: int) -> _Float:
    """White noise; the legacy generator's sequence is promised never to change."""
    return np.random.RandomState(1_000 + variant).standard_normal(count)


def _kick(_midi: int, _count: int) -> _Float:
    at = _seconds(14_400)
    sweep = 48 * at + (130 / 32) * (1 - np.exp(-32 * at))  # from 178 Hz down to 48
    click = np.diff(_noise(len(at) + 1, 1)) * np.exp(-600 * at)
    return (0.42 * np.sin(2 * np.pi * sweep) * np.exp(-9 * at) + 0.05 * click) * _edges(len(at), 0.001, 0.02)


def _snare(_midi: int, _count: int) -> _Float:
    at = _seconds(9_600)
    wires = np.diff(_noise(len(at) + 1, 2)) * np.exp(-20 * at)
    shell = np.sin(2 * np.pi * 185 * at) * np.exp(-28 * at) + 0.6 * np.sin(2 * np.pi * 331 * at) * np.exp(-40 * at)
    return (0.075 * wires + 0.16 * shell) * _edges(len(at), 0.001, 0.02)


def _hat(_midi: int, _count: int) -> _Float:
    at = _seconds(3_840)
    return 0.025 * np.diff(_noise(len(at) + 2, 3), 2) * np.exp(-60 * at) * _edges(len(at), 0.0005, 0.01)


def _clap(variant: int, _count: int) -> _Float:
    at = _seconds(1_440)
    width = 3 + variant % 5  # hands differ in brightness
    body = np.convolve(_noise(len(at) + width, 10 + variant), np.ones(width) / np.sqrt(width), "valid")[: len(at)]
    return 0.30 * np.diff(body, prepend=0.0) * np.exp(-(140 + 12 * variant) * at)


_VOICES: dict[str, Callable[[int, int], _Float]] = {
    "lead": _lead, "keys": _keys, "bass": _bass, "kick": _kick, "snare": _snare, "hat": _hat, "clap": _clap,
}  # fmt: skip
