"""A causal transformer over a stream: rotary positions, a window of the past in a ring, layer scale, packed weights.

Rows of one batch may be of any age. Sources: Vaswani et al. (2017); Su et al., RoFormer (2021); Touvron et al., Going
deeper with Image Transformers (2021), for the layer scale; names of the weights as transformers' Mimi has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec.packed import Linear
from natd.codec.rows import padded


@dataclass(frozen=True, slots=True)
class Layout:
    """A position sees itself and the `window` - 1 before it; a call brings `step` positions."""

    layers: int
    heads: int
    window: int
    step: int
    theta: float = 10_000.0
    eps: float = 1e-5


@dataclass(slots=True)
class RingState:
    """What one layer remembers: keys and values [B, H, R, D], position p in place p modulo R."""

    keys: Tensor
    values: Tensor


@dataclass(slots=True)
class TransformerState:
    """The number of positions so far [B] int64, and the rings of the layers."""

    seen: Tensor
    rings: list[RingState]


@dataclass(frozen=True, slots=True)
class Positions:
    """What all layers need to know of a step.

    `turn` rotates queries and keys and leaves values [B, T, 1, 3, D / 2], `places` says where in the rings its
    positions go [B * T * H], `mask` which places they see [B, 1, T, R] (0 or minus infinity).
    """

    turn: Tensor
    places: Tensor
    mask: Tensor


class Transformer:
    """The layers PREFIX.layers.N of `tensors`, in `dtype`."""

    def __init__(self, prefix: str, layout: Layout, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        names = [f"{prefix}.layers.{i}" for i in range(layout.layers)]
        self._layers = [Layer(name, layout, tensors, dtype) for name in names]
        self._layout, self._depth = layout, self._layers[0].depth
        self._like = torch.empty(0, dtype=dtype, device=tensors[f"{names[0]}.input_layernorm.weight"].device)
        self._ring = padded(layout.window + layout.step - 1)  # the first position of a step still sees all of its own
        half = torch.arange(0, self._depth, 2, dtype=torch.float64, device=self._like.device) / self._depth
        rates = layout.theta**-half
        self._rates = torch.stack([rates, rates, torch.zeros_like(rates)])
        self._ahead = torch.arange(layout.step, device=self._like.device)
        self._of_head = torch.arange(layout.heads, device=self._like.device) * self._ring
        self._masks = _masks(layout, self._ring).to(self._like)

    def initial_state(self, batch: int) -> TransformerState:
        """Nothing came."""
        shape = (batch, self._layout.heads, self._ring, self._depth)
        rings = [RingState(self._like.new_zeros(shape), self._like.new_zeros(shape)) for _ in self._layers]
        return TransformerState(torch.zeros(batch, dtype=torch.int64, device=self._like.device), rings)

    def __call__(self, x: Tensor, state: TransformerState) -> Tensor:
        """[B, step, C] -> [B, step, C]."""
        positions = self._positions(state.seen)
        state.seen += self._layout.step
        for layer, ring in zip(self._layers, state.rings, strict=True):
            x = layer(x, ring, positions)
        return x

    def _positions(self, seen: Tensor) -> Positions:
        at = seen[:, None] + self._ahead
        angle = at[:, :, None, None, None] * self._rates  # in float64: a stream may last for months
        turn = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
        rings = torch.arange(seen.shape[0], device=seen.device) * (self._layout.heads * self._ring)
        places = (rings[:, None] + at % self._ring)[:, :, None] + self._of_head
        last = at[:, -1]
        age = torch.where(last < self._ring, last, self._ring + last % self._ring)
        return Positions(turn, places.view(-1), self._masks[age][:, None])


class Layer:
    """x + scale * attention(norm(x)), then x + scale * mlp(norm(x)), without biases but those of the norms."""

    def __init__(self, name: str, layout: Layout, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        def of(part: str) -> Tensor:
            return tensors[f"{name}.{part}"]

        width = of("self_attn.q_proj.weight").shape[1]
        self._heads, self.depth, self._eps = (
            layout.heads,
            of("self_attn.q_proj.weight").shape[0] // layout.heads,
            layout.eps,
        )
        query, key = (_interleaved(of(f"self_attn.{part}_proj.weight"), self._heads) for part in "qk")
        value = of("self_attn.v_proj.weight").view_as(query)
        together = torch.stack([query / math.sqrt(self.depth), key, value], 1)
        self._qkv = Linear(together.reshape(-1, width).to(dtype))
        self._out = Linear((of("self_attn_layer_scale.scale")[:, None] * of("self_attn.o_proj.weight")).to(dtype))
        self._up = Linear(of("mlp.fc1.weight").to(dtype), activation="gelu")
        self._down = Linear((of("mlp_layer_scale.scale")[:, None] * of("mlp.fc2.weight")).to(dtype))
        self._norms = [
            (of(f"{part}_layernorm.weight").to(dtype), of(f"{part}_layernorm.bias").to(dtype))
            for part in ("input", "post_attention")
        ]

    def __call__(self, x: Tensor, ring: RingState, positions: Positions) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        x = self._out(self._attention(self._norm(x, 0), ring, positions), x)
        return self._down(self._up(self._norm(x, 1)), x)

    def _norm(self, x: Tensor, which: int) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], *self._norms[which], self._eps)

    def _attention(self, x: Tensor, ring: RingState, positions: Positions) -> Tensor:
        b, t, _ = x.shape
        pairs = torch.view_as_complex(self._qkv(x).float().view(b, t, self._heads, 3, -1, 2))
        turned = torch.view_as_real(pairs * positions.turn).view(-1, 3, self.depth).to(x.dtype)
        ring.keys.view(-1, self.depth).index_copy_(0, positions.places, turned[:, 1])
        ring.values.view(-1, self.depth).index_copy_(0, positions.places, turned[:, 2])
        query = turned[:, 0].view(b, t, self._heads, -1).transpose(1, 2).reshape(-1, t, self.depth)
        # Not torch's scaled_dot_product_attention: what that gives depends on which thread a row falls to.
        score = torch.bmm(query, ring.keys.view(b * self._heads, -1, self.depth).transpose(1, 2))
        share = score.view(b, self._heads, t, -1).add_(positions.mask).softmax(-1)
        y = torch.bmm(share.view_as(score), ring.values.view(b * self._heads, -1, self.depth))
        return y.view(b, self._heads, t, -1).transpose(1, 2).reshape(b, t, -1)


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key, where d and d + D / 2 turn together, so that neighbours do: [H, D, C]."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(heads, -1, weight.shape[1])


def _masks(layout: Layout, ring: int) -> Tensor:
    """What the positions of a step see, by the newest of them: [2 R, step, R]; from R on it recurs every R."""
    last = torch.arange(2 * ring)[:, None]
    age = (last - torch.arange(ring)) % ring
    before = age[:, None] - torch.arange(layout.step).flip(0)[:, None]
    seen = (before >= 0) & (before < layout.window) & (age <= last)[:, None]
    return torch.zeros(seen.shape).masked_fill_(~seen, -math.inf)
