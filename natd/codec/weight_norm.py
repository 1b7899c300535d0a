"""Weight normalization of published checkpoints, folded: a direction and a length become the weight they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from natd.codec.threads import one_thread

PAIRS = (  # what torch calls the length and the direction: since 2.0, and before
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `NAME.weight` in the place of each normalized pair; the length is over all axes but the first.

    KeyError if a pair has lost one of its two, ValueError if they do not fit. Source: Salimans and Kingma, Weight
    Normalization (2016).
    """
    found = dict(tensors)
    for length, direction in PAIRS:
        for name in [name for name in tensors if name.endswith((length, direction))]:
            base = name.removesuffix(length).removesuffix(direction)
            if f"{base}.weight" in found:
                continue
            found[f"{base}.weight"] = weight(found.pop(base + direction), found.pop(base + length), 0)
    return found


def weight(direction: Tensor, length: Tensor, axis: int) -> Tensor:
    """`direction` [O, I, K] brought to `length`, which has one term for each place along `axis`; ValueError if not."""
    shape = [size if i == axis else 1 for i, size in enumerate(direction.shape)]
    if direction.dim() != 3 or list(length.shape) != shape:  # torch would write where there is no memory
        raise ValueError(f"weights of {tuple(direction.shape)} have lengths of {tuple(length.shape)}, not {shape}")
    with one_thread():  # long sums would be split over threads
        return torch._weight_norm(direction, length, axis)
