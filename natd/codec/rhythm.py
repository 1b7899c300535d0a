"""What moves: onsets every 10 ms, and the pulse of the latest six seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import BANDS, HOP, HOPS, SR, squared

HOP_RATE = SR / HOP  # 100 Hz
PULSE_HOPS = 608  # 6.08 s
PULSE_FFT = 1024
SPECTRUM = PULSE_FFT // 2  # the Nyquist bin is left out: rows stay aligned
RISES = 4  # of a hop: mean rise in dB over all bands, the low, the middle and the high ones
CHANNELS = RISES + 1  # and the mean level above -80 dB
SHORT_HOPS = 208  # 2.08 s
VIEWS = CHANNELS + 2  # each channel over all six seconds; the first and the last over the latest two
MIN_LAG, MAX_LAG = 25, 150  # 240 to 40 beats a minute
LAGS = rows.padded(MAX_LAG + 2)
RATE_HOPS = 160  # 1.6 s, over which onsets are counted
FLUX_FLOOR_DB = -80.0
LOW_BANDS, HIGH_BANDS = 10, 60  # mel bands below 200 Hz, and below 2 kHz
ONSET_DB = 2.0  # mean rise over the bands within 10 ms that counts as an event


@dataclass(slots=True)
class RhythmState:
    """The last log-mel hop [B, 128], hops [B, 5, 608], hops heard [B] (float32)."""

    previous: Tensor
    hops: Tensor
    heard: Tensor


@dataclass(slots=True)
class Past:
    """Hops [B, 5, 608], zero where not heard; how many were [B]; their means [B, 5, 1]; power of views [B, 7, 512]."""

    hops: Tensor
    count: Tensor
    mean: Tensor
    power: Tensor


class Rhythm:
    """Onset strength and pulse, each from the past only."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.parts = _parts().to(device)
        self.sum_hops = torch.ones(PULSE_HOPS, rows.ALIGN, device=device)
        self.views = _views().to(device)
        lags = torch.arange(MIN_LAG, MAX_LAG + 1)
        # Of a pulse and its multiples the one nearest 120 a minute is named, an octave off costs a fifth.
        octaves = torch.log2(lags.double() / (0.5 * HOP_RATE))
        self.lags, self.unfound = lags.float().to(device), torch.tensor(50.0, device=device)
        self.taste = torch.exp(-0.5 * (octaves / 1.5) ** 2).float().to(device)
        self.frame, self.ground, self.hiss = torch.tensor([float(HOPS), FLUX_FLOOR_DB, 0.01], device=device)
        self.age = (torch.arange(PULSE_HOPS).flip(0).float() + 1.0).to(device)  # hops ago, the latest is 1

    def initial_state(self, batch: int) -> RhythmState:
        """Nothing heard."""
        zeros = torch.zeros
        return RhythmState(
            previous=torch.full((batch, BANDS), FLUX_FLOOR_DB, device=self.device),
            hops=zeros(batch, CHANNELS, PULSE_HOPS, device=self.device),
            heard=zeros(batch, device=self.device),
        )

    def __call__(self, log_mel: Tensor, state: RhythmState) -> tuple[dict[str, Tensor], Past]:
        """Log-mel [B, 8, 128] of a frame -> onset, onset_rate, pulse, pulse_lag [B].

        And what they were taken from, for `RhythmNet`.
        """
        started = (state.heard > 0.0)[:, None]
        hops = self.hops(log_mel, state.previous, started)
        state.hops.copy_(torch.cat([state.hops[..., HOPS:], hops.transpose(1, 2)], dim=2))
        state.previous.copy_(log_mel[:, -1])
        state.heard.add_(self.frame)
        past = self.look_back(state.hops, state.heard)
        pulse, lag = self._pulse(past)
        onsets = state.hops[:, 0, -RATE_HOPS:]
        moved = {"onset": onsets[:, -HOPS:].amax(1), "onset_rate": _events(onsets, past.count)}
        return moved | {"pulse": pulse, "pulse_lag": lag}, past

    def hops(self, log_mel: Tensor, previous: Tensor, started: Tensor) -> Tensor:
        """Log-mel [B, 8, 128], the hop before [B, 128], false where a stream begins [B, 1] -> hops [B, 8, 5]."""
        level = (torch.cat([previous[:, None], log_mel], dim=1) - self.ground).clamp_(min=0.0)
        now = level[:, 1:]
        both = rows.product(torch.cat([(now - level[:, :-1]).clamp_(min=0.0), now], dim=1), self.parts)
        # The first frame has nothing before it: that the windows fill is no onset.
        return torch.cat([both[:, :HOPS, :RISES] * started[..., None], both[:, HOPS:, :1]], dim=2)

    def look_back(self, hops: Tensor, heard: Tensor) -> Past:
        """Hops [B, 5, 608], zero where not heard, and how many were heard in all [B]."""
        count = heard.clamp(max=float(PULSE_HOPS))
        mean = rows.product(hops, self.sum_hops)[..., :1] / count[:, None, None]
        x = (hops - mean) * (self.age <= count[:, None, None])
        x = torch.cat([x, x[:, ::RISES]], dim=1) * self.views
        power = rows.each(lambda row: squared(torch.fft.rfft(row, n=PULSE_FFT)[..., :SPECTRUM]), x)
        return Past(hops, count, mean, power)

    def _pulse(self, past: Past) -> tuple[Tensor, Tensor]:
        power = past.power[:, 0].contiguous()
        r = rows.each(lambda row: torch.fft.irfft(row, n=PULSE_FFT), power)[:, : MAX_LAG + 2]
        # A steady hiss has tiny flux: below 0.1 dB a hop there is nothing to keep time with.
        r = r / (r[:, :1] + (self.hiss * past.count)[:, None])
        share = r[:, MIN_LAG:-1]
        peak = (share > r[:, MIN_LAG - 1 : -2]) & (share >= r[:, MIN_LAG + 1 :])
        best, at = (share * self.taste * peak).max(1)
        # Nothing repeats that was heard for less than two periods.
        lag = self.lags[at]
        found = (best > 0.0) & (lag + lag <= past.count)
        strength = share.gather(1, at[:, None])[:, 0].clamp_(0.0, 1.0) * found
        return strength, torch.where(found, lag, self.unfound)


def _events(onsets: Tensor, hops: Tensor) -> Tensor:
    """Onset peaks per second over the latest 1.6 s [B]; counts are whole numbers, so their sum is exact."""
    inner = onsets[:, 1:-1]
    event = (inner > ONSET_DB) & (inner > onsets[:, :-2]) & (inner >= onsets[:, 2:])
    return event.sum(1).float() * HOP_RATE / hops.clamp(max=float(RATE_HOPS))


def _parts() -> Tensor:
    """Means over all bands (0), below 200 Hz (1), up to 2 kHz (2) and above (3): [128, 16]."""
    out = torch.zeros(BANDS, rows.ALIGN)
    for column, (low, high) in enumerate(((0, BANDS), (0, LOW_BANDS), (LOW_BANDS, HIGH_BANDS), (HIGH_BANDS, BANDS))):
        out[low:high, column] = 1.0 / (high - low)
    return out


def _views() -> Tensor:
    """All six seconds, five times; then twice the latest two, faded in and out: [7, 608]."""
    out = torch.ones(VIEWS, PULSE_HOPS, dtype=torch.float64)
    angle = 2 * math.pi * (torch.arange(SHORT_HOPS, dtype=torch.float64) + 0.5) / SHORT_HOPS
    out[CHANNELS:] = 0.0
    out[CHANNELS:, -SHORT_HOPS:] = 0.5 - 0.5 * torch.cos(angle)
    return out.float()
