"""A whole chain of causal convolutions as one call, of real numbers and of 8-bit ones as TensorFlow Lite has them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import kernels
from natd.codec.int8 import Quant, Requantizer
from natd.codec.kernels import library

INDICES = 256  # of 8 bits
CHANNELS = 16  # outputs of a group come in multiples of it, as in chain.h


@dataclass(frozen=True, slots=True)
class Fixed:
    """What an 8-bit convolution takes, after a LeakyReLU by `table` over the indices of `act`, and how it rounds."""

    given: Quant
    act: Quant | None
    table: Tensor | None
    rounding: Requantizer


@dataclass(frozen=True, slots=True)
class Sum:
    """A residual unit's: what was `added` in 8 bits gives `total`, by a `table` if its beginning has 8 too; or real."""

    added: Quant | None = None
    total: Quant | None = None
    table: Tensor | None = None


@dataclass(slots=True)
class Layer:
    """A convolution: `weight` [groups, kernel * inputs / groups, outputs / groups], or [kernel, channels] depthwise."""

    weight: Tensor
    bias: Tensor
    kernel: int
    stride: int = 1
    dilation: int = 0
    leaky: bool = False
    fixed: Fixed | None = None
    begins: bool = False
    sum: Sum | None = None


def serves(layers: Sequence[Layer]) -> bool:
    """Whether the kernel takes these layers."""
    return library.chosen() is not None and all(
        layer.weight.is_cpu and layer.weight.shape[-1] % CHANNELS == 0 for layer in layers
    )


class Chain:
    """`layers` one after the other over frames of `samples`; `out` if what comes out last is of 8 bits."""

    def __init__(self, layers: Sequence[Layer], samples: int, dtype: torch.dtype, slope: float, out: Quant | None):
        self._held: list[Tensor] = []
        self._layers = (library.Layer * len(layers))(*(self._declared(layer) for layer in layers))
        self._samples, self._sizes = samples, list[int]()
        widest, steps, channels = samples, samples, 1
        self._flops, self._bytes = 0.0, 0
        for one, layer in zip(self._layers, layers, strict=True):
            if one.inputs != channels:
                raise ValueError(f"a convolution of {one.inputs} channels behind one that gives {channels}")
            channels = one.outputs
            past = (one.kernel - 1) * one.dilation if one.dilation else one.kernel - one.stride
            self._sizes.append(past * one.inputs)
            widest = max(widest, (past + steps) * one.inputs)
            steps //= 1 if one.dilation else one.stride
            widest = max(widest, steps * one.outputs)
            weights = layer.weight.numel()
            self._flops += 2.0 * steps * weights
            self._bytes += 4 * weights
        self._width = steps * self._layers[-1].outputs
        self._chain = library.Chain(self._layers, len(layers), samples, widest, _quantization(out), slope)
        self._room = 5 * widest
        self._pointers = ctypes.c_void_p * len(layers)
        found = library.chosen()
        assert found is not None
        self._run = found.natd_chain_double if dtype == torch.float64 else found.natd_chain_float

    def __call__(self, x: Tensor, tails: Sequence[Tensor]) -> Tensor:
        """One frame [B, samples] float32 -> what comes out last [B, width] float32; `tails` move on."""
        if x.shape[1:] != (self._samples,):
            raise ValueError(f"frames of {tuple(x.shape)} are not [B, {self._samples}]")
        batch, x = x.shape[0], x.to(torch.float32).contiguous()
        for tail, size in zip(tails, self._sizes, strict=True):
            if tail.shape[0] != batch or tail.numel() != batch * size or not tail.is_contiguous():
                raise ValueError(f"a state of {tuple(tail.shape)} does not fit {batch} frames")
        if kernels.observer is not None:
            kernels.observer(self._flops * batch, self._bytes)
        out = x.new_empty(batch, self._width)
        room = torch.empty(self._room, dtype=torch.float64)
        pointers = self._pointers(*[tail.data_ptr() for tail in tails])
        self._run(self._chain, x.data_ptr(), batch, pointers, out.data_ptr(), room.data_ptr())
        return out

    def _hold(self, tensor: Tensor, dtype: torch.dtype) -> int:
        self._held.append(tensor.to(dtype).contiguous())
        return self._held[-1].data_ptr()

    def _declared(self, layer: Layer) -> library.Layer:
        weight = layer.weight
        groups = 1 if layer.dilation else weight.shape[0]
        inputs = weight.shape[1] if layer.dilation else weight.shape[1] // layer.kernel * groups
        outputs = weight.shape[1] if layer.dilation else weight.shape[2] * groups
        _check(layer.bias, outputs)
        one = library.Layer(
            inputs=inputs, outputs=outputs, groups=groups, kernel=layer.kernel, stride=layer.stride,
            dilation=layer.dilation, whole=layer.fixed is not None, leaky=layer.leaky, begins=layer.begins,
            weights=self._hold(weight, torch.float32), bias=self._hold(layer.bias, torch.float32),
        )  # fmt: skip
        if layer.fixed is not None:
            self._declare_fixed(one, layer.fixed)
        if layer.sum is not None:
            one.sum = 1 if layer.sum.total is None else 2 if layer.sum.table is None else 3  # as in chain.h
            one.added, one.total = _quantization(layer.sum.added), _quantization(layer.sum.total)
            if layer.sum.table is not None:
                _check(layer.sum.table, INDICES**2)
                one.sums = self._hold(layer.sum.table, torch.int64)
        return one

    def _declare_fixed(self, one: library.Layer, fixed: Fixed) -> None:
        one.given, one.act = _quantization(fixed.given), _quantization(fixed.act)
        if fixed.table is not None:
            _check(fixed.table, INDICES)
            one.table = self._hold(fixed.table, torch.float32)
        for name in ("multiplier", "half", "right", "away", "zero"):
            _check(getattr(fixed.rounding, name), one.outputs)
            setattr(one, name, self._hold(getattr(fixed.rounding, name), torch.int64))


def _check(of: Tensor, terms: int) -> None:
    """What C is given by address, C cannot look at."""
    if of.numel() != terms:
        raise ValueError(f"a tensor of {tuple(of.shape)} has not {terms} terms")


def _quantization(of: Quant | None) -> library.Quantization:
    return library.Quantization() if of is None else library.Quantization(of.scale, of.zero)


class Gram:
    """Residual codes by inner products that are known beforehand: see `natd.codec.rvq.GramQuantizer`."""

    def __init__(self, codes: Tensor, half: Tensor, gram: Tensor, layers: int) -> None:
        self._held = (codes.contiguous(), half.contiguous(), gram.contiguous())
        self._layers, self._size = layers, len(half) // layers

    def __call__(self, x: Tensor) -> Tensor:
        """Vectors [B, D] float32 -> codes [layers, B] int64."""
        x = x.to(torch.float32).contiguous()
        if x.shape[1:] != self._held[0].shape[:1]:
            raise ValueError(f"vectors of {tuple(x.shape)} are not [B, {self._held[0].shape[0]}]")
        if kernels.observer is not None:
            kernels.observer(2.0 * len(x) * self._held[0].numel(), 8 * self._held[0].numel())
        codes, far = torch.empty(self._layers, len(x), dtype=torch.int64), torch.empty_like(self._held[1])
        found = library.chosen()
        assert found is not None
        found.natd_gram(
            x.data_ptr(), len(x), x.shape[1], *[held.data_ptr() for held in self._held], self._layers, self._size,
            codes.data_ptr(), far.data_ptr(),
        )  # fmt: skip
        return codes
