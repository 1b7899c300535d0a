"""The convolutional encoder and decoder of DAC and SNAC as delayed chains over their published tensors.

Sources: Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN (2023); Siuzdak et al., SNAC: Multi-Scale
Neural Audio Codec (2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from torch import Tensor

from natd.codec.delayed import Axis, Chain, Layer
from natd.codec.delayed_layers import DelayedConv, DelayedTransposedConv, Pointwise, Residual, SnakeLayer
from natd.codec.snake import Snake

DILATIONS = (1, 3, 9)
Unit = Sequence[str]  # names of a residual unit's parts: Snake, convolution, Snake, pointwise convolution


class Builder:
    """Layers added one by one, each where the one before it left off; `axis` is that of the latest."""

    def __init__(self, tensors: Mapping[str, Tensor], axis: Axis) -> None:
        self.tensors, self.axis = tensors, axis
        self._first, self._layers = axis, list[Layer]()

    def add(self, layer: Layer) -> None:
        """Put a layer behind the others."""
        self._layers.append(layer)
        self.axis = layer.axis

    def chain(self, window: int = 1) -> Chain:
        """All of them; see `Chain` for `window`."""
        device = next(iter(self.tensors.values())).device
        return Chain(self._first, self._layers, window, str(device))

    def conv(self, name: str, align: int = 1) -> None:
        """A convolution that keeps the rate, as wide on both sides."""
        weight, bias = self._weights(name)
        if weight.shape[2] == 1:
            self.add(Pointwise(self.axis, weight, bias))
        else:
            self.add(DelayedConv(self.axis, weight, bias, padding=weight.shape[2] // 2, align=align))

    def down(self, units: Sequence[Unit], snake: str, conv: str, stride: int, align: int = 1) -> None:
        """A block of the encoder: residual units, then one output for `stride` inputs."""
        self._residuals(units)
        self.snake(snake)
        weight, bias = self._weights(conv)
        if weight.shape[2] != 2 * stride:
            raise ValueError(f"{conv} has a kernel of {weight.shape[2]} at stride {stride}, which is not twice that")
        self.add(DelayedConv(self.axis, weight, bias, stride, padding=ceil(stride / 2), align=align))

    def up(self, units: Sequence[Unit], snake: str, conv: str, stride: int, more: int) -> None:
        """A block of the decoder: `stride` outputs for one input (`more` at the very end), then residual units."""
        self.snake(snake)
        weight, bias = self._weights(conv)
        self.add(DelayedTransposedConv(self.axis, weight, bias, stride, ceil(stride / 2), more))
        self._residuals(units)

    def snake(self, name: str) -> None:
        """The activation of every sample."""
        self.add(SnakeLayer(self.axis, self.tensors[f"{name}.alpha"]))

    def _residuals(self, units: Sequence[Unit]) -> None:
        for (before, conv, after, pointwise), dilation in zip(units, DILATIONS, strict=True):
            snakes = [Snake(self.tensors[f"{name}.alpha"]) for name in (before, after)]
            weights = self._weights(conv)
            self.add(Residual(self.axis, snakes[0], weights, snakes[1], self._weights(pointwise), dilation))

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
