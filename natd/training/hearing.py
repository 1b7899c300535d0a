"""Recordings through the front end of `ears`: every frame's descriptors, log-mel and layer vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec.descriptors import FrontEnd, Heard
from natd.codec.mel import FRAME
from natd.training.recordings import Clip, samples_of

BATCH = 16


@dataclass(slots=True)
class Frames:
    """Frames of many clips: silent [N], descriptors [N, 29], log-mel [N, 8, 128], by layer vectors [N, n]; clip [N]."""

    clips: list[Clip]
    silent: Tensor
    descriptors: Tensor
    log_mel: Tensor
    vectors: dict[str, Tensor]
    clip: Tensor

    def __len__(self) -> int:
        return len(self.silent)


def hear(clips: list[Clip], progress: Callable[[str], None], seconds: float | None = None) -> Frames:
    """All whole frames of (the first `seconds` of) `clips`, clip by clip in the order given.

    On one thread: the steps are too small to share.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _hear(clips, progress, seconds)
    finally:
        torch.set_num_threads(threads)


def _hear(clips: list[Clip], progress: Callable[[str], None], seconds: float | None) -> Frames:
    front = FrontEnd()
    by_clip: dict[int, list[Heard]] = {}
    order = sorted(range(len(clips)), key=lambda i: (clips[i].path.stat().st_size, i))
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        by_clip |= dict(zip(batch, _hear_batch(front, [clips[i] for i in batch], seconds), strict=True))
        if at % (10 * BATCH) == 0:
            progress(f"heard {at} of {len(order)} recordings")
    flat = [frame for i in range(len(clips)) for frame in by_clip[i]]
    lengths = torch.tensor([sum(len(f.silent) for f in by_clip[i]) for i in range(len(clips))])
    return Frames(
        clips=clips,
        silent=torch.cat([f.silent for f in flat]),
        descriptors=torch.cat([f.descriptors for f in flat]),
        log_mel=torch.cat([f.log_mel for f in flat]),
        vectors={name: torch.cat([f.vectors[name] for f in flat]) for name in flat[0].vectors},
        clip=torch.repeat_interleave(torch.arange(len(clips)), lengths),
    )


@torch.no_grad()
def _hear_batch(front: FrontEnd, clips: list[Clip], seconds: float | None) -> list[list[Heard]]:
    """The clips side by side as streams; a clip that is over goes on with silence that is not kept."""
    audio = [torch.from_numpy(samples_of(c.path, seconds=seconds)) for c in clips]
    counts = [len(a) // FRAME for a in audio]
    chunks = torch.zeros(len(clips), max(counts), FRAME)
    for row, (samples, count) in enumerate(zip(audio, counts, strict=True)):
        chunks[row, :count] = samples[: count * FRAME].view(count, FRAME)
    state = front.initial_state(len(clips))
    heard = [front(chunks[:, f].contiguous(), state) for f in range(max(counts))]
    return [[_stack(heard[:count], row)] if count else [] for row, count in enumerate(counts)]


def _stack(heard: list[Heard], row: int) -> Heard:
    """One stream's frames [T] out of a batch's."""
    return Heard(
        silent=torch.stack([h.silent[row] for h in heard]),
        descriptors=torch.stack([h.descriptors[row] for h in heard]),
        log_mel=torch.stack([h.log_mel[row] for h in heard]),
        vectors={name: torch.stack([h.vectors[name][row] for h in heard]) for name in heard[0].vectors},
    )
