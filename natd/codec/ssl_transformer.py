"""The transformer of HuBERT, WavLM, wav2vec 2.0 and MERT in its "base" form: norms behind the blocks, no causality.

Every product with weights runs over packed ones; attention runs row by row, always in the same shape, so that a row
gives the same in any batch. WavLM adds a bias of distance, gated by each query (Chen et al., WavLM, 2022, eq. 1-4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec import weight_norm
from natd.codec.checkpoint import small
from natd.codec.packed import Linear


class Transformer:
    """Vectors [B, `length`, H] -> the outputs of the layers up to `deepest` at the positions `at`; 0 is its input.

    KeyError or RuntimeError if the tensors are not those of `config`.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], length: int, at: slice, deepest: int,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._at = at
        self._position = _Position(tensors, config, dtype)
        self._norm = _Norm(tensors, "encoder.layer_norm", config)
        bias = distance_bias(tensors, config, length)
        bias = None if bias is None else bias.to(dtype)
        self._layers = [_Layer(tensors, f"encoder.layers.{i}", config, bias, dtype) for i in range(deepest)]

    def __call__(self, x: Tensor, unheard: Tensor) -> list[Tensor]:
        """`x` float32; `unheard` [B, length] bool: what counts for nothing -> float32 [B, len(at), H] of 0..deepest."""
        x = x.masked_fill(unheard[:, :, None], 0.0)
        x = self._norm(x + self._position(x))
        mask = torch.zeros_like(x[:, :, 0]).masked_fill_(unheard, -torch.inf)[:, None, None]  # [B, 1, 1, T]
        found = [x[:, self._at]]
        for layer in self._layers[:-1]:
            x = layer(x, slice(0, x.shape[1]), mask)
            found.append(x[:, self._at])
        return found + [layer(x, self._at, mask) for layer in self._layers[-1:]]


class _Position:
    """A wide grouped convolution over the whole window says where a vector stands."""

    def __init__(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype) -> None:
        name = "encoder.pos_conv_embed.conv"
        weight = _unnormalized(tensors, name)  # [H, H / groups, K]
        bias = tensors[f"{name}.bias"]
        groups = config["num_conv_pos_embedding_groups"]
        self._kernel = weight.shape[2]
        self._groups = [
            Linear(w.transpose(1, 2).flatten(1).to(dtype), b.to(dtype), "gelu")
            for w, b in zip(weight.chunk(groups), bias.chunk(groups), strict=True)
        ]
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]."""
        before = self._kernel // 2
        x = functional.pad(x.to(self._dtype), (0, 0, before, self._kernel - 1 - before))
        parts = []
        for matrix, part in zip(self._groups, x.chunk(len(self._groups), 2), strict=True):
            width = part.shape[2]
            rows = part.reshape(x.shape[0], -1).unfold(1, self._kernel * width, width)
            parts.append(matrix(rows))
        return torch.cat(parts, 2)


class _Layer:
    """Attention and two dense products, each added to its input and normed."""

    def __init__(
        self, tensors: Mapping[str, Tensor], name: str, config: Mapping[str, Any], bias: Tensor | None,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._heads = config["num_attention_heads"]
        self._dtype = dtype
        own = {part: _pair(tensors, f"{name}.attention.{part}_proj") for part in ("q", "k", "v", "out")}
        if self._heads < 1 or own["q"][0].shape[0] % self._heads:
            raise ValueError(f"{self._heads} heads do not share {own['q'][0].shape[0]} channels")
        scale = (own["q"][0].shape[0] // self._heads) ** -0.5
        self._query = _linear([t * scale for t in own["q"]], dtype)
        self._key_value = _linear([torch.cat(pair) for pair in zip(own["k"], own["v"], strict=True)], dtype)
        self._out = _linear(own["out"], dtype)
        self._wide = _linear(_pair(tensors, f"{name}.feed_forward.intermediate_dense"), dtype, "gelu")
        self._narrow = _linear(_pair(tensors, f"{name}.feed_forward.output_dense"), dtype)
        self._norm = _Norm(tensors, f"{name}.layer_norm", config)
        self._final_norm = _Norm(tensors, f"{name}.final_layer_norm", config)
        self._gate = None if bias is None else _Gate(tensors, f"{name}.attention", bias, self._heads)

    def __call__(self, x: Tensor, at: slice, mask: Tensor) -> Tensor:
        """[B, T, H] float32 and what is added to the scores [B, 1, 1, T] -> [B, len(at), H] float32."""
        own = x[:, at]
        x = self._norm(own + self._out(self._attention(x, own, at, mask)))
        return self._final_norm(x + self._narrow(self._wide(x.to(self._dtype))))

    def _attention(self, x: Tensor, own: Tensor, at: slice, mask: Tensor) -> Tensor:
        batch, heads = x.shape[0], self._heads
        query = self._query(own.to(self._dtype)).view(batch, own.shape[1], heads, -1).transpose(1, 2)
        both = self._key_value(x.to(self._dtype)).view(batch, x.shape[1], 2, heads, -1)
        key, value = both.permute(2, 0, 3, 4, 1)  # [B, heads, D, T]
        found = []
        for q, k, v, m, asked in zip(query, key, value, mask.to(self._dtype), own, strict=True):
            # One row: the shape, and with it the rounding, is that of any batch.
            scores = torch.bmm(q, k).add_(m)
            if self._gate is not None:
                scores.addcmul_(*self._gate(asked, at))
            found.append(torch.bmm(scores.softmax(2), v.transpose(1, 2)))
        return torch.stack(found).transpose(1, 2).flatten(2)


class _Gate:
    """How much of the bias of distance a query takes: WavLM."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, bias: Tensor, heads: int) -> None:
        # The model sums two groups of 4 outputs; the sum of their weights does the same.
        weight, offset = (t.reshape(2, 4, *t.shape[1:]).sum(1) for t in _pair(tensors, f"{name}.gru_rel_pos_linear"))
        self._matrix = Linear(weight, offset)
        self._factor = tensors[f"{name}.gru_rel_pos_const"].flatten()[:, None]  # [heads, 1]
        self._bias, self._heads = bias, heads

    def __call__(self, x: Tensor, at: slice) -> tuple[Tensor, Tensor]:
        """The queries' inputs [len(at), H] float32 -> two factors of their bias, [heads, len(at), 1 and T]."""
        first, second = self._matrix(x.reshape(x.shape[0], self._heads, -1)).transpose(0, 1).sigmoid().unbind(2)
        gate = first * (second * self._factor - 1.0) + 2.0  # [heads, len(at)]
        return gate[:, :, None].to(self._bias.dtype), self._bias[:, at]


class _Norm:
    def __init__(self, tensors: Mapping[str, Tensor], name: str, config: Mapping[str, Any]) -> None:
        self._weight, self._bias = _pair(tensors, name)
        self._eps = small("layer_norm_eps", config["layer_norm_eps"])

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (x.shape[-1],), self._weight, self._bias, self._eps)


def distance_bias(tensors: Mapping[str, Tensor], config: Mapping[str, Any], length: int) -> Tensor | None:
    """What WavLM adds to a score for the distance of key and query, before its gate: [heads, length, length]; or none.

    Half of the buckets are of keys behind the query; half of either are one distance each, the others grow with it.
    """
    if config["model_type"] != "wavlm":
        return None
    table = tensors["encoder.layers.0.attention.rel_attn_embed.weight"]
    if table.shape != (config["num_buckets"], config["num_attention_heads"]):
        raise ValueError(f"biases of {tuple(table.shape)} for {config['num_buckets']} distances")
    position = torch.arange(length, device=table.device)
    distance = position[None] - position[:, None]
    side = table.shape[0] // 2
    exact = side // 2
    far = torch.log(distance.abs().clamp(min=1).float() / exact) / math.log(config["max_bucket_distance"] / exact)
    coarse = (exact + far * (side - exact)).long().clamp(max=side - 1)
    bucket = torch.where(distance.abs() < exact, distance.abs(), coarse) + side * (distance > 0)
    return functional.embedding(bucket, table).permute(2, 0, 1).contiguous()


def _unnormalized(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The weight of a convolution that is stored as a length for each tap and a direction."""
    new = f"{name}.parametrizations.weight.original"
    length, direction = (f"{new}0", f"{new}1") if f"{new}0" in tensors else (f"{name}.weight_g", f"{name}.weight_v")
    return weight_norm.weight(tensors[direction], tensors[length], 2)


def _pair(tensors: Mapping[str, Tensor], name: str) -> list[Tensor]:
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def _linear(pair: list[Tensor], dtype: torch.dtype, activation: str = "none") -> Linear:
    return Linear(pair[0].to(dtype), pair[1].to(dtype), activation)
