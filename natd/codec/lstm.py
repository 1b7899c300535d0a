"""A stack of recurrent layers that a stream runs through, over packed weights (see `packed`).

Signals are [B, T, C]. The inputs' products are taken for the whole step at once, those of the memory frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import kernels
from natd.codec.packed import Linear


@dataclass(slots=True)
class LSTMState:
    """Per layer the latest output and the memory cell, both [B, C]."""

    hidden: list[Tensor]
    cell: list[Tensor]


class LSTM:
    """`tensors` as torch names them (`weight_ih_l0`, ...), as many layers as there are; all of width C.

    The input is added to the output, as SEANet has it (Defossez et al. 2022, "High Fidelity Neural Audio Compression").
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        depth = len({name.rpartition("_l")[2] for name in tensors})
        self.width = tensors["weight_hh_l0"].shape[1]
        self._like = tensors["weight_hh_l0"]
        self._layers = [_Layer(tensors, f"l{i}", self.width) for i in range(depth)]

    def initial_state(self, batch: int) -> LSTMState:
        """Zeros."""
        zeros = [self._like.new_zeros(batch, self.width) for _ in range(2 * len(self._layers))]
        return LSTMState(zeros[::2], zeros[1::2])

    def __call__(self, x: Tensor, state: LSTMState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        y = x
        for layer, hidden, cell in zip(self._layers, state.hidden, state.cell, strict=True):
            y = layer(y, hidden, cell)
        return y + x


class _Layer:
    def __init__(self, tensors: Mapping[str, Tensor], at: str, width: int) -> None:
        # torch has the gates as input, forget, candidate, output: the three that are sigmoids are put together.
        order = torch.cat([torch.arange(width) + gate * width for gate in (0, 1, 3, 2)])
        take = {part: tensors[f"{part}_{at}"][order] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        self._of_input = Linear(take["weight_ih"], take["bias_ih"] + take["bias_hh"])
        native = kernels.serves(take["weight_hh"]) and width % kernels.PANEL == 0
        self._of_memory = kernels.Matrix(take["weight_hh"]) if native else Linear(take["weight_hh"])

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        drive = self._of_input(x)
        if isinstance(self._of_memory, kernels.Matrix):
            return kernels.lstm(drive, self._of_memory, hidden, cell)
        width, out = hidden.shape[1], []
        h, c = hidden, cell
        for of_input in drive.unbind(1):
            gates = self._of_memory(h) + of_input
            admit, keep, show = gates[:, : 3 * width].sigmoid().chunk(3, dim=1)
            c = keep * c + admit * gates[:, 3 * width :].tanh()
            h = show * c.tanh()
            out.append(h)
        hidden.copy_(h)
        cell.copy_(c)
        return torch.stack(out, dim=1)
