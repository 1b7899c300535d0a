"""An encoder that is quick, and recordings of its rate: what codebooks are fitted to in tests."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from natd.codebooks.hearing import Recording

SR, FRAME = 8_000, 800


@dataclass(slots=True)
class Past:
    """The frame before [B, 800]."""

    frame: torch.Tensor


class ToyEncoder:
    """Two vectors a frame for "S0", one for "A": projections of its spectrum and of that of the frame before."""

    sr, frame_samples = SR, FRAME

    def __init__(self, width: int = 16, late: int = 0, gain: float = 1.0) -> None:
        self.width, self.late, self.gain, self.steps = width, late, gain, 0
        self.matrix = torch.randn(401, width, generator=torch.Generator().manual_seed(width)) / 20

    def settings(self) -> dict[str, Any]:
        return {"name": "toy", "sr": SR, "width": self.width, "late_frames": self.late, "gain": self.gain}

    def initial_state(self, batch: int) -> Past:
        return Past(torch.zeros(batch, FRAME))

    def vectors(self, chunk: torch.Tensor, state: Past) -> dict[str, torch.Tensor]:
        self.steps += 1
        both = torch.stack([state.frame, chunk], 1)
        state.frame.copy_(chunk)
        heard = self.gain * (torch.fft.rfft(both).abs() + 1e-3).log() @ self.matrix
        return {"S0": heard, "A": heard[:, 1:]}


def samples(number: int, seconds: float) -> np.ndarray:
    """Chords and noise that change four times a second, the same at any rate but for its band."""
    rng = np.random.default_rng(number)
    t = np.arange(int(seconds * 24_000)) / 24_000
    out = np.zeros(len(t))
    for at in range(0, len(t), 6000):
        part = slice(at, at + 6000)
        hz = rng.choice([110.0, 165.0, 220.0, 330.0, 440.0, 660.0], 2)
        out[part] = sum(np.sin(2 * np.pi * f * t[part]) for f in hz) * 10 ** rng.uniform(-2.0, -0.6)
        out[part] += rng.standard_normal(len(t[part])) * 10 ** rng.uniform(-4.0, -1.5)
    return out.astype(np.float32)


def recording(number: int, seconds: float = 4.0) -> Recording:
    whole = samples(number, seconds)
    digest = hashlib.sha256(whole.tobytes()).hexdigest()
    return Recording(f"{number:02d}.wav", whole.nbytes, digest, seconds, lambda sr: whole[:: 24_000 // sr].copy())


def recordings(count: int = 6) -> list[Recording]:
    return [recording(number, 4.0 + number % 3) for number in range(count)]
