"""Products with a constant matrix that is read once for all rows; what a row gives does not depend on the others.

On the CPU float32 goes through `natd.codec.kernels`, bfloat16 (and everything where there are no kernels) through
oneDNN, which sums every output over the inputs in one order, whatever the number of rows, from two rows on
(`tests/codec/test_packed.py` looks at every number of rows that occurs). A single row would go another way there, and
two take half as long again as four: they are given company.

On CUDA the library chooses an order of sums by the number of rows. There float32 is multiplied in float64 and rounded
once: a sum in another order then gives another value for one in 10^8 or fewer. bfloat16 is not, and promises nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec import kernels
from natd.errors import ModelError

PACK_ROWS = 16  # what oneDNN's layout is made for; it serves any number
FEWEST = 4  # rows of a product of oneDNN
ACTIVATIONS = kernels.ACTIVATIONS
_PRODUCT = torch.ops.mkldnn._linear_pointwise.default  # overloads by name: looking for the right one takes time
_WITH_SUM = torch.ops.mkldnn._linear_pointwise.binary


def batch_invariant(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether what a row of these products gives does not depend on the others."""
    return device.type == "cpu" or dtype == torch.float32


class Linear:
    """`activation(x @ weight.T + bias)` for `weight` [N, K] and `bias` [N] or none, in the dtype of `weight`.

    `gelu` is the exact one (erf).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"no activation {activation!r}: {', '.join(ACTIVATIONS)}")
        if weight.dim() != 2 or not weight.numel() or bias is not None and bias.shape != weight.shape[:1]:
            of = None if bias is None else tuple(bias.shape)
            raise ValueError(f"a matrix of {tuple(weight.shape)} with a bias of {of}")
        self._product = _chosen(weight, bias, activation)

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[..., K] -> [..., N], with `plus` [..., N] added before the activation."""
        return self._product(x, plus)


def _chosen(weight: Tensor, bias: Tensor | None, activation: str) -> kernels.Matrix | _OneDNN | _Plain:
    if weight.device.type != "cpu":
        return _Plain(weight, bias, activation)
    if kernels.serves(weight):
        # A matrix of numbers that bfloat16 holds is read at half the cost, and the sums are the same to the bit.
        small = weight.bfloat16()
        return kernels.Matrix(small if torch.equal(small.float(), weight) else weight, bias, activation)
    return _OneDNN(weight, bias, activation)


class _Plain:
    """As torch has it; float32 in float64, rounded once."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str) -> None:
        self._dtype, self._activation = weight.dtype, activation
        wide = torch.float64 if weight.dtype == torch.float32 else weight.dtype
        self._weight, self._bias = weight.to(wide), None if bias is None else bias.to(wide)

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        y = functional.linear(x.to(self._weight.dtype), self._weight, self._bias).to(self._dtype)
        return _activated(y if plus is None else y + plus, self._activation)


class _OneDNN:
    """A layout of the matrix made once. Source: oneDNN's inner product, as torch exposes it to its own compiler."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str) -> None:
        if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            raise ModelError(
                "natd was installed without a C compiler and this torch has no oneDNN: it cannot run the tokenizers "
                "of other authors on the CPU; install gcc and then natd again"
            )
        self.width = weight.shape[0]
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACK_ROWS)
        self._bias = None if bias is None else bias.contiguous()
        self._activation = activation

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        shape = x.shape[:-1]
        x = _company(x)
        y: Tensor
        if plus is not None:  # as a part of the product it costs no reading and writing of its own
            y = _activated(_WITH_SUM(x, _company(plus), self._weight, self._bias, "add"), self._activation)
        elif self._activation == "elu":
            y = _activated(_PRODUCT(x, self._weight, self._bias, "none", [], ""), "elu")
        else:
            algorithm = "none" if self._activation == "gelu" else ""
            y = _PRODUCT(x, self._weight, self._bias, self._activation, [], algorithm)
        return y[: shape.numel()].view(*shape, self.width)


def elu(x: Tensor) -> Tensor:
    """ELU of every element alone, wherever in the tensor it stands."""
    if kernels.serves(x):
        return kernels.elu(x)
    if not x.is_cpu:
        return functional.elu(x)
    # torch's own rounds the last few of a tensor in another way there, and its expm1 takes up to seven times the time.
    y = x.clamp(max=0.0).exp_().sub_(1.0)
    return torch.maximum(x, y, out=y)


def _company(x: Tensor) -> Tensor:
    x = x.reshape(-1, x.shape[-1])
    return x if x.shape[0] >= FEWEST else functional.pad(x, (0, 0, 0, FEWEST - x.shape[0]))


def _activated(y: Tensor, name: str) -> Tensor:
    if name == "relu":
        return functional.relu(y)
    if name == "elu":
        return elu(y)
    return functional.gelu(y) if name == "gelu" else y
