"""Quantizers: nearest code by argmin, and residual layers of them; code 0 is silence and is never nearest."""

from __future__ import annotations

import torch
from torch import Tensor

from natd.codec import rows

SILENCE = 0


class Codebook:
    """`codes` [K, D] float32; code 0 stands for silence and is chosen by `silent` alone. D is a multiple of 16."""

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes.contiguous()
        k, d = codes.shape
        live = codes[1:].double()
        self.weight = torch.zeros(d, rows.padded(k - 1), device=codes.device)
        self.weight[:, : k - 1] = live.T.float()
        self.half = torch.full((self.weight.shape[1],), torch.inf, device=codes.device)
        self.half[: k - 1] = (0.5 * (live * live).sum(1)).float()

    def nearest(self, x: Tensor) -> Tensor:
        """Vectors [B, D] -> codes [B] int64 in 1..K-1; of equally near codes the lowest."""
        # |x - c|^2 / 2 without |x|^2, which is the same for every code.
        far = self.half - rows.product(x[:, None].contiguous(), self.weight)[:, 0]
        least = far.amin(1, keepdim=True)
        order = torch.arange(far.shape[1], device=far.device)
        return torch.where(far == least, order, far.shape[1]).amin(1) + 1

    def __call__(self, x: Tensor, silent: Tensor) -> Tensor:
        """Vectors [B, D] and silence [B] -> codes [B]."""
        return torch.where(silent, SILENCE, self.nearest(x))


class ResidualQuantizer:
    """Each layer quantizes what the layers before it left over."""

    def __init__(self, books: list[Codebook]) -> None:
        self.books = books

    def encode(self, x: Tensor, silent: Tensor) -> list[Tensor]:
        """Vectors [B, D] -> per layer the codes [B]."""
        codes = []
        for book in self.books:
            code = book(x, silent)
            codes.append(code)
            x = x - book.codes[code]
        return codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Per layer the codes [B] (any number of layers from the first) -> vectors [B, D]."""
        return torch.stack([book.codes[code] for book, code in zip(self.books, codes, strict=False)]).sum(0)


class GramQuantizer:
    """Residual layers of K codes, all of them ordinary ones: `books` [Q, K, D]; no projection, no silence.

    The distance to a code changes with the codes before it by their inner products, which are known beforehand: one
    product with all codes, then a table a layer.
    """

    def __init__(self, books: Tensor) -> None:
        self.books = books.contiguous()
        self.count, self.size, width = books.shape
        every = books.reshape(-1, width).double()
        self._codes = every.T.contiguous()
        self._half = 0.5 * (every * every).sum(1)
        self._gram = every @ self._codes

    def encode(self, x: Tensor) -> list[Tensor]:
        """Vectors [B, D] -> per layer the codes [B]; of equally near codes the lowest."""
        far = self._half - rows.product(x.double()[:, None].contiguous(), self._codes)[:, 0]
        codes = []
        for layer in range(self.count):
            at = layer * self.size
            code = far[:, at : at + self.size].argmin(1)
            codes.append(code)
            far = far + self._gram[at + code]
        return codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Per layer the codes [B] (any number of layers from the first) -> vectors [B, D]."""
        total = self.books[0][codes[0]]
        for book, code in zip(self.books[1:], codes[1:], strict=False):
            total = total + book[code]
        return total
