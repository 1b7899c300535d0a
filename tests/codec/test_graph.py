"""A recorded step is the step: the same codes and state bit for bit, and nothing of what it was recorded from."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from natd.codec import ears
from natd.codec.ears import Ears
from natd.codec.graph import MOST, Recorder
from natd.codec.state import gather, leaves, scatter
from tests.codec.sounds import streams

FRAMES = 60


@pytest.fixture(scope="module")
def tokenizer() -> Ears:
    return ears.open_tokenizer()


@pytest.fixture(scope="module")
def sounds() -> Tensor:
    """[8, 60, 1920]: sounds from their starts, pauses, digital silence, noise below the threshold."""
    return torch.from_numpy(streams(8, FRAMES))


@dataclass(slots=True)
class Sum:
    total: Tensor


def running(chunk: Tensor, state: Sum) -> list[Tensor]:
    state.total.add_(torch.where(chunk > 0.0, chunk, 0.0).sum(1))
    return [state.total.long()[:, None], (chunk.amax(1) > 1.0).long()[:, None]]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_recorded_is_plain(tokenizer: Ears, sounds: Tensor, batch: int) -> None:
    recorder = Recorder(tokenizer.step)
    state, plain = tokenizer.initial_state(batch), tokenizer.initial_state(batch)
    seen = set()
    for frame in range(FRAMES):
        chunk = sounds[:batch, frame].contiguous()
        with torch.no_grad():
            found, expected = recorder(chunk, state), tokenizer.step(chunk, plain)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), frame
        assert all(torch.equal(a, b) for a, b in zip(leaves(state), leaves(plain), strict=True)), frame
        seen.add(tuple(int(code[0, 0]) for code in found))
    assert len(seen) > 10  # codes that never change would agree with anything


def test_what_it_is_recorded_from_leaves_no_trace(tokenizer: Ears, sounds: Tensor) -> None:
    """Recorded on noise, on silence or in the middle of a sound: the codes afterwards are the same."""
    found = []
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 1920)).astype(np.float32))
    for first in (noise, noise * 0.0, sounds[:1, 20].contiguous()):
        recorder = Recorder(tokenizer.step)
        before = tokenizer.initial_state(1)
        with torch.no_grad():
            for _ in range(3):
                recorder(first, before)
            state = tokenizer.initial_state(1)
            codes = [recorder(sounds[:1, frame].contiguous(), state) for frame in range(FRAMES // 2)]
        found.append(torch.stack([torch.cat(c, 1) for c in codes]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_rows_of_the_state_move_between_batches(tokenizer: Ears, sounds: Tensor) -> None:
    recorder, groups = Recorder(tokenizer.step), ([0, 1, 2, 3], [3, 0], [1], [2, 1, 0], [3, 2, 1, 0])
    state, plain = tokenizer.initial_state(4), tokenizer.initial_state(4)
    with torch.no_grad():
        for frame in range(FRAMES // 2):
            rows = torch.tensor(groups[frame // 4 % len(groups)])
            chunk, part = sounds[rows, frame], gather(state, rows)
            found = recorder(chunk, part)
            scatter(state, rows, part)
            one = [gather(plain, row[None]) for row in rows]
            expected = [torch.cat(tokenizer.step(chunk[i : i + 1].clone(), one[i]), 1) for i in range(len(rows))]
            for row, own in zip(rows, one, strict=True):
                scatter(plain, row[None], own)
            assert torch.equal(torch.cat(found, 1), torch.cat(expected)), frame


def test_the_state_stays_the_callers_and_the_first_call_counts_once() -> None:
    recorder = Recorder(running)
    states = [Sum(torch.zeros(2)), Sum(torch.full((2,), 100.0))]
    addresses = [state.total.data_ptr() for state in states]
    chunk = torch.tensor([[1.0, -5.0, 2.0], [0.25, 0.5, 0.25]])
    assert [c.tolist() for c in recorder(chunk, states[0])] == [[[3], [1]], [[1], [0]]]
    assert [c.tolist() for c in recorder(-chunk, states[1])] == [[[105], [100]], [[1], [0]]]
    assert [c.tolist() for c in recorder(chunk, states[0])] == [[[6], [2]], [[1], [0]]]
    assert [state.total.data_ptr() for state in states] == addresses


def test_each_batch_size_is_recorded_once_and_larger_ones_are_made_of_them() -> None:
    runs = []

    def step(chunk: Tensor, state: Sum) -> list[Tensor]:
        runs.append(1)
        return running(chunk, state)

    recorder = Recorder(step)

    def call(batch: int) -> bool:
        """True if the step itself is run."""
        runs.clear()
        state = Sum(torch.zeros(batch))
        codes = recorder(torch.arange(1.0, batch + 1)[:, None].repeat(1, 3), state)
        assert codes[0].tolist() == [[3 * i] for i in range(1, batch + 1)]
        assert state.total.tolist() == [3.0 * i for i in range(1, batch + 1)]
        return bool(runs)

    assert call(3) and not call(3)
    assert call(2 * MOST + 3) and not call(MOST) and not call(3 * MOST)
    assert call(MOST + 2) and not call(2)


def test_what_the_step_refuses_is_refused(tokenizer: Ears) -> None:
    with pytest.raises(RuntimeError), torch.no_grad():
        tokenizer.recorder(torch.zeros(1, 960), tokenizer.initial_state(1))


@pytest.fixture
def every_warning_is_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_nothing_warns(tokenizer: Ears, every_warning_is_an_error: None) -> None:
    with torch.inference_mode():
        Recorder(tokenizer.step)(torch.zeros(2, 1920), tokenizer.initial_state(2))
