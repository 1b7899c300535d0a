"""Causal spectra of one frame: eight short power spectra, their log-mel, and the level."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from natd.codec import rows

SR = 24_000
FRAME = 1920
HOP = 240
HOPS = FRAME // HOP
WINDOW = 1024
BINS = WINDOW // 2  # the Nyquist bin is left out: 512 rows stay aligned
BANDS = 128
FLOOR_DB = -100.0
HISTORY = 4096  # samples that the longest window at 24 kHz looks back on
LOW_HZ = 20.0


class Mel:
    """Hann windows of 1024 samples, one per 240, each ending at its hop's end: nothing ahead of the frame is needed.

    Powers are relative to a full-scale sine in one bin (0 dB).
    """

    def __init__(self, device: str = "cpu") -> None:
        self.window = hann(WINDOW).to(device)
        self.bank = mel_bank().to(device)

    def power(self, audio: Tensor) -> Tensor:
        """Latest audio [B, HISTORY] -> power spectra [B, 8, 512]."""
        tail = audio[:, HISTORY - (HOPS - 1) * HOP - WINDOW :]
        frames = (tail.unfold(1, WINDOW, HOP) * self.window).contiguous()  # [B, 8, 1024]
        return rows.each(lambda row: squared(torch.fft.rfft(row)[..., :BINS]), frames)

    def log_mel(self, power: Tensor) -> Tensor:
        """Power spectra [B, 8, 512] -> log-mel [B, 8, 128] in dB, at least -100."""
        return rows.decibel(rows.product(power, self.bank), FLOOR_DB)

    def level(self, chunk: Tensor) -> Tensor:
        """Mean square of a frame [B, 1920] without its mean, [B]: 1.0 = 0 dBFS (a full-scale sine is -3.01)."""
        return rows.each(lambda row: row.var(-1, correction=0), chunk.contiguous())


def hann(n: int) -> Tensor:
    """Periodic Hann window [n] scaled so that a sine of amplitude 1 has power 1 in its bin."""
    w = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n, dtype=torch.float64) / n)
    return (w * (2.0 / w.sum())).float()


def squared(z: Tensor) -> Tensor:
    """|z|^2 of a complex tensor, by exact elementwise steps."""
    parts = torch.view_as_real(z)
    parts = parts * parts
    return parts[..., 0] + parts[..., 1]


def mel_bank() -> Tensor:
    """Triangular filters [512, 128] from 20 Hz to 12 kHz on the mel scale, never narrower than one bin."""
    mel = torch.linspace(_mel(LOW_HZ), _mel(SR / 2), BANDS + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    hz = torch.arange(BINS, dtype=torch.float64)[:, None] * (SR / WINDOW)
    centre = edges[None, 1:-1]
    below = (centre - edges[None, :-2]).clamp(min=SR / WINDOW)
    above = (edges[None, 2:] - centre).clamp(min=SR / WINDOW)
    rise, fall = 1.0 - (centre - hz) / below, 1.0 - (hz - centre) / above
    return torch.minimum(rise, fall).clamp(min=0.0).float()


def _mel(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)
