"""What is tonal in the latest 0.7 s: log-frequency spectrum, chroma, tonalness; f0 by normalised autocorrelation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import FRAME, HISTORY, SR, hann, squared

PER_SEMITONE = 3
NOTES = 88
LOWEST_HZ = 27.5  # A0
LOG_BINS = NOTES * PER_SEMITONE  # 264
WIDTH = rows.padded(LOG_BINS)
DECIMATION = 4
SLOW_SR = SR // DECIMATION  # 6 kHz is enough below 520 Hz, and no transform is longer than 4096
SLOW_HISTORY = 4096
TAPS = 48
CUTOFF_HZ = 2000.0
# (rate, window, first log bin, one past the last): long windows only where semitones are close together.
RANGES = ((SLOW_SR, 4096, 0, 81), (SLOW_SR, 2048, 81, 153), (SR, 4096, 153, LOG_BINS))
PITCH_WINDOW = 3072
PITCH_FFT = 4096
MIN_LAG, MAX_LAG = 12, 600  # 2000 Hz to 40 Hz
LAGS = rows.padded(MAX_LAG + 2)
PICK = 0.9  # the first peak this close to the highest is taken: fewer octave errors
PITCHED = 0.8  # salience above which f0 means something
F0_CENTRE = 8.0  # log2 of 256 Hz


class Harmony:
    """Chroma from three window lengths; f0 from one of 128 ms. All windows end now."""

    def __init__(self, device: str = "cpu") -> None:
        self.windows = [hann(n).to(device) for _, n, _, _ in RANGES]
        self.maps = [_log_map(sr / n, low, high).to(device) for sr, n, low, high in RANGES]
        self.low_pass = _low_pass().to(device)
        self.blur = _blur().to(device)
        self.fold = _fold().to(device)
        lags = torch.arange(LAGS)
        self.tail = (PITCH_WINDOW - 1 - lags).to(device)
        self.searched = ((lags >= MIN_LAG) & (lags <= MAX_LAG)).to(device)
        self.order = -lags.float().to(device)

    def decimated(self, audio: Tensor) -> Tensor:
        """The latest frame of the audio [B, HISTORY] at 6 kHz, [B, 480]; linear phase, 1 ms late."""
        tail = audio[:, HISTORY - FRAME - TAPS + DECIMATION :]
        return rows.product(tail.unfold(1, TAPS, DECIMATION).contiguous(), self.low_pass)[..., 0]

    def chroma(self, audio: Tensor, slow: Tensor) -> tuple[Tensor, Tensor]:
        """Latest audio at 24 and 6 kHz, [B, 4096] each -> shares of 12 pitch classes from C [B, 12], tonalness [B]."""
        parts = []
        for (sr, n, _, _), window, weight in zip(RANGES, self.windows, self.maps, strict=True):
            past = audio if sr == SR else slow
            x = (past[:, past.shape[1] - n :] * window).contiguous()
            power = squared(rows.each(torch.fft.rfft, x))[:, None, : weight.shape[0]].contiguous()
            parts.append(rows.product(power, weight))
        log_spectrum = torch.cat([p[..., : h - lo] for p, (_, _, lo, h) in zip(parts, RANGES, strict=True)], dim=-1)
        pad = log_spectrum.new_zeros(audio.shape[0], 1, WIDTH - LOG_BINS)
        size = torch.cat([log_spectrum, pad], dim=-1).sqrt()
        peaks = (size - rows.product(size, self.blur)).clamp(min=0.0)
        sums = rows.product(peaks, self.fold)[:, 0]  # 12 classes, all peaks, peaks that carry a class
        whole = rows.product(size, self.fold)[:, 0, 12]
        tonalness = sums[:, 12] / whole.clamp(min=1e-9)
        return sums[:, :12] / sums[:, 13:14].clamp(min=1e-9), tonalness

    def pitch(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Latest audio [B, HISTORY] -> lag of the fundamental in samples [B] and its salience [B] in 0..1."""
        x = audio[:, HISTORY - PITCH_WINDOW :].contiguous()
        power = squared(rows.each(lambda row: torch.fft.rfft(row, n=PITCH_FFT), x))
        power = torch.nn.functional.pad(power, (0, rows.padded(power.shape[1]) - power.shape[1]))
        r = rows.each(lambda row: torch.fft.irfft(row[: PITCH_FFT // 2 + 1], n=PITCH_FFT), power)[:, :LAGS]
        energy = rows.each(lambda row: torch.cumsum(row, 0), x * x)
        before = torch.nn.functional.pad(energy, (1, 0))[:, :LAGS]
        both = energy[:, self.tail] + (energy[:, -1:] - before)
        match = 2.0 * r / both.clamp(min=1e-9)
        return self._first_peak(match)

    def _first_peak(self, match: Tensor) -> tuple[Tensor, Tensor]:
        left = torch.nn.functional.pad(match[:, :-1], (1, 0))
        right = torch.nn.functional.pad(match[:, 1:], (0, 1))
        peak = (match > left) & (match >= right) & (match > 0.0) & self.searched
        height = torch.where(peak, match, match.new_zeros(()))
        best = height.amax(1, keepdim=True)
        early = torch.where(peak & (height >= PICK * best), self.order, self.order.new_full((), -1e9))
        at = early.argmax(1, keepdim=True).clamp(min=MIN_LAG)  # orders differ, so there is no tie to break
        a, b, c = (match.gather(1, at + k)[:, 0] for k in (-1, 0, 1))
        bend = a - 2.0 * b + c
        shift = torch.where(bend < -1e-6, 0.5 * (a - c) / bend.clamp(max=-1e-6), torch.zeros_like(bend)).clamp(
            -0.5, 0.5
        )
        found = best[:, 0] > 0.0
        salience = torch.where(found, b, torch.zeros_like(b)).clamp(0.0, 1.0)
        return torch.where(found, at[:, 0] + shift, torch.full_like(b, SR / 2**F0_CENTRE)), salience


def _centres() -> Tensor:
    return LOWEST_HZ * 2.0 ** ((torch.arange(LOG_BINS, dtype=torch.float64) - 1) / (12 * PER_SEMITONE))


def _low_pass() -> Tensor:
    """Blackman-windowed sinc, [48, 1] of gain 1."""
    t = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    window = torch.blackman_window(TAPS + 2, periodic=False, dtype=torch.float64)[1:-1]
    taps = torch.sinc(2 * CUTOFF_HZ / SR * t) * window
    return (taps / taps.sum()).float()[:, None]


def _log_map(step: float, low: int, high: int) -> Tensor:
    """Power spectrum with a bin every `step` Hz -> log bins [low, high), triangles a third of a semitone wide."""
    centre = _centres()[low:high]
    width = (centre * (2.0 ** (1.0 / (12 * PER_SEMITONE)) - 1.0)).clamp(min=step)
    bins = rows.padded(math.ceil(float(centre[-1] + width[-1]) / step) + 1)
    hz = torch.arange(bins, dtype=torch.float64)[:, None] * step
    weight = (1.0 - (hz - centre[None]).abs() / width[None]).clamp(min=0.0)
    out = torch.zeros(bins, rows.padded(high - low))
    out[:, : high - low] = weight.float()
    return out


def _blur() -> Tensor:
    """Mean over two semitones either side [272, 272]: what is no higher than this is no partial."""
    at = torch.arange(WIDTH)
    near = ((at[:, None] - at[None]).abs() <= 2 * PER_SEMITONE) & (at[:, None] < LOG_BINS) & (at[None] < LOG_BINS)
    weight = near.double()
    return (weight / weight.sum(0, keepdim=True).clamp(min=1.0)).float()


def _fold() -> Tensor:
    """Log bins -> 12 pitch classes from C, total over all bins (12), total over the bins that carry a class (13)."""
    at = torch.arange(LOG_BINS)
    note = at // PER_SEMITONE
    hz = _centres()
    # Centred on 350 Hz, two octaves wide: very low and very high partials say little of the chord.
    importance = torch.exp(-0.5 * (torch.log2(hz / 350.0) / 1.5) ** 2)
    centre_of_note = torch.where(at % PER_SEMITONE == 1, 1.0, 0.5)
    out = torch.zeros(WIDTH, rows.ALIGN, dtype=torch.float64)
    out[at, (note + 9) % 12] = importance * centre_of_note
    out[at, 12] = 1.0
    out[:, 13] = out[:, :12].sum(1)
    return out.float()
