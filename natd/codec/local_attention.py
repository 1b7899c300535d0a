"""Attention within windows that follow one another, over a stream: a window is read once all of it is there.

A step brings a part of a window and gives the part that came a window earlier, less one part. Positions count from the
window's start and turn the queries and keys (Su et al., RoFormer, 2021). Source: SNAC (Siuzdak et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec.delayed import Axis, Moment
from natd.codec.packed import Linear
from natd.codec.rows import rounded

HEAD = 64  # channels of a head


@dataclass(slots=True)
class LocalAttentionState:
    """Inputs and queries not answered yet [B, window - T, C]; keys and values of the latest windows [B, .., C]."""

    inputs: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor


class LocalAttention:
    """`PREFIX.norm`, `.to_qkv`, `.to_out` and `.rel_pos.inv_freq`: x + out(attention(norm(x))), windows of `window`.

    The steps of `axis` must begin where a part of a window begins.
    """

    def __init__(self, axis: Axis, tensors: Mapping[str, Tensor], prefix: str, window: int) -> None:
        if window % axis.per_frame or axis.delay % axis.per_frame:
            raise ValueError(f"windows of {window} do not begin with steps of {axis.per_frame}, {axis.delay} late")
        self._parts, self._part = window // axis.per_frame, axis.per_frame
        self._behind = axis.delay // axis.per_frame
        self._wait = window - axis.per_frame
        self.axis = Axis(axis.per_frame, axis.channels, axis.delay + self._wait, axis.more)
        self._norm = (tensors[f"{prefix}.norm.weight"], tensors[f"{prefix}.norm.bias"])
        self._qkv, self._out = Linear(tensors[f"{prefix}.to_qkv.weight"]), Linear(tensors[f"{prefix}.to_out.weight"])
        slow = tensors[f"{prefix}.rel_pos.inv_freq"]
        angles = torch.arange(window, device=slow.device).float()[:, None] * slow
        angles = torch.cat([angles, angles], 1).view(self._parts, self._part, 1, HEAD)
        self._cos, self._sin = angles.cos(), angles.sin()
        self._at = torch.arange(window, device=slow.device)

    def initial_state(self, batch: int) -> LocalAttentionState:
        """Nothing came."""
        width = self.axis.channels
        one, two = (self._norm[0].new_zeros(batch, count * self._wait, width) for count in (1, 2))
        return LocalAttentionState(one, one.clone(), two, two.clone())

    def __call__(self, x: Tensor, state: LocalAttentionState, moment: Moment) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        came = (moment.steps - self._behind) % self._parts  # which part of its window a row brings
        normed = functional.layer_norm(x, x.shape[-1:], *self._norm)
        query, key, value = self._qkv(normed).chunk(3, -1)
        query, key = self._turned(query, came), self._turned(key, came)
        inputs, queries = _behind(x, state.inputs), _behind(query, state.queries)
        keys, values = _behind(key, state.keys), _behind(value, state.values)
        asks = (moment.steps - self._behind + 1) % self._parts  # which part of its window a row gives
        rows = (self._parts - 1 - asks)[:, None] * self._part + self._at
        found = self._attend(queries[:, : self._part], _picked(keys, rows), _picked(values, rows))
        return self._out(found).add_(inputs[:, : self._part]).mul_(moment.inside(self.axis))

    def _turned(self, x: Tensor, part: Tensor) -> Tensor:
        heads = x.view(*x.shape[:2], -1, HEAD)
        first, second = heads.chunk(2, -1)
        crossed = torch.cat([-second, first], -1)
        return (heads * self._cos[part] + crossed * self._sin[part]).flatten(2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, T, C], [B, W, C], [B, W, C] -> [B, T, C]."""
        q, k, v = (x.view(*x.shape[:2], -1, HEAD).transpose(1, 2) for x in (query, key, value))
        product = partial(rounded, torch.matmul) if q.is_cuda else torch.matmul
        weights = (product(q, k.transpose(2, 3)) / sqrt(HEAD)).softmax(-1)
        return product(weights, v).transpose(1, 2).flatten(2)


def _behind(x: Tensor, tail: Tensor) -> Tensor:
    """`x` behind what came before it; `tail` moves on."""
    x = torch.cat([tail, x], dim=1)
    tail.copy_(x[:, x.shape[1] - tail.shape[1] :])
    return x


def _picked(x: Tensor, rows: Tensor) -> Tensor:
    """`rows` [B, W] of [B, T, C] -> [B, W, C]."""
    return x.gather(1, rows[:, :, None].expand(-1, -1, x.shape[2]))
