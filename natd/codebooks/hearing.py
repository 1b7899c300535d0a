"""Recordings through an encoder: vectors that codebooks are fitted to, others held out, and what each sounds like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from natd.codebooks.fit import Progress
from natd.codec import mel
from natd.codec.descriptors import FrontEnd
from natd.codec.threads import one_thread
from natd.errors import ModelError

TOGETHER, TOGETHER_S = 8, 240.0  # recordings heard side by side, and how long all of them are at most
HELD_OUT = 5  # one recording of so many is held out; of fewer recordings, the last part of each
SHORT_S = 0.2  # a frame below it is too little work to share between threads
SILENT_EVERY = 20  # of silent frames one in so many counts: they are all alike
Samples = NDArray[np.float32]


class Encoder(Protocol):
    """What codebooks are fitted to; `settings` names everything that shapes the vectors (`late_frames`: see `hear`)."""

    sr: int
    frame_samples: int

    def settings(self) -> dict[str, Any]:
        """What JSON can hold."""

    def initial_state(self, batch: int) -> Any:
        """State of `batch` streams that have heard nothing."""

    def vectors(self, chunk: Tensor, state: Any) -> dict[str, Tensor]:
        """One frame [B, frame_samples] float32 -> layer ("S0", ..., "A") -> [B, n, D]; `state` moves on."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file by its name, bytes and sha256, how long it is, and its mono samples at any rate."""

    name: str
    bytes: int
    sha256: str
    seconds: float
    samples: Callable[[int], Samples]


@dataclass(slots=True)
class Heard:
    """Per layer the vectors to fit to [N, D], those held out [M, D], and the descriptors of the former [N, 29]."""

    fit: dict[str, Tensor] = field(default_factory=dict)
    held: dict[str, Tensor] = field(default_factory=dict)
    descriptors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    """What one recording gave for one layer, so many vectors a frame."""

    vectors: Tensor
    descriptors: Tensor
    per_frame: int = 1


def hear(encoder: Encoder, recordings: Sequence[Recording], most: int, seed: int, progress: Progress) -> Heard:
    """At most about `most` vectors a layer, drawn by `seed`; the n-th frame's are those of frame n - `late_frames`.

    The same recordings give the same vectors, in the order of the recordings. ModelError if there is no whole frame.
    """
    parts: list[dict[str, _Part]] = [{} for _ in recordings]
    frames = sum(int(r.seconds * encoder.sr) // encoder.frame_samples for r in recordings)
    done = 0.0
    for group in _groups(recordings):
        together = [recordings[i] for i in group]
        for i, part in zip(group, _together(encoder, together), strict=True):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
            parts[i] = {name: _drawn(layer, most / max(frames, 1), generator) for name, layer in part.items()}
        done += sum(recording.seconds for recording in together)
        progress(f"heard {done:.0f} of {sum(r.seconds for r in recordings):.0f} s")
    return _parted(parts, seed)


def held_out(count: int, seed: int) -> list[int]:
    """Which of `count` recordings are held out; none where the end of each is."""
    if count < HELD_OUT:
        return []
    order = np.random.default_rng((seed, 2)).permutation(count)
    return sorted(int(i) for i in order[: count // HELD_OUT])


def _parted(parts: Sequence[dict[str, _Part]], seed: int) -> Heard:
    out, held = Heard(), set(held_out(len(parts), seed))
    names = sorted({name for part in parts for name in part})
    if not names:
        raise ModelError("the recordings hold no whole frame")
    for name in names:
        found = [(i, part[name]) for i, part in enumerate(parts) if name in part]
        if held:
            fit, rest = ([p for i, p in found if (i in held) == wanted] for wanted in (False, True))
        else:
            cuts = [len(p.vectors) - len(p.vectors) // HELD_OUT for _, p in found]
            fit = [_Part(p.vectors[:cut], p.descriptors[:cut]) for (_, p), cut in zip(found, cuts, strict=True)]
            rest = [_Part(p.vectors[cut:], p.descriptors[cut:]) for (_, p), cut in zip(found, cuts, strict=True)]
        if not any(len(p.vectors) for p in fit) or not any(len(p.vectors) for p in rest):
            raise ModelError(f"{name}: too little sound is left to fit to, or to hold out")
        out.fit[name] = torch.cat([p.vectors for p in fit])
        out.held[name] = torch.cat([p.vectors for p in rest])
        out.descriptors[name] = torch.cat([p.descriptors for p in fit])
    return out


def _groups(recordings: Sequence[Recording]) -> Iterator[list[int]]:
    """Recordings of like length side by side."""
    group: list[int] = []
    for i in sorted(range(len(recordings)), key=lambda i: (recordings[i].seconds, i)):
        if group and (len(group) == TOGETHER or (len(group) + 1) * recordings[i].seconds > TOGETHER_S):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


@torch.no_grad()
def _together(encoder: Encoder, recordings: Sequence[Recording]) -> list[dict[str, _Part]]:
    """The recordings as streams side by side; what comes after the end of one is not kept."""
    chunks, counts = framed([r.samples(encoder.sr) for r in recordings], encoder.frame_samples)
    with one_thread():
        silent, descriptors = _descriptors(recordings)
    late = int(encoder.settings().get("late_frames", 0))
    state, seconds = encoder.initial_state(len(recordings)), encoder.frame_samples / encoder.sr
    with one_thread() if seconds < SHORT_S else nullcontext():
        steps = [encoder.vectors(chunks[:, f].contiguous(), state) for f in range(chunks.shape[1])]
    found: list[dict[str, _Part]] = []
    for row, count in enumerate(counts):
        found.append({})
        for name in steps[0] if count > late else ():
            x = torch.cat([step[name][row].float().cpu() for step in steps[late:count]])
            n = len(x) // (count - late)
            at = ((torch.arange(len(x)) + 0.5) * (seconds / n * mel.SR / mel.FRAME)).long()
            at = at.clamp(max=descriptors.shape[1] - 1)
            quiet = silent[row, at]
            keep = ~quiet | (quiet.cumsum(0) % SILENT_EVERY == 1)
            found[row][name] = _Part(x[keep], descriptors[row, at[keep]], n)
    return found


def _descriptors(recordings: Sequence[Recording]) -> tuple[Tensor, Tensor]:
    """By the front end of `ears`: silent [B, T] and descriptors [B, T, 29], at 12.5 frames a second."""
    chunks, _ = framed([r.samples(mel.SR) for r in recordings], mel.FRAME)
    front = FrontEnd()
    state = front.initial_state(len(recordings))
    heard = [front(chunks[:, f].contiguous(), state) for f in range(chunks.shape[1])]
    return torch.stack([h.silent for h in heard], 1), torch.stack([h.descriptors for h in heard], 1)


def framed(audio: Sequence[Samples], frame: int, least: int = 0) -> tuple[Tensor, list[int]]:
    """Samples in frames [B, frames, frame], silence behind the shorter ones, and how many are whole in each.

    With `least` 1 what is shorter than a frame is one frame all the same.
    """
    counts = [max(least, len(samples) // frame) for samples in audio]
    chunks = torch.zeros(len(audio), max(1, *counts), frame)
    for row, (samples, count) in enumerate(zip(audio, counts, strict=True)):
        whole = samples[: count * frame]
        chunks[row].view(-1)[: len(whole)] = torch.from_numpy(np.ascontiguousarray(whole))
    return chunks, counts


def _drawn(part: _Part, most_a_frame: float, generator: torch.Generator) -> _Part:
    keep = torch.rand(len(part.vectors), generator=generator) < most_a_frame / part.per_frame
    return _Part(part.vectors[keep], part.descriptors[keep])
