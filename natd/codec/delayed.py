"""Codecs that look ahead, as streams: every layer gives what it would give for the whole signal, only later.

A layer that needs input from after its output waits for it; paths that meet wait for the slower one. Nothing is
computed twice. Signals are [B, T, C], zero outside the sound as torch's padding would have them: the delays are
known when the layers are made, how much of its sound a row has heard is state, and so rows may differ in age.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

ENDLESS = 1 << 40  # frames; the end of a sound that goes on


@dataclass(frozen=True, slots=True)
class Axis:
    """A signal's time: `per_frame` samples a step, late by `delay` of them, of `channels`.

    The whole signal of n frames has n * `per_frame` + `more` samples.
    """

    per_frame: int
    channels: int
    delay: int = 0
    more: int = 0


@dataclass(slots=True)
class ExtentState:
    """Steps taken, and the frames of the sound (`ENDLESS` while it goes on): [B] int64."""

    steps: Tensor
    end: Tensor


@dataclass(slots=True)
class ChainState:
    """Where the rows are in their sounds, and the states of the layers, in their order."""

    extent: ExtentState
    layers: list[Any]


class Moment:
    """One step: for each axis which of its samples lie in the sound; `steps` [B] were taken before it."""

    def __init__(self, extent: ExtentState, spans: Sequence[tuple[Axis, Tensor]]) -> None:
        self.steps = extent.steps
        begin, end = extent.steps[:, None], extent.end[:, None]
        self._inside: dict[tuple[int, int], Tensor] = {}
        for axis, offsets in spans:
            at = begin * axis.per_frame + offsets
            inside = (at >= 0) & (at < end * axis.per_frame + axis.more)
            self._inside[axis.per_frame, axis.more] = inside.unsqueeze(2).float()

    def inside(self, axis: Axis) -> Tensor:
        """1 for the samples of the sound, 0 for the others: [B, per_frame, 1]."""
        every = self._inside[axis.per_frame, axis.more]
        start = every.shape[1] - axis.per_frame - axis.delay
        return every[:, start : start + axis.per_frame]


class Layer(Protocol):
    """A part of a chain; `axis` is that of what it gives."""

    axis: Axis

    def initial_state(self, batch: int) -> Any:
        """Nothing came."""

    def __call__(self, x: Tensor, state: Any, moment: Moment) -> Tensor:
        """[B, T, C] -> [B, T', C']; `state` moves on; the result may be written over `x`."""


class Chain:
    """Layers one after the other; sounds end at a multiple of `window` frames, with silence where they are shorter."""

    def __init__(self, axis: Axis, layers: Sequence[Layer], window: int = 1, device: str = "cpu") -> None:
        self._first, self._layers, self._window, self._device = axis, list(layers), window, device
        self.axis = layers[-1].axis
        longest: dict[tuple[int, int], Axis] = {}
        for one in (axis, *(layer.axis for layer in layers)):
            found = longest.get((one.per_frame, one.more), one)
            longest[one.per_frame, one.more] = max(found, one, key=lambda a: a.delay)
        self._spans = [(a, torch.arange(-a.delay, a.per_frame, device=device)) for a in longest.values()]

    def initial_state(self, batch: int) -> ChainState:
        """Nothing came."""
        steps = torch.zeros(batch, dtype=torch.int64, device=self._device)
        extent = ExtentState(steps, torch.full_like(steps, ENDLESS))
        return ChainState(extent, [layer.initial_state(batch) for layer in self._layers])

    def finish(self, state: ChainState) -> None:
        """The sounds of all rows end with the frames they have had; what follows them must be silence."""
        windows = (state.extent.steps + (self._window - 1)).div(self._window, rounding_mode="floor")
        state.extent.end.copy_(windows * self._window)

    def __call__(self, x: Tensor, state: ChainState) -> Tensor:
        """One frame [B, T, C] -> [B, T', C'], late by `axis.delay`."""
        moment = Moment(state.extent, self._spans)
        x = x * moment.inside(self._first)
        for layer, own in zip(self._layers, state.layers, strict=True):
            x = layer(x, own, moment)
        state.extent.steps.add_(1)
        return x
