"""SEANet, the convolutional encoder and decoder of EnCodec and Mimi, as one streaming chain over packed weights.

Widths and kernels are those of the weights; a `Layout` says the rest. Source: Défossez et al., High Fidelity Neural
Audio Compression (2022), after Tagliasacchi et al. (2020). Signals are [B, T, C].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from natd.codec.packed import Linear
from natd.codec.packed_conv import Conv, TailState, TransposedConv

Weights = Callable[[str], tuple[Tensor, Tensor | None]]  # a convolution's published name -> weight, bias


class Block(Protocol):
    """A part of a chain."""

    def initial_state(self, batch: int) -> Any:
        """Nothing came."""

    def __call__(self, x: Tensor, state: Any) -> Tensor:
        """[B, T, C] -> [B, T', C']; `state` moves on."""


def elu(x: Tensor) -> Tensor:
    """ELU to half a unit in the last place of 1; of every element alone, wherever in the tensor it stands."""
    # torch's own rounds the last few of a tensor in another way, and its expm1 takes up to seven times the time.
    y = x.clamp(max=0.0).exp_().sub_(1.0)
    return torch.maximum(x, y, out=y)


@dataclass(slots=True)
class ChainState:
    """The states of the blocks, in their order."""

    blocks: list[Any]


class Chain:
    """Blocks one after the other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = list(blocks)

    def initial_state(self, batch: int) -> ChainState:
        """Nothing came."""
        return ChainState([block.initial_state(batch) for block in self._blocks])

    def __call__(self, x: Tensor, state: ChainState) -> Tensor:
        """[B, T, C] -> [B, T', C']."""
        for block, own in zip(self._blocks, state.blocks, strict=True):
            x = block(x, own)
        return x


@dataclass(frozen=True, slots=True)
class Layout:
    """`strides` of the encoder from the samples on (the decoder has them backwards), and before each, residual units.

    Their dilations grow by the factor `growth`; with `shortcut` the path around them is a convolution of one tap.
    `beginning` is what stands before the stream, see `packed_conv.Conv`.
    """

    strides: tuple[int, ...]
    units: int = 1
    growth: int = 2
    shortcut: bool = False
    beginning: str = "zeros"


class Activated:
    """The block `inner`, behind an ELU."""

    def __init__(self, inner: Block) -> None:
        self._inner = inner

    def initial_state(self, batch: int) -> Any:
        """That of `inner`."""
        return self._inner.initial_state(batch)

    def __call__(self, x: Tensor, state: Any) -> Tensor:
        """[B, T, C] -> [B, T', C']."""
        return self._inner(elu(x), state)


class Residual:
    """x + pointwise(ELU(conv(ELU(x)))), where x may itself go through a pointwise `shortcut`."""

    def __init__(self, conv: Conv, pointwise: Linear, shortcut: Linear | None) -> None:
        self._conv, self._pointwise, self._shortcut = conv, pointwise, shortcut

    def initial_state(self, batch: int) -> TailState:
        """Nothing came."""
        return self._conv.initial_state(batch)

    def __call__(self, x: Tensor, state: TailState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        y = self._conv(elu(x), state)
        return self._pointwise(elu(y), x if self._shortcut is None else self._shortcut(x))


class _Names:
    """Convolutions by the names that published checkpoints give them: every layer, an ELU too, takes one number."""

    def __init__(self, prefix: str, layout: Layout, weights: Weights) -> None:
        self._prefix, self._layout, self._weights, self._count = prefix, layout, weights, 0

    def take(self, count: int = 1) -> str:
        """The name of the last of the `count` next layers."""
        self._count += count
        return f"{self._prefix}.layers.{self._count - 1}"

    def conv(self, name: str, stride: int = 1, dilation: int = 1) -> Conv:
        return Conv(*self._weights(f"{name}.conv"), stride, dilation, self._layout.beginning)

    def transposed(self, name: str, stride: int) -> TransposedConv:
        return TransposedConv(*self._weights(f"{name}.conv"), stride)

    def units(self) -> list[Block]:
        return [self._unit(self.take(), self._layout.growth**i) for i in range(self._layout.units)]

    def _unit(self, name: str, dilation: int) -> Residual:
        conv = self.conv(f"{name}.block.1", dilation=dilation)
        shortcut = self._pointwise(f"{name}.shortcut") if self._layout.shortcut else None
        return Residual(conv, self._pointwise(f"{name}.block.3"), shortcut)

    def _pointwise(self, name: str) -> Linear:
        weight, bias = self._weights(f"{name}.conv")
        return Linear(weight[:, :, 0], bias)


def encoder(prefix: str, layout: Layout, weights: Weights, middle: Sequence[Block] = ()) -> Chain:
    """[B, T, channels of the sound] -> [B, T / all strides, width]; `middle` stands before the last convolution.

    Names are `PREFIX.layers.N.conv`, and `.block.1.conv`, `.block.3.conv`, `.shortcut.conv` in residual units.
    """
    names = _Names(prefix, layout, weights)
    blocks: list[Block] = [names.conv(names.take())]
    for stride in layout.strides:
        blocks += names.units()
        blocks.append(Activated(names.conv(names.take(2), stride)))
    blocks += middle
    return Chain([*blocks, Activated(names.conv(names.take(len(middle) + 2)))])


def decoder(prefix: str, layout: Layout, weights: Weights, middle: Sequence[Block] = ()) -> Chain:
    """[B, T, width] -> [B, T * all strides, channels of the sound]; `middle` stands after the first convolution."""
    names = _Names(prefix, layout, weights)
    blocks: list[Block] = [names.conv(names.take()), *middle]
    names.take(len(middle))
    for stride in reversed(layout.strides):
        blocks.append(Activated(names.transposed(names.take(2), stride)))
        blocks += names.units()
    return Chain([*blocks, Activated(names.conv(names.take(2)))])
