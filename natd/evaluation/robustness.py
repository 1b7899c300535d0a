"""How many codes stay the same when the sound is changed in a way that does not change what is heard."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import soundfile
import torch

from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import Coded, Samples

EXCERPT_S = 5.0
GAIN_DB = -12.0
SHIFT_S = 0.029  # no multiple of any frame
NOISE_DB = 20.0
MP3 = "MP3"


def changed(sr: int, seed: int) -> Mapping[str, Callable[[Samples, int], Samples]]:
    """Name -> what is done to the samples of clip number i; the length stays."""
    return {
        "gain -12 dB": lambda x, i: x * np.float32(10.0 ** (GAIN_DB / 20)),
        "shift 29 ms": lambda x, i: np.concatenate([np.zeros(round(SHIFT_S * sr), np.float32), x])[: len(x)],
        "noise 20 dB": lambda x, i: with_noise(x, np.random.default_rng((seed, i))),
        MP3: lambda x, i: through_mp3(x, sr),
    }


def with_noise(x: Samples, rng: np.random.Generator) -> Samples:
    """White noise 20 dB below the RMS of the clip."""
    rms = float(np.sqrt(np.mean(x.astype(np.float64) ** 2))) if len(x) else 0.0
    noise = rng.standard_normal(len(x)).astype(np.float32)
    return x + np.float32(rms * 10.0 ** (-NOISE_DB / 20)) * noise


def through_mp3(x: Samples, sr: int) -> Samples:
    """Encoded as MP3 by libsndfile as it does unless told otherwise, and decoded; it keeps the time by its own tag."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(x, -1.0, 1.0), sr, format=MP3)
    file.seek(0)
    out, _ = soundfile.read(file, dtype="float32")
    return np.pad(out[: len(x)], (0, max(0, len(x) - len(out)))).astype(np.float32)


def mp3_fault(sr: int) -> str:
    """Why MP3 cannot be measured at this rate with this libsndfile; "" if it can."""
    if MP3 not in soundfile.available_formats():
        return f"libsndfile {soundfile.__libsndfile_version__} cannot write MP3"
    if sr not in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        return f"MP3 has no {sr} Hz"
    return ""


def agreement(clean: Coded, other: Coded, layer: str) -> Floats:
    """Per clip: how many codes of sounding frames are the same, of how many [C, 2]."""
    keep = ~clean.silent[layer]
    clip = clean.clip[layer][keep]
    same = (clean.codes[layer] == other.codes[layer])[keep]
    columns = [
        torch.zeros(clean.clips, dtype=torch.float64).index_add_(0, clip, x.double())
        for x in (same, torch.ones_like(same))
    ]
    return np.asarray(torch.stack(columns, dim=1).numpy())
