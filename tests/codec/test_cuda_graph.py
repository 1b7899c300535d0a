"""What surrounds a graph: batches filled up, states taken and given back, the switch; on CUDA, that it is the step."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from natd.codec import cuda_graph, ears
from natd.codec.cuda_graph import MOST, SIZES, CudaRecordings, size_of, unrecorded, wanted
from natd.codec.ears import Ears
from natd.codec.graph import Recorder
from natd.codec.state import gather, leaves
from natd.errors import ConfigError
from tests.codec.replayed import Maker
from tests.codec.sounds import streams

FRAMES = 12


@dataclass(slots=True)
class Sum:
    total: Tensor
    steps: Tensor
    nothing: Tensor


def state_of(batch: int) -> Sum:
    return Sum(torch.arange(100.0, 100.0 + batch), torch.zeros(batch, dtype=torch.int64), torch.zeros(batch, 0, 3))


def running(chunk: Tensor, state: Sum) -> list[Tensor]:
    state.total.add_(chunk.sum(1))
    state.steps.add_(1)
    return [state.total.long()[:, None], (state.steps * 2)[:, None]]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 33, 511])
def test_a_batch_is_filled_up_and_its_state_stays_the_callers(batch: int) -> None:
    maker = Maker()
    recordings = CudaRecordings(running, maker)
    states = [state_of(batch), state_of(batch)]
    addresses = [[leaf.data_ptr() for leaf in leaves(state)] for state in states]
    chunk = torch.arange(1.0, batch + 1)[:, None].repeat(1, 3)
    for step in range(1, 4):
        for state in states:
            total, steps = recordings(chunk, state)
            assert total.tolist() == [[100 + i + 3 * (i + 1) * step] for i in range(batch)]
            assert steps.tolist() == [[2 * step]] * batch
    assert [[leaf.data_ptr() for leaf in leaves(state)] for state in states] == addresses and maker.made == 1


def test_codes_are_not_written_over() -> None:
    recordings, state = CudaRecordings(running, Maker()), state_of(1)
    first = recordings(torch.ones(1, 2), state)
    recordings(torch.ones(1, 2), state)
    assert [code.tolist() for code in first] == [[[102]], [[2]]]


def test_a_size_is_recorded_once_and_larger_batches_are_made_of_several() -> None:
    maker = Maker()
    recordings = CudaRecordings(running, maker)
    for batch, made in ((3, 1), (4, 1), (5, 2), (2 * MOST + 3, 3), (MOST, 3), (4, 3)):
        state = state_of(batch)
        assert recordings(torch.ones(batch, 2), state)[0].tolist() == [[102 + i] for i in range(batch)]
        assert state.steps.tolist() == [1] * batch and maker.made == made
    recordings(torch.ones(4, 5), state_of(4))
    assert maker.made == 4  # steps of another length


def test_sizes_grow_and_the_smallest_that_holds_a_batch_is_taken() -> None:
    assert list(SIZES) == sorted(set(SIZES)) and SIZES[0] == 1
    assert [size_of(n) for n in (1, 2, 3, 65, MOST)] == [1, 2, 4, 96, MOST]
    assert all(size_of(n) < 2 * n for n in range(1, MOST + 1))


def test_what_is_recorded_from_outside_is_not_recorded_within() -> None:
    ran = []

    def step(chunk: Tensor, state: Sum) -> list[Tensor]:
        ran.append(1)
        return running(chunk, state)

    recorder, state = Recorder(step), state_of(1)
    recorder(torch.ones(1, 2), state)
    ran.clear()
    recorder(torch.ones(1, 2), state)
    assert not ran  # a trace
    with unrecorded():
        with unrecorded():
            recorder._cuda = CudaRecordings(running, Maker())
            assert cuda_graph.is_unrecorded()
        recorder._traced = False
        recorder(torch.ones(1, 2), state)
        assert ran and cuda_graph.is_unrecorded()
    assert not cuda_graph.is_unrecorded() and state.steps.tolist() == [3]


@pytest.mark.parametrize(("value", "expected"), [(None, True), ("1", True), ("0", False)])
def test_the_switch(value: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cuda_graph.SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(cuda_graph.SWITCH, value)
    assert wanted() is expected


def test_a_switch_that_is_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cuda_graph.SWITCH, "off")
    with pytest.raises(ConfigError, match="NATD_CUDA_GRAPHS=off: it is 1 .* or 0"):
        wanted()


def test_the_embedded_tokenizer_is_the_same_filled_up() -> None:
    tokenizer: Ears = ears.open_tokenizer()
    sounds = torch.from_numpy(streams(5, FRAMES))
    recordings = CudaRecordings(tokenizer.step, Maker())
    state, plain = tokenizer.initial_state(5), tokenizer.initial_state(5)
    with torch.inference_mode():
        for frame in range(FRAMES):
            chunk = sounds[:, frame].contiguous()
            found, expected = recordings(chunk, state), tokenizer.step(chunk, plain)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), frame
    assert all(torch.equal(a, b) for a, b in zip(leaves(state), leaves(plain), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_a_graph_is_the_step_on_cuda(batch: int) -> None:
    """Filled up, a product may be summed in another order: `ears` rounds such sums once, from float64."""
    tokenizer = ears.open_tokenizer("cuda")
    sounds = torch.from_numpy(streams(8, 40)[:batch])
    state, plain = tokenizer.initial_state(batch), tokenizer.initial_state(batch)
    alone = tokenizer.initial_state(1)
    for frame in range(40):
        chunk = sounds[:, frame].contiguous()
        with torch.inference_mode():
            found = tokenizer.encode(chunk, state)
            with unrecorded():
                expected = tokenizer.encode(chunk.to("cuda"), plain)
            one = tokenizer.encode(chunk[:1], alone)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), frame
        assert all(torch.equal(a[:1], b) for a, b in zip(found, one, strict=True)), frame
    assert gather(state, torch.zeros(1, dtype=torch.int64, device="cuda")).front.audio.is_cuda
