"""From dequantised acoustic codes back to log-mel: principal components, and a small causal net that corrects them.

The net sees the sum of the vectors of the layers given (`[B, 128]`, one frame) and how many layers those were. It is
made of products that run row by row (see `rows`), sums of single elements and rectifiers, so what a row gives does not
depend on its company. `natd.training.decoder` fits the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import mel, rows

DILATIONS = (1, 2, 4, 1)  # frames between the three taps of each block
TAPS = 3
RECEPTIVE = (TAPS - 1) * sum(DILATIONS)  # frames of the past that a frame's log-mel depends on
LAYERS = 4
PREFIX = "D."


@dataclass(slots=True)
class MelDecoderState:
    """What each block still needs of the past: its latest inputs, rectified, [B, 2 * dilation, W]."""

    past: list[Tensor]


class MelDecoder:
    """The net over `D.*` tensors, with the components' `mean` [1024] and `basis` [1024, 128].

    `D.scale` [128], `D.layers` [4, W], `D.in` [128, W], `D.block0` to `D.block3` [3 W, W] with their biases [W],
    `D.out` [W, 1024], `D.out_bias` [1024]; W is a multiple of 16.
    """

    def __init__(self, tensors: Mapping[str, Tensor], mean: Tensor, basis: Tensor, device: str = "cpu") -> None:
        on = {
            name.removeprefix(PREFIX): tensor.to(device, torch.float32).contiguous()
            for name, tensor in tensors.items()
            if name.startswith(PREFIX)
        }
        self.mean, self.basis = mean.to(device), basis.to(device).T.contiguous()
        self.scale, self.layers, self.enter = on["scale"], on["layers"], on["in"]
        self.blocks = [(on[f"block{i}"], on[f"block{i}_bias"]) for i in range(len(DILATIONS))]
        self.leave, self.leave_bias = on["out"], on["out_bias"]

    @property
    def width(self) -> int:
        """W, the channels inside."""
        return self.enter.shape[1]

    def initial_state(self, batch: int) -> MelDecoderState:
        """State of `batch` streams of which nothing was decoded yet."""
        return MelDecoderState([self.enter.new_zeros(batch, (TAPS - 1) * d, self.width) for d in DILATIONS])

    @torch.no_grad()
    def __call__(self, vectors: Tensor, layers: int, state: MelDecoderState) -> Tensor:
        """Sum of the vectors [B, 128] of the first `layers` layers (1 to 4) -> log-mel [B, 8, 128] in dB."""
        if not 1 <= layers <= LAYERS:
            raise ValueError(f"{layers} layers, expected 1 to {LAYERS}")
        vectors = vectors[:, None].contiguous()
        x = rows.product(vectors / self.scale, self.enter) + self.layers[layers - 1]
        for (weight, bias), past, dilation in zip(self.blocks, state.past, DILATIONS, strict=True):
            seen = torch.cat([past, x.clamp(min=0.0)], dim=1)
            # In place: whoever holds the state (a batch of slots) keeps these same addresses.
            past.copy_(seen[:, 1:])
            taps = seen[:, ::dilation].flatten(1)[:, None].contiguous()
            x = x + (rows.product(taps, weight) + bias)
        correction = rows.product(x.clamp(min=0.0), self.leave) + self.leave_bias
        flat = rows.product(vectors, self.basis) + self.mean + correction
        return flat.view(-1, mel.HOPS, mel.BANDS)
