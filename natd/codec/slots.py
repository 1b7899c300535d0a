"""The states of many streams, each in a slot, and steps of any of them together.

`Slots` runs them operation by operation. `CudaSlots` records gathering, step and scattering as one CUDA graph for each
of a few batch sizes, straight over the states of all streams, and waits for the device once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from natd.codec import LookAhead, Tokenizer, cuda_graph
from natd.codec.cuda_graph import SIZES, Maker, size_of, unrecorded
from natd.codec.state import gather, leaves, scatter

WARM_UP_STEPS = 3  # kernels chosen, caches filled, steps recorded, before the first real frame
WARM_UP_BATCH = 8  # the largest batch that is made ready for: larger ones are rare
Codes = list[list[list[int]]]  # [stream][layer][per_frame]


class Slots:
    """The tokenizer with the state of every slot; one thread uses it."""

    def __init__(self, tokenizer: Tokenizer, device: str) -> None:
        self._tokenizer, self._device = tokenizer, torch.device(device)
        self._capacity = 1
        self._warm = 0  # the largest batch that was made ready for
        self._state = tokenizer.initial_state(1)

    def warm_up(self, streams: int) -> None:
        """Make ready for the batches that so many streams can make."""
        largest = min(streams, WARM_UP_BATCH) if self._tokenizer.spec.info.batch_invariant else 1
        for batch in range(self._warm + 1, largest + 1):
            state = self._tokenizer.initial_state(batch)
            silence = torch.zeros(batch, self._tokenizer.spec.frame_samples, device=self._device)
            for _ in range(WARM_UP_STEPS):
                self._tokenizer.encode(silence, state)
        self._warm = max(self._warm, largest)

    def reserve(self, slots: int) -> None:
        """Room for so many streams, which are then as they were."""
        if slots <= self._capacity:
            return
        self.warm_up(slots)
        grown = self._tokenizer.initial_state(slots)
        scatter(grown, self._rows(range(self._capacity)), self._state)
        self._state, self._capacity = grown, slots

    def renew(self, slots: Sequence[int]) -> None:
        """These have heard nothing."""
        scatter(self._state, self._rows(slots), self._tokenizer.initial_state(len(slots)))

    def finish(self, slots: Sequence[int]) -> None:
        """The sounds of these end with the frames they have had, if that makes a difference to the tokenizer."""
        if not hasattr(self._tokenizer, "finish"):
            return
        part = gather(self._state, self._rows(slots))
        cast(LookAhead, self._tokenizer).finish(part)
        scatter(self._state, self._rows(slots), part)

    def encode(self, slots: Sequence[int], samples: Sequence[NDArray[np.float32]]) -> Codes:
        """One frame of each; a tokenizer that is not batch invariant gets its rows one by one."""
        if self._tokenizer.spec.info.batch_invariant:
            return self._together(slots, samples)
        return [self._together([slot], [own])[0] for slot, own in zip(slots, samples, strict=True)]

    def _together(self, slots: Sequence[int], samples: Sequence[NDArray[np.float32]]) -> Codes:
        chunk = torch.from_numpy(np.stack(samples)).to(self._device)
        if list(slots) == list(range(self._capacity)):
            codes = self._tokenizer.encode(chunk, self._state)
        else:
            rows = self._rows(slots)
            part = gather(self._state, rows)
            codes = self._tokenizer.encode(chunk, part)
            scatter(self._state, rows, part)
        layers = [layer.tolist() for layer in codes]
        return [[layer[i] for layer in layers] for i in range(len(slots))]

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(list(slots), dtype=torch.int64, device=self._device)


class CudaSlots(Slots):
    """The same on CUDA, without graphs if there is no `maker` of them.

    Room grows by doubling: what is recorded is recorded on the states where they lie, and then anew.
    """

    def __init__(self, tokenizer: Tokenizer, device: str, maker: Callable[[torch.device], Maker] | None) -> None:
        self._tokenizer, self._device, self._maker = tokenizer, torch.device(device), maker
        self._capacity = 0
        self._state: Any = None
        self._initial = tokenizer.initial_state(1)
        self._widths = [layer.per_frame for layer in tokenizer.spec.layers]
        self._steps: dict[int, _Step] = {}

    def warm_up(self, streams: int) -> None:
        """Room for so many streams, and every batch that they can make recorded."""
        self.reserve(streams)

    def reserve(self, slots: int) -> None:
        """Room for so many streams, which are then as they were; records anew where there was less."""
        if slots <= self._capacity:
            return
        capacity = max(slots, 2 * self._capacity)
        grown = self._tokenizer.initial_state(capacity + 1)  # the last is nobody's: it fills batches up
        if self._capacity:
            for to, of in zip(leaves(grown), leaves(self._state), strict=True):
                to[: self._capacity].copy_(of[: self._capacity])
        self._steps.clear()
        self._state, self._capacity = grown, capacity
        maker = None if self._maker is None else self._maker(self._device)
        largest = size_of(min(capacity, SIZES[-1])) if self._tokenizer.spec.info.batch_invariant else 1
        for size in reversed([size for size in SIZES if size <= largest]):  # the smaller use the larger one's memory
            self._steps[size] = _Step(self._tokenizer, self._state, size, capacity, self._device, maker)

    def renew(self, slots: Sequence[int]) -> None:
        """These have heard nothing."""
        rows = self._rows(slots)
        for to, of in zip(leaves(self._state), leaves(self._initial), strict=True):
            to.index_copy_(0, rows, of.expand(len(rows), *of.shape[1:]))

    def _together(self, slots: Sequence[int], samples: Sequence[NDArray[np.float32]]) -> Codes:
        found: Codes = []
        for at in range(0, len(slots), SIZES[-1]):
            some = slots[at : at + SIZES[-1]]
            for row in self._steps[size_of(len(some))](some, samples[at : at + SIZES[-1]]):
                found.append(self._parted(row))
        return found

    def _parted(self, row: list[int]) -> list[list[int]]:
        """The codes of one stream by layer."""
        parts, at = [], 0
        for width in self._widths:
            parts.append(row[at : at + width])
            at += width
        return parts


class _Step:
    """A step of up to `size` streams: samples and slots in, codes out, each in one copy from or to pinned memory."""

    def __init__(
        self, tokenizer: Tokenizer, state: Any, size: int, nobody: int, device: torch.device, maker: Maker | None
    ) -> None:
        self._tokenizer, self._state, self._nobody = tokenizer, state, nobody
        self._cuda = device.type == "cuda"
        self._samples = torch.zeros(size, tokenizer.spec.frame_samples, pin_memory=self._cuda)
        self._slots = torch.full((size,), nobody, dtype=torch.int64, pin_memory=self._cuda)
        self._chunk, self._rows = self._samples.to(device), self._slots.to(device)
        width = sum(layer.per_frame for layer in tokenizer.spec.layers)
        self._codes = torch.zeros(size, width, dtype=torch.int64, pin_memory=self._cuda)
        if maker is None:
            self._run()
        else:
            self._graph, self._given = maker.graph(self._run)
        self._recorded = maker is not None

    def __call__(self, slots: Sequence[int], samples: Sequence[NDArray[np.float32]]) -> list[list[int]]:
        """Rows of codes, all layers one after the other."""
        n = len(slots)
        np.stack(samples, out=self._samples[:n].numpy())
        self._samples[n:] = 0.0
        self._slots[:n] = torch.tensor(slots)
        self._slots[n:] = self._nobody
        self._chunk.copy_(self._samples, non_blocking=True)
        self._rows.copy_(self._slots, non_blocking=True)
        if self._recorded:
            self._graph.replay()
        given = self._given if self._recorded else self._run()
        self._codes.copy_(given, non_blocking=True)
        if self._cuda:
            torch.cuda.current_stream().synchronize()
        rows: list[list[int]] = self._codes[:n].tolist()
        return rows

    def _run(self) -> Tensor:
        """What is recorded; while it is, all rows are nobody's."""
        part = gather(self._state, self._rows)
        with unrecorded():
            codes = self._tokenizer.encode(self._chunk, part)
        scatter(self._state, self._rows, part)
        return torch.cat(codes, dim=1)


def slots_on(tokenizer: Tokenizer, device: str) -> Slots:
    """What fits the device."""
    if torch.device(device).type != "cuda":
        return Slots(tokenizer, device)
    return CudaSlots(tokenizer, device, Maker if cuda_graph.wanted() else None)
