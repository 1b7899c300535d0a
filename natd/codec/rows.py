"""Row by row: operations whose rounding could depend on the batch run on one row at a time, always in the same shape.

A matrix product, a transform, a running sum or a logarithm may round differently when the batch has another size or a
row lies at another address. Here every row goes through the same call with the same shape and 64-byte alignment, so
what a row gives does not depend on its company. Sums, products, quotients and roots of single elements are correctly
rounded by IEEE 754, comparisons and gathers are exact: those run on the whole batch. No transform is longer than 4096:
a longer one is split over threads and then rounds differently with their number.

On CUDA a call a row would leave the device idle, and its libraries promise no order of sums. There the whole batch runs
in one call in float64 and is rounded once: a sum in another order then gives another value for one in 10^8 or fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

ALIGN = 16  # float32 values in 64 bytes, the alignment torch gives a fresh tensor


def padded(n: int) -> int:
    """The next multiple of `ALIGN`."""
    return -(-n // ALIGN) * ALIGN


def product(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b] @ weight` for each row b: [B, M, K] and [K, N] -> [B, M, N]; M*K is a multiple of `ALIGN`."""
    if _at_once(x):
        return rounded(torch.matmul, x, weight)
    _check(x)
    return _together([torch.mm(row, weight) for row in x.unbind()])


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x[b] @ weight + bias` for each row b: [B, M, K], [K, N] and [M or 1, N] -> [B, M, N], aligned as `product`."""
    if _at_once(x):
        return rounded(lambda x, weight, bias: torch.matmul(x, weight).add_(bias), x, weight, bias)
    _check(x)
    return _together([torch.addmm(bias, row, weight) for row in x.unbind()])


def pair_product(x: Tensor, y: Tensor) -> Tensor:
    """`x[b] @ y[b]` for each row b: [B, M, K] and [B, K, N] -> [B, M, N], aligned as `product`."""
    if _at_once(x):
        return rounded(torch.matmul, x, y)
    _check(x)
    _check(y)
    return _together([torch.mm(row, other) for row, other in zip(x.unbind(), y.unbind(), strict=True)])


def mixture(weight: Tensor, x: Tensor) -> Tensor:
    """`weight @ x[b]` for each row b: [M, K] and [B, K, N] -> [B, M, N], aligned as `product`."""
    if _at_once(x):
        return rounded(torch.matmul, weight, x)
    _check(x)
    return _together([torch.mm(weight, row) for row in x.unbind()])


def group_product(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b, g] @ weight[g]` for each row b: [B, G, M, K] and [G, K, N] -> [B, G, M, N], aligned as `product`."""
    if _at_once(x):
        return rounded(_by_group, x, weight)
    _check(x)
    return _together([torch.bmm(row, weight) for row in x.unbind()])


def each(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`fn(x[b])` for each row b, stacked: for what has no other guarantee (FFT, cumsum, log).

    `fn` counts axes from the last, and takes others before them as they come.
    """
    if _at_once(x):
        return rounded(fn, x)
    _check(x)
    return _together([fn(row) for row in x.unbind()])


def decibel(power: Tensor, floor_db: float) -> Tensor:
    """10 log10 of `power` [B, ...], at least `floor_db`."""
    db = each(torch.log10, power.clamp(min=10.0 ** (floor_db / 10)).contiguous())
    return db.mul_(10.0).clamp_(min=floor_db)


def _at_once(x: Tensor) -> bool:
    return x.is_cuda


def rounded(fn: Callable[..., Tensor], *x: Tensor) -> Tensor:
    """`fn` of all rows in float64, rounded to the dtype of the first."""
    return fn(*(each.double() for each in x)).to(x[0].dtype)


def _by_group(x: Tensor, weight: Tensor) -> Tensor:
    b, g, m, k = x.shape
    y = torch.bmm(x.transpose(0, 1).reshape(g, b * m, k), weight)
    return y.view(g, b, m, -1).transpose(0, 1).contiguous()


def _together(parts: list[Tensor]) -> Tensor:
    """The rows' results as one batch; a single row is not copied."""
    return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)


def _check(x: Tensor) -> None:
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return  # addresses are no part of a recording
    row = math.prod(x.shape[1:])
    if not x.is_contiguous() or row % ALIGN or x.data_ptr() % 64:
        raise ValueError(
            f"rows of {tuple(x.shape)} {x.dtype} are not contiguous, aligned and a multiple of {ALIGN} long"
        )
