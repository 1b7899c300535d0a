"""The layers of SoundStream over named tensors: each convolution with what stands before it, in real or 8-bit numbers.

Tensors of a convolution `name`: `.weight` float32 or int8 (below), `.bias` float32 or int32; with int8 weights
`.scale` [O] of the weights, `.in` [2] and `.out` [2, O] (scale, zero), and `.act` [2] where a LeakyReLU takes 8-bit
numbers; `.tail_bias` [O] of a transposed one. Weights are [O, K, I/groups], of depthwise ones [K, C].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from natd.codec import int8
from natd.codec.conv import CausalConv, ConvState, Depthwise, TransposedConv, by_row, exact
from natd.codec.int8 import Quant, Requantizer
from natd.codec.kernels import chain

SLOPE = 0.30000001192092896  # 0.3 as float32, in which the reference holds it
States = Iterator[ConvState]


class Module(Protocol):
    """Takes its states one after another, in the order in which `initial_state` gives them."""

    def initial_state(self, batch: int) -> list[ConvState]:
        """States of all convolutions within."""

    def __call__(self, x: Tensor, states: States) -> Tensor:
        """[B, T, I] -> [B, T', O]: real numbers, or the index of 8-bit ones (int64)."""


class Forward(Module, Protocol):
    """One that is made of convolutions, none of them transposed."""

    def native(self) -> list[chain.Layer]:
        """They, for `natd.codec.kernels.chain`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one convolution: `dilation` 0 is not depthwise; `leaky`: a LeakyReLU stands before it."""

    stride: int = 1
    groups: int = 1
    dilation: int = 0
    leaky: bool = False


class Weights:
    """Tensors by name. `whole` computes 8-bit layers in 8 bits and the others in float64; else all is float32."""

    def __init__(self, tensors: Mapping[str, Tensor], whole: bool) -> None:
        self.tensors, self.whole = tensors, whole
        self.dtype = torch.float64 if whole else torch.float32

    def quant(self, name: str) -> Quant | None:
        """Scale and zero of `name`, where it has any and they count."""
        found = self.tensors.get(name) if self.whole else None
        return None if found is None else Quant(float(found[0]), int(found[1]))

    def conv(self, name: str, shape: Shape) -> Forward:
        """The layer called `name`."""
        if self.tensors[f"{name}.weight"].dtype == torch.int8 and self.whole:
            return _Fixed(self, name, shape)
        return _Real(self, name, shape)

    def real(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias as real numbers."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        if weight.dtype != torch.int8:
            return weight.to(self.dtype), bias.to(self.dtype)
        scale = self.tensors[f"{name}.scale"]
        by = scale.view(1, -1) if weight.dim() == 2 else scale.view(-1, 1, 1)
        given = self.tensors[f"{name}.in"][0]
        return (weight * by).to(self.dtype), (bias * (scale * given)).to(self.dtype)

    def requantizer(self, name: str) -> Requantizer:
        """Sums of the layer -> index of its output."""
        given = self.quant(f"{name}.in")
        assert given is not None
        scale, zero = self.tensors[f"{name}.out"]
        return Requantizer(given, self.tensors[f"{name}.scale"], self.tensors[f"{name}.bias"], scale, zero)


class _Real:
    """A convolution of real numbers; what comes in 8 bits is made real first."""

    def __init__(self, weights: Weights, name: str, shape: Shape) -> None:
        weight, self._bias = weights.real(name)
        self._leaky = shape.leaky
        self._conv = (
            Depthwise(weight, shape.dilation) if shape.dilation else CausalConv(weight, shape.stride, shape.groups)
        )

    def initial_state(self, batch: int) -> list[ConvState]:
        return [self._conv.initial_state(batch)]

    def __call__(self, x: Tensor, states: States) -> Tensor:
        return self._conv(leaky_relu(x, SLOPE) if self._leaky else x, next(states)) + self._bias

    def native(self) -> list[chain.Layer]:
        conv, bias = self._conv, self._bias
        if isinstance(conv, Depthwise):
            return [chain.Layer(conv.taps, bias, len(conv.taps), dilation=conv.dilation, leaky=self._leaky)]
        return [chain.Layer(conv.matrix, bias, conv.kernel, conv.stride, leaky=self._leaky)]


class _Entry:
    """Whatever comes -> the whole numbers that an 8-bit convolution takes (q - zero, float32)."""

    def __init__(self, weights: Weights, name: str, leaky: bool) -> None:
        given = weights.quant(f"{name}.in")
        assert given is not None
        self.given, self.leaky, self.act = given, leaky, weights.quant(f"{name}.act")
        device = weights.tensors[f"{name}.bias"].device
        self.table = None if self.act is None else int8.leaky_table(self.act, given, SLOPE).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        if self.act is not None and self.table is not None:
            index = int8.quantize(x, self.act) if x.is_floating_point() else x
            return self.table[index]
        if x.is_floating_point():
            x = int8.quantize(leaky_relu(x, SLOPE) if self.leaky else x, self.given)
        return x.float() + (int8.LOWEST - self.given.zero)


class _Fixed:
    """A convolution of 8-bit numbers, exact in float32 and rounded in fixed point."""

    def __init__(self, weights: Weights, name: str, shape: Shape) -> None:
        weight = weights.tensors[f"{name}.weight"].float()
        self._entry = _Entry(weights, name, shape.leaky)
        self._round = weights.requantizer(name)
        self._conv = (
            Depthwise(weight, shape.dilation)
            if shape.dilation
            else CausalConv(weight, shape.stride, shape.groups, exact)
        )

    def initial_state(self, batch: int) -> list[ConvState]:
        return [self._conv.initial_state(batch)]

    def __call__(self, x: Tensor, states: States) -> Tensor:
        return self._round(self._conv(self._entry(x), next(states)))

    def native(self) -> list[chain.Layer]:
        conv, entry = self._conv, self._entry
        fixed = chain.Fixed(entry.given, entry.act, entry.table, self._round)
        if isinstance(conv, Depthwise):
            return [chain.Layer(conv.taps, self._round.bias, len(conv.taps), 1, conv.dilation, entry.leaky, fixed)]
        return [chain.Layer(conv.matrix, self._round.bias, conv.kernel, conv.stride, 0, entry.leaky, fixed)]


class Residual:
    """x + out(leaky(pointwise(depthwise(leaky(x))))): in 8 bits the sum is rounded to what `after` takes."""

    def __init__(self, weights: Weights, name: str, dilation: int, groups: int, after: str) -> None:
        self._steps = [
            weights.conv(f"{name}.dw", Shape(dilation=dilation, leaky=True)),
            weights.conv(f"{name}.pw", Shape()),
            weights.conv(f"{name}.out", Shape(groups=groups, leaky=True)),
        ]
        self._dtype = weights.dtype
        self._total = weights.quant(f"{after}.act")
        self._added: Quant | None = None
        self._table: Tensor | None = None
        out, x = weights.tensors.get(f"{name}.out.out"), weights.quant(f"{name}.dw.act")
        if self._total is not None and out is not None:
            self._added = Quant(float(out[0, 0]), int(out[1, 0]))
            if x is not None:
                self._table = int8.sum_table(self._added, x, self._total).to(out.device)

    def initial_state(self, batch: int) -> list[ConvState]:
        """States of the convolutions within."""
        return [state for step in self._steps for state in step.initial_state(batch)]

    def __call__(self, x: Tensor, states: States) -> Tensor:
        """[B, T, I], real or index -> [B, T', O], likewise."""
        y = x
        for step in self._steps:
            y = step(y, states)
        if self._added is None or self._total is None:
            return x + y
        if self._table is None or x.is_floating_point():
            return int8.quantize(int8.dequantize(y, self._added, self._dtype) + x, self._total)
        return self._table[y * 256 + x]

    def native(self) -> list[chain.Layer]:
        """Its convolutions; at the last one the sum."""
        found = [layer for step in self._steps for layer in step.native()]
        found[0].begins = True
        found[-1].sum = chain.Sum() if self._added is None else chain.Sum(self._added, self._total, self._table)
        return found


class Up:
    """leaky, then a transposed convolution whose output is real; in 8 bits it is rounded before it overlaps."""

    def __init__(self, weights: Weights, name: str, stride: int, groups: int) -> None:
        weight, tail_bias = weights.tensors[f"{name}.weight"], weights.tensors[f"{name}.tail_bias"]
        self._dtype, self._entry = weights.dtype, None
        self._tail_bias = tail_bias.to(weights.dtype)
        if weight.dtype == torch.int8 and weights.whole:
            self._entry = _Entry(weights, name, leaky=True)
            self._round = weights.requantizer(name)
            self._scale, zero = weights.tensors[f"{name}.out"].float()
            self._shift = int8.LOWEST - zero
            self._conv = TransposedConv(weight.float(), stride, groups, exact)
        else:
            weight, self._bias = weights.real(name)
            self._conv = TransposedConv(weight, stride, groups, by_row)

    def initial_state(self, batch: int) -> list[ConvState]:
        """States of the convolutions within."""
        return [self._conv.initial_state(batch, self._dtype)]

    def __call__(self, x: Tensor, states: States) -> Tensor:
        """[B, T, I], real or index -> [B, T', O], likewise."""
        if self._entry is None:
            y = self._conv.spread(leaky_relu(x, SLOPE)) + self._bias
        else:
            index = self._round(self._conv.spread(self._entry(x)))
            y = ((index.float() + self._shift) * self._scale).to(self._dtype)
        return self._conv.overlap(y, self._tail_bias, next(states))
