"""One step of a tokenizer, recorded once for each batch size and replayed without Python between its operations.

On the CPU a recording is a trace, run as recorded: the same calls on the same shapes, so the codes are equal bit for
bit. On CUDA it is a graph of kernels. Either knows nothing but its inputs: the state stays with the caller.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from natd.codec.state import leaves, with_leaves

S = TypeVar("S")  # a state, see `natd.codec.state`
Step = Callable[[Tensor, S], list[Tensor]]
MOST = 8  # rows of a recording: a larger batch is made of several, so that there are never more to make and to keep
CUDA_WARM_UP = 3  # runs before a capture, which may not choose kernels or make plans


class Recorder(Generic[S]):
    """`recorder(chunk, state)` is `step(chunk, state)`: same codes, same state, updated in place.

    The step may branch on shapes and on nothing else, what it reads beside its arguments never changes, and what it
    gives for a row does not depend on the others.
    """

    def __init__(self, step: Step[S]) -> None:
        self.step = step
        self._recordings: dict[int, Callable[[Tensor, S], list[Tensor]]] = {}

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        """Samples [B, ...], the state of B streams -> codes; the first call for a B up to `MOST` records."""
        batch = chunk.shape[0]
        if batch > MOST:
            return self._in_parts(chunk, state)
        recording = self._recordings.get(batch)
        if recording is None:
            kind = _CudaRecording if leaves(state)[0].is_cuda else _Trace
            recording = self._recordings[batch] = kind(self.step, chunk, state)
        return recording(chunk, state)

    def _in_parts(self, chunk: Tensor, state: S) -> list[Tensor]:
        split = zip(*(torch.split(leaf, MOST) for leaf in (chunk, *leaves(state))), strict=True)
        parts = [self(rows, with_leaves(state, own)) for rows, *own in split]
        return [torch.cat(codes) for codes in zip(*parts, strict=True)]


class _Trace(Generic[S]):
    """A trace takes the tensors of the state as inputs: they may be others at each call."""

    def __init__(self, step: Step[S], chunk: Tensor, state: S) -> None:
        def flat(chunk: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            return tuple(step(chunk, with_leaves(state, tensors)))

        copies = [leaf.clone() for leaf in leaves(state)]  # to run the step on
        flat(chunk, *copies)  # once as it is: what it refuses is refused, and what it makes at first use is made
        with warnings.catch_warnings():
            # torch names no successor that records operations one by one; which torch may run is pinned.
            warnings.filterwarnings("ignore", r"`torch\.jit\.trace` is deprecated", FutureWarning)
            # A step may branch on shapes, which are those of the recording.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            self._run = torch.jit.trace(flat, (chunk, *copies), check_trace=False)  # type: ignore[no-untyped-call]

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        # As recorded: an optimizer might join products, and round otherwise.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return list(self._run(chunk, *leaves(state)))


class _CudaRecording(Generic[S]):
    """A graph of kernels on fixed addresses: inputs are copied in, the state in and out, and codes are copies."""

    def __init__(self, step: Step[S], chunk: Tensor, state: S) -> None:
        own = leaves(state)
        self._chunk = chunk.to(own[0].device, copy=True)
        self._leaves = [leaf.clone() for leaf in own]
        self._graph = torch.cuda.CUDAGraph()
        held = with_leaves(state, self._leaves)
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(CUDA_WARM_UP):
                step(self._chunk, held)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(self._graph):
            self._codes = step(self._chunk, held)

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        own = leaves(state)
        for here, given in zip([self._chunk, *self._leaves], [chunk, *own], strict=True):
            here.copy_(given)
        self._graph.replay()
        for given, here in zip(own, self._leaves, strict=True):
            given.copy_(here)
        return [code.clone() for code in self._codes]
