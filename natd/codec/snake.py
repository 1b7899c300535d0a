"""Snake, the periodic activation of codecs without a loop: x + sin(a x)^2 / a, with an `a` for every channel.

Source: Ziyin et al., Neural Networks Fail to Learn Periodic Functions and How to Fix It (2020).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEAST = 1e-9  # is added to `a` where it divides, as the codecs were trained


class Snake:
    """`alpha` [1, C, 1], one `a` a channel; the activation of zero is zero."""

    def __init__(self, alpha: Tensor) -> None:
        self._a = alpha.reshape(-1).contiguous()
        self._inverse = (self._a + LEAST).reciprocal()

    def __call__(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        return torch.addcmul(x, self._squared_sine(x), self._inverse)

    def over(self, x: Tensor) -> Tensor:
        """As a call, written over `x`."""
        return x.addcmul_(self._squared_sine(x), self._inverse)

    def _squared_sine(self, x: Tensor) -> Tensor:
        y = x * self._a
        if y.is_cpu:
            # The sine is most of what such a codec costs; numpy's takes less than half the time of torch's.
            samples = y.numpy()
            np.sin(samples, out=samples)
        else:
            y.sin_()
        return y.square_()
