"""What moves: onsets every 10 ms, the pulse of the latest six seconds, and how fast the level flutters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import BANDS, HOP, HOPS, SR

HOP_RATE = SR / HOP  # 100 Hz
PULSE_HOPS = 608  # 6.08 s
PULSE_FFT = 1024
MIN_LAG, MAX_LAG = 25, 150  # 240 to 40 beats a minute
LAGS = rows.padded(MAX_LAG + 2)
LEVEL_HOPS = 160  # 1.6 s
FLUX_FLOOR_DB = -80.0
ONSET_DB = 2.0  # mean rise over the bands within 10 ms that counts as an event
SLOW_HZ = (2.5, 7.5)  # syllables
FAST_HZ = (10.0, 40.0)  # rotors, trills, growls


@dataclass(slots=True)
class RhythmState:
    """The last log-mel hop [B, 128], onset strengths [B, 608], hop amplitudes [B, 160], frames heard [B] (float32)."""

    previous: Tensor
    onsets: Tensor
    amplitudes: Tensor
    heard: Tensor


class Rhythm:
    """Onset strength, pulse and modulation, each from the past only."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.mean_band = torch.full((BANDS, rows.ALIGN), 1.0 / BANDS, device=device)
        self.sum_bins = torch.ones(512, rows.ALIGN, device=device)
        self.mean_hops = torch.full((PULSE_HOPS, rows.ALIGN), 1.0, device=device)
        self.waves = _waves().to(device)
        self.bands = _bands().to(device)
        lags = torch.arange(LAGS)
        self.searched = ((lags >= MIN_LAG) & (lags <= MAX_LAG)).to(device)
        # Of a pulse and its multiples the one nearest 120 a minute is named, an octave off costs a fifth.
        octaves = torch.log2(lags.clamp(min=1).double() / (0.5 * HOP_RATE))
        self.taste = torch.exp(-0.5 * (octaves / 1.5) ** 2).float().to(device)
        self.age = (torch.arange(PULSE_HOPS).flip(0).float() + 1.0).to(device)  # hops ago, the latest is 1

    def initial_state(self, batch: int) -> RhythmState:
        """Nothing heard."""
        zeros = torch.zeros
        return RhythmState(
            previous=torch.full((batch, BANDS), FLUX_FLOOR_DB, device=self.device),
            onsets=zeros(batch, PULSE_HOPS, device=self.device),
            amplitudes=zeros(batch, LEVEL_HOPS, device=self.device),
            heard=zeros(batch, device=self.device),
        )

    def __call__(self, power: Tensor, log_mel: Tensor, state: RhythmState) -> dict[str, Tensor]:
        """Power [B, 8, 512], log-mel [B, 8, 128] of a frame -> onset, onset_rate, pulse, pulse_lag, slow, fast [B]."""
        mel = log_mel.clamp(min=FLUX_FLOOR_DB)
        before = torch.cat([state.previous[:, None], mel[:, :-1]], dim=1)
        # The first frame has nothing before it: that the windows fill is no onset.
        started = (state.heard > 0.0).float()[:, None]
        flux = rows.product((mel - before).clamp(min=0.0), self.mean_band)[..., 0]  # [B, 8]
        flux = flux * started
        amplitude = rows.product(power, self.sum_bins)[..., 0].sqrt()
        # What was before the start is taken to have been as loud as the start: a beginning is no flutter.
        state.amplitudes.copy_(torch.where(started > 0.0, state.amplitudes, amplitude[:, :1]))
        _push(state.onsets, flux)
        _push(state.amplitudes, amplitude)
        state.previous.copy_(mel[:, -1])
        state.heard.add_(1.0)
        pulse, lag = self._pulse(state.onsets, state.heard * HOPS)
        slow, fast = self._modulation(state.amplitudes)
        return {
            "onset": flux.amax(1),
            "onset_rate": _events(state.onsets[:, -LEVEL_HOPS:], state.heard * HOPS),
            "pulse": pulse,
            "pulse_lag": lag,
            "slow": slow,
            "fast": fast,
        }

    def _pulse(self, onsets: Tensor, hops: Tensor) -> tuple[Tensor, Tensor]:
        known = (self.age[None] <= hops[:, None]).float()
        count = hops.clamp(max=float(PULSE_HOPS))
        mean = rows.product((onsets * known)[:, None], self.mean_hops)[:, 0, :1] / count[:, None]
        x = (onsets - mean) * known
        power = torch.view_as_real(rows.each(lambda row: torch.fft.rfft(row, n=PULSE_FFT), x))
        power = power * power
        whole = torch.nn.functional.pad(power[..., 0] + power[..., 1], (0, 15))  # 513 -> 528
        r = rows.each(lambda row: torch.fft.irfft(row[:513], n=PULSE_FFT), whole)[:, :LAGS]
        # A steady hiss has tiny flux: below 0.1 dB a hop there is nothing to keep time with.
        share = r / (r[:, :1] + 0.01 * count[:, None])
        left = torch.nn.functional.pad(share[:, :-1], (1, 0))
        right = torch.nn.functional.pad(share[:, 1:], (0, 1))
        peak = (share > left) & (share >= right) & (share > 0.0) & self.searched
        scored = torch.where(peak, share * self.taste, share.new_zeros(()))
        at = scored.argmax(1, keepdim=True)
        found = scored.gather(1, at)[:, 0] > 0.0
        # Nothing repeats that was heard for less than two periods.
        found &= 2.0 * at[:, 0] <= hops
        strength = torch.where(found, share.gather(1, at)[:, 0], torch.zeros_like(hops)).clamp(0.0, 1.0)
        return strength, torch.where(found, at[:, 0].float(), torch.full_like(hops, 50.0))

    def _modulation(self, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        turned = rows.product(amplitudes[:, None], self.waves)  # [B, 1, 144]: 64 cos, 64 sin, mean
        mean = turned[:, 0, 128].clamp(min=1e-7)
        parts = (turned * turned)[..., :128].contiguous()
        power = rows.product(parts, self.bands)[:, 0]
        return power[:, 0].sqrt() / mean, power[:, 1].sqrt() / mean


def _push(history: Tensor, new: Tensor) -> None:
    history.copy_(torch.cat([history[:, new.shape[1] :], new], dim=1))


def _events(onsets: Tensor, hops: Tensor) -> Tensor:
    """Onset peaks per second over the latest 1.6 s [B]; counts are whole numbers, so their sum is exact."""
    inner = onsets[:, 1:-1]
    event = (inner > ONSET_DB) & (inner > onsets[:, :-2]) & (inner >= onsets[:, 2:])
    return event.sum(1).float() * HOP_RATE / hops.clamp(max=float(LEVEL_HOPS))


def _waves() -> Tensor:
    """Hann-windowed cosines and sines at multiples of 0.625 Hz up to 40 Hz, then the plain mean: [160, 144]."""
    t = torch.arange(LEVEL_HOPS, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * (t + 0.5) / LEVEL_HOPS)
    window = window * (2.0 / window.sum())
    angle = 2 * math.pi * t[:, None] * torch.arange(1, 65, dtype=torch.float64)[None] / LEVEL_HOPS
    out = torch.zeros(LEVEL_HOPS, rows.padded(129), dtype=torch.float64)
    out[:, :64] = torch.cos(angle) * window[:, None]
    out[:, 64:128] = torch.sin(angle) * window[:, None]
    out[:, 128] = 1.0 / LEVEL_HOPS
    return out.float()


def _bands() -> Tensor:
    """Sum of modulation power in the slow (0) and the fast (1) band: [128, 16]; 1.5 undoes the overlap of Hann bins."""
    hz = torch.arange(1, 65, dtype=torch.float64) * HOP_RATE / LEVEL_HOPS
    out = torch.zeros(128, rows.ALIGN)
    for column, (low, high) in enumerate((SLOW_HZ, FAST_HZ)):
        inside = ((hz >= low) & (hz <= high)).float() / 1.5
        out[:, column] = torch.cat([inside, inside])
    return out
