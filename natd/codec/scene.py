"""What the scene layer listens to: spectral shape and motion of a frame, pooled over the latest 0.3 to 3.2 s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import BANDS, HOPS
from natd.codec.modulation import RANGES

GROUPS = 32  # bands of the shape: four mel bands each
RANGE_DB = 60.0  # what lies further below the strongest band is no part of the shape
MOTION_BANDS = 3  # whose motion is followed
MOST_MOTION = 4.0
STATS = (
    "centroid", "bandwidth", "rolloff", "flatness", "salience", "tonalness", "pitched", "register", "onset",
    "onset_rate", "pulse", "slow", "fast", "level",
)  # fmt: skip
LEVEL_FEATURE = 2 * GROUPS + STATS.index("level")
USED = 2 * GROUPS + len(STATS) + MOTION_BANDS * RANGES
FEATURES = rows.padded(USED)
POOL_FRAMES = 40  # 3.2 s
POOLS = (4, 16, 40)  # 0.32, 1.28 and 3.2 s: mean and deviation
LOUD_POOLS = (16, 40)  # and the mean of what is loud in them
LOUD_DB = 15.0  # below the loudest frame of a pool where a frame stops to count as loud
WIDTH = FEATURES * (1 + 2 * len(POOLS) + len(LOUD_POOLS))
# A frame is kept as its features, their squares, whether it sounded (1 or 0) and its level, if it did.
SOUNDED, LEVEL = 2 * FEATURES, 2 * FEATURES + 1
KEPT = 2 * FEATURES + rows.ALIGN
UNHEARD_DB = -200.0


@dataclass(slots=True)
class SceneState:
    """What is kept of 40 frames [B, 40, 240], frames heard [B] (float32)."""

    kept: Tensor
    heard: Tensor


@dataclass(slots=True)
class Pooled:
    """`vector` [B, 1008] for the scene net; level against 0.32 s, its deviation over 1.28 s, share that sounded [B]."""

    vector: Tensor
    trend: Tensor
    wavering: Tensor
    duty: Tensor


class Scene:
    """Features of the frame, their means and deviations over three pools, and means over the loud frames of two."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.group = _group().to(device)
        self.centre = (torch.eye(GROUPS) - 1.0 / GROUPS).to(device)
        self.hop_mean = torch.full((1, HOPS), 1.0 / HOPS, device=device)
        age = torch.arange(POOL_FRAMES).flip(0) + 1
        pools = torch.tensor([*POOLS, *LOUD_POOLS, 0])  # the last is empty: a row's weights are a multiple of 16
        self.windows = (age <= pools[:, None]).float().to(device)
        self.outside = ((1.0 - self.windows) * UNHEARD_DB).to(device)
        by_level = torch.tensor([0.0] * len(POOLS) + [1.0 / LOUD_DB] * len(LOUD_POOLS) + [0.0])
        self.by_level = by_level[:, None].to(device)

    def initial_state(self, batch: int) -> SceneState:
        """Nothing heard."""
        kept = torch.zeros(batch, POOL_FRAMES, KEPT, device=self.device)
        kept[:, :, LEVEL] = UNHEARD_DB
        return SceneState(kept=kept, heard=torch.zeros(batch, device=self.device))

    def __call__(
        self, log_mel: Tensor, values: Mapping[str, Tensor], motion: Tensor, silent: Tensor, state: SceneState
    ) -> Pooled:
        """Log-mel [B, 8, 128], `STATS` by name [B], modulation index [B, 3, 8], silence [B]; `state` moves on."""
        stats = torch.stack([values[name] for name in STATS], dim=1)
        now = torch.cat([self._shape(log_mel), stats, motion.clamp(max=MOST_MOTION).flatten(1)], dim=1)
        now = torch.nn.functional.pad(now, (0, FEATURES - USED))
        heard = torch.stack([(~silent).float(), values["level"].masked_fill(silent, UNHEARD_DB)], dim=1)
        line = torch.cat([now, now * now, torch.nn.functional.pad(heard, (0, rows.ALIGN - 2))], dim=1)
        state.kept.copy_(torch.cat([state.kept[:, 1:], line[:, None]], dim=1))
        state.heard.add_(1.0)
        sums = rows.pair_product(self._weights(state.kept), state.kept)  # [B, 6, 240]
        sounded = sums[..., SOUNDED : SOUNDED + 1]
        first, second = torch.split(sums[..., :SOUNDED] / sounded.clamp(min=1e-3), FEATURES, dim=2)
        n, m = len(POOLS), len(POOLS) + len(LOUD_POOLS)
        mean = first[:, :n]
        deviation = (second[:, :n] - mean * mean).clamp_(min=0.0).sqrt_()
        return Pooled(
            torch.cat([now, first[:, :m].flatten(1), deviation.flatten(1)], dim=1),
            trend=values["level"] - first[:, 0, LEVEL_FEATURE],
            wavering=deviation[:, 1, LEVEL_FEATURE],
            duty=sounded[:, n - 1, 0] / state.heard.clamp(max=float(POOL_FRAMES)),
        )

    def _shape(self, log_mel: Tensor) -> Tensor:
        """Bands without the level, and how much each moves within the frame: [B, 64]."""
        bands = rows.product(log_mel, self.group)  # [B, 8, 32]
        bands = torch.maximum(bands, bands.amax((1, 2), keepdim=True) - RANGE_DB)
        mean = rows.mixture(self.hop_mean, bands)
        off = bands - mean
        spread = rows.mixture(self.hop_mean, off.mul_(off)).sqrt_()
        return torch.cat([rows.product(mean, self.centre), spread], dim=2)[:, 0]

    def _weights(self, kept: Tensor) -> Tensor:
        """What each frame counts in each pool [B, 6, 40]. Silent ones count nowhere: a pause keeps a scene."""
        level = kept[:, None, :, LEVEL]
        top = (level + self.outside).amax(2, keepdim=True)
        loudness = ((level - top) * self.by_level).add_(1.0).clamp_(0.0, 1.0)  # 1 in a pool that is not of the loud
        return loudness.mul_(self.windows).mul_(kept[:, None, :, SOUNDED])


def _group() -> Tensor:
    """Mean of four neighbouring mel bands: [128, 32]."""
    width = BANDS // GROUPS
    at = torch.arange(BANDS)
    out = torch.zeros(BANDS, GROUPS)
    out[at, at // width] = 1.0 / width
    return out
