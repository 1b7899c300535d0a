"""The waveform encoder of HuBERT, WavLM, wav2vec 2.0 and MERT: convolutions of which the first is levelled.

That level is a mean and a variance of each channel over all that is heard. Of the first convolution, which is linear,
both follow from the mean and the products of the samples that it sees together: those are summed up frame by frame, in
float64, and never more than once. Source: Baevski et al., wav2vec 2.0 (2020); Hsu et al., HuBERT (2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec.checkpoint import small
from natd.codec.packed import Linear

NORM_EPS = 1e-5  # added to the variance behind the first convolution
EVEN_EPS = 1e-7  # and to that of the samples, where they are brought to one loudness first


class WaveformEncoder:
    """Samples -> a vector [H] every `stride` samples; each sees `before` samples before its own `stride`.

    `even` brings the samples to mean 0 and variance 1 first, over all that is heard. KeyError, ValueError or
    RuntimeError if the tensors are not those of `config`.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype, even: bool
    ) -> None:
        self._kernels, self._strides = list(config["conv_kernel"]), list(config["conv_stride"])
        self.stride = math.prod(self._strides)
        self.before = _field(self._kernels, self._strides) - self.stride
        self._even, self._dtype = even, dtype
        conv = "feature_extractor.conv_layers"
        first = tensors[f"{conv}.0.conv.weight"].flatten(1)  # [C, K]
        # Samples have more than the 8 bits of bfloat16: the first product is always in float32.
        self._first = Linear(first)
        self._norm = (tensors[f"{conv}.0.layer_norm.weight"].double(), tensors[f"{conv}.0.layer_norm.bias"].double())
        if any(norm.shape != first.shape[:1] for norm in self._norm):
            raise ValueError(f"{tuple(first.shape)} filters with norms of {[tuple(norm.shape) for norm in self._norm]}")
        self._pairs = torch.triu_indices(first.shape[1], first.shape[1], device=first.device)
        self._taps = first.double()
        twice = torch.where(self._pairs[0] == self._pairs[1], 1.0, 2.0)
        self._tap_pairs = self._taps[:, self._pairs[0]] * self._taps[:, self._pairs[1]] * twice
        biased = bool(config["conv_bias"])  # of the first the level takes it away
        self._rest = [_matrix(tensors, f"{conv}.{i}.conv", dtype, biased) for i in range(1, len(self._kernels))]
        found = [tensors[f"{conv}.{i}.conv.weight"].shape[2] for i in range(len(self._kernels))]
        if found != self._kernels:
            raise ValueError(f"kernels of {found}, not {self._kernels}")
        self._eps = small("layer_norm_eps", config["layer_norm_eps"])
        self._norm_weight, self._norm_bias = (
            tensors[f"feature_projection.layer_norm.{part}"] for part in ("weight", "bias")
        )
        weight, bias = (tensors[f"feature_projection.projection.{part}"].to(dtype) for part in ("weight", "bias"))
        self._projection = Linear(weight, bias)
        self.width = weight.shape[0]

    @property
    def sums(self) -> int:
        """How many sums `moments` gives."""
        return self._taps.shape[1] + self._pairs.shape[1] + 2

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, before + T] -> sums [B, `sums`] float64 over what begins in the first T samples, and over the rest.

        The rest comes again with the next samples, so only the first part is kept.
        """
        steps = (x.shape[1] - self.before) // self._strides[0]
        x = x.double()
        seen = x.unfold(1, self._kernels[0], self._strides[0]).transpose(1, 2)  # [B, K, steps + a few]
        each = torch.cat([seen, seen[:, self._pairs[0]] * seen[:, self._pairs[1]]], 1)
        samples = torch.stack([x, x * x], 1)
        kept = [each[:, :, :steps], samples[:, :, : x.shape[1] - self.before]]
        rest = [each[:, :, steps:], samples[:, :, x.shape[1] - self.before :]]
        return _summed(kept), _summed(rest)

    def level(self, sums: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over `samples` [B] behind the first `before`, both parts -> factor and offset [B, 1, C] float32."""
        taps = self._taps.shape[1]
        outputs = (samples + self.before - self._kernels[0]) // self._strides[0] + 1
        mean = sums[:, :taps] / outputs[:, None]
        spread = sums[:, taps:-2] / outputs[:, None] - mean[:, self._pairs[0]] * mean[:, self._pairs[1]]
        eps: Tensor | float = NORM_EPS
        if self._even:
            average = sums[:, -2:] / (samples + self.before)[:, None]
            eps = NORM_EPS * ((average[:, 1:] - average[:, :1] ** 2).clamp(min=0.0) + EVEN_EPS)
        variance = (spread[:, None] * self._tap_pairs).sum(2).clamp(min=0.0)
        factor = self._norm[0] / (variance + eps).sqrt()
        offset = self._norm[1] - (mean[:, None] * self._taps).sum(2) * factor
        return factor.float()[:, None], offset.float()[:, None]

    def __call__(self, x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """[B, before + T] float32 -> [B, T / stride, H]."""
        y = self._first(x.unfold(1, self._kernels[0], self._strides[0]))
        y = functional.gelu(torch.addcmul(offset, y, factor)).to(self._dtype)
        for matrix, kernel, stride in zip(self._rest, self._kernels[1:], self._strides[1:], strict=True):
            width = y.shape[2]
            y = matrix(y.view(y.shape[0], -1).unfold(1, kernel * width, stride * width))
        y = functional.layer_norm(y.float(), (y.shape[2],), self._norm_weight, self._norm_bias, self._eps)
        return self._projection(y.to(self._dtype)).float()


def _field(kernels: list[int], strides: list[int]) -> int:
    """How many samples one vector sees."""
    field = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        field = (field - 1) * stride + kernel
    return field


def _matrix(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype, biased: bool) -> Linear:
    weight = tensors[f"{name}.weight"]
    bias = tensors[f"{name}.bias"] if biased else None
    rows = weight.transpose(1, 2).flatten(1).to(dtype)
    return Linear(rows, None if bias is None else bias.to(dtype), "gelu")


def _summed(parts: list[Tensor]) -> Tensor:
    # Along the last axis, laid out in one piece: each sum by itself, in one order.
    return torch.cat([part.contiguous().sum(2) for part in parts], 1)
