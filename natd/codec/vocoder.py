"""Log-mel to samples, one frame at a time: causal, deterministic, `DELAY_SAMPLES` late.

Magnitudes: the bands are deconvolved to bins by multiplicative updates (Richardson 1972, Lucy 1974; Lee and Seung 2001
for the Kullback-Leibler divergence). First phases: each spectral peak turns on with its own frequency (single pass
spectrogram inversion: Beauregard, Harish and Wyse 2015); where many bins leap up together, a pulse in the newest hop.
Then all windows that reach into the frame are made consistent (Griffin and Lim 1984, with the momentum of Perraudin,
Balazs and Sondergaard 2013), while what was already played stays as it is (real-time iterative inversion with
look-ahead: Zhu, Beauregard and Wyse 2007; the look-ahead is the overlap of the windows and makes the delay).

What a row gives depends on that row alone (see `rows`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import mel, rows

HOP, WINDOW, BINS = mel.HOP, mel.WINDOW, mel.BINS
DELAY_SAMPLES = WINDOW - HOP  # 784, 32.7 ms: a sample is whole once the last window that covers it has come
FLOOR_DB = -80.0  # a band this low or lower is silent
DECONVOLUTIONS = 12
ITERATIONS = 8
MOMENTUM = 0.9
OPEN = 4  # windows of the frame before that still reach over samples not yet played
WINDOWS = OPEN + mel.HOPS
SIGNAL = (WINDOWS - 1) * HOP + WINDOW  # samples under all of them
KEPT = SIGNAL - mel.FRAME  # of those, heard or begun before this frame
PLAYED = KEPT - DELAY_SAMPLES
PARTS = -(-WINDOW // HOP)  # hops under a window
LEAST_COVER = 0.3  # of a full overlap: newer samples are not blown up by what windows to come will add
LEAP = 3.0  # amplitude over that of the hop before, from which a bin begins anew ...
LEAP_BINS = BINS // 4  # ... if at least so many bins do
PULSE = 392  # samples from a window's centre to the middle of its newest hop


@dataclass(slots=True)
class VocoderState:
    """What the next frame needs of the past."""

    signal: Tensor  # samples [B, KEPT]: played, then those still open
    amplitude: Tensor  # of the latest windows [B, OPEN, 512]
    phase: Tensor  # at the latest window's centre, as cosine and sine [B, 512, 2]


class Vocoder:
    """Samples whose mel (`natd.codec.mel`) is the one given, up to what no signal can have."""

    def __init__(self, device: str = "cpu") -> None:
        hann = mel.hann(WINDOW)
        self.window = hann.to(device)
        shape = hann / hann.max()
        self.synthesis = (shape / hann.max()).to(device)
        cover = _overlapped((shape * shape).expand(1, WINDOWS, WINDOW))[0]
        full = float((shape * shape).sum()) / HOP
        self.uncover = (1.0 / cover.clamp(min=LEAST_COVER * full)).to(device)
        bank = mel.mel_bank()
        self.bank, self.spread = bank.to(device), bank.T.contiguous().to(device)
        self.band_sum = bank.sum(0).to(device)
        self.bin_sum = bank.sum(1).clamp(min=1e-6).to(device)
        at = torch.arange(BINS, dtype=torch.float64)
        # A window's spectrum counts time from its first sample; about its centre every other bin has the other sign.
        self.centred = torch.where(at % 2 == 0, 1.0, -1.0).float()[:, None].to(device)
        self.turn = (2 * math.pi * ((at * HOP / WINDOW) % 1.0)).float().to(device)
        self.straight = (torch.cos(self.turn), torch.sin(self.turn))
        self.pulse = _unit_circle(-2 * math.pi * ((at * PULSE / WINDOW) % 1.0)).to(device)
        scattered = torch.rand(BINS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.start = _unit_circle(2 * math.pi * scattered).to(device)

    def initial_state(self, batch: int) -> VocoderState:
        """State of `batch` streams of silence."""
        zeros = self.window.new_zeros
        phase = self.start.expand(batch, BINS, 2).clone()
        return VocoderState(zeros(batch, KEPT), zeros(batch, OPEN, BINS), phase)

    @torch.no_grad()
    def __call__(self, log_mel: Tensor, state: VocoderState) -> Tensor:
        """Log-mel of one frame [B, 8, 128] in dB -> samples [B, 1920], `DELAY_SAMPLES` behind it; `state` moves on."""
        fresh = self.amplitudes(log_mel)
        amplitude = torch.cat([state.amplitude, fresh], dim=1)
        played = state.signal[:, :PLAYED].clone()
        signal = torch.nn.functional.pad(state.signal, (0, mel.FRAME))
        spectra = self._spectra(signal)
        first = self._first_phases(fresh, state) * fresh[..., None] * self.centred
        spectra = torch.cat([_with_amplitude(spectra[:, :OPEN], amplitude[:, :OPEN]), first], dim=1)
        before: Tensor | None = None
        for _ in range(ITERATIONS):
            signal = self._signal(spectra, played)
            now = self._spectra(signal)
            ahead = now if before is None else now + (now - before) * MOMENTUM
            spectra, before = _with_amplitude(ahead, amplitude), now
        signal = self._signal(spectra, played)
        # In place: whoever holds the state (a batch of slots) keeps these same addresses.
        state.phase.copy_(self._last_phase(spectra[:, -1]))
        state.amplitude.copy_(amplitude[:, -OPEN:])
        state.signal.copy_(signal[:, mel.FRAME :])
        return signal[:, PLAYED : PLAYED + mel.FRAME].clone()

    def amplitudes(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, 8, 128] in dB -> non-negative amplitudes [B, 8, 512] of the bins, exactly 0 in silence."""
        power = rows.each(lambda row: torch.pow(10.0, row / 10.0), log_mel.contiguous())
        power = (power - 10.0 ** (FLOOR_DB / 10)).clamp(min=0.0)
        bins = rows.product(power / self.band_sum, self.spread) / self.bin_sum
        for _ in range(DECONVOLUTIONS):
            ratio = power / rows.product(bins, self.bank).clamp(min=1e-14)
            bins = bins * (rows.product(ratio, self.spread) / self.bin_sum)
        return bins.sqrt()

    def _first_phases(self, amplitude: Tensor, state: VocoderState) -> Tensor:
        """Amplitudes [B, 8, 512] -> phases at the windows' centres as cosine and sine [B, 8, 512, 2]."""
        nearest, offset = _peaks(amplitude)
        angle = (self.turn + offset * (2 * math.pi * HOP / WINDOW)).contiguous()
        cosine, sine = rows.each(torch.cos, angle), rows.each(torch.sin, angle)
        leaps = _leaps(torch.cat([state.amplitude, amplitude], dim=1))[..., None]
        phase, out = state.phase, []
        for hop in range(mel.HOPS):
            turned = _turned(phase, cosine[:, hop], sine[:, hop])
            turned = turned.gather(1, nearest[:, hop, :, None].expand(-1, -1, 2))
            # A pulse stays one while it passes under the windows: each bin turns with its own frequency.
            recent = leaps[:, hop : hop + OPEN - 1]
            phase = torch.where(recent.any(1), _turned(phase, *self.straight), turned)
            phase = torch.where(leaps[:, hop + OPEN - 1] & ~recent[:, 1:].any(1), self.pulse, phase)
            out.append(phase)
        return torch.stack(out, dim=1)

    def _last_phase(self, spectrum: Tensor) -> Tensor:
        size = _size(spectrum)[..., None]
        return torch.where(size > 1e-8, spectrum * self.centred / size.clamp(min=1e-8), self.start)

    def _spectra(self, signal: Tensor) -> Tensor:
        """Samples [B, SIGNAL] -> spectra of all windows as real and imaginary parts [B, WINDOWS, 512, 2]."""
        frames = (signal.unfold(1, WINDOW, HOP) * self.window).contiguous()
        return torch.view_as_real(rows.each(torch.fft.rfft, frames))[:, :, :BINS]

    def _signal(self, spectra: Tensor, played: Tensor) -> Tensor:
        """The samples [B, SIGNAL] nearest to the spectra, behind those that were played."""
        frames = rows.each(lambda row: torch.fft.irfft(torch.view_as_complex(row), n=WINDOW), spectra.contiguous())
        signal = _overlapped(frames * self.synthesis) * self.uncover
        signal[:, :PLAYED] = played
        return signal


def _peaks(amplitude: Tensor) -> tuple[Tensor, Tensor]:
    """Per bin the nearest peak [B, 8, 512] int64, and how far off its centre a peak at that bin stands, -0.5..0.5."""
    left, here, right = amplitude[..., :-2], amplitude[..., 1:-1], amplitude[..., 2:]
    peak = torch.nn.functional.pad((here > left) & (here >= right), (1, 1))
    level = rows.each(torch.log, amplitude.clamp(min=1e-9).contiguous())
    a, b, c = level[..., :-2], level[..., 1:-1], level[..., 2:]
    vertex = ((a - c) * 0.5 / (a - b - b + c).clamp(max=-1e-6)).clamp(-0.5, 0.5)
    at = torch.arange(BINS, device=amplitude.device)
    below = torch.where(peak, at, -BINS).cummax(-1).values
    above = torch.where(peak, at, 2 * BINS).flip(-1).cummin(-1).values.flip(-1)
    nearest = torch.where(at - below <= above - at, below, above)
    nearest = torch.where((nearest >= 0) & (nearest < BINS), nearest, at)
    return nearest, torch.nn.functional.pad(vertex, (1, 1))


def _leaps(amplitude: Tensor) -> Tensor:
    """Amplitudes [B, n, 512] -> which bins begin anew [B, n - 1, 512], from the second window on."""
    leaps = amplitude[:, 1:] > amplitude[:, :-1] * LEAP
    return leaps & (leaps.sum(-1, keepdim=True) > LEAP_BINS)


def _turned(phase: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Cosines and sines [B, 512, 2] after one more angle."""
    x, y = phase[..., 0], phase[..., 1]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=-1)


def _with_amplitude(spectra: Tensor, amplitude: Tensor) -> Tensor:
    """The phases of `spectra` [B, n, 512, 2] under `amplitude` [B, n, 512]; nothing where there was no phase."""
    return spectra * (amplitude / _size(spectra).clamp(min=1e-12))[..., None]


def _size(spectra: Tensor) -> Tensor:
    real, imaginary = spectra[..., 0], spectra[..., 1]
    return (real * real + imaginary * imaginary).sqrt()


def _overlapped(frames: Tensor) -> Tensor:
    """Windows [B, WINDOWS, 1024], one per hop -> their sum [B, SIGNAL]."""
    padded = torch.nn.functional.pad(frames, (0, PARTS * HOP - WINDOW))
    parts = padded.view(len(frames), WINDOWS, PARTS, HOP)
    out = frames.new_zeros(len(frames), WINDOWS + PARTS - 1, HOP)
    for i in range(PARTS):
        out[:, i : i + WINDOWS] += parts[:, :, i]
    return out.view(len(frames), -1)[:, :SIGNAL]


def _unit_circle(angle: Tensor) -> Tensor:
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1).float()
