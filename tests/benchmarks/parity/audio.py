"""What is heard: parts of recordings one after the other, or sound of our own where there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from tests.codec.sounds import SR, recordings, score

SUFFIXES = (".ogg", ".flac", ".wav", ".mp3")


def found(folder: Path | None) -> list[Path]:
    """The recordings below `folder`, or those that the tests take; none where there are none."""
    if folder is None:
        return recordings()
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def sound(paths: Sequence[Path], rate: int, seconds: float) -> Tensor:
    """Equal shares of every recording, more of the long ones where some are short: [1, N] with N / rate >= seconds."""
    if not paths:
        return torch.from_numpy(_resampled(_own(seconds + 0.1), SR, rate)[None])
    share = max(1.0, seconds / len(paths))
    parts: list[np.ndarray] = []
    turn = held = 0
    while held < math.ceil(seconds * rate):
        turns = [_part(path, rate, turn * share, share) for path in paths]
        if not any(len(part) for part in turns):
            raise SystemExit(f"the recordings have {held / rate:.1f} s in all, {seconds:g} are asked for")
        parts += turns
        held, turn = held + sum(map(len, turns)), turn + 1
    return torch.from_numpy(np.concatenate(parts)[None])


def rows(samples: Tensor, count: int, length: int) -> Tensor:
    """Different parts of it at different levels: [count, length]."""
    step = samples.shape[1] // count
    return torch.stack([samples[0].roll(-i * step)[:length] / (1 + i % 4) for i in range(count)])


def _part(path: Path, rate: int, start: float, seconds: float) -> np.ndarray:
    with soundfile.SoundFile(path) as file:
        at = min(int(start * file.samplerate), file.frames)
        file.seek(at)
        heard = file.read(int(seconds * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        return _resampled(heard, file.samplerate, rate)


def _resampled(heard: np.ndarray, of: int, to: int) -> np.ndarray:
    return soxr.resample(heard, of, to).astype(np.float32) if len(heard) else heard


def _own(seconds: float) -> np.ndarray:
    """The tests' score again and again, each time higher, over a hiss that swells: no two parts are alike."""
    draw = np.random.default_rng(0)
    base, parts = score().reshape(-1), []
    for turn in range(math.ceil(seconds * SR / len(base))):
        at = (np.arange(len(base)) * (1 + 0.11 * turn) % len(base)).astype(np.int64)
        swell = 0.02 * (1 + np.sin(np.arange(len(base)) / SR * (1 + turn % 3)))
        parts.append(base[at] + swell * draw.standard_normal(len(base)))
    return np.concatenate(parts)[: math.ceil(seconds * SR)].astype(np.float32)
