"""Quantizers: nearest code by its distance, and residual layers of them.

In `ears` code 0 is silence and is never nearest; in the codecs of others every code is an ordinary one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec import kernels, rows
from natd.codec.kernels.chain import Gram
from natd.codec.packed import Linear

SILENCE = 0


class Codebook:
    """`codes` [K, D] float32; code 0 stands for silence and is chosen by `silent` alone. D is a multiple of 16."""

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes.contiguous()
        k, d = codes.shape
        live = codes[1:].double()
        self.weight = torch.zeros(d, rows.padded(k), device=codes.device)
        self.weight[:, 1:k] = live.T.float()
        self.offset = torch.full((1, self.weight.shape[1]), -torch.inf, device=codes.device)
        self.offset[0, 1:k] = (-0.5 * (live * live).sum(1)).float()

    def near(self, x: Tensor) -> Tensor:
        """Vectors [B, D] -> half the squared distance to each code from 1 on, negative, but for what all share [B, K'].

        The highest is the nearest; what is no code has minus infinity.
        """
        return rows.affine(x.unsqueeze(1), self.weight, self.offset).squeeze(1)

    def nearest(self, x: Tensor) -> Tensor:
        """Vectors [B, D] -> the nearest codes [B] int64 in 1..K-1; of equally near codes the lowest."""
        return self.near(x).argmax(1)

    def __call__(self, x: Tensor, silent: Tensor) -> Tensor:
        """Vectors [B, D] and silence [B] -> codes [B]."""
        return self.nearest(x).masked_fill_(silent, SILENCE)


class ResidualQuantizer:
    """Each layer quantizes what the layers before it left over."""

    def __init__(self, books: list[Codebook]) -> None:
        self.books = books

    def encode(self, x: Tensor, silent: Tensor) -> list[Tensor]:
        """Vectors [B, D] -> per layer the codes [B]."""
        codes = []
        for book in self.books:
            code = book.nearest(x)
            codes.append(code)
            x = x - book.codes.index_select(0, code)
        return list(torch.stack(codes).masked_fill_(silent, SILENCE).unbind())

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
        self._native = Gram(self._codes, self._half, self._gram, self.count) if kernels.serves(books) else None

    def encode(self, x: Tensor) -> list[Tensor]:
        """Vectors [B, D] -> per layer the codes [B]; of equally near codes the lowest."""
        if self._native is not None:
            return list(self._native(x).unbind())
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


class EuclideanQuantizer:
    """Residual layers `books`, each [K, D], all of their codes ordinary ones: every vector by itself, in any batch."""

    def __init__(self, books: Sequence[Tensor]) -> None:
        self.books = [book.contiguous() for book in books]
        if len({book.shape for book in self.books}) > 1:
            raise ValueError(f"one quantizer with codebooks of {[tuple(book.shape) for book in self.books]}")
        half = [(-0.5 * (book.double() * book.double()).sum(1)).to(book.dtype) for book in self.books]
        self._native = kernels.Residual(list(zip(self.books, half, strict=True))) if _served(self.books) else None
        self._near = [] if self._native else [Linear(book, h) for book, h in zip(self.books, half, strict=True)]

    def encode(self, x: Tensor) -> list[Tensor]:
        """Vectors [..., D] -> per book the codes [...] int64 of what the books before it left over.

        Of equally near codes the lowest.
        """
        if self._native is not None:
            return list(self._native(x).unbind())
        codes = []
        for book, near in zip(self.books, self._near, strict=True):
            code = near(x).argmax(-1)
            codes.append(code)
            x = x - functional.embedding(code, book)
        return codes

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Per book the codes [...] (any number of books from the first) -> vectors [..., D]."""
        total = functional.embedding(codes[0], self.books[0])
        for book, code in zip(self.books[1:], codes[1:], strict=False):
            total = total + functional.embedding(code, book)
        return total


def _served(books: Sequence[Tensor]) -> bool:
    return len(books) > 0 and kernels.serves(books[0])
