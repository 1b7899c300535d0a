"""Causal streaming convolutions: what a step still needs of the past is a named state, read and written in place.

Signals are `[B, T, C]`. A product of real numbers runs row by row (see `rows`), so what a row gives does not depend on
its company; whole numbers whose sums stay below 2**24 are exact in float32 in any order and run as one batch. Steps of
another length may round a real product differently in the last bit; steps of one length never do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows

Product = Callable[[Tensor, Tensor], Tensor]


@dataclass(slots=True)
class ConvState:
    """The latest inputs of a convolution, or the outputs of a transposed one that are not yet whole: `[B, T, C]`."""

    tail: Tensor


def by_row(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b, g] @ weight[g]`, every row b in a call of its own: [B, G, M, K] and [G, K, N] -> [B, G, M, N]."""
    if weight.shape[0] == 1:
        return rows.product(x[:, 0], weight[0])[:, None]
    return rows.group_product(x, weight)


def exact(x: Tensor, weight: Tensor) -> Tensor:
    """The same as one batch, for whole numbers: every partial sum is below 2**24."""
    b, g, m, k = x.shape
    if g == 1:
        return (x.reshape(b * m, k) @ weight[0]).view(b, 1, m, -1)
    return torch.bmm(x.transpose(0, 1).reshape(g, b * m, k), weight).view(g, b, m, -1).transpose(0, 1)


class CausalConv:
    """`weight` [O, K, I/groups]; output t sees the inputs up to (t + 1) * stride - 1 and none after."""

    def __init__(self, weight: Tensor, stride: int = 1, groups: int = 1, product: Product = by_row) -> None:
        out, self.kernel, width = weight.shape
        self.stride, self.groups, self.channels = stride, groups, width * groups
        self.matrix = weight.reshape(groups, out // groups, -1).transpose(1, 2).contiguous()
        self._product = product

    def initial_state(self, batch: int) -> ConvState:
        """Nothing heard: zeros [B, K - stride, I]."""
        return ConvState(self.matrix.new_zeros(batch, self.kernel - self.stride, self.channels))

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        """[B, T, I], T a multiple of the stride -> [B, T / stride, O]."""
        b, t, c = x.shape
        if self.kernel > 1:
            x = _extended(x, state)
            x = x.view(b, -1).unfold(1, self.kernel * c, self.stride * c)
            t //= self.stride
        x = x.reshape(b, t, self.kernel, self.groups, c // self.groups).permute(0, 3, 1, 2, 4)
        y = self._product(x.reshape(b, self.groups, t, -1).contiguous(), self.matrix)
        return y.transpose(1, 2).reshape(b, t, -1)


class Depthwise:
    """`taps` [K, C], `dilation` steps apart: every channel on its own, in single products and sums that mix no rows."""

    def __init__(self, taps: Tensor, dilation: int) -> None:
        self.taps, self.dilation = taps.contiguous(), dilation
        self.context = (len(taps) - 1) * dilation

    def initial_state(self, batch: int) -> ConvState:
        """Nothing heard: zeros [B, (K - 1) * dilation, C]."""
        return ConvState(self.taps.new_zeros(batch, self.context, self.taps.shape[1]))

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        length = x.shape[1]
        x = _extended(x, state)
        y = x[:, :length] * self.taps[0]
        for i in range(1, len(self.taps)):
            at = i * self.dilation
            y = y + x[:, at : at + length] * self.taps[i]
        return y


class TransposedConv:
    """`weight` [O, K, I/groups], K a multiple of the stride; each input spreads over K outputs, and overlaps are added.

    `spread` gives all that the inputs add, `overlap` what is whole: between them a caller may add a bias or round.
    """

    def __init__(self, weight: Tensor, stride: int, groups: int = 1, product: Product = by_row) -> None:
        out, self.kernel, width = weight.shape
        self.stride, self.groups, self.channels = stride, groups, out
        if self.kernel % stride:
            raise ValueError(f"kernel {self.kernel} is not a multiple of stride {stride}")
        grouped = weight.reshape(groups, out // groups, self.kernel, width)
        self.matrix = grouped.permute(0, 3, 2, 1).reshape(groups, width, -1).contiguous()
        self._product = product

    def initial_state(self, batch: int, dtype: torch.dtype) -> ConvState:
        """Nothing heard: zeros [B, K - stride, O]."""
        zeros = torch.zeros(batch, self.kernel - self.stride, self.channels, dtype=dtype, device=self.matrix.device)
        return ConvState(zeros)

    def spread(self, x: Tensor) -> Tensor:
        """[B, T, I] -> [B, (T - 1) * stride + K, O], without the past."""
        b, t, c = x.shape
        x = x.view(b, t, self.groups, c // self.groups).transpose(1, 2).contiguous()
        y = self._product(x, self.matrix).view(b, self.groups, t, self.kernel, -1)
        y = y.permute(0, 2, 3, 1, 4).reshape(b, t, self.kernel // self.stride, -1)
        parts = y.shape[2]
        out = y.new_zeros(b, t + parts - 1, y.shape[3])
        for i in range(parts):
            out[:, i : i + t] += y[:, :, i]
        return out.view(b, -1, self.channels)

    def overlap(self, y: Tensor, bias: Tensor, state: ConvState) -> Tensor:
        """What `spread` gave, with `bias` [O] -> the whole outputs [B, T * stride, O]; the rest waits in the state."""
        over = self.kernel - self.stride
        y[:, :over] += state.tail
        state.tail.copy_(y[:, -over:] - bias)
        return y[:, :-over]


def _extended(x: Tensor, state: ConvState) -> Tensor:
    """`x` behind its past, which moves on."""
    x = torch.cat([state.tail, x], dim=1)
    # In place: whoever holds the state (a batch of slots, a captured graph) keeps these same addresses.
    state.tail.copy_(x[:, x.shape[1] - state.tail.shape[1] :])
    return x
