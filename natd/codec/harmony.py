"""What is tonal in the latest 0.7 s: log-frequency spectrum, chroma, tonalness; f0 by normalised autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
LONGEST = 4096
BINS = LONGEST // 2 + 1
MIN_LAG, MAX_LAG = 12, 600  # 2000 Hz to 40 Hz
LAGS = rows.padded(MAX_LAG + 2)
PICK = 0.9  # the first peak this close to the highest is taken: fewer octave errors
PITCHED = 0.8  # salience above which f0 means something
F0_CENTRE = 8.0  # log2 of 256 Hz


@dataclass(slots=True)
class Tonal:
    """Magnitudes by log bin and what of them stands above its surroundings [B, 1, 272]; chroma [B, 12]; tonalness [B].

    Log bin 3 k + 1 is the middle of note k from A0; the last 8 are zero.
    """

    size: Tensor
    peaks: Tensor
    chroma: Tensor
    tonalness: Tensor


class Harmony:
    """Chroma from three window lengths; f0 from one of 128 ms. All windows end now."""

    def __init__(self, device: str = "cpu") -> None:
        self.windows = _windows().to(device)
        self.maps = [_log_map(sr / n, low, high).to(device) for sr, n, low, high in RANGES]
        self.low_pass = _low_pass().to(device)
        self.blur = _blur().to(device)
        self.fold = _fold().to(device)
        self.around = torch.tensor([MIN_LAG - 2, MIN_LAG - 1, MIN_LAG], device=device)
        self.pick, self.half = torch.tensor(PICK, device=device), torch.tensor(0.5, device=device)
        self.centre = torch.tensor(SR / 2**F0_CENTRE, device=device)

    def decimated(self, audio: Tensor) -> Tensor:
        """The latest frame of the audio [B, HISTORY] at 6 kHz, [B, 480]; linear phase, 1 ms late."""
        tail = audio[:, HISTORY - FRAME - TAPS :]
        return rows.product(tail.unfold(1, 2 * TAPS, TAPS).contiguous(), self.low_pass).flatten(1)

    def __call__(self, audio: Tensor, slow: Tensor) -> tuple[Tonal, Tensor, Tensor]:
        """Latest audio at 24 and 6 kHz, [B, 4096] each -> what is tonal, lag of the f0 in samples [B], salience [B]."""
        # All in one call: to set up a transform of this length costs as much as four of them.
        power = rows.each(self._power, torch.stack([slow, audio], dim=1))  # [B, 4, 2064]
        return self._tonal(power), *self._pitch(power[:, len(RANGES)].contiguous(), audio)

    def _power(self, both: Tensor) -> Tensor:
        """Audio of one stream at 6 and 24 kHz [2, 4096] -> power of its windows [4, 2064]; the last bins are unused."""
        windowed = (both.unsqueeze(-2) * self.windows).flatten(-3, -2)
        return torch.nn.functional.pad(squared(torch.fft.rfft(windowed)), (0, rows.padded(BINS) - BINS))

    def _tonal(self, power: Tensor) -> Tonal:
        """Power of the windows [B, 4, 2064] -> spectrum, shares of 12 pitch classes from C, tonalness."""
        parts = []
        for i, ((_, n, _, _), weight) in enumerate(zip(RANGES, self.maps, strict=True)):
            step = LONGEST // n  # of a window that was filled up with zeros every other bin is its own
            own = power[:, i : i + 1, : step * weight.shape[0] : step]
            parts.append(rows.product(own.contiguous(), weight))
        size = torch.cat(parts, dim=2).sqrt_()
        peaks = (size - rows.product(size, self.blur)).clamp_(min=0.0)
        sums = rows.product(torch.cat([peaks, size], dim=1), self.fold)
        classes, of_peaks, of_classes = torch.split(sums[:, 0, :14], [12, 1, 1], dim=1)
        shares = classes / of_classes.clamp(min=1e-9)
        tonalness = (of_peaks / sums[:, 1, 12:13].clamp(min=1e-9)).squeeze(1)
        return Tonal(size, peaks, shares, tonalness)

    def _pitch(self, power: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Power of the pitch window [B, 2064], audio [B, 4096] -> lag of the f0 in samples [B], salience 0..1 [B]."""
        r = rows.each(lambda row: torch.fft.irfft(row[..., :BINS], n=LONGEST)[..., 1:LAGS], power)
        x = audio[:, HISTORY - PITCH_WINDOW :].contiguous()
        energy = rows.each(lambda row: torch.cumsum(row, -1), x * x)
        # Lag 0 is left out: column i is of lag i + 1.
        kept = energy[:, PITCH_WINDOW - LAGS : PITCH_WINDOW - 1].flip(1)
        both = kept.sub_(energy[:, : LAGS - 1]).add_(energy[:, -1:])
        return self._first_peak(r / both.clamp_(min=1e-9))

    def _first_peak(self, match: Tensor) -> tuple[Tensor, Tensor]:
        """Lag and height of the first peak that is nearly the highest; match [B, n] begins at lag 1."""
        middle = match[:, MIN_LAG - 1 : MAX_LAG]
        peak = (middle > match[:, MIN_LAG - 2 : MAX_LAG - 1]) & (middle >= match[:, MIN_LAG : MAX_LAG + 1])
        height = (middle * peak).clamp_(min=0.0)
        best = height.amax(1, keepdim=True)
        early = (height >= best * self.pick).float()  # the first of these is named
        at = early.argmax(1, keepdim=True) + self.around
        a, b, c = match.gather(1, at).unbind(1)
        bend = (a - b) + (c - b)
        shift = ((a - c) * self.half / bend.clamp(max=-1e-6)).clamp_(-0.5, 0.5)
        found = best.squeeze(1) > 0.0
        return torch.where(found, at[:, 2] + shift, self.centre), (b * found).clamp_(0.0, 1.0)


def _windows() -> Tensor:
    """Of two ranges at 6 kHz, of one at 24 kHz and the latest 3072 samples for the pitch: [2, 2, 4096], all ending now.

    The root of two in the last one doubles the autocorrelation.
    """
    out = torch.zeros(len(RANGES) + 1, LONGEST)
    for window, (_, n, _, _) in zip(out, RANGES, strict=False):
        window[LONGEST - n :] = hann(n)
    out[-1, LONGEST - PITCH_WINDOW :] = math.sqrt(2.0)
    return out.view(2, 2, LONGEST)


def _centres() -> Tensor:
    return LOWEST_HZ * 2.0 ** ((torch.arange(LOG_BINS, dtype=torch.float64) - 1) / (12 * PER_SEMITONE))


def _low_pass() -> Tensor:
    """Blackman-windowed sinc of 48 taps and gain 1, once for each of 12 outputs that lie 4 samples apart: [96, 12]."""
    t = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    window = torch.blackman_window(TAPS + 2, periodic=False, dtype=torch.float64)[1:-1]
    taps = torch.sinc(2 * CUTOFF_HZ / SR * t) * window
    out = torch.zeros(2 * TAPS, TAPS // DECIMATION)
    for k in range(TAPS // DECIMATION):
        first = DECIMATION * (k + 1)
        out[first : first + TAPS, k] = (taps / taps.sum()).float()
    return out


def _log_map(step: float, low: int, high: int) -> Tensor:
    """Power spectrum with a bin every `step` Hz -> log bins [low, high), triangles a third of a semitone wide."""
    centre = _centres()[low:high]
    width = (centre * (2.0 ** (1.0 / (12 * PER_SEMITONE)) - 1.0)).clamp(min=step)
    bins = rows.padded(math.ceil(float(centre[-1] + width[-1]) / step) + 1)
    hz = torch.arange(bins, dtype=torch.float64)[:, None] * step
    weight = (1.0 - (hz - centre[None]).abs() / width[None]).clamp(min=0.0)
    # The last range goes on to the width of the whole: its further columns stay zero.
    return torch.nn.functional.pad(weight.float(), (0, WIDTH - LOG_BINS if high == LOG_BINS else 0))


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
