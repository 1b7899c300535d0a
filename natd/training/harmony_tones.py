"""Steady tones with few or no harmonics, as of a tuning fork or a whistle: no instrument of a soundfont is so pure."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from natd.codec.harmony_net import HarmonyNet
from natd.codec.mel import FRAME, SR
from natd.training.harmony_frames import Frames, Samples, hear, labels, made_noise
from natd.training.score import Note

TAKE_FRAMES = 62
LOWEST, HIGHEST = 40, 98  # MIDI: E2 to D7
SHORTEST_S, LONGEST_S = 0.3, 5.0
FADE_S = 0.01
MOST_HARMONICS = 5


def tones(net: HarmonyNet, count: int, seed: int) -> Frames:
    """Takes of 5 s with one tone after another, every second one a pure sine, at times with a little noise."""
    rng = np.random.default_rng((seed, 13))
    made = [_take(rng, pure=number % 2 == 0) for number in range(count)]
    heard = hear(net, [samples for samples, _ in made])
    truth = [labels(notes, (), TAKE_FRAMES) for _, notes in made]
    heard.label = torch.cat([label for label, _ in truth])
    heard.weight = torch.cat([weight for _, weight in truth]) * (~heard.silent).float()
    return heard


def _take(rng: np.random.Generator, pure: bool) -> tuple[Samples, list[Note]]:
    samples, notes = np.zeros(TAKE_FRAMES * FRAME), []
    length_s, at_s = len(samples) / SR, float(rng.uniform(0.0, 0.3))
    while at_s < length_s - SHORTEST_S:
        end_s = min(length_s, at_s + SHORTEST_S * (LONGEST_S / SHORTEST_S) ** float(rng.random()))
        midi = int(rng.integers(LOWEST, HIGHEST + 1))
        begin, end = int(at_s * SR), int(end_s * SR)
        samples[begin:end] += _tone(rng, midi, end - begin, 1 if pure else int(rng.integers(1, MOST_HARMONICS + 1)))
        notes.append(Note(at_s, end_s, midi, 0))
        at_s = end_s + float(rng.uniform(0.0, 0.4))
    if rng.random() < 0.5:
        samples += 10.0 ** (-float(rng.uniform(20, 60)) / 20) * made_noise(rng, len(samples))
    return (samples * 10.0 ** (-float(rng.uniform(3, 40)) / 20)).astype(np.float32), notes


def _tone(rng: np.random.Generator, midi: int, count: int, harmonics: int) -> NDArray[np.float64]:
    hz = 440.0 * 2.0 ** ((midi - 69 + float(rng.uniform(-0.2, 0.2))) / 12)
    t = np.arange(count) / SR
    vibrato = float(rng.uniform(0.0, 0.004)) * np.sin(2 * np.pi * float(rng.uniform(4.0, 7.0)) * t) / 5.0
    phase = 2 * np.pi * hz * (t + vibrato * (rng.random() < 0.3))
    fall_db = float(rng.uniform(6.0, 24.0))
    parts = [10.0 ** (-fall_db * k / 20) * np.sin((k + 1) * phase) for k in range(harmonics) if (k + 1) * hz < SR / 2]
    edge = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / (FADE_S * SR))
    return np.asarray(sum(parts) * edge)
