"""Shards whose frames lie about a corner of the feature space that belongs to their kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from natd.codec.scene import WIDTH
from natd.training.shards import Shard

Toy = tuple[tuple[str, ...], str, int]  # kinds, group, frames


def corner(kinds: Sequence[str]) -> torch.Tensor:
    """A place in the feature space that belongs to the first of the kinds."""
    draw = torch.Generator().manual_seed(sum(map(ord, kinds[0])))
    return torch.randn(WIDTH, generator=draw)


def shard(name: str, takes: Sequence[Toy], seed: int = 0, spread: float = 0.5, silent: float = 0.1) -> Shard:
    """Takes in order; a share of the frames is silent and holds what no sounding frame does."""
    draw = torch.Generator().manual_seed(seed)
    counts = torch.tensor([frames for *_, frames in takes])
    take = torch.repeat_interleave(torch.arange(len(takes)), counts)
    centres = torch.stack([corner(kinds) for kinds, *_ in takes])
    scene = centres[take] + spread * torch.randn(len(take), WIDTH, generator=draw)
    quiet = torch.rand(len(take), generator=draw) < silent
    scene[quiet] = 1000.0
    return Shard(
        name,
        scene.half(),
        torch.randn(len(take), 29, generator=draw),
        quiet,
        take,
        torch.zeros(0, 1024, dtype=torch.float16),
        [kinds for kinds, *_ in takes],
        [group for _, group, _ in takes],
        [f"toy/{kinds[0]}" for kinds, *_ in takes],
    )
