"""Products, activations, attention and recurrences in C, for float32 on the CPU.

What they give for a row depends on nothing but that row: not on how many there are, nor on threads, nor, from AVX2 on,
on the processor. They are compiled when natd is installed; without a compiler there are none: see `available`.
Tensors are passed by address: nothing here keeps one longer than its call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from natd.codec.kernels import library

PANEL = 32  # columns that lie together, see product.h
LANES = 16  # channels and places that `ring_attention` takes together
ACTIVATIONS = ("none", "relu", "gelu", "elu")  # in the order of `activated` in vectors.h
WORTH_SHARING = 2e7  # multiplications: below that, waking another thread costs more than it takes over
observer: Callable[[float, int], None] | None = None  # is told the floating-point operations and bytes of every product
_pools: dict[int, ThreadPoolExecutor] = {}


def available() -> bool:
    """Whether natd was installed with a C compiler."""
    return library.chosen() is not None


def serves(x: Tensor) -> bool:
    """Whether there are kernels for `x`: float32 on the CPU."""
    return x.is_cpu and x.dtype == torch.float32 and available()


def _observed(rows: int, *matrices: tuple[int, int]) -> None:
    if observer is not None:
        for width, depth in matrices:
            observer(2.0 * rows * width * depth, 4 * (rows * depth + width * depth))


def _library() -> ctypes.CDLL:
    found = library.chosen()
    assert found is not None, "asked for where there are none"
    return found


def _check(holds: bool, of: Tensor, otherwise: str) -> None:
    """What C is given by address, C cannot look at."""
    if not holds:
        raise ValueError(f"a tensor of {tuple(of.shape)} {of.dtype} on {of.device} {otherwise}")


def _check_floats(*tensors: Tensor) -> None:
    for of in tensors:
        _check(of.dtype == torch.float32 and of.is_cpu and of.is_contiguous(), of, "is not float32 in one piece")


class Matrix:
    """`activation(x @ weight.T + bias)` for `weight` [N, K], float32 or bfloat16, and `bias` [N] or none; x is float32.

    `panels` and `bias` are as product.h has them; `beyond` stands in the bias where a panel has no column.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, activation: str = "none", beyond: float = 0.0,
        of: ctypes.CDLL | None = None,
    ) -> None:  # fmt: skip
        self.width, self.depth = weight.shape
        _check(bias is None or bias.shape == (self.width,), weight, "has a bias of another length")
        count = -(-self.width // PANEL)
        more = count * PANEL - self.width
        self._halves = weight.dtype == torch.bfloat16
        panels = functional.pad(weight, (0, 0, 0, more)).view(count, PANEL, -1).transpose(1, 2)
        if self._halves:  # column i beside column i + 16
            panels = panels.reshape(count, self.depth, 2, -1).transpose(2, 3)
        self.panels = panels.contiguous()
        bias = torch.zeros(self.width) if bias is None else bias.float()
        self.bias = functional.pad(bias, (0, more), value=beyond).contiguous()
        self._activation = ACTIVATIONS.index(activation)
        self._product = (of or _library()).natd_product
        self._at = self.panels.data_ptr(), self.bias.data_ptr()

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[..., K] -> [..., N], with `plus` [..., N] added before the activation."""
        shape = x.shape[:-1]
        _check(x.shape[-1] == self.depth, x, f"has not {self.depth} terms")
        if x.dim() != 3 or x.stride(2) != 1:
            x = x.reshape(1, -1, self.depth)
            x = x if x.stride(2) == 1 else x.contiguous()
        _check(x.dtype == torch.float32 and x.is_cpu, x, "is not float32 on the CPU")
        batch, steps, _ = x.shape
        rows = batch * steps
        if observer is not None:
            _observed(rows, (self.width, self.depth))
        apart, beside, _ = x.stride()
        out, side = x.new_empty(*shape, self.width), x.new_empty(rows, self.depth)
        if plus is not None:
            _check(plus.shape == out.shape, plus, f"is not of {tuple(out.shape)}")
            plus = plus.contiguous()
            _check_floats(plus)
        given = library.Windows(x.data_ptr(), batch, steps, apart, beside)
        to = 0 if plus is None else plus.data_ptr(), self._activation, out.data_ptr()
        threads = torch.get_num_threads()
        if threads == 1 or rows * self.depth * self.width < WORTH_SHARING:
            self._run(given, to, 0, self.panels.shape[0], side)
        else:
            cuts = [self.panels.shape[0] * i // threads for i in range(threads + 1)]
            sides = [side, *(torch.empty_like(side) for _ in range(threads - 1))]
            run = partial(self._run, given, to)
            list(_pool(threads).map(run, cuts[:-1], cuts[1:], sides))
        return out

    def _run(self, given: library.Windows, to: tuple[int, int, int], begin: int, end: int, side: Tensor) -> None:
        panels, bias = self._at
        self._product(given, panels, self._halves, self.depth, self.width, begin, end, bias, *to, side.data_ptr())


def elu(x: Tensor) -> Tensor:
    """ELU of every element."""
    x = x.contiguous()
    _check_floats(x)
    out = torch.empty_like(x)
    _library().natd_elu(x.data_ptr(), x.numel(), out.data_ptr())
    return out


def snake(x: Tensor, a: Tensor, inverse: Tensor, over: bool = False) -> Tensor:
    """`x + sin(a x)^2 * inverse` of [..., C], `a` and `inverse` [C]; `over`: it may be written over `x`."""
    x = x.contiguous()
    _check_floats(x, a, inverse)
    _check(x.shape[-1:] == a.shape == inverse.shape, x, f"has not {len(a)} channels")
    out = x if over else torch.empty_like(x)
    _library().natd_snake(
        x.data_ptr(), x.numel() // len(a), len(a), a.data_ptr(), inverse.data_ptr(), out.data_ptr()
    )  # fmt: skip
    return out


def depthwise(x: Tensor, taps: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Every channel's convolution with its own taps [K, C], `dilation` steps apart: [B, T, C] -> all whole outputs."""
    x = x.contiguous()
    batch, length, channels = x.shape
    _check_floats(x, taps, bias)
    _check(taps.shape[1:] == bias.shape == x.shape[2:], x, f"has not {taps.shape[1]} channels")
    steps = length - (len(taps) - 1) * dilation
    _check(steps >= 0, x, f"is shorter than {len(taps)} taps {dilation} apart")
    out = x.new_empty(batch, steps, channels)
    _library().natd_depthwise(
        x.data_ptr(), batch, length, steps, channels, taps.data_ptr(), len(taps), dilation, bias.data_ptr(),
        out.data_ptr(),
    )  # fmt: skip
    return out


def lstm(drive: Tensor, memory: Matrix, hidden: Tensor, cell: Tensor) -> Tensor:
    """What the inputs give for the gates [B, T, 4 C] (admit, keep, show, candidate) -> outputs [B, T, C].

    `hidden` and `cell` [B, C] move on; C is a multiple of 32.
    """
    batch, steps, width = drive.shape[0], drive.shape[1], drive.shape[2] // 4
    out, side = drive.new_empty(batch, steps, width), drive.new_empty(batch, 4 * width)
    drive = drive.contiguous()
    _check_floats(drive, hidden, cell)
    _check(hidden.shape == cell.shape == (batch, width), drive, f"does not fit a memory of {tuple(hidden.shape)}")
    _check((memory.width, memory.depth) == (4 * width, width) and width % PANEL == 0, drive, "does not fit the weights")
    _observed(batch, *[(4 * width, width)] * steps)
    _library().natd_lstm(
        drive.data_ptr(), batch, steps, width, memory.panels.data_ptr(), hidden.data_ptr(), cell.data_ptr(),
        out.data_ptr(), side.data_ptr(),
    )  # fmt: skip
    return out


class Residual:
    """Codebooks, each for what the ones before it left over: [K, D] and minus half the codes' squared lengths."""

    def __init__(self, books: Sequence[tuple[Tensor, Tensor]]) -> None:
        for codes, _ in books:
            _check(codes.shape[1:] == books[0][0].shape[1:], codes, f"is beside one of {tuple(books[0][0].shape)}")
        self._held = [(Matrix(codes, half, beyond=-torch.inf), codes.contiguous()) for codes, half in books]
        self._books = (library.Codebook * len(books))(
            *(
                library.Codebook(m.panels.data_ptr(), m.bias.data_ptr(), codes.data_ptr(), len(codes))
                for m, codes in self._held
            )
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Vectors [..., D] -> codes [books, ...] int64; of equally near codes the lowest."""
        left = x.clone(memory_format=torch.contiguous_format)
        _check_floats(left)
        _check(x.shape[-1] == self._held[0][0].depth, x, f"has not {self._held[0][0].depth} terms")
        codes = torch.empty(len(self._books), *x.shape[:-1], dtype=torch.int64)
        rows = codes[0].numel()
        _observed(rows, *((matrix.width, matrix.depth) for matrix, _ in self._held))
        _library().natd_residual(left.data_ptr(), rows, x.shape[-1], self._books, len(self._books), codes.data_ptr())
        return codes


def ring_attention(mixed: Tensor, turn: Tensor, seen: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """Query, key and value of positions [B, T, H, 3, D], turned by [B, T, D], after `seen` [B] of them -> [B, T, H, D].

    `turn` has cosines and sines in turns. Keys [B, H, D, R] and values [B, H, R, D] are written at the positions'
    places, which are those modulo R. D and R are multiples of 16.
    """
    batch, steps, heads, _, depth = mixed.shape
    ring = values.shape[2]
    _check_floats(mixed, turn, keys, values)
    _check(turn.shape == (batch, steps, depth) and depth % LANES == ring % LANES == 0, mixed, "does not fit its turns")
    _check(keys.shape == (batch, heads, depth, ring), keys, f"is no ring for {tuple(mixed.shape)}")
    _check(values.shape == (batch, heads, ring, depth), values, f"is no ring for {tuple(mixed.shape)}")
    _check(seen.shape == (batch,) and seen.dtype == torch.int64, seen, "does not count positions")
    _observed(batch * heads * steps, (values.shape[2], depth), (depth, values.shape[2]))
    shape = library.AttentionShape(batch, steps, heads, depth, values.shape[2], window)
    out, weights = mixed.new_empty(batch, steps, heads, depth), mixed.new_empty(values.shape[2])
    _library().natd_ring_attention(
        shape, mixed.data_ptr(), turn.data_ptr(), seen.data_ptr(), keys.data_ptr(), values.data_ptr(), out.data_ptr(),
        weights.data_ptr(),
    )  # fmt: skip
    return out


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="product")
    return _pools[threads]
