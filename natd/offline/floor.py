"""What a step cannot cost less than: its products at the speed of this core, its weights at that of the memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from natd.codec import kernels
from natd.codec.packed import Linear

# Operation -> which of its arguments are multiplied.
PRODUCTS = {
    "aten::mm": (0, 1), "aten::addmm": (1, 2), "aten::bmm": (0, 1), "aten::baddbmm": (1, 2),
    "mkldnn::_linear_pointwise": (0, 1), "mkldnn::_linear_pointwise.binary": (0, 2),
}  # fmt: skip
TRANSFORMS = ("aten::_fft_r2c", "aten::_fft_c2r")
FIELD, SIDE = 64 << 20, 1024  # bytes read to find the speed of the memory; side of the matrices for that of the core
TRIES = 5


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, floating-point operations of products and transforms, and bytes that products read."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations, self.flops, self.read = 0, 0.0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count it."""
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        name = func.name()
        if name in PRODUCTS:
            x, other = (args[i] for i in PRODUCTS[name])
            rows = x.numel() // x.shape[-1]
            # oneDNN's linear takes its matrix as [N, K], the others as [K, N].
            wide = other.shape[0] if name.startswith("mkldnn") else other.shape[-1]
            self.flops += 2.0 * rows * x.shape[-1] * wide
            self.read += x.element_size() * (x.numel() + math.prod(other.shape))
        elif name in TRANSFORMS:
            real = out if name == "aten::_fft_c2r" else args[0]
            self.flops += 2.5 * real.numel() * math.log2(real.shape[-1])
        return out


def counted(call: Callable[[], Any]) -> Counted:
    """What one call does."""
    count = Counted()

    def seen(flops: float, read: int) -> None:  # the kernels are no operations of torch's
        count.operations += 1
        count.flops += flops
        count.read += read

    kernels.observer = seen
    try:
        with count:
            call()
    finally:
        kernels.observer = None
    return count


@dataclass(frozen=True, slots=True)
class Core:
    """What one core can do: float32 operations and bytes a second."""

    flops: float
    bytes: float

    def floor_ms(self, count: Counted) -> float:
        """The longer of computing and reading, if the two overlap wholly."""
        return 1e3 * max(count.flops / self.flops, count.read / self.bytes)


def core() -> Core:
    """The best of some tries, on one thread: a packed product of large matrices, and the sum of a large field."""
    side = torch.ones(SIDE, SIDE)
    product, field = Linear(side), torch.ones(FIELD // 4)
    return Core(2.0 * SIDE**3 / _least_s(lambda: product(side)), FIELD / _least_s(field.sum))


def _least_s(call: Callable[[], Tensor]) -> float:
    taken = []
    for _ in range(TRIES):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return min(taken)
