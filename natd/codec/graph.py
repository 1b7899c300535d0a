"""One step of a tokenizer, recorded once for each batch size and replayed without Python between its operations.

On the CPU a recording is a trace, run as recorded: the same calls on the same shapes, so the codes are equal bit for
bit. On CUDA it is a graph of kernels (see `cuda_graph`). Either knows nothing but its inputs: the state stays with the
caller.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from natd.codec import cuda_graph
from natd.codec.cuda_graph import CudaRecordings, Maker
from natd.codec.state import leaves, with_leaves

S = TypeVar("S")  # a state, see `natd.codec.state`
Step = Callable[[Tensor, S], list[Tensor]]
MOST = 8  # rows of a trace: a larger batch is made of several, so that there are never more to make and to keep


class Recorder(Generic[S]):
    """`recorder(chunk, state)` is `step(chunk, state)`: same codes, same state, updated in place.

    The step may branch on shapes and on nothing else, what it reads beside its arguments never changes, and what it
    gives for a row does not depend on the others. Without `traced` a step on the CPU runs as it is: packed products
    cannot be traced, and a step of few and large ones gains nothing.
    """

    def __init__(self, step: Step[S], traced: bool = True) -> None:
        self.step = step
        self._traced = traced
        self._traces: dict[int, Callable[[Tensor, S], list[Tensor]]] = {}
        self._cuda: CudaRecordings[S] | None = None
        self._known = False  # whether this is on CUDA, and whether graphs are wanted there

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        """Samples [B, ...], the state of B streams -> codes; the first call for a size records."""
        if not self._known:
            first = leaves(state)[0]
            if first.is_cuda:
                self._traced = False
                self._cuda = CudaRecordings(self.step, Maker(first.device)) if cuda_graph.wanted() else None
            self._known = True
        if self._cuda is not None and not cuda_graph.is_unrecorded():
            return self._cuda(chunk, state)
        if not self._traced:
            return self.step(chunk, state)
        batch = chunk.shape[0]
        if batch > MOST:
            return self._in_parts(chunk, state)
        trace = self._traces.get(batch)
        if trace is None:
            trace = self._traces[batch] = _Trace(self.step, chunk, state)
        return trace(chunk, state)

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
            # torch names no successor that records operations one by one; which torch may run is pinned. What kind of
            # warning it is changes from one to the next.
            warnings.filterwarnings("ignore", r"`torch\.jit\.trace` is deprecated")
            # A step may branch on shapes, which are those of the recording.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            self._run = torch.jit.trace(flat, (chunk, *copies), check_trace=False)  # type: ignore[no-untyped-call]

    def __call__(self, chunk: Tensor, state: S) -> list[Tensor]:
        # As recorded: an optimizer might join products, and round otherwise.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return list(self._run(chunk, *leaves(state)))
