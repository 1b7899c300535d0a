"""Fitting of S3: a codebook over level, brightness and noisiness, in a readable order, and how long a code is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from natd.codebooks import fit, glossary
from natd.codec.descriptors import COLUMN
from natd.codec.dynamics import SIZE, WEIGHTS, WIDTH, Dynamics
from natd.codec.ears_names import GRADED
from natd.codec.mel import FRAME, SR

Progress = Callable[[str], None]
CHANGES_A_SECOND = 4.3  # on the recordings that are fitted on
TRIED = 9  # halvings of the margin's range


def fit_dynamics(
    table: Tensor, recorded: Tensor, silent: Tensor, take: Tensor, seed: int, progress: Progress
) -> dict[str, Tensor]:
    """Descriptors [N, 29] of sounding frames to fit on; those of whole recordings [M, 29] with silence and take [M].

    The margin by which another code must be nearer is the one that gives 4.3 changes a second on the recordings.
    """
    columns = [COLUMN[name] for name in WEIGHTS]
    x = table[:, columns].double()
    shift, scale = torch.zeros(WIDTH), torch.zeros(WIDTH)
    shift[: len(columns)] = x.mean(0).float()
    weights = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
    scale[: len(columns)] = (weights / x.std(0).clamp(min=1e-6)).float()
    standard = (torch.nn.functional.pad(table[:, columns], (0, WIDTH - len(columns))) - shift) * scale
    held = torch.arange(len(standard)) % 8 == 0
    found = fit.kmeans(standard[~held], standard[held], SIZE - 1, seed)
    progress(f"S3: held-out distortion {found.distortion:.3f}")
    codes = torch.zeros(SIZE, WIDTH)
    codes[1:] = found.centres[_readable(found.centres, shift, scale)]
    tensors = {"S3.shift": shift, "S3.scale": scale, "S3.codes": codes, "S3.near": torch.zeros(1)}
    low, high = 0.0, 4.0 * found.distortion
    for _ in range(TRIED):
        tensors["S3.near"] = torch.tensor([(low + high) / 2])
        rate = changes(Dynamics(tensors), recorded, silent, take)
        low, high = (float(tensors["S3.near"]), high) if rate > CHANGES_A_SECOND else (low, float(tensors["S3.near"]))
    tensors["S3.near"] = torch.tensor([high])
    progress(f"S3: kept by a margin of {high:.3f}, {changes(Dynamics(tensors), recorded, silent, take):.2f} changes/s")
    return tensors


def middles(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name of a descriptor -> its value in the middle of each code's cell [384]."""
    codes, shift, scale = (tensors[f"S3.{name}"].float() for name in ("codes", "shift", "scale"))
    return {name: codes[:, i] / scale[i] + shift[i] for i, name in enumerate(WEIGHTS)}


def _readable(centres: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """An order of the codes in which those of one grade stand together, soft ones first."""
    middle = middles({"S3.codes": centres, "S3.shift": shift, "S3.scale": scale})
    raw = torch.stack([middle[name] for name in GRADED], dim=1)

    def key(i: int) -> tuple[int, ...]:
        words = glossary.grade(*raw[i].tolist()).split()
        scales = (glossary.LOUD, glossary.BRIGHT, glossary.NOISY)
        return (*([w for _, w in s].index(word) for s, word in zip(scales, words, strict=True)), i)

    return torch.tensor(sorted(range(len(raw)), key=key))


def changes(layer: Dynamics, table: Tensor, silent: Tensor, take: Tensor) -> float:
    """Changes of the code a second over recordings, each a stream of its own."""
    counts = torch.bincount(take)
    begins = torch.cumsum(counts, 0) - counts
    changed, of = 0, 0
    for group in torch.split(counts.argsort(stable=True), 64):
        state = layer.initial_state(len(group))
        before: Tensor | None = None
        for t in range(int(counts[group].max())):
            on = counts[group] > t
            at = torch.where(on, begins[group] + t, begins[group])
            code = layer(table[at], silent[at], state)
            if before is not None:
                changed, of = changed + int(((code != before) & on).sum()), of + int(on.sum())
            before = code
    return changed / max(1, of) * SR / FRAME
