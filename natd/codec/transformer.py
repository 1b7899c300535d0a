"""A causal transformer over a stream: rotary positions, a window of the past in a ring, layer scale, packed weights.

Rows of one batch may be of any age. Sources: Vaswani et al. (2017); Su et al., RoFormer (2021); Touvron et al., Going
deeper with Image Transformers (2021), for the layer scale; names of the weights as transformers' Mimi has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec import kernels, rows
from natd.codec.packed import Linear


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
    """What one layer remembers: keys [B, H, D, R] and values [B, H, R, D], position p in place p modulo R."""

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

    `seen` [B] positions came before it; `turn` rotates queries and keys, cosines and sines in turns [B, T, D]. Where
    there are no kernels also: `places` of its positions in the rings [B, T], and `mask`, which places they see
    [B, 1, T, R] (0 or minus infinity).
    """

    seen: Tensor
    turn: Tensor
    places: Tensor | None = None
    mask: Tensor | None = None


class Transformer:
    """The layers PREFIX.layers.N of `tensors` (float32), their matrices rounded to `stored`."""

    def __init__(
        self, prefix: str, layout: Layout, tensors: Mapping[str, Tensor], stored: torch.dtype = torch.float32
    ) -> None:
        names = [f"{prefix}.layers.{i}" for i in range(layout.layers)]
        self._layers = [Layer(name, layout, tensors, stored) for name in names]
        self._layout, self._depth = layout, self._layers[0].depth
        self._like = tensors[f"{names[0]}.input_layernorm.weight"].new_empty(0)
        # So many that the first position of a step still sees all of its own.
        self._ring = rows.padded(layout.window + layout.step - 1)
        half = torch.arange(0, self._depth, 2, dtype=torch.float64, device=self._like.device) / self._depth
        self._rates = layout.theta**-half
        self._ahead = torch.arange(layout.step, device=self._like.device)
        self._native = kernels.serves(self._like) and self._depth % kernels.LANES == 0
        self._masks = None if self._native else _masks(layout, self._ring).to(self._like)

    def initial_state(self, batch: int) -> TransformerState:
        """Nothing came."""
        heads, (ring, depth) = self._layout.heads, (self._ring, self._depth)
        zeros = self._like.new_zeros
        rings = [RingState(zeros(batch, heads, depth, ring), zeros(batch, heads, ring, depth)) for _ in self._layers]
        return TransformerState(torch.zeros(batch, dtype=torch.int64, device=self._like.device), rings)

    def __call__(self, x: Tensor, state: TransformerState) -> Tensor:
        """[B, step, C] -> [B, step, C]."""
        positions = self._positions(state.seen)
        for layer, ring in zip(self._layers, state.rings, strict=True):
            x = layer(x, ring, positions)
        state.seen += self._layout.step
        return x

    def _positions(self, seen: Tensor) -> Positions:
        at = seen[:, None] + self._ahead
        angle = at[:, :, None] * self._rates  # in float64: a stream may last for months
        turn = torch.stack([angle.cos(), angle.sin()], -1).float().flatten(2)
        if self._masks is None:
            return Positions(seen, turn)
        last = at[:, -1]
        age = torch.where(last < self._ring, last, self._ring + last % self._ring)
        return Positions(seen, turn, at % self._ring, self._masks[age][:, None])


class Layer:
    """x + scale * attention(norm(x)), then x + scale * mlp(norm(x)), without biases but those of the norms."""

    def __init__(self, name: str, layout: Layout, tensors: Mapping[str, Tensor], stored: torch.dtype) -> None:
        def of(part: str) -> Tensor:
            return tensors[f"{name}.{part}"]

        def linear(matrix: Tensor, activation: str = "none") -> Linear:
            return Linear(matrix.to(stored).float(), activation=activation)

        width = of("self_attn.q_proj.weight").shape[1]
        self._heads, self._window, self._eps = layout.heads, layout.window, layout.eps
        self.depth = of("self_attn.q_proj.weight").shape[0] // layout.heads
        query, key = (_interleaved(of(f"self_attn.{part}_proj.weight"), self._heads) for part in "qk")
        value = of("self_attn.v_proj.weight").view_as(query)
        together = torch.stack([query / math.sqrt(self.depth), key, value], 1)
        self._qkv = linear(together.reshape(-1, width))
        self._out = linear(_scaled(of("self_attn_layer_scale.scale"), of("self_attn.o_proj.weight")))
        self._up = linear(of("mlp.fc1.weight"), "gelu")
        self._down = linear(_scaled(of("mlp_layer_scale.scale"), of("mlp.fc2.weight")))
        self._norms = [
            (of(f"{part}_layernorm.weight"), of(f"{part}_layernorm.bias")) for part in ("input", "post_attention")
        ]

    def __call__(self, x: Tensor, ring: RingState, positions: Positions) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        x = self._out(self._attention(self._norm(x, 0), ring, positions), x)
        return self._down(self._up(self._norm(x, 1)), x)

    def _norm(self, x: Tensor, which: int) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], *self._norms[which], self._eps)

    def _attention(self, x: Tensor, ring: RingState, positions: Positions) -> Tensor:
        mixed = self._qkv(x).view(*x.shape[:2], self._heads, 3, self.depth)
        if positions.mask is None or positions.places is None:
            out = kernels.ring_attention(mixed, positions.turn, positions.seen, ring.keys, ring.values, self._window)
        else:
            out = attention(mixed, positions.turn, positions.places, positions.mask, ring)
        return out.flatten(2)


def attention(mixed: Tensor, turn: Tensor, places: Tensor, mask: Tensor, ring: RingState) -> Tensor:
    """As `kernels.ring_attention`, of torch's operations."""
    b, t, heads, _, depth = mixed.shape
    pairs = torch.view_as_complex(mixed[:, :, :, :2].reshape(b, t, heads, 2, -1, 2))
    angle = torch.view_as_complex(turn.view(b, t, 1, 1, -1, 2))
    query, key = torch.view_as_real(pairs * angle).flatten(4).permute(3, 0, 2, 1, 4)  # [B, H, T, D]
    value = mixed[:, :, :, 2].transpose(1, 2)
    at = places[:, None, None].expand(b, heads, depth, t)
    ring.keys.scatter_(3, at, key.transpose(2, 3))
    ring.values.scatter_(2, at.transpose(2, 3), value)
    # Not torch's scaled_dot_product_attention: what that gives depends on which thread a row falls to.
    product = partial(rows.rounded, torch.bmm) if mixed.is_cuda else torch.bmm
    score = product(query.reshape(b * heads, t, depth), ring.keys.view(b * heads, depth, -1))
    share = score.view(b, heads, t, -1).add_(mask).softmax(-1)
    out = product(share.view_as(score), ring.values.view(b * heads, -1, depth))
    return out.view(b, heads, t, depth).transpose(1, 2)


def _scaled(scale: Tensor, weight: Tensor) -> Tensor:
    """Outputs [N] of a matrix [N, K] by themselves."""
    if scale.shape != weight.shape[:1]:
        raise ValueError(f"a matrix of {tuple(weight.shape)} with a scale of {tuple(scale.shape)}")
    return scale[:, None] * weight


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
