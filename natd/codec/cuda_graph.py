"""A step as a CUDA graph: all its kernels are launched at once, on the same addresses every time.

Graphs are made for a few batch sizes; a batch is filled up to the next of them. `NATD_CUDA_GRAPHS=0` makes none: every
operation is then launched by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from natd.codec.state import gather, leaves, with_leaves
from natd.errors import ConfigError, ModelError

S = TypeVar("S")  # a state, see `natd.codec.state`
SWITCH = "NATD_CUDA_GRAPHS"
SIZES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)  # of the batches that graphs are made for
MOST = SIZES[-1]  # rows: a larger batch is made of several
WARM_UP = 3  # runs before a capture, which may not choose kernels or make plans
_here = threading.local()


def wanted() -> bool:
    """Whether graphs are to be made at all: yes, unless `NATD_CUDA_GRAPHS=0`."""
    value = os.environ.get(SWITCH, "1")
    if value not in ("0", "1"):
        raise ConfigError(f"{SWITCH}={value}: it is 1 (as without it) or 0")
    return value == "1"


def size_of(batch: int) -> int:
    """The size that a batch of up to `MOST` rows is filled up to."""
    return next(size for size in SIZES if size >= batch)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Within it this thread's recorders run their steps as they are: what is around them is recorded, or measured."""
    before = is_unrecorded()
    _here.unrecorded = True
    try:
        yield
    finally:
        _here.unrecorded = before


def is_unrecorded() -> bool:
    """Whether this thread is within `unrecorded`."""
    return getattr(_here, "unrecorded", False)


class Maker:
    """Makes graphs on one device; they share memory for what they need while they run, and so run one at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self._beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def graph(self, body: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        """The graph of `body`, which runs `WARM_UP` times for it, and what it gives at every replay.

        ModelError if it does what no graph can hold, such as waiting for the device.
        """
        made = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device):
            self._beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._beside):
                for _ in range(WARM_UP):
                    body()
            torch.cuda.current_stream().wait_stream(self._beside)
            try:
                with torch.cuda.graph(made, pool=self._pool, stream=self._beside, capture_error_mode="thread_local"):
                    given = body()
            except RuntimeError as error:
                raise ModelError(
                    f"a step cannot be recorded as a CUDA graph ({error}); {SWITCH}=0 does without"
                ) from error
        return made, given


class CudaRecordings(Generic[S]):
    """`recordings(chunk, state)` is `step(chunk, state)`: same codes, same state, updated in place.

    Graphs run on a state of their own, which takes the rows of the one that is given and gives them back.
    """

    def __init__(self, step: Callable[[Tensor, S], list[Tensor]], maker: Maker) -> None:
        self._step, self._maker = step, maker
        self._made: dict[tuple[int, ...], _Recording[S]] = {}

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        """Samples [B, ...], the state of B streams -> codes; the first call of a size and shape records."""
        if chunk.shape[0] > MOST:
            split = zip(*(torch.split(leaf, MOST) for leaf in (chunk, *leaves(state))), strict=True)
            parts = [self(rows, with_leaves(state, own)) for rows, *own in split]
            return [torch.cat(codes) for codes in zip(*parts, strict=True)]
        key = (size_of(chunk.shape[0]), *chunk.shape[1:])
        with torch.inference_mode():  # whoever calls first: what is made here is changed in place by all
            recording = self._made.get(key)
            if recording is None:
                recording = self._made[key] = _Recording(self._step, chunk, state, key[0], self._maker)
            return recording(chunk, state)


class _Recording(Generic[S]):
    """The graph of one size."""

    def __init__(
        self, step: Callable[[Tensor, S], list[Tensor]], chunk: Tensor, state: S, size: int, maker: Maker
    ) -> None:
        # The rows that fill up begin as the last one given, and hear silence.
        rows = torch.arange(size, device=maker.device).clamp_(max=chunk.shape[0] - 1)
        held = gather(state, rows)
        self._leaves = leaves(held)
        self._chunk = torch.zeros(size, *chunk.shape[1:], dtype=chunk.dtype, device=maker.device)
        self._graph, self._codes = maker.graph(lambda: step(self._chunk, held))

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        batch, given = chunk.shape[0], leaves(state)
        held = [leaf[:batch] for leaf in self._leaves]
        self._chunk[:batch].copy_(chunk, non_blocking=True)
        _copy(held, given)
        self._graph.replay()
        _copy(given, held)
        return [code[:batch].clone() for code in self._codes]


def _copy(to: Sequence[Tensor], of: Sequence[Tensor]) -> None:
    """Tensor by tensor, in one call for each dtype: there are tens of them, and most are small."""
    for dtype in {tensor.dtype for tensor in of}:
        pairs = [(a, b) for a, b in zip(to, of, strict=True) if b.dtype == dtype and b.numel()]
        if pairs:
            torch._foreach_copy_([a for a, _ in pairs], [b for _, b in pairs])
