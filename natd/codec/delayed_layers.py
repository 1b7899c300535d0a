"""The layers of codecs that look ahead, as parts of a `delayed.Chain`: convolutions, residual units, Snake.

Each knows from its shape and from the delay of its input how late its output is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from natd.codec.delayed import Axis, Moment
from natd.codec.depthwise import DepthwiseConv, PastState
from natd.codec.packed import Linear
from natd.codec.packed_conv import Conv, OverlapState, TailState, TransposedConv
from natd.codec.snake import Snake


@dataclass(slots=True)
class NoState:
    """Of a layer that remembers nothing."""


@dataclass(slots=True)
class ResidualState:
    """What the convolution and the path around it remember."""

    conv: TailState | PastState
    skip: PastState


class SnakeLayer:
    """Snake of every sample."""

    def __init__(self, axis: Axis, alpha: Tensor) -> None:
        self.axis, self._snake = axis, Snake(alpha)

    def initial_state(self, batch: int) -> NoState:
        """There is none."""
        return NoState()

    def __call__(self, x: Tensor, state: NoState, moment: Moment) -> Tensor:
        """[B, T, C] -> [B, T, C], over `x`."""
        return self._snake.over(x)


class DelayedConv:
    """torch's Conv1d with `padding` on both sides; depthwise if `weight` [O, I, K] has one input of several channels.

    `align`: the output is late by a multiple of so many samples.
    """

    def __init__(
        self, axis: Axis, weight: Tensor, bias: Tensor, stride: int = 1, dilation: int = 1, padding: int = 0,
        align: int = 1,
    ) -> None:  # fmt: skip
        out, _, kernel = weight.shape
        ahead = (kernel - 1) * dilation - padding  # inputs after the first that output 0 stands for
        waits = ceil((axis.delay + ahead - (stride - 1)) / stride)
        delay = ceil(waits / align) * align
        late = delay * stride + (stride - 1) - axis.delay - ahead
        more = (axis.more + 2 * padding - (kernel - 1) * dilation - 1) // stride + 1
        self.axis = Axis(axis.per_frame // stride, out, delay, more)
        apart = weight.shape[1] < axis.channels
        self.inner = (
            DepthwiseConv(weight, bias, dilation, late) if apart else Conv(weight, bias, stride, dilation, late=late)
        )

    def initial_state(self, batch: int) -> Any:
        """Nothing came."""
        return self.inner.initial_state(batch)

    def __call__(self, x: Tensor, state: Any, moment: Moment) -> Tensor:
        """[B, T, C] -> [B, T / stride, C']."""
        return self.inner(x, state).mul_(moment.inside(self.axis))


class DelayedTransposedConv:
    """torch's ConvTranspose1d: `weight` [I, O, 2 * stride], `padding` outputs cut from both ends, `more` put back."""

    def __init__(self, axis: Axis, weight: Tensor, bias: Tensor, stride: int, padding: int, more: int) -> None:
        self._inner = TransposedConv(weight, bias, stride)
        rest = axis.more * stride + weight.shape[2] - stride - 2 * padding + more
        self.axis = Axis(axis.per_frame * stride, weight.shape[1], axis.delay * stride + padding, rest)

    def initial_state(self, batch: int) -> OverlapState:
        """Nothing came."""
        return self._inner.initial_state(batch)

    def __call__(self, x: Tensor, state: OverlapState, moment: Moment) -> Tensor:
        """[B, T, I] -> [B, T * stride, O]."""
        return self._inner(x, state).mul_(moment.inside(self.axis))


class Pointwise:
    """A convolution of one tap: `weight` [O, I, 1]."""

    def __init__(self, axis: Axis, weight: Tensor, bias: Tensor) -> None:
        self._matrix = Linear(weight[:, :, 0], bias)
        self.axis = Axis(axis.per_frame, weight.shape[0], axis.delay, axis.more)

    def initial_state(self, batch: int) -> NoState:
        """There is none."""
        return NoState()

    def __call__(self, x: Tensor, state: NoState, moment: Moment) -> Tensor:
        """[B, T, I] -> [B, T, O]."""
        return self._matrix(x).mul_(moment.inside(self.axis))


class Residual:
    """x + pointwise(snake(conv(snake(x)))), the convolution as wide on both sides."""

    def __init__(
        self, axis: Axis, before: Snake, conv: tuple[Tensor, Tensor], after: Snake, pointwise: tuple[Tensor, Tensor],
        dilation: int,
    ) -> None:  # fmt: skip
        padding = (conv[0].shape[2] - 1) * dilation // 2
        inner = DelayedConv(axis, *conv, dilation=dilation, padding=padding)
        self.axis, self._conv = inner.axis, inner.inner
        self._before, self._after = before, after
        self._pointwise = Linear(pointwise[0][:, :, 0], pointwise[1])
        self._wait, self._like = self.axis.delay - axis.delay, pointwise[0]

    def initial_state(self, batch: int) -> ResidualState:
        """Nothing came."""
        skip = self._like.new_zeros(batch, self._wait, self.axis.channels)
        return ResidualState(self._conv.initial_state(batch), PastState(skip))

    def __call__(self, x: Tensor, state: ResidualState, moment: Moment) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        y = self._conv(self._before(x), state.conv)  # type: ignore[arg-type]
        y = self._pointwise(self._after.over(y))
        waited = torch.cat([state.skip.tail, x], dim=1)
        state.skip.tail.copy_(waited[:, x.shape[1] :])
        return torch.addcmul(waited[:, : x.shape[1]], y, moment.inside(self.axis))
