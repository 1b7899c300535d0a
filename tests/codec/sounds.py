"""Deterministic test sounds at 24 kHz: whole frames, exact in float32 on every machine."""

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

SR, FRAME = 24_000, 1920


def triangle(hz: float, seconds: float, level: float) -> np.ndarray:
    """A triangle wave by exact arithmetic: no sine, so no libm in the samples."""
    phase = (np.arange(int(seconds * SR), dtype=np.float64) * hz / SR) % 1.0
    return (level * (4.0 * np.abs(phase - 0.5) - 1.0)).astype(np.float32)


def noise(seconds: float, level: float, seed: int) -> np.ndarray:
    """Uniform white noise from a 32-bit linear congruence."""
    n = int(seconds * SR)
    state = np.empty(n, np.uint32)
    value = np.uint64(seed * 2654435761 % 2**32)
    step, add = np.uint64(1664525), np.uint64(1013904223)
    for i in range(n):
        value = (value * step + add) & np.uint64(0xFFFFFFFF)
        state[i] = value
    return (level * (state.astype(np.float64) / 2**31 - 1.0)).astype(np.float32)


def score() -> np.ndarray:
    """Eight seconds: silence, chord, melody, ticks at 150 a minute, noise loud and soft, silence: [100, 1920]."""
    silence = np.zeros(SR // 2, np.float32)
    chord = sum(triangle(hz, 1.5, 0.12) for hz in (220.0, 261.63, 329.63))
    melody = np.concatenate([triangle(hz, 0.25, 0.3) for hz in (440.0, 494.0, 523.25, 587.33)])
    hiss = noise(0.5, 1.0, 7)
    ticks = np.zeros(SR * 3, np.float32)
    for start in range(0, len(ticks), int(0.4 * SR)):
        ticks[start : start + 480] = 0.5 * hiss[:480]
    parts = [silence, chord, melody, ticks, 0.2 * hiss, 0.002 * hiss, silence, silence]
    return np.concatenate(parts)[: 100 * FRAME].astype(np.float32).reshape(100, FRAME)


def streams(count: int, frames: int) -> np.ndarray:
    """Different streams, two equal, some silent, one below the threshold, with pauses: [count, frames, 1920]."""
    base = score()
    rng = np.random.default_rng(5)
    out = np.zeros((count, frames, FRAME), np.float32)
    for row in range(count):
        rolled = np.roll(base.reshape(-1), int(rng.integers(base.size))).reshape(base.shape)
        out[row] = np.resize(rolled * float(rng.uniform(0.02, 1.0)), (frames, FRAME))
        if row % 3 == 1:
            out[row] += rng.standard_normal((frames, FRAME)).astype(np.float32) * float(rng.uniform(0.0, 0.1))
        if row % 5 == 2:
            out[row, frames // 3 : frames // 2] = 0.0
    out[count // 2] = out[0]
    out[count - 1] = 0.0
    out[count - 2] = rng.standard_normal((frames, FRAME)).astype(np.float32) * 1e-4
    return out


def recordings() -> list[Path]:
    """One real recording of each folder below NATD_SHARED/audio; none where the variable is unset."""
    shared = os.environ.get("NATD_SHARED")
    if not shared:
        return []
    audio = Path(shared) / "audio"
    names = ("esc10/dog", "esc10/rain", "recordings", "music/dev", "sounds/dev", "sonic-pi", "drums")
    return [max((p for p in (audio / n).iterdir() if p.suffix in (".ogg", ".flac", ".wav")), key=_size) for n in names]


def _size(path: Path) -> tuple[int, str]:
    return path.stat().st_size, path.name


def frames_of(path: Path, limit: int) -> np.ndarray:
    """The first whole frames of a recording, mono at 24 kHz: [at most limit, 1920]."""
    data, rate = soundfile.read(path, dtype="float32", always_2d=True, frames=-1)
    mono = soxr.resample(data[: rate * 20].mean(axis=1), rate, SR)[: limit * FRAME].astype(np.float32)
    return mono[: len(mono) // FRAME * FRAME].reshape(-1, FRAME)
