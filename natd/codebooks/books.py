"""What makes tensors codebooks: the recorded names and shapes, finite numbers, no code twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from natd.errors import ModelError

CODES = ".codes"  # `S0.codes` [K, D] of a semantic layer, `A.codes` [levels, K, D] of the acoustic ones
TWIN_SHARE = 1e-6


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """What `check` compares with: name -> shape."""
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def check(what: str, tensors: Mapping[str, Tensor], recorded: Any) -> None:
    """ModelError naming the fault unless `tensors` are the `recorded` codebooks, float32, finite, every code once."""
    if not isinstance(recorded, dict) or not recorded:
        raise ModelError(f"{what} records no shapes of codebooks")
    for name in recorded.keys() - tensors.keys():
        raise ModelError(f"{what} lacks the codebook {name}")
    for name in tensors.keys() - recorded.keys():
        raise ModelError(f"{what} holds {name}, which is not recorded")
    for name, tensor in sorted(tensors.items()):
        _check_one(f"{name} of {what}", tensor, recorded[name], 3 if name == f"A{CODES}" else 2)


def twins(centres: Tensor, share: float = TWIN_SHARE) -> Tensor:
    """Indices of codes that lie on an earlier code: nearer than `share` of the codes' mean squared length."""
    squares = (centres.double() ** 2).sum(1)
    gap = squares[:, None] + squares[None] - 2.0 * (centres.double() @ centres.double().T)
    close = (gap < share * float(squares.mean())).tril(-1)
    return close.any(1).nonzero()[:, 0]


def _check_one(what: str, tensor: Tensor, recorded: Any, axes: int) -> None:
    if tensor.dtype != torch.float32:
        raise ModelError(f"{what} is {tensor.dtype}, codebooks are torch.float32")
    if list(tensor.shape) != recorded or tensor.dim() != axes or 0 in tensor.shape:
        raise ModelError(f"{what} has the shape {list(tensor.shape)}, recorded is {recorded}, of {axes} axes")
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{what} holds values that are not finite")
    for level, codes in enumerate(tensor if axes == 3 else [tensor]):
        same = twins(codes).tolist()
        if same:
            raise ModelError(f"{what}, level {level}: code {same[0]} lies on an earlier one ({len(same)} such codes)")
