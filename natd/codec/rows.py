"""Row by row: operations whose rounding could depend on the batch run on one row at a time, always in the same shape.

A matrix product, a transform, a running sum or a logarithm may round differently when the batch has another size or a
row lies at another address. Here every row goes through the same call with the same shape and 64-byte alignment, so
what a row gives does not depend on its company. Sums, products, quotients and roots of single elements are correctly
rounded by IEEE 754, comparisons and gathers are exact: those run on the whole batch. No transform is longer than 4096:
a longer one is split over threads and then rounds differently with their number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ALIGN = 16  # float32 values in 64 bytes, the alignment torch gives a fresh tensor


def padded(n: int) -> int:
    """The next multiple of `ALIGN`."""
    return -(-n // ALIGN) * ALIGN


def product(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b] @ weight` for each row b: [B, M, K] and [K, N] -> [B, M, N]; M*K and M*N are multiples of `ALIGN`."""
    out = x.new_empty(x.shape[0], x.shape[1], weight.shape[1])
    _check(x)
    _check(out)
    for b in range(x.shape[0]):
        torch.mm(x[b], weight, out=out[b])
    return out


def pair_product(x: Tensor, y: Tensor) -> Tensor:
    """`x[b] @ y[b]` for each row b: [B, M, K] and [B, K, N] -> [B, M, N], aligned as `product`."""
    out = x.new_empty(x.shape[0], x.shape[1], y.shape[2])
    _check(x)
    _check(y)
    _check(out)
    for b in range(x.shape[0]):
        torch.mm(x[b], y[b], out=out[b])
    return out


def group_product(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b, g] @ weight[g]` for each row b: [B, G, M, K] and [G, K, N] -> [B, G, M, N], aligned as `product`."""
    out = x.new_empty(*x.shape[:3], weight.shape[2])
    _check(x)
    _check(out)
    for b in range(x.shape[0]):
        torch.bmm(x[b], weight, out=out[b])
    return out


def each(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`fn(x[b])` for each row b, stacked: for what has no other guarantee (FFT, cumsum, log)."""
    _check(x)
    return torch.stack([fn(x[b]) for b in range(x.shape[0])])


def decibel(power: Tensor, floor_db: float) -> Tensor:
    """10 log10 of `power` [B, ...], at least `floor_db`."""
    db = each(torch.log10, power.clamp(min=10.0 ** (floor_db / 10)).contiguous())
    return (db * 10.0).clamp(min=floor_db)


def _check(x: Tensor) -> None:
    if not x.is_contiguous() or x[0].numel() % ALIGN or x.data_ptr() % 64:
        raise ValueError(
            f"rows of {tuple(x.shape)} {x.dtype} are not contiguous, aligned and a multiple of {ALIGN} long"
        )
