"""How fast the level of four bands flutters, over the latest 1.6 s."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import BINS, HOP, HOPS, SR, WINDOW

EDGES_HZ = (0.0, 500.0, 3000.0, 12_000.0)  # of three bands; the fourth is all of them
LEVEL_HOPS = 160  # 1.6 s
RATES_HZ = (0.6, 1.25, 2.5, 4.0, 6.0, 9.0, 14.0, 22.0, 41.0)  # edges of eight ranges
RANGES = len(RATES_HZ) - 1
SLOW_HZ = (2.5, 7.5)  # syllables
FAST_HZ = (10.0, 40.0)  # rotors, trills, growls
SLOW, FAST = RANGES, RANGES + 1  # columns behind the ranges
MULTIPLES = 64  # multiples of 0.625 Hz that are looked at: up to 40 Hz
UNHEARD = -1.0


@dataclass(slots=True)
class ModulationState:
    """Amplitude of three bands and of all by hop [B, 4, 160]; `UNHEARD` throughout before the first frame."""

    amplitudes: Tensor


class Modulation:
    """The modulation index: how deep the level moves at a range of rates, 1 if it falls to nothing in between."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.split, self.waves, self.ranges = _split().to(device), _waves().to(device), _ranges().to(device)

    def initial_state(self, batch: int) -> ModulationState:
        """Nothing heard."""
        return ModulationState(torch.full((batch, len(EDGES_HZ), LEVEL_HOPS), UNHEARD, device=self.device))

    def __call__(self, power: Tensor, state: ModulationState) -> Tensor:
        """Power [B, 8, 512] of a frame -> index [B, 4, 10] by band and range of rates, then `SLOW` and `FAST`."""
        now = rows.product(power, self.split)[..., : len(EDGES_HZ)].sqrt().transpose(1, 2)  # [B, 4, 8]
        # What was before the start is taken to have been as loud as the start: a beginning is no flutter.
        past = torch.where(state.amplitudes < 0.0, now[..., :1], state.amplitudes)
        state.amplitudes.copy_(torch.cat([past[..., HOPS:], now], dim=2))
        turned = rows.product(state.amplitudes, self.waves)
        ranges = rows.product(turned * turned, self.ranges)
        mean = ranges[..., FAST + 1 : FAST + 2].clamp(min=1e-12)  # squared
        return (ranges[..., : FAST + 1] / mean).sqrt_()


def _split() -> Tensor:
    """Sum of the bins of each band, and of all: [512, 16]."""
    hz = torch.arange(BINS, dtype=torch.float64) * (SR / WINDOW)
    out = torch.zeros(BINS, rows.ALIGN)
    for column, (low, high) in enumerate(zip(EDGES_HZ, EDGES_HZ[1:], strict=False)):
        out[:, column] = ((hz >= low) & (hz < high)).float()
    out[:, len(EDGES_HZ) - 1] = 1.0
    return out


def _waves() -> Tensor:
    """Hann-windowed cosines and sines at multiples of 0.625 Hz up to 40 Hz, then the plain mean: [160, 144]."""
    t = torch.arange(LEVEL_HOPS, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * (t + 0.5) / LEVEL_HOPS)
    window = window * (2.0 / window.sum())
    angle = 2 * math.pi * t[:, None] * torch.arange(1, MULTIPLES + 1, dtype=torch.float64) / LEVEL_HOPS
    out = torch.zeros(LEVEL_HOPS, rows.padded(2 * MULTIPLES + 1), dtype=torch.float64)
    out[:, :MULTIPLES] = torch.cos(angle) * window[:, None]
    out[:, MULTIPLES : 2 * MULTIPLES] = torch.sin(angle) * window[:, None]
    out[:, : 2 * MULTIPLES] -= out[:, : 2 * MULTIPLES].mean(0)  # a steady level moves at no rate
    out[:, 2 * MULTIPLES] = 1.0 / LEVEL_HOPS
    return out.float()


def _ranges() -> Tensor:
    """Squares of what `_waves` gave -> power by range of rates, slow, fast, squared mean: [144, 16]."""
    hz = torch.arange(1, MULTIPLES + 1, dtype=torch.float64) * (SR / HOP) / LEVEL_HOPS
    inside = [(hz >= low) & (hz < high) for low, high in zip(RATES_HZ, RATES_HZ[1:], strict=False)]
    inside += [(hz >= low) & (hz <= high) for low, high in (SLOW_HZ, FAST_HZ)]
    out = torch.zeros(rows.padded(2 * MULTIPLES + 1), rows.ALIGN)
    for column, of in enumerate(inside):
        out[: 2 * MULTIPLES, column] = of.float().repeat(2) / 1.5  # undoes the overlap of Hann bins
    out[2 * MULTIPLES, FAST + 1] = 1.0
    return out
