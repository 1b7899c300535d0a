"""How much of what was measured the codes give back when each stands for the mean of the frames that chose it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from natd.evaluation.bootstrap import Floats


@dataclass(frozen=True, slots=True)
class Measured:
    """Codes [N], what was measured with each [N, D] float64, the clip of each [N], and how many clips there are."""

    codes: Tensor
    values: Tensor
    clip: Tensor
    clips: int

    def part(self, keep: Tensor) -> Measured:
        """Those where `keep` [N] is true."""
        return Measured(self.codes[keep], self.values[keep], self.clip[keep], self.clips)

    def shuffled(self, seed: int) -> Measured:
        """The same with the codes at random places."""
        order = torch.randperm(len(self.codes), generator=torch.Generator().manual_seed(seed))
        return Measured(self.codes[order], self.values, self.clip, self.clips)


def legend(known: Measured, size: int) -> Tensor:
    """The mean of every code [size, D]; the mean of all where a code was not met."""
    count = torch.bincount(known.codes, minlength=size)[:, None]
    sums = torch.zeros(size, known.values.shape[1], dtype=torch.float64).index_add_(0, known.codes, known.values)
    return torch.where(count > 0, sums / count.clamp(min=1), known.values.mean(0))


def errors(means: Tensor, held: Measured) -> Floats:
    """Per clip, for one value: number, sum, sum of squares, sum of squared errors [C, 4]; `variance_share` reads it."""
    # About the mean of all: the square of a sum of raw values would drown a small variance.
    y = held.values[:, 0] - (held.values[:, 0].mean() if len(held.values) else 0.0)
    miss = held.values[:, 0] - means[held.codes, 0]
    columns = [torch.ones_like(y), y, y * y, miss * miss]
    return _by_clip(columns, held)


def variance_share(sums: Floats) -> Floats:
    """R2 [B] of sums [B, 4] of `errors`."""
    n, first, second, wrong = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = second - first * first / n
        return np.asarray(np.where(spread > 1e-9, 1.0 - wrong / spread, np.nan))


def cosines(means: Tensor, held: Measured) -> Floats:
    """Per clip, for a vector: sum of cosines between what was measured and what the legend says, number [C, 2]."""
    cosine = torch.nn.functional.cosine_similarity(held.values, means[held.codes], dim=1)
    return _by_clip([cosine, torch.ones_like(cosine)], held)


def _by_clip(columns: list[Tensor], held: Measured) -> Floats:
    out = [torch.zeros(held.clips, dtype=torch.float64).index_add_(0, held.clip, column) for column in columns]
    return np.asarray(torch.stack(out, dim=1).numpy())


def halves(known: Measured) -> tuple[Measured, Measured]:
    """Even and odd clips: a layer is chosen by what one half says of the other, never by what is scored."""
    odd = known.clip % 2 == 1
    return known.part(~odd), known.part(odd)
