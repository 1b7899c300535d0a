"""Eight-bit arithmetic of TensorFlow Lite's reference kernels: rounding twice, in fixed point; exact on every machine.

A quantized value q stands for (q - zero) * scale. Here it travels as its index q + 128 (int64), and as the whole
number q - zero (float32) into a convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LOWEST, HIGHEST = -128, 127


@dataclass(frozen=True, slots=True)
class Quant:
    """Scale (a float32 value) and zero of a tensor."""

    scale: float
    zero: int

    @classmethod
    def of(cls, pair: Tensor) -> Quant:
        """Of [2, channels], scales and zeros that are the same for all channels."""
        scale, zero = pair[:, 0].tolist()
        return cls(scale, int(zero))


def multiplier(ratio: float) -> tuple[int, int]:
    """`ratio` as a 31-bit mantissa and a power of two."""
    mantissa, shift = math.frexp(ratio)
    fixed = math.floor(mantissa * 2**31 + 0.5)
    return (fixed // 2, shift + 1) if fixed == 2**31 else (fixed, shift)


def multiply(x: int, by: tuple[int, int]) -> int:
    """`x` times a `multiplier`, rounded at 31 bits and once more, half away from zero, at its power of two."""
    fixed, shift = by
    high = ((x << max(shift, 0)) * fixed + (1 << 30)) >> 31
    right = max(-shift, 0)
    return high if right == 0 else (high + (1 << (right - 1)) - (high < 0)) >> right


def clamp(q: int) -> int:
    """The nearest value that eight bits hold."""
    return min(max(q, LOWEST), HIGHEST)


def leaky_table(given: Quant, taken: Quant, slope: float) -> Tensor:
    """LeakyReLU of every index of `given` -> the whole number in `taken`: [256] float32."""
    scale = np.float32(given.scale)
    up = multiplier(float(scale / np.float32(taken.scale)))
    down = multiplier(float(scale * np.float32(slope) / np.float32(taken.scale)))
    out = []
    for q in range(LOWEST, HIGHEST + 1):
        x = q - given.zero
        out.append(clamp(multiply(x, up if x >= 0 else down) + taken.zero) - taken.zero)
    return torch.tensor(out, dtype=torch.float32)


def sum_table(a: Quant, b: Quant, total: Quant) -> Tensor:
    """The sum of index i of `a` and j of `b` -> its index in `total`, at 256 * i + j: [65536] int64."""
    left, twice = 20, 2 * max(a.scale, b.scale)
    by_a, by_b = multiplier(a.scale / twice), multiplier(b.scale / twice)
    out = multiplier(twice / 2**left / total.scale)
    span = range(LOWEST, HIGHEST + 1)
    of_a = [multiply((q - a.zero) << left, by_a) for q in span]
    of_b = [multiply((q - b.zero) << left, by_b) for q in span]
    return torch.tensor([clamp(multiply(x + y, out) + total.zero) - LOWEST for x in of_a for y in of_b])


def quantize(x: Tensor, to: Quant) -> Tensor:
    """Real numbers -> index in `to`; halves away from zero."""
    x = x / to.scale
    q = torch.where(x < 0, torch.ceil(x - 0.5), torch.floor(x + 0.5)) + (to.zero - LOWEST)
    return q.clamp(0, 255).long()


def dequantize(index: Tensor, of: Quant, dtype: torch.dtype) -> Tensor:
    """Index -> the real number, rounded to float32 as the reference does."""
    return ((index.float() + (LOWEST - of.zero)) * of.scale).to(dtype)


class Requantizer:
    """Sums of a convolution [..., O] (whole numbers, float32) -> index of its output, channel by channel.

    `scales` are those of the weights [O] or [1], `bias` [O] int32, `scale` and `zero` [O] or [1] those of the output.
    """

    def __init__(self, given: Quant, scales: Tensor, bias: Tensor, scale: Tensor, zero: Tensor) -> None:
        outputs = len(bias)
        every = [t.double().expand(outputs).tolist() for t in (scales, scale)]
        fixed = [multiplier(given.scale * weight / out) for weight, out in zip(*every, strict=True)]
        device = bias.device
        self.bias = bias.float()
        self.multiplier = torch.tensor([m << max(s, 0) for m, s in fixed], device=device)
        self.right = torch.tensor([max(-s, 0) for _, s in fixed], device=device)
        # Without a shift there is nothing to round: x + 0 - 0 >> 0.
        self.half = torch.where(self.right > 0, 1 << (self.right - 1).clamp(min=0), 0)
        self.away = (self.right > 0).long()
        self.zero = zero.long().expand(outputs).contiguous() - LOWEST

    def __call__(self, sums: Tensor) -> Tensor:
        """Sums [B, T, O] -> index [B, T, O] int64."""
        high = ((sums + self.bias).long() * self.multiplier + (1 << 30)) >> 31
        away = (high >> 63) * self.away
        return (((high + self.half + away) >> self.right) + self.zero).clamp(0, 255)
