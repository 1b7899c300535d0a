"""Where two programs chose different codes: how much nearer one is than the other, and whether float32 can tell.

All in float64, from what each program quantized. Both begin with numbers that differ in the last bits; a choice is a
near tie where that, and the rounding on the way to the distances, is more than the gap between the two distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

EPS = 2.0**-23
STEPS = 8  # roundings on the way to a distance, beside one for each layer before
MOVED = 1e-3  # of a vector's size: programs of which one is further from the other are not at one place
MOST = 5000  # differences that are looked at


@dataclass(frozen=True, slots=True)
class Heard:
    """Codes [T / stride] of every layer, and what was quantized by its name: [T, C]."""

    codes: list[Tensor]
    latents: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Gap:
    """Of two codes at one place: the distance of the one above the other's, relative to it; what float32 cannot tell.

    `moved`: how far apart the two programs' vectors lie there, relative to their size.
    """

    gap: float
    told: float
    moved: float


class Space(Protocol):
    """Residual layers in which codes are nearest; `strides` says for how many vectors a code of each stands."""

    strides: Sequence[int]

    def gap(self, layer: int, at: int, theirs: Tensor, ours: Tensor, codes: Sequence[Tensor], other: int) -> Gap:
        """Between `codes[layer][at]` and `other`, where the layers before agree."""


class Euclidean:
    """The nearest of `books` [K, D] to what those before left over of a vector, behind the projection `into` [D, C]."""

    def __init__(self, books: Sequence[Tensor], into: Tensor | None = None) -> None:
        self._books = [book.double() for book in books]
        self._into = None if into is None else into.double()
        self.strides = [1] * len(books)

    def gap(self, layer: int, at: int, theirs: Tensor, ours: Tensor, codes: Sequence[Tensor], other: int) -> Gap:
        x, y = (self._projected(v[at].double()) for v in (theirs, ours))
        left = x - sum((b[int(c[at])] for b, c in zip(self._books[:layer], codes, strict=False)), torch.zeros_like(x))
        book = self._books[layer]
        moved = float((x - y).norm()) + (STEPS + layer) * EPS * float(x.norm())
        return _gap(left, book[int(codes[layer][at])], book[other], moved, float((x - y).norm() / x.norm()))

    def _projected(self, x: Tensor) -> Tensor:
        return x if self._into is None else self._into @ x


class Factorised:
    """SNAC's and DAC's: each layer looks in a few dimensions for the nearest direction.

    A layer: weight and bias into them [D, C], [D] and out of them, codes [K, D], stride.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]]) -> None:
        self._layers = [tuple(t.double() for t in layer[:5]) for layer in layers]
        self.strides = [layer[5] for layer in layers]

    def gap(self, layer: int, at: int, theirs: Tensor, ours: Tensor, codes: Sequence[Tensor], other: int) -> Gap:
        stride = self.strides[layer]
        x, y = (v[at * stride : (at + 1) * stride].double().mean(0) for v in (theirs, ours))
        into, bias, _, _, book = self._layers[layer]
        before = torch.zeros_like(x)
        for i in range(layer):
            code = int(codes[i][at * stride // self.strides[i]])
            before += self._layers[i][2] @ self._layers[i][4][code] + self._layers[i][3]
        own, mine = into @ (x - before) + bias, into @ (y - before) + bias
        length = float(torch.linalg.matrix_norm(into, 2))
        moved = float((own - mine).norm()) + (STEPS + layer) * EPS * length * float(x.norm())
        near, far = (functional.normalize(book[code], dim=0) for code in (int(codes[layer][at]), other))
        apart = 2 * moved / float(own.norm())
        return _gap(functional.normalize(own, dim=0), near, far, apart, float((x - y).norm() / x.norm()))


def _gap(x: Tensor, near: Tensor, far: Tensor, moved: float, apart: float) -> Gap:
    """`moved`: how far `x` may be from what either program had; `apart` goes through."""
    one, other = float((x - near).square().sum()), float((x - far).square().sum())
    rounding = STEPS * EPS * float(x.norm() + near.norm()) ** 2
    told = 2 * moved * float((near - far).norm()) + rounding
    least = max(min(one, other), 1e-300)
    return Gap(abs(one - other) / least, told / least, apart)


@dataclass(frozen=True, slots=True)
class Chain:
    """Which of a tokenizer's layers quantize what the ones before them left over, of which latents, in which space."""

    layers: Sequence[int]
    space: Space
    latents: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Another code in a layer whose earlier layers agree: what follows from it in later layers does not count."""

    layer: int
    at: int  # vectors of the finest layer from the start
    gap: Gap

    @property
    def near(self) -> bool:
        """A near tie: no float32 program can be held to either code."""
        return self.gap.gap <= self.gap.told and self.gap.moved <= MOVED


def differences(theirs: Heard, ours: Heard, chains: Sequence[Chain]) -> list[Difference]:
    """In the order of time."""
    found: list[Difference] = []
    for chain in chains:
        found += _of_chain(theirs, ours, chain)
    return sorted(found, key=lambda one: (one.at, one.layer))


def _of_chain(theirs: Heard, ours: Heard, chain: Chain) -> list[Difference]:
    codes, other = ([heard.codes[i] for i in chain.layers] for heard in (theirs, ours))
    x, y, strides = theirs.latents[chain.latents], ours.latents[chain.latents], chain.space.strides
    wrong = torch.stack(
        [(a != b).repeat_interleave(s) for a, b, s in zip(codes, other, strides, strict=True)]
    ).int()  # [layers, T]
    roots = (wrong == 1) & (wrong.cumsum(0) == 1)
    found = []
    for layer, stride in enumerate(strides):
        for at in roots[layer, ::stride].nonzero()[:MOST, 0].tolist():
            gap = chain.space.gap(layer, at, x, y, codes, int(other[layer][at]))
            found.append(Difference(chain.layers[layer], at * stride, gap))
    return found
