"""Named descriptors of a frame, and the vectors that the four semantic layers quantize."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.harmony import F0_CENTRE, PITCHED, SLOW_HISTORY, Harmony
from natd.codec.mel import BANDS, BINS, FRAME, HISTORY, HOPS, SR, WINDOW, Mel
from natd.codec.rhythm import HOP_RATE, Rhythm, RhythmState

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
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
SILENCE_DBFS = -75.0

POOL_FRAMES = 40  # 3.2 s
POOLS = (4, 16, 40)  # 0.32, 1.28 and 3.2 s
SHAPE = 16  # cosine coefficients of the log-mel shape, without the gain
SCENE_STATS = (
    "centroid",
    "bandwidth",
    "flatness",
    "salience",
    "tonalness",
    "onset",
    "onset_rate",
    "pulse",
    "slow",
    "fast",
)
FEATURES = 32  # 16 of shape, 10 statistics, level, 5 unused: rows stay aligned
LEVEL_FEATURE = SHAPE + len(SCENE_STATS)
SCENE_WIDTH = FEATURES * (1 + 2 * len(POOLS))


@dataclass(slots=True)
class DescriptorState:
    """Audio at 24 and 6 kHz [B, 4096] each, features of 40 frames, which of them sounded [B, 40], heard [B]."""

    audio: Tensor
    slow_audio: Tensor
    rhythm: RhythmState
    features: Tensor
    sounding: Tensor
    heard: Tensor


@dataclass(slots=True)
class Heard:
    """One frame: `silent` [B], descriptors [B, 29], log-mel [B, 8, 128], and by S layer the vectors [B, n]."""

    silent: Tensor
    descriptors: Tensor
    log_mel: Tensor
    vectors: dict[str, Tensor]


class FrontEnd:
    """Samples in, named descriptors and layer vectors out; causal, and each row on its own (see `rows`)."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.mel, self.harmony, self.rhythm = Mel(device), Harmony(device), Rhythm(device)
        self.moments, self.log2_hz = _moments(device)
        self.mean_bins = torch.full((BINS, rows.ALIGN), 1.0 / BINS, device=device)
        self.cosines = _cosines().to(device)
        self.age = (torch.arange(POOL_FRAMES).flip(0).float() + 1.0).to(device)
        self.pools = torch.zeros(rows.ALIGN, device=device)
        self.pools[: len(POOLS)] = torch.tensor(POOLS, dtype=torch.float32)

    def initial_state(self, batch: int) -> DescriptorState:
        """Nothing heard: digital silence for ever before."""
        return DescriptorState(
            audio=torch.zeros(batch, HISTORY, device=self.device),
            slow_audio=torch.zeros(batch, SLOW_HISTORY, device=self.device),
            rhythm=self.rhythm.initial_state(batch),
            features=torch.zeros(batch, POOL_FRAMES, FEATURES, device=self.device),
            sounding=torch.zeros(batch, POOL_FRAMES, device=self.device),
            heard=torch.zeros(batch, device=self.device),
        )

    def __call__(self, chunk: Tensor, state: DescriptorState) -> Heard:
        """Samples [B, 1920] float32 -> what was heard; `state` moves on by one frame."""
        chunk = chunk.clamp(-8.0, 8.0)  # far above full scale: keeps powers finite whatever a float file holds
        state.audio.copy_(torch.cat([state.audio[:, FRAME:], chunk], dim=1))
        slow = self.harmony.decimated(state.audio)
        state.slow_audio.copy_(torch.cat([state.slow_audio[:, slow.shape[1] :], slow], dim=1))
        power = self.mel.power(state.audio)
        log_mel = self.mel.log_mel(power)
        level = rows.decibel(_wide(self.mel.level(chunk)), -120.0)[:, 0]
        silent = level < SILENCE_DBFS
        values = self._timbre(power) | {"level": level}
        chroma, values["tonalness"] = self.harmony.chroma(state.audio, state.slow_audio)
        lag, values["salience"] = self.harmony.pitch(state.audio)
        values |= self.rhythm(power, log_mel, state.rhythm)
        logs = rows.each(torch.log2, _wide(torch.stack([lag, values.pop("pulse_lag")], dim=1)))
        values["f0"] = math.log2(SR) - logs[:, 0]
        values["tempo"] = math.log2(60.0 * HOP_RATE) - logs[:, 1]
        scene = self._pool(log_mel, values, silent, state)
        values |= {f"chroma_{name}": chroma[:, i] for i, name in enumerate(PITCH_CLASSES)}
        table = torch.stack([values[name] for name in DESCRIPTORS], dim=1)
        return Heard(silent, table, log_mel, {"S0": scene} | semantic_vectors(table))

    def _timbre(self, power: Tensor) -> dict[str, Tensor]:
        mean = power[:, :4] + power[:, 4:]
        mean = mean[:, :2] + mean[:, 2:]
        mean = (mean[:, :1] + mean[:, 1:]) * (1.0 / HOPS)  # [B, 1, 512]
        mean = mean.clamp(min=1e-12)
        sums = rows.product(mean.sqrt(), self.moments)[:, 0]
        centroid = sums[:, 1] / sums[:, 0]
        spread = (sums[:, 2] / sums[:, 0] - centroid * centroid).clamp(min=0.0).sqrt()
        below = rows.each(lambda row: torch.cumsum(row, 0), mean[:, 0].contiguous())
        at = (below < 0.85 * below[:, -1:]).sum(1).clamp(max=BINS - 1)
        logs = rows.decibel(mean, -120.0)
        arithmetic = rows.decibel(rows.product(mean, self.mean_bins), -120.0)[:, 0, 0]
        flatness = rows.product(logs, self.mean_bins)[:, 0, 0] - arithmetic
        return {"centroid": centroid, "bandwidth": spread, "rolloff": self.log2_hz[at], "flatness": flatness}

    def _pool(self, log_mel: Tensor, values: dict[str, Tensor], silent: Tensor, state: DescriptorState) -> Tensor:
        """Features now, their means and deviations over 0.32, 1.28, 3.2 s: [B, 224]; adds trend, wavering and duty."""
        mean = log_mel[:, :4] + log_mel[:, 4:]
        mean = mean[:, :2] + mean[:, 2:]
        mean = (mean[:, :1] + mean[:, 1:]) * (1.0 / HOPS)
        shape = rows.product(mean.contiguous(), self.cosines)[:, 0]
        extra = torch.stack([values[name] for name in SCENE_STATS] + [values["level"]], dim=1)
        now = torch.nn.functional.pad(torch.cat([shape, extra], dim=1), (0, FEATURES - LEVEL_FEATURE - 1))
        state.features.copy_(torch.cat([state.features[:, 1:], now[:, None]], dim=1))
        state.sounding.copy_(torch.cat([state.sounding[:, 1:], (~silent).float()[:, None]], dim=1))
        state.heard.add_(1.0)
        # Silent frames have no shape: a scene goes on through its pauses.
        inside = (self.age[None, None] <= self.pools[None, :, None]).float() * state.sounding[:, None]
        weight = (inside / inside.sum(-1, keepdim=True).clamp(min=1.0)).contiguous()  # [B, 16, 40]
        first = rows.pair_product(weight, state.features)
        second = rows.pair_product(weight, state.features * state.features)
        deviation = (second - first * first).clamp(min=0.0).sqrt()
        values["trend"] = values["level"] - first[:, 0, LEVEL_FEATURE]
        values["wavering"] = deviation[:, 1, LEVEL_FEATURE]
        values["duty"] = state.sounding.sum(1) / state.heard.clamp(max=float(POOL_FRAMES))
        n = len(POOLS)
        return torch.cat([now, first[:, :n].flatten(1), deviation[:, :n].flatten(1)], dim=1)


def semantic_vectors(table: Tensor) -> dict[str, Tensor]:
    """Descriptors [B, 29] -> what S1 (harmony), S2 (rhythm) and S3 (dynamics and register) quantize, each [B, n]."""

    def of(name: str) -> Tensor:
        return table[:, COLUMN[name]]

    pitched = (of("salience") >= PITCHED).float()
    pulsed = (of("pulse") >= PULSED).float()
    certain = (2.5 * of("tonalness")).clamp(max=1.0)  # the chroma of noise is chance
    register = pitched * (of("f0") - F0_CENTRE)
    beat = pulsed * (of("tempo") - TEMPO_CENTRE)
    s1 = [of("tonalness"), of("salience"), pitched, register]
    s2 = [of("onset"), of("onset_rate"), of("pulse"), pulsed, beat, of("slow"), of("fast")]
    s3 = [of(n) for n in ("level", "trend", "centroid", "flatness", "bandwidth", "rolloff")] + [pitched, register]
    return {
        "S1": torch.cat([table[:, CHROMA] * certain[:, None], torch.stack(s1, dim=1)], dim=1),
        "S2": torch.stack(s2, dim=1),
        "S3": torch.stack(s3, dim=1),
    }


# How much a standardised dimension counts in its layer's distance, in the order of `semantic_vectors`; S0 is projected.
WEIGHTS: dict[str, tuple[float, ...]] = {
    "S1": (1.2,) * 12 + (1.0, 0.8, 1.5, 2.0),
    "S2": (1.5, 1.0, 1.0, 1.5, 2.5, 1.0, 1.0),
    "S3": (2.5, 0.6, 1.8, 1.4, 1.0, 1.0, 0.7, 0.8),
}


def _wide(x: Tensor) -> Tensor:
    """[B] or [B, n] -> [B, 16]: a whole aligned row, padded with ones."""
    x = x[:, None] if x.ndim == 1 else x
    return torch.nn.functional.pad(x, (0, rows.ALIGN - x.shape[1]), value=1.0)


def _moments(device: str) -> tuple[Tensor, Tensor]:
    """Columns 1, log2 Hz, its square over the bins above 40 Hz [512, 16]; and log2 Hz of each bin [512]."""
    hz = torch.arange(BINS, dtype=torch.float64) * (SR / WINDOW)
    log2_hz = torch.log2(hz.clamp(min=SR / WINDOW))
    out = torch.zeros(BINS, rows.ALIGN, dtype=torch.float64)
    audible = (hz > 40.0).double()
    for column, values in enumerate((torch.ones_like(hz), log2_hz, log2_hz * log2_hz)):
        out[:, column] = values * audible
    return out.float().to(device), log2_hz.float().to(device)


def _cosines() -> Tensor:
    """Orthonormal cosine transform over the mel bands without the constant: gain-free shape, [128, 16]."""
    band = torch.arange(BANDS, dtype=torch.float64)[:, None]
    order = torch.arange(1, SHAPE + 1, dtype=torch.float64)[None]
    return (torch.cos(math.pi / BANDS * (band + 0.5) * order) * math.sqrt(2.0 / BANDS)).float()
