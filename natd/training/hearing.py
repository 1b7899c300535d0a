"""Recordings through the front end of `ears`: every frame's descriptors and log-mel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec.descriptors import FrontEnd
from natd.codec.mel import FRAME
from natd.codec.threads import one_thread
from natd.training.recordings import Clip, samples_of

BATCH = 16
Part = tuple[Tensor, Tensor, Tensor]  # of one clip: silent [T], descriptors [T, 29], log-mel [T, 8, 128]


@dataclass(slots=True)
class Frames:
    """Frames of many clips: silent [N], descriptors [N, 29], log-mel [N, 8, 128]; the clip of each [N]."""

    clips: list[Clip]
    silent: Tensor
    descriptors: Tensor
    log_mel: Tensor
    clip: Tensor

    def __len__(self) -> int:
        return len(self.silent)


def hear(clips: list[Clip], progress: Callable[[str], None], seconds: float | None = None) -> Frames:
    """All whole frames of (the first `seconds` of) `clips`, clip by clip in the order given.

    On one thread: the steps are too small to share.
    """
    with one_thread():
        return _hear(clips, progress, seconds)


def _hear(clips: list[Clip], progress: Callable[[str], None], seconds: float | None) -> Frames:
    front = FrontEnd()
    by_clip: dict[int, Part] = {}
    order = sorted(range(len(clips)), key=lambda i: (clips[i].path.stat().st_size, i))
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        by_clip |= dict(zip(batch, _hear_batch(front, [clips[i] for i in batch], seconds), strict=True))
        if at % (10 * BATCH) == 0:
            progress(f"heard {at} of {len(order)} recordings")
    parts = [by_clip[i] for i in range(len(clips))]
    silent, descriptors, log_mel = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    lengths = torch.tensor([len(part[0]) for part in parts])
    return Frames(clips, silent, descriptors, log_mel, torch.repeat_interleave(torch.arange(len(clips)), lengths))


@torch.no_grad()
def _hear_batch(front: FrontEnd, clips: list[Clip], seconds: float | None) -> list[Part]:
    """The clips side by side as streams; a clip that is over goes on with silence that is not kept."""
    audio = [torch.from_numpy(samples_of(c.path, seconds=seconds)) for c in clips]
    counts = [len(a) // FRAME for a in audio]
    chunks = torch.zeros(len(clips), max(counts), FRAME)
    for row, (samples, count) in enumerate(zip(audio, counts, strict=True)):
        chunks[row, :count] = samples[: count * FRAME].view(count, FRAME)
    state = front.initial_state(len(clips))
    heard = [front(chunks[:, f].contiguous(), state) for f in range(max(counts))]
    silent = torch.stack([h.silent for h in heard], dim=1)
    descriptors = torch.stack([h.descriptors for h in heard], dim=1)
    log_mel = torch.stack([h.log_mel for h in heard], dim=1)
    return [(silent[row, :n], descriptors[row, :n], log_mel[row, :n]) for row, n in enumerate(counts)]
