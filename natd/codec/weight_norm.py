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

    KeyError if a pair has lost one of its two. Source: Salimans and Kingma, Weight Normalization (2016).
    """
    found = dict(tensors)
    for length, direction in PAIRS:
        for name in [name for name in tensors if name.endswith((length, direction))]:
            base = name.removesuffix(length).removesuffix(direction)
            if f"{base}.weight" in found:
                continue
            with one_thread():  # long sums would be split over threads
                found[f"{base}.weight"] = torch._weight_norm(found.pop(base + direction), found.pop(base + length), 0)
    return found
