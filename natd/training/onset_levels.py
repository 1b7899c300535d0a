"""The onset levels of S2: six values that give back the onset strength, also where the level said is slow to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from natd.codec.mel import HOPS
from natd.codec.rhythm_net import CHANGE_COST, ONSETS

ROUNDS = 40


def fit(hops: Sequence[Tensor], progress: Callable[[str], None]) -> Tensor:
    """Levels in dB [6], rising: the means of the onset strengths [8 T, 5] of sounds that are nearest to each."""
    onsets = [h[: len(h) // HOPS * HOPS, 0].view(-1, HOPS).amax(1) for h in hops]
    table = side_by_side([o for o in onsets if len(o)])
    values = table[~table.isnan()]
    levels = torch.quantile(values[: 1 << 20], torch.tensor([0.15, 0.45, 0.7, 0.85, 0.95, 0.99]))
    for _ in range(ROUNDS):
        said = (values[:, None] - levels).abs().argmin(1)
        counts = torch.bincount(said, minlength=len(ONSETS)).clamp(min=1)
        levels = (torch.zeros(len(ONSETS)).index_add_(0, said, values) / counts).sort().values
    said = encode(table, levels, CHANGE_COST)
    left = float(((values - levels[said]) ** 2).mean() / values.var())
    progress(f"onset levels {[round(float(x), 1) for x in levels]} dB, R2 {1 - left:.3f}")
    return levels


def encode(table: Tensor, levels: Tensor, cost: float) -> Tensor:
    """Onset strengths [clips, T], nan where there is none -> level said at every other place [N], clip by clip."""
    far = (table.nan_to_num()[..., None] - levels) ** 2
    said = torch.zeros(len(table), dtype=torch.int64)
    out = []
    for frame in far.unbind(1):
        best = frame.argmin(1)
        gain = frame.gather(1, said[:, None]) - frame.gather(1, best[:, None])
        said = torch.where(gain[:, 0] > cost, best, said)
        out.append(said)
    return torch.stack(out, dim=1)[~table.isnan()]


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Sequences of many lengths -> [clips, longest], nan after their ends."""
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=torch.nan)
