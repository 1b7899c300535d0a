"""Codebooks for models with random weights, made of the vectors [T, D] that there are to code."""

from collections.abc import Callable

import torch
from torch import Tensor

Book = Callable[[Tensor, int, torch.Generator], Tensor]  # vectors, how many codes, random numbers -> codes [K, D]


def beside(spread: float) -> Book:
    """Codes beside some of the vectors, as far as that part of their deviation: each of these has its own code."""

    def drawn(x: Tensor, count: int, draw: torch.Generator) -> Tensor:
        rows = torch.randint(len(x), (count,), generator=draw)
        return x[rows] + spread * x.std() * torch.randn(count, x.shape[1], generator=draw)

    return drawn


def among(spread: float) -> Book:
    """Codes that lie as the vectors do, `spread` as far from their mean, and are nobody's own: choices are close."""

    def drawn(x: Tensor, count: int, draw: torch.Generator) -> Tensor:
        mean = x.mean(0)
        return mean + spread / len(x) ** 0.5 * torch.randn(count, len(x), generator=draw) @ (x - mean)

    return drawn
