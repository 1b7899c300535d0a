"""Clips as codes: what every figure is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from natd.codec import Spec, Tokenizer
from natd.codec.descriptors import SILENCE_DBFS
from natd.evaluation.bootstrap import Floats

BATCH = 16
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Coded:
    """Codes of many clips, by layer: the codes [N], the clip of each [N] and whether its frame was silent [N]."""

    codes: Mapping[str, Tensor]
    clip: Mapping[str, Tensor]
    silent: Mapping[str, Tensor]
    clips: int

    def shuffled(self, generator: torch.Generator) -> Coded:
        """The same codes at random places, each layer by itself: what chance gives."""
        mixed = {name: code[torch.randperm(len(code), generator=generator)] for name, code in self.codes.items()}
        return replace(self, codes=mixed)

    def only(self, keep: Callable[[str], Tensor]) -> Coded:
        """The codes for which `keep(layer)` [N] is true; clips keep their numbers."""
        masks = {name: keep(name) for name in self.codes}
        parts = [{name: part[name][masks[name]] for name in masks} for part in (self.codes, self.clip, self.silent)]
        return Coded(parts[0], parts[1], parts[2], self.clips)

    def sounding(self) -> Coded:
        """Without silent frames."""
        return self.only(lambda name: ~self.silent[name])


def sizes_of(spec: Spec) -> dict[str, int]:
    """Layer -> number of codes."""
    return {layer.name: layer.vocab for layer in spec.layers}


def rate_of(spec: Spec, layer: str) -> float:
    """Codes per second of a layer."""
    return next(row.per_frame for row in spec.layers if row.name == layer) * spec.sr / spec.frame_samples


def groups_of(spec: Spec) -> dict[str, list[str]]:
    """The semantic, the acoustic and all layers; only those groups that have layers."""
    kinds = {"S": "semantic", "A": "acoustic"}
    found = {name: [row.name for row in spec.layers if row.type == kind] for name, kind in kinds.items()}
    found = {name: layers for name, layers in found.items() if layers}
    return found | ({"S+A": found["S"] + found["A"]} if len(found) == 2 else {})


def per_clip(columns: Sequence[Tensor], clip: Tensor, clips: int) -> Floats:
    """Sums of each column [N] over the codes of each clip [clips, columns]; `clip` [N] says whose a code is."""
    sums = [torch.zeros(clips, dtype=torch.float64).index_add_(0, clip, column.double()) for column in columns]
    return np.asarray(torch.stack(sums, dim=1).numpy())


def encode(tokenizer: Tokenizer, audio: Sequence[Samples]) -> Coded:
    """All whole frames of clips at the tokenizer's rate; each clip is a stream of its own, the shorter ones first."""
    spec = tokenizer.spec
    width = BATCH if spec.info.batch_invariant else 1
    found: dict[int, list[Tensor]] = {}
    order = sorted(range(len(audio)), key=lambda i: (len(audio[i]), i))
    for at in range(0, len(order), width):
        batch = order[at : at + width]
        found |= dict(zip(batch, encode_batch(tokenizer, [audio[i] for i in batch]), strict=True))
    silent = [_silent(clip, spec.frame_samples) for clip in audio]
    codes, clip, quiet = {}, {}, {}
    for number, layer in enumerate(spec.layers):
        lengths = torch.tensor([len(found[i][number]) for i in range(len(audio))], dtype=torch.int64)
        codes[layer.name] = torch.cat([found[i][number] for i in range(len(audio))])
        clip[layer.name] = torch.repeat_interleave(torch.arange(len(audio)), lengths)
        quiet[layer.name] = torch.cat(silent).repeat_interleave(layer.per_frame)
    return Coded(codes, clip, quiet, len(audio))


@torch.no_grad()
def encode_batch(tokenizer: Tokenizer, audio: Sequence[Samples]) -> list[list[Tensor]]:
    """Per clip and layer the codes [frames * per_frame]; a clip that is over goes on with silence that is not kept."""
    frame = tokenizer.spec.frame_samples
    counts = [len(clip) // frame for clip in audio]
    delay = tokenizer.spec.delay_frames
    chunks = torch.zeros(len(audio), max(counts) + delay, frame)
    for line, (clip, count) in enumerate(zip(audio, counts, strict=True)):
        chunks[line, :count] = torch.from_numpy(clip[: count * frame]).view(count, frame)
    state: Any = tokenizer.initial_state(len(audio))
    steps = [
        [code.cpu() for code in tokenizer.encode(chunks[:, f].contiguous(), state)] for f in range(chunks.shape[1])
    ]
    empty = torch.zeros(0, dtype=torch.int64)
    return [
        [
            torch.cat([step[k][line] for step in steps[delay : delay + count]]) if count else empty
            for k in _layers(tokenizer)
        ]
        for line, count in enumerate(counts)
    ]


def _layers(tokenizer: Tokenizer) -> Iterator[int]:
    return iter(range(len(tokenizer.spec.layers)))


def _silent(clip: Samples, frame: int) -> Tensor:
    """Frames [T] whose RMS without the mean is below the level of silence."""
    frames = clip[: len(clip) // frame * frame].reshape(-1, frame).astype(np.float64)
    return torch.from_numpy(frames.var(axis=1) < 10.0 ** (SILENCE_DBFS / 10))
