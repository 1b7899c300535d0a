"""The front end of `ears`: named descriptors of a frame, and what its layers look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codebooks.naming import PITCH_CLASSES
from natd.codec import rows
from natd.codec.harmony import F0_CENTRE, PITCHED, SLOW_HISTORY, Harmony, Tonal
from natd.codec.mel import BINS, FRAME, HISTORY, HOPS, SR, WINDOW, Mel
from natd.codec.modulation import FAST, RANGES, SLOW, Modulation, ModulationState
from natd.codec.rhythm import HOP_RATE, Past, Rhythm, RhythmState
from natd.codec.scene import MOTION_BANDS, Scene, SceneState

# Name -> unit. The order is the order of the columns everywhere.
DESCRIPTORS: dict[str, str] = {
    "level": "dBFS (RMS; a full-scale sine is -3)",
    "trend": "dB against the mean of the latest 0.32 s",
    "centroid": "log2 Hz, weighted by magnitude",
    "bandwidth": "octaves, standard deviation about the centroid",
    "rolloff": "log2 Hz below which 85 % of the power lies",
    "flatness": "dB, geometric over arithmetic mean of the power spectrum; 0 is white noise",
    "f0": "log2 Hz, frames with salience >= 0.8 only",
    "salience": "height of the f0 peak of the normalised autocorrelation, 0..1",
    "tonalness": "share of the log-frequency spectrum that stands above its surroundings, 0..1",
    **{f"chroma_{name}": "share of pitch class, 0..1" for name in PITCH_CLASSES},
    "onset": "dB, largest mean rise over the bands within 10 ms",
    "onset_rate": "onsets per second, latest 1.6 s",
    "pulse": "height of the periodicity of onsets, 0..1",
    "tempo": "log2 beats per minute, frames with pulse >= 0.3 only",
    "slow": "modulation index 2.5 to 7.5 Hz",
    "fast": "modulation index 10 to 40 Hz",
    "wavering": "standard deviation of the level over the latest 1.28 s, dB",
    "duty": "share of frames above silence, latest 3.2 s",
}
COLUMN = {name: i for i, name in enumerate(DESCRIPTORS)}
PULSED = 0.3  # pulse above which the tempo means something
TEMPO_CENTRE = math.log2(120.0)
GATED = {"f0": ("salience", PITCHED), "tempo": ("pulse", PULSED)}
CHROMA = slice(COLUMN["chroma_C"], COLUMN["chroma_C"] + 12)
BEFORE_CHROMA, AFTER_CHROMA = tuple(DESCRIPTORS)[: CHROMA.start], tuple(DESCRIPTORS)[CHROMA.stop :]
SILENCE_DBFS = -75.0


@dataclass(slots=True)
class DescriptorState:
    """Audio at 24 and 6 kHz [B, 4096] each, what moves, and the features of 3.2 s."""

    audio: Tensor
    slow_audio: Tensor
    modulation: ModulationState
    rhythm: RhythmState
    scene: SceneState


@dataclass(slots=True)
class Heard:
    """One frame: `silent` [B], descriptors [B, 29], log-mel [B, 8, 128], and what the semantic layers look at."""

    silent: Tensor
    descriptors: Tensor
    log_mel: Tensor
    scene: Tensor
    tonal: Tonal
    past: Past

    def of(self, name: str) -> Tensor:
        """One descriptor [B]."""
        return self.descriptors[:, COLUMN[name]]


class FrontEnd:
    """Samples in, named descriptors and what the layers look at out; causal, and each row on its own (see `rows`)."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.mel, self.harmony, self.rhythm = Mel(device), Harmony(device), Rhythm(device)
        self.modulation, self.scene = Modulation(device), Scene(device)
        self.hop_mean = torch.full((1, HOPS), 1.0 / HOPS, device=device)
        self.moments, self.log2_hz = _moments(device)
        self.units, self.origins = _units(device)

    def initial_state(self, batch: int) -> DescriptorState:
        """Nothing heard: digital silence for ever before."""
        return DescriptorState(
            audio=torch.zeros(batch, HISTORY, device=self.device),
            slow_audio=torch.zeros(batch, SLOW_HISTORY, device=self.device),
            modulation=self.modulation.initial_state(batch),
            rhythm=self.rhythm.initial_state(batch),
            scene=self.scene.initial_state(batch),
        )

    def __call__(self, chunk: Tensor, state: DescriptorState) -> Heard:
        """Samples [B, 1920] float32 -> what was heard; `state` moves on by one frame."""
        chunk = chunk.clamp(-8.0, 8.0)  # far above full scale: keeps powers finite whatever a float file holds
        state.audio.copy_(torch.cat([state.audio[:, FRAME:], chunk], dim=1))
        slow = self.harmony.decimated(state.audio)
        state.slow_audio.copy_(torch.cat([state.slow_audio[:, slow.shape[1] :], slow], dim=1))
        power = self.mel.power(state.audio)
        log_mel = self.mel.log_mel(power)
        tonal, lag, salience = self.harmony(state.audio, state.slow_audio)
        moved, past = self.rhythm(log_mel, state.rhythm)
        timbre, mean_power, mean_db = self._timbre(power)
        level, mean_level, f0, tempo = self._logs(self.mel.level(chunk), mean_power, lag, moved.pop("pulse_lag"))
        silent = level < SILENCE_DBFS
        modulation = self.modulation(power, state.modulation)
        values = timbre | moved | {"level": level, "flatness": mean_db - mean_level, "f0": f0, "tempo": tempo}
        values |= {"salience": salience, "tonalness": tonal.tonalness}
        values |= {"slow": modulation[:, -1, SLOW], "fast": modulation[:, -1, FAST]}
        pitched = (salience >= PITCHED).float()
        heard = values | {"pitched": pitched, "register": pitched * (f0 - F0_CENTRE)}
        motion = modulation[:, :MOTION_BANDS, :RANGES]
        scene = self.scene(log_mel, heard, motion, silent, state.scene)
        values |= {"trend": scene.trend, "wavering": scene.wavering, "duty": scene.duty}
        before, after = (torch.stack([values[name] for name in names], 1) for names in (BEFORE_CHROMA, AFTER_CHROMA))
        return Heard(silent, torch.cat([before, tonal.chroma, after], 1), log_mel, scene.vector, tonal, past)

    def _timbre(self, power: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Power [B, 8, 512] -> descriptors [B], arithmetic mean of the power [B], mean of its dB [B]."""
        mean = rows.mixture(self.hop_mean, power).clamp_(min=1e-12)
        spectra = torch.cat([mean.sqrt(), mean, rows.decibel(mean, -120.0)], dim=1)
        sums = rows.product(spectra, self.moments)  # [B, 3, 16]
        centroid, square = (sums[:, 0, 1:3] / sums[:, 0, :1]).unbind(1)
        spread = (square - centroid * centroid).clamp_(min=0.0).sqrt_()
        below = rows.each(lambda row: torch.cumsum(row, -1), mean).squeeze(1)
        at = (below < 0.85 * below[:, -1:]).sum(1)
        found = {"centroid": centroid, "bandwidth": spread, "rolloff": self.log2_hz.index_select(0, at)}
        return found, sums[:, 1, 3], sums[:, 2, 3]

    def _logs(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Two powers and the lags of f0 (samples) and pulse (hops) [B] -> two levels in dB, f0 and tempo in octaves."""
        wide = torch.nn.functional.pad(torch.stack(values, dim=1), (0, rows.ALIGN - len(values)), value=1.0)
        logs = rows.each(torch.log2, wide.clamp_(min=1e-12))
        return (logs.mul_(self.units).add_(self.origins))[:, : len(values)].unbind(1)


def _units(device: str) -> tuple[Tensor, Tensor]:
    """What an octave of each of the values of `_logs` is worth, and what 1 is: [16] each."""
    octave_db = 10.0 * math.log10(2.0)
    units, origins = torch.zeros(2, rows.ALIGN)
    units[:4] = torch.tensor([octave_db, octave_db, -1.0, -1.0])
    origins[2:4] = torch.tensor([math.log2(SR), math.log2(60.0 * HOP_RATE)])
    return units.to(device), origins.to(device)


def _moments(device: str) -> tuple[Tensor, Tensor]:
    """Columns 1, log2 Hz, its square over the bins above 40 Hz, and the mean [512, 16]; log2 Hz of each bin [512]."""
    hz = torch.arange(BINS, dtype=torch.float64) * (SR / WINDOW)
    log2_hz = torch.log2(hz.clamp(min=SR / WINDOW))
    out = torch.zeros(BINS, rows.ALIGN, dtype=torch.float64)
    audible = (hz > 40.0).double()
    for column, values in enumerate((torch.ones_like(hz), log2_hz, log2_hz * log2_hz)):
        out[:, column] = values * audible
    out[:, 3] = 1.0 / BINS
    return out.float().to(device), log2_hz.float().to(device)
