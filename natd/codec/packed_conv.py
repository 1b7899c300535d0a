"""Convolutions of a stream over packed weights: what a step still needs of the past is a named state, used in place.

Signals are [B, T, C]; weights come in torch's layout. A convolution is a product with every window of the signal, so
that what a step gives depends neither on its length nor on the batch (see `packed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec.packed import Linear

BEGINNINGS = ("zeros", "replicate", "reflect")


@dataclass(slots=True)
class TailState:
    """The latest inputs [B, L, C], and which rows have had no step yet [B] (bool)."""

    tail: Tensor
    fresh: Tensor


@dataclass(slots=True)
class OverlapState:
    """The outputs of a transposed convolution that are not yet whole [B, K - stride, O]."""

    tail: Tensor


class Conv:
    """`weight` [O, I, K]; output t sees inputs up to (t + 1) * stride - 1 - `late`, and none after.

    `beginning` says what stands before the first step: zeros, its first input, or its mirror image. That image needs
    more inputs in the first step than `context`, on CUDA in every step, else ValueError. An `activation` (see `packed`)
    may follow.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, stride: int = 1, dilation: int = 1,
        beginning: str = "zeros", late: int = 0, activation: str = "none",
    ) -> None:  # fmt: skip
        if beginning not in BEGINNINGS:
            raise ValueError(f"no beginning {beginning!r}: {', '.join(BEGINNINGS)}")
        out, self.channels, self.kernel = weight.shape
        if self.kernel < stride:
            raise ValueError(f"a kernel of {self.kernel} skips inputs at stride {stride}")
        self.stride, self.dilation, self.beginning = stride, dilation, beginning
        self.context = (self.kernel - 1) * dilation - (stride - 1) + late
        self._matrix = Linear(weight.transpose(1, 2).reshape(out, -1), bias, activation)
        self._like = weight.new_empty(0)

    def initial_state(self, batch: int) -> TailState:
        """Nothing came."""
        return TailState(
            self._like.new_zeros(batch, self.context, self.channels),
            torch.ones(batch, dtype=torch.bool, device=self._like.device),
        )

    def __call__(self, x: Tensor, state: TailState) -> Tensor:
        """[B, T, I], T a multiple of the stride -> [B, T / stride, O]."""
        length = x.shape[1]
        if self.context:
            x = self._behind_past(x, state)
        steps = length // self.stride
        if self.kernel == 1:
            return self._matrix(x[:, : length : self.stride])
        width = self.channels
        if self.dilation == 1:
            rows = x.contiguous().view(x.shape[0], -1).unfold(1, self.kernel * width, self.stride * width)
            return self._matrix(rows[:, :steps])
        at = [i * self.dilation for i in range(self.kernel)]
        span = (steps - 1) * self.stride + 1
        return self._matrix(torch.cat([x[:, i : i + span : self.stride] for i in at], dim=2))

    def _behind_past(self, x: Tensor, state: TailState) -> Tensor:
        tail = state.tail
        # On the CPU a look at the state costs less than an image that no row wants; CUDA would have to be waited for.
        if self.beginning != "zeros" and (x.is_cuda or x.shape[1] > self.context or bool(state.fresh.any())):
            tail = torch.where(state.fresh[:, None, None], self._before(x), tail)
        x = torch.cat([tail, x], dim=1)
        state.tail.copy_(x[:, x.shape[1] - self.context :])
        state.fresh.zero_()
        return x

    def _before(self, x: Tensor) -> Tensor:
        """What would stand before `x` if it were the first step."""
        if self.beginning == "replicate":
            return x[:, :1].expand(-1, self.context, -1)
        if x.shape[1] <= self.context:
            raise ValueError(f"a first step of {x.shape[1]} inputs has no mirror image of {self.context}")
        return x[:, 1 : self.context + 1].flip(1)


class TransposedConv:
    """`weight` [I, O, K], K the stride or twice that; each input spreads over K outputs, overlaps are added.

    Output t is whole once input t // stride is there; the K - stride last outputs of a signal stay in the state.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int) -> None:
        width, self.channels, self.kernel = weight.shape
        if self.kernel not in (stride, 2 * stride):  # sums of three would depend on where a step ends
            raise ValueError(f"a kernel of {self.kernel} is neither the stride, {stride}, nor twice that")
        if bias is not None and bias.shape != (self.channels,):
            raise ValueError(f"weights of {tuple(weight.shape)} with a bias of {tuple(bias.shape)}")
        self.stride = stride
        self._matrix = Linear(weight.permute(2, 1, 0).reshape(-1, width))
        self._bias, self._like = bias, weight.new_empty(0)

    def initial_state(self, batch: int) -> OverlapState:
        """Nothing came."""
        return OverlapState(self._like.new_zeros(batch, self.kernel - self.stride, self.channels))

    def __call__(self, x: Tensor, state: OverlapState) -> Tensor:
        """[B, T, I] -> [B, T * stride, O]."""
        b, t, _ = x.shape
        y = self._matrix(x).view(b, t, -1, self.stride, self.channels)
        out = y[:, :, 0]
        if self.kernel > self.stride:
            out = out + torch.cat([state.tail[:, None], y[:, :-1, 1]], dim=1)
            state.tail.copy_(y[:, -1, 1])
        out = out.reshape(b, t * self.stride, self.channels)
        return out if self._bias is None else out + self._bias
