"""Checks that a fitted codebook must pass before it is shipped, on audio it was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from natd.codebooks.fit import twins
from natd.errors import ModelError


def require_live(name: str, codes: Tensor, centres: Tensor) -> None:
    """ModelError if a code of 1..K-1 is chosen by no training frame, or two centres [K-1, D] coincide."""
    unused = int((torch.bincount(codes, minlength=len(centres) + 1)[1:] == 0).sum())
    double = len(twins(centres))
    if unused or double:
        raise ModelError(f"codebook {name} has {unused} codes that no frame chose and {double} that repeat another")


def require_falling(energy: Mapping[str, list[float]]) -> None:
    """ModelError unless the energy of every kind (with no layer, after A0, after A1, ...) falls at each layer."""
    for kind, values in energy.items():
        for layer, (before, after) in enumerate(zip(values, values[1:], strict=False)):
            if not after < before:
                raise ModelError(
                    f"residual energy on held-out {kind} does not fall at layer A{layer}: {before:.4f} to {after:.4f}"
                )


def usage(codes: Tensor, size: int) -> dict[str, float]:
    """Codes used, perplexity (2 to the entropy) and entropy in bits of codes [N] of an alphabet of `size`."""
    counts = torch.bincount(codes, minlength=size).double()
    share = counts[counts > 0] / counts.sum()
    bits = max(0.0, -float((share * share.log2()).sum()))
    return {"used": int((counts > 0).sum()), "size": size, "bits": bits, "perplexity": 2.0**bits}
