"""Products with a constant matrix that is read once for all rows; what a row gives does not depend on the others.

On the CPU the matrix is laid out once for oneDNN, which then sums every output over the inputs in one order, whatever
the number of rows, from two rows on (`tests/codec/test_packed.py` looks at every number of rows that occurs). A single
row would go another way, and two take half as long again as four: they are given company. On CUDA the library chooses,
and promises nothing of the kind.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from natd.errors import ModelError

PACK_ROWS = 16  # what the layout is made for; it serves any number
FEWEST = 4  # rows of a product
ACTIVATIONS = ("none", "relu", "gelu")


class Linear:
    """`activation(x @ weight.T + bias)` for `weight` [N, K] and `bias` [N] or none, in the dtype of `weight`.

    `gelu` is the exact one (erf). Source: oneDNN's inner product, as torch exposes it to its own compiler.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"no activation {activation!r}: {', '.join(ACTIVATIONS)}")
        self.width = weight.shape[0]
        self._bias = None if bias is None else bias.contiguous()
        self._activation = activation
        self._packed = weight.device.type == "cpu"
        if self._packed and not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            raise ModelError("this torch has no oneDNN: it cannot run the tokenizers of other authors on the CPU")
        weight = weight.contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACK_ROWS) if self._packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]."""
        if not self._packed:
            return _activated(functional.linear(x, self._weight, self._bias), self._activation)
        shape = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        rows = x.shape[0]
        if rows < FEWEST:
            x = functional.pad(x, (0, 0, 0, FEWEST - rows))
        algorithm = "none" if self._activation == "gelu" else ""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, self._activation, [], algorithm)
        return (y[:rows] if rows < FEWEST else y).view(*shape, self.width)


def _activated(y: Tensor, name: str) -> Tensor:
    if name == "relu":
        return functional.relu(y)
    return functional.gelu(y) if name == "gelu" else y
