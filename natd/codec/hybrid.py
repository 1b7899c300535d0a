"""Two tokenizers as one: the semantic layers of the first, the acoustic ones of the second, aligned by sample time.

`hubert+soundstream` is AudioLM's pairing (Borsos et al., 2022). A frame lasts as long as whole frames of both do; each
part takes its own steps in it, so every layer keeps its own rate (`per_frame`). Where the parts differ in sampling
rate, the stream has the higher one and the other part hears it through a filter, later by `RateChange.delay_s` (2 ms).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor

from natd.codec import LookAhead, Spec, Tokenizer
from natd.codec.packed_conv import TailState
from natd.codec.rate import RateChange
from natd.errors import ConfigError
from natd.wire import TokenizerInfo

LONGEST_S = 2  # of a frame


@dataclass(slots=True)
class PartState:
    """State of a part, of its change of rate (none or one), and the codes that wait for the other part [B, n, c]."""

    own: Any
    rate: list[TailState]
    waiting: list[Tensor]


@dataclass(slots=True)
class HybridState:
    """What the parts remember."""

    parts: list[PartState]


class Part:
    """One of the two: its tokenizer, which layers of it are taken, and how it fits into the frame of both."""

    def __init__(self, tokenizer: Tokenizer, kind: str, sr: int, frame: Fraction, device: str) -> None:
        spec = tokenizer.spec
        self.tokenizer, self.name = tokenizer, spec.info.name
        self.taken = [i for i, layer in enumerate(spec.layers) if layer.type == kind]
        if not self.taken:
            raise ConfigError(f"{self.name} has no {kind} layers")
        self.steps = int(frame * spec.sr / spec.frame_samples)
        self.change = None if spec.sr == sr else RateChange(sr, spec.sr, device)
        self.wait = 0  # own frames, for the other part
        self._device = torch.device(device)
        self.layers = tuple(
            dataclasses.replace(spec.layers[i], per_frame=spec.layers[i].per_frame * self.steps) for i in self.taken
        )

    def initial_state(self, batch: int) -> PartState:
        """Nothing heard."""
        layers = [self.tokenizer.spec.layers[i] for i in self.taken]
        return PartState(
            self.tokenizer.initial_state(batch),
            [] if self.change is None else [self.change.initial_state(batch)],
            [torch.zeros(batch, self.wait, of.per_frame, dtype=torch.int64, device=self._device) for of in layers],
        )

    def encode(self, chunk: Tensor, state: PartState) -> list[Tensor]:
        """One frame of both [B, n] -> codes of the taken layers, each [B, steps * per_frame]."""
        if self.change is not None:
            chunk = self.change(chunk, state.rate[0])
        said: list[list[Tensor]] = []
        for own in chunk.chunk(self.steps, dim=1):
            codes = self.tokenizer.encode(own.contiguous(), state.own)
            said.append([codes[i] for i in self.taken])
        out = []
        for waiting, of_layer in zip(state.waiting, zip(*said, strict=True), strict=True):
            line = torch.cat([waiting, torch.stack(of_layer, 1)], dim=1)
            waiting.copy_(line[:, self.steps :])
            out.append(line[:, : self.steps].flatten(1))
        return out


class Hybrid:
    """The tokenizer made of two."""

    def __init__(self, semantic: Tokenizer, acoustic: Tokenizer, device: str = "cpu") -> None:
        specs = (semantic.spec, acoustic.spec)
        sr = max(spec.sr for spec in specs)
        frame = _together(specs, sr)
        self.parts = [
            Part(semantic, "semantic", sr, frame, device),
            Part(acoustic, "acoustic", sr, frame, device),
        ]
        late = [spec.delay_frames for spec in specs]
        delay = max(-(-own // part.steps) for own, part in zip(late, self.parts, strict=True))
        for own, part in zip(late, self.parts, strict=True):
            part.wait = delay * part.steps - own
        self.glossary: Mapping[str, Mapping[int, str]] = {
            layer.name: part.tokenizer.glossary[layer.name]
            for part in self.parts
            for layer in part.layers
            if layer.name in part.tokenizer.glossary
        }
        layers = tuple(layer for part in self.parts for layer in part.layers)
        self.spec = Spec(_info(*specs, delay * float(frame) * 1e3), sr, int(frame * sr), layers, delay)

    def initial_state(self, batch: int) -> HybridState:
        """State of `batch` streams that have heard nothing."""
        return HybridState([part.initial_state(batch) for part in self.parts])

    def encode(self, chunk: Tensor, state: HybridState) -> list[Tensor]:
        """One frame [B, frame_samples] float32 -> semantic codes of the first, acoustic ones of the second part."""
        return [code for part, own in zip(self.parts, state.parts, strict=True) for code in part.encode(chunk, own)]

    @property
    def sounds(self) -> tuple[Tokenizer, int]:
        """The acoustic part, and how many of its frames are one of both."""
        return self.parts[1].tokenizer, self.parts[1].steps

    def finish(self, state: HybridState) -> None:
        """The sounds of all rows end with the frames they have had; steps of silence then give the other codes."""
        for part, own in zip(self.parts, state.parts, strict=True):
            if part.tokenizer.spec.delay_frames:
                cast(LookAhead, part.tokenizer).finish(own.own)


def _together(specs: tuple[Spec, Spec], sr: int) -> Fraction:
    """The shortest time (s) that is whole frames of both and whole samples of the stream."""
    first, second = (Fraction(spec.frame_samples, spec.sr) for spec in specs)
    unit = first.denominator * second.denominator
    both = Fraction(math.lcm(int(first * unit), int(second * unit)), unit)
    if both > LONGEST_S or (both * sr).denominator != 1:
        raise ConfigError(
            f"frames of {float(first) * 1e3:g} and {float(second) * 1e3:g} ms meet only every {float(both):g} s, and "
            f"must within {LONGEST_S} s: choose others (encodec, dac: frames=; hubert and the like: hop=, window=)"
        )
    return both


def _info(semantic: Spec, acoustic: Spec, late_ms: float) -> TokenizerInfo:
    infos = (semantic.info, acoustic.info)
    named = ["+".join(getattr(info, of) for info in infos) for of in ("name", "version", "dtype")]
    digest = hashlib.sha256(
        "+".join(f"{info.codebook_id} {info.name} {info.dtype}" for info in infos).encode()
    ).hexdigest()
    return TokenizerInfo(
        named[0], named[1], f"sha256:{digest}", causal=all(info.causal for info in infos),
        lookahead_ms=late_ms, dtype=named[2],
        batch_invariant=all(info.batch_invariant for info in infos),
    )  # fmt: skip
