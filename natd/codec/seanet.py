"""SEANet, the convolutional encoder and decoder of EnCodec and Mimi, as one streaming chain over packed weights.

Widths and kernels are those of the weights; a `Layout` says the rest. Source: Défossez et al., High Fidelity Neural
Audio Compression (2022), after Tagliasacchi et al. (2020). Signals are [B, T, C].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from natd.codec.packed import Linear, elu
from natd.codec.packed_conv import Conv, TailState, TransposedConv

Weights = Callable[[str], tuple[Tensor, Tensor | None]]  # a convolution's published name -> weight, bias


class Block(Protocol):
    """A part of a chain."""

    def initial_state(self, batch: int) -> Any:
        """Nothing came."""

    def __call__(self, x: Tensor, state: Any) -> Tensor:
        """[B, T, C] -> [B, T', C']; `state` moves on."""


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


@dataclass(slots=True)
class NoState:
    """Of a block that remembers nothing."""


class Elu:
    """The activation, where no product can take it along."""

    def initial_state(self, batch: int) -> NoState:
        """There is none."""
        return NoState()

    def __call__(self, x: Tensor, state: NoState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        return elu(x)


class Residual:
    """x + pointwise(conv(ELU(x))), where x may itself go through a pointwise `shortcut`."""

    def __init__(self, conv: Conv, pointwise: Linear, shortcut: Linear | None) -> None:
        self._conv, self._pointwise, self._shortcut = conv, pointwise, shortcut

    def initial_state(self, batch: int) -> TailState:
        """Nothing came."""
        return self._conv.initial_state(batch)

    def __call__(self, x: Tensor, state: TailState) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        y = self._conv(elu(x), state)
        return self._pointwise(y, x if self._shortcut is None else self._shortcut(x))


class _Names:
    """Convolutions by the names that published checkpoints give them: every layer, an ELU too, takes one number."""

    def __init__(self, prefix: str, layout: Layout, weights: Weights) -> None:
        self._prefix, self._layout, self._weights, self._count = prefix, layout, weights, 0

    def take(self, count: int = 1) -> str:
        """The name of the last of the `count` next layers."""
        self._count += count
        return f"{self._prefix}.layers.{self._count - 1}"

    def conv(self, name: str, stride: int = 1, dilation: int = 1, activation: str = "none") -> Conv:
        weight, bias = self._weights(f"{name}.conv")
        if stride > 1 and weight.shape[2] != 2 * stride:
            raise ValueError(f"{name} has a kernel of {weight.shape[2]} at stride {stride}, which is not twice that")
        return Conv(weight, bias, stride, dilation, self._layout.beginning, activation=activation)

    def transposed(self, name: str, stride: int) -> TransposedConv:
        return TransposedConv(*self._weights(f"{name}.conv"), stride)

    def units(self) -> list[Block]:
        """Residual units and the ELU behind them."""
        last = self._layout.units - 1
        units = [self._unit(self.take(), self._layout.growth**i, i == last) for i in range(last + 1)]
        return [*units] or [Elu()]

    def _unit(self, name: str, dilation: int, last: bool) -> Residual:
        conv = self.conv(f"{name}.block.1", dilation=dilation, activation="elu")
        shortcut = self._pointwise(f"{name}.shortcut") if self._layout.shortcut else None
        return Residual(conv, self._pointwise(f"{name}.block.3", "elu" if last else "none"), shortcut)

    def _pointwise(self, name: str, activation: str = "none") -> Linear:
        weight, bias = self._weights(f"{name}.conv")
        return Linear(weight[:, :, 0], bias, activation)


def encoder(prefix: str, layout: Layout, weights: Weights, middle: Sequence[Block] = ()) -> Chain:
    """[B, T, channels of the sound] -> [B, T / all strides, width]; `middle` stands before the last convolution.

    Names are `PREFIX.layers.N.conv`, and `.block.1.conv`, `.block.3.conv`, `.shortcut.conv` in residual units.
    """
    names = _Names(prefix, layout, weights)
    blocks: list[Block] = [names.conv(names.take())]
    for stride in layout.strides:
        blocks += [*names.units(), names.conv(names.take(2), stride)]
    return Chain([*blocks, *middle, Elu(), names.conv(names.take(len(middle) + 2))])


def decoder(prefix: str, layout: Layout, weights: Weights, middle: Sequence[Block] = ()) -> Chain:
    """[B, T, width] -> [B, T * all strides, channels of the sound]; `middle` stands after the first convolution."""
    names = _Names(prefix, layout, weights)
    blocks: list[Block] = [names.conv(names.take()), *middle, Elu()]
    names.take(len(middle))
    for stride in reversed(layout.strides):
        blocks += [names.transposed(names.take(2), stride), *names.units()]
    return Chain([*blocks, names.conv(names.take(2))])
