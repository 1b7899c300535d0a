"""S3: level, brightness and noisiness of the frame, as the cell of a codebook that is kept until another is nearer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.descriptors import COLUMN
from natd.codec.rvq import SILENCE, Codebook

SIZE = 384
# Descriptor -> what a standard deviation of it counts in the distance. Level, brightness and noisiness are the layer's
# own; the width of the spectrum and the register only part cells that are alike in these.
WEIGHTS = {"level": 2.2, "centroid": 2.0, "flatness": 1.7, "rolloff": 0.3, "bandwidth": 0.2, "trend": 0.1}
WIDTH = rows.padded(len(WEIGHTS))


@dataclass(slots=True)
class DynamicsState:
    """The code in force [B] int64."""

    code: Tensor


class Dynamics:
    """The codebook over tensors `S3.shift`, `S3.scale` [16], `S3.codes` [384, 16] and `S3.near` [1]."""

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.device = device
        columns = [COLUMN[name] for name in WEIGHTS]
        self.columns = torch.tensor(columns + [0] * (WIDTH - len(columns)), device=device)
        self.shift, self.scale = tensors["S3.shift"].float().to(device), tensors["S3.scale"].float().to(device).clone()
        self.scale[len(columns) :] = 0.0  # what stands in the unused columns counts for nothing
        self.book = Codebook(tensors["S3.codes"].float().to(device))
        self.near = tensors["S3.near"].float().to(device)

    def initial_state(self, batch: int) -> DynamicsState:
        """Silence before."""
        return DynamicsState(torch.zeros(batch, dtype=torch.int64, device=self.device))

    def standard(self, table: Tensor) -> Tensor:
        """Descriptors [B, 29] -> the space of the codebook [B, 16]."""
        return (table.index_select(1, self.columns) - self.shift).mul_(self.scale)

    def __call__(self, table: Tensor, silent: Tensor, state: DynamicsState) -> Tensor:
        """Descriptors [B, 29], silence [B] -> codes [B]."""
        near = self.book.near(self.standard(table))
        # The code before is left only for one that is nearer by a margin: a level on an edge does not flicker.
        near.scatter_add_(1, state.code.unsqueeze(1), self.near.expand(near.shape[0], 1))
        code = near.argmax(1).masked_fill_(silent, SILENCE)
        state.code.copy_(code)
        return code
