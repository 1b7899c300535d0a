"""Residual quantizers whose layers look in a few dimensions of their own for the code of the nearest direction.

A layer may hold for several vectors in a row: it quantizes their mean. Source: Kumar et al., High-Fidelity Audio
Compression with Improved RVQGAN (2023), after Yu et al., Vector-quantized Image Modeling with Improved VQGAN (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor
from torch.nn import functional

from natd.codec import rows
from natd.codec.packed import Linear


class FactorisedCodebook:
    """`PREFIX.in_proj` and `.out_proj` (pointwise convolutions), `.codebook` [K, D]; one code for `stride` vectors.

    Directions are compared by their distance, in the steps of the published code: codes nearer to each other than
    float32 tells apart are then chosen alike. Of the lengths of the directions, 1 but for rounding, that of a code
    counts `length` times (1, or -1 in transformers' DAC).
    """

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str, stride: int = 1, length: float = 1.0) -> None:
        def pointwise(name: str) -> Linear:
            return Linear(tensors[f"{prefix}.{name}.weight"][:, :, 0], tensors[f"{prefix}.{name}.bias"])

        self.stride = stride
        self.codes = tensors[f"{prefix}.codebook.weight"].contiguous()
        self._in, self._out = pointwise("in_proj"), pointwise("out_proj")
        directions = functional.normalize(self.codes)
        self._twice = Linear(2 * directions)
        self._lengths = length * directions.pow(2).sum(1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [B, T, C] -> codes [B, T / stride] (of equally near codes the lowest), what they stand for."""
        own = self._in(_means(x, self.stride))
        direction = _alike(partial(functional.normalize, dim=-1), own)
        apart = _alike(lambda x: x.pow(2).sum(-1, keepdim=True), direction) - self._twice(direction)
        code = apart.add_(self._lengths).argmin(-1)
        # As in training, where the gradient goes around the codes: it rounds otherwise than the code alone.
        found = own + (functional.embedding(code, self.codes) - own)
        return code, self._spread(self._out(found))

    def decode(self, code: Tensor) -> Tensor:
        """Codes [B, T / stride] -> vectors [B, T, C]."""
        return self._spread(self._out(functional.embedding(code, self.codes)))

    def _spread(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else x.repeat_interleave(self.stride, dim=1)


class FactorisedQuantizer:
    """Each codebook quantizes what those before it left over."""

    def __init__(self, books: list[FactorisedCodebook]) -> None:
        self.books = books
        if len({book.codes.shape for book in books}) > 1:
            raise ValueError(f"one quantizer with codebooks of {[tuple(book.codes.shape) for book in books]}")

    def encode(self, x: Tensor) -> list[Tensor]:
        """Vectors [B, T, C] -> per codebook the codes [B, T / stride]."""
        codes = []
        for book in self.books:
            code, found = book.encode(x)
            codes.append(code)
            x = x - found
        return codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of any number of codebooks from the first -> vectors [B, T, C]."""
        total = self.books[0].decode(codes[0])
        for book, code in zip(self.books[1:], codes[1:], strict=False):
            total = total + book.decode(code)
        return total


def _alike(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`fn`, which sums, in any batch."""
    return rows.rounded(fn, x) if x.is_cuda else fn(x)


def _means(x: Tensor, count: int) -> Tensor:
    """Of every `count` vectors in a row."""
    if count == 1:
        return x
    total = x[:, ::count]
    for i in range(1, count):
        total = total + x[:, i::count]
    return total / count
