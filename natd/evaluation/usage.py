"""How much of its alphabet a layer uses, and how often it changes."""

from __future__ import annotations

import numpy as np
import torch

from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import Coded


def counts(coded: Coded, layer: str, size: int) -> Floats:
    """How often each clip has each code [C, size]."""
    flat = coded.clip[layer] * size + coded.codes[layer]
    return np.asarray(torch.bincount(flat, minlength=coded.clips * size).view(coded.clips, size).double().numpy())


def used(sums: Floats) -> Floats:
    """Codes that occur."""
    return np.asarray((sums > 0).sum(axis=1), dtype=np.float64)


def bits(sums: Floats) -> Floats:
    """Entropy of a code in bits [B], of counts [B, size]."""
    share = sums / sums.sum(axis=1, keepdims=True)
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    return np.asarray(np.abs(-(share * logs).sum(axis=1)))  # abs: of -0.0, which an entropy is not


def perplexity(sums: Floats) -> Floats:
    """2 to the entropy."""
    return np.asarray(2.0 ** bits(sums))


def changes(coded: Coded, layer: str) -> Floats:
    """Per clip: how often a code differs from the one before, and how many have one before [C, 2]."""
    code, clip = coded.codes[layer], coded.clip[layer]
    same_clip = clip[1:] == clip[:-1]
    changed = (code[1:] != code[:-1]) & same_clip
    columns = [
        torch.zeros(coded.clips, dtype=torch.float64).index_add_(0, clip[1:], x.double()) for x in (changed, same_clip)
    ]
    return np.asarray(torch.stack(columns, dim=1).numpy())
