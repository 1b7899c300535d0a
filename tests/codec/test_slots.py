"""Slots: streams keep their own states whoever shares a step with them, on CUDA as on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from natd.codec import Spec, cuda_graph, ears
from natd.codec.slots import CudaSlots, Slots, slots_on
from natd.wire import Layer, TokenizerInfo
from tests.codec.replayed import Maker
from tests.codec.sounds import streams

FRAME = 4


@dataclass(slots=True)
class SumState:
    total: Tensor
    ended: Tensor


class SumTokenizer:
    """S0 = running sum of the row, A0 = [sum, ten times the ends of sounds]."""

    glossary: dict[str, dict[int, str]] = {}

    def __init__(self, batch_invariant: bool = True) -> None:
        layers = (Layer("S0", "semantic", "sum", 1 << 30), Layer("A0", "acoustic", "pair", 1 << 30, per_frame=2))
        self.spec = Spec(TokenizerInfo("sum", "1", "sha256:0", batch_invariant=batch_invariant), 100, FRAME, layers)
        self.batches: list[int] = []

    def initial_state(self, batch: int) -> SumState:
        return SumState(torch.full((batch,), 1.0), torch.zeros(batch, dtype=torch.int64))

    def encode(self, chunk: Tensor, state: SumState) -> list[Tensor]:
        self.batches.append(len(chunk))
        state.total += chunk.sum(1)
        total = state.total.long()
        return [total[:, None], torch.stack([total, 10 * state.ended], 1)]

    def finish(self, state: SumState) -> None:
        state.ended += 1


def block(value: float) -> np.ndarray:
    return np.full(FRAME, value, np.float32)


KINDS: dict[str, Callable[[Any], Slots]] = {
    "plain": lambda tokenizer: Slots(tokenizer, "cpu"),
    "cuda, launched one by one": lambda tokenizer: CudaSlots(tokenizer, "cpu", None),
    "cuda, recorded": lambda tokenizer: CudaSlots(tokenizer, "cpu", Maker),  # type: ignore[arg-type]
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_streams_keep_their_states_in_any_company(kind: str) -> None:
    slots = KINDS[kind](SumTokenizer())
    slots.warm_up(3)
    slots.reserve(3)
    slots.renew([0, 1, 2])
    assert slots.encode([2, 0], [block(1), block(2)]) == [[[5], [5, 0]], [[9], [9, 0]]]
    assert slots.encode([0, 1, 2], [block(1)] * 3) == [[[13], [13, 0]], [[5], [5, 0]], [[9], [9, 0]]]
    slots.finish([1])
    slots.renew([0])
    assert slots.encode([1, 0], [block(0), block(1)]) == [[[5], [5, 10]], [[5], [5, 0]]]


@each_kind
def test_more_streams_leave_the_others_as_they_were(kind: str) -> None:
    slots = KINDS[kind](SumTokenizer())
    slots.reserve(1)
    slots.renew([0])
    assert slots.encode([0], [block(3)]) == [[[13], [13, 0]]]
    for count in (2, 5, 40):
        slots.reserve(count)
        slots.renew(range(1, count))
        found = slots.encode(range(count), [block(i) for i in range(count)])
        assert found == [[[13], [13, 0]]] + [[[1 + 4 * i], [1 + 4 * i, 0]] for i in range(1, count)]


@each_kind
def test_a_tokenizer_that_is_not_batch_invariant_gets_its_rows_one_by_one(kind: str) -> None:
    tokenizer = SumTokenizer(batch_invariant=False)
    slots = KINDS[kind](tokenizer)
    slots.reserve(3)
    slots.renew([0, 1, 2])
    assert slots.encode([0, 2, 1], [block(1), block(2), block(3)]) == [[[5], [5, 0]], [[9], [9, 0]], [[13], [13, 0]]]
    assert set(tokenizer.batches) == {1}


@pytest.mark.parametrize("kind", ["cuda, launched one by one", "cuda, recorded"])
def test_on_cuda_batches_are_filled_up_and_large_ones_parted(kind: str) -> None:
    tokenizer, count = SumTokenizer(), 2 * cuda_graph.MOST + 3
    slots = KINDS[kind](tokenizer)
    slots.reserve(count)
    slots.renew(range(count))
    assert slots.encode(range(count), [block(i) for i in range(count)]) == [
        [[1 + 4 * i], [1 + 4 * i, 0]] for i in range(count)
    ]
    assert set(tokenizer.batches) == set(cuda_graph.SIZES)


def test_each_size_is_recorded_before_the_first_frame_and_anew_where_there_was_no_room() -> None:
    made: list[Maker] = []

    def maker(device: torch.device) -> Maker:
        made.append(Maker(device))
        return made[-1]

    slots = CudaSlots(SumTokenizer(), "cpu", maker)  # type: ignore[arg-type]
    slots.warm_up(5)
    assert [m.made for m in made] == [4]  # 1, 2, 4, 8
    slots.reserve(5)
    slots.renew(range(5))
    slots.encode(range(5), [block(1)] * 5)
    assert [m.made for m in made] == [4]
    slots.reserve(6)  # there is room for ten now
    slots.reserve(10)
    assert [m.made for m in made] == [4, 5]


def test_cuda_slots_of_the_embedded_tokenizer_are_those_of_the_cpu() -> None:
    sounds = streams(5, 12)
    groups = ([0, 1, 2, 3, 4], [3], [4, 0], [1, 2, 4])
    with torch.inference_mode():
        tokenizer = ears.open_tokenizer()
        both = [Slots(tokenizer, "cpu"), CudaSlots(tokenizer, "cpu", Maker)]  # type: ignore[arg-type]
        for slots in both:
            slots.reserve(5)
            slots.renew(range(5))
        for frame in range(12):
            group = groups[frame % len(groups)]
            plain, cuda = (slots.encode(group, [sounds[slot, frame] for slot in group]) for slots in both)
            assert plain == cuda, frame


def test_the_device_chooses() -> None:
    assert type(slots_on(SumTokenizer(), "cpu")) is Slots
