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
_PRODUCT = torch.ops.mkldnn._linear_pointwise.default  # overloads by name: looking for the right one takes time
_WITH_SUM = torch.ops.mkldnn._linear_pointwise.binary


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
        self._algorithm = "none" if activation == "gelu" else ""
        self._packed = weight.device.type == "cpu"
        if self._packed and not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            raise ModelError("this torch has no oneDNN: it cannot run the tokenizers of other authors on the CPU")
        weight = weight.contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACK_ROWS) if self._packed else weight

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[..., K] -> [..., N], with `plus` [..., N] added (only without an activation)."""
        if not self._packed:
            alone = _activated(functional.linear(x, self._weight, self._bias), self._activation)
            return alone if plus is None else alone + plus
        shape = x.shape[:-1]
        x = _company(x)
        y: Tensor
        if plus is not None:  # as a part of the product it costs no reading and writing of its own
            y = _WITH_SUM(x, _company(plus), self._weight, self._bias, "add")
        else:
            y = _PRODUCT(x, self._weight, self._bias, self._activation, [], self._algorithm)
        return y[: shape.numel()].view(*shape, self.width)


def _company(x: Tensor) -> Tensor:
    x = x.reshape(-1, x.shape[-1])
    return x if x.shape[0] >= FEWEST else functional.pad(x, (0, 0, 0, FEWEST - x.shape[0]))


def _activated(y: Tensor, name: str) -> Tensor:
    if name == "relu":
        return functional.relu(y)
    return functional.gelu(y) if name == "gelu" else y
