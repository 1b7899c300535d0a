"""A convolution that keeps its channels apart, over a stream; elementwise, so that nothing depends on the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import kernels


@dataclass(slots=True)
class PastState:
    """The latest inputs [B, L, C]."""

    tail: Tensor


class DepthwiseConv:
    """`weight` [C, 1, K], `bias` [C]; output t sees the inputs up to t - `late`, and none after."""

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int = 1, late: int = 0) -> None:
        self.channels, _, self.kernel = weight.shape
        self._taps = weight[:, 0].T.contiguous()
        self._bias, self._dilation = bias, dilation
        self._context = (self.kernel - 1) * dilation + late

    def initial_state(self, batch: int) -> PastState:
        """Nothing came."""
        return PastState(self._taps.new_zeros(batch, self._context, self.channels))

    def __call__(self, x: Tensor, state: PastState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        length = x.shape[1]
        x = torch.cat([state.tail, x], dim=1)
        state.tail.copy_(x[:, length:])
        if kernels.serves(x):
            needed = length + (self.kernel - 1) * self._dilation
            return kernels.depthwise(x[:, :needed], self._taps, self._bias, self._dilation)
        y = torch.addcmul(self._bias, x[:, :length], self._taps[0])
        for i in range(1, self.kernel):
            start = i * self._dilation
            y.addcmul_(x[:, start : start + length], self._taps[i])
        return y
