"""Snake, the periodic activation of codecs without a loop: x + sin(a x)^2 / a, with an `a` for every channel.

Source: Ziyin et al., Neural Networks Fail to Learn Periodic Functions and How to Fix It (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from natd.codec import kernels

LEAST = 1e-9  # is added to `a` where it divides, as the codecs were trained


class Snake:
    """`alpha` [1, C, 1], one `a` a channel; the activation of zero is zero."""

    def __init__(self, alpha: Tensor) -> None:
        self._a = alpha.reshape(-1).contiguous()
        self._inverse = (self._a + LEAST).reciprocal()

    def __call__(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        if kernels.serves(x):
            return kernels.snake(x, self._a, self._inverse)
        return torch.addcmul(x, (x * self._a).sin_().square_(), self._inverse)

    def over(self, x: Tensor) -> Tensor:
        """As a call, but it may be written over `x`."""
        if kernels.serves(x):
            return kernels.snake(x, self._a, self._inverse, over=True)
        return x.addcmul_((x * self._a).sin_().square_(), self._inverse)
