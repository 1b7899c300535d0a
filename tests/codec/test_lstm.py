"""The recurrent layers of a stream are torch's over the whole signal, to the bit in any steps and any company."""

import pytest
import torch

from natd.codec.lstm import LSTM
from natd.codec.state import gather, scatter

WIDTH, T = 64, 20


@pytest.fixture(scope="module", params=[1, 2])
def theirs(request: pytest.FixtureRequest) -> torch.nn.LSTM:
    torch.manual_seed(request.param)
    lstm = torch.nn.LSTM(WIDTH, WIDTH, request.param, batch_first=True)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.mul_(3.0)  # so that it remembers
    return lstm


@pytest.fixture(scope="module")
def ours(theirs: torch.nn.LSTM) -> LSTM:
    return LSTM({name: weight.detach() for name, weight in theirs.named_parameters()})


def drawn(batch: int) -> torch.Tensor:
    return torch.randn(batch, T, WIDTH, generator=torch.Generator().manual_seed(9))


def streamed(lstm: LSTM, x: torch.Tensor, *steps: int) -> torch.Tensor:
    state = lstm.initial_state(x.shape[0])
    return torch.cat([lstm(part, state) for part in x.split(list(steps), 1)], 1)


@torch.no_grad()
def test_it_is_torch_s_beside_its_input(theirs: torch.nn.LSTM, ours: LSTM) -> None:
    x = drawn(3)
    state = ours.initial_state(3)
    y, (hidden, cell) = theirs(x)
    torch.testing.assert_close(ours(x, state), y + x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack(state.hidden), hidden, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack(state.cell), cell, rtol=1e-4, atol=1e-5)
    assert float((y - theirs(x[:, 1:])[0][:, :1]).abs().max()) > 0.1  # the past is heard


@pytest.mark.parametrize("steps", [[1] * T, [8, 8, 4], [6, 6, 6, 2]])
def test_steps_change_nothing(ours: LSTM, steps: list[int]) -> None:
    x = drawn(2)
    assert torch.equal(streamed(ours, x, *steps), streamed(ours, x, T))


@pytest.mark.parametrize("batch", [2, 7, 32])
def test_alone_equals_in_company(ours: LSTM, batch: int) -> None:
    x = drawn(batch)
    together = streamed(ours, x, 12, 8)
    for row in range(batch):
        assert torch.equal(streamed(ours, x[row : row + 1], 12, 8)[0], together[row])


def test_a_row_begins_anew_beside_an_old_one(ours: LSTM) -> None:
    x = drawn(2)
    state, row = ours.initial_state(2), torch.tensor([1])
    ours(x[:, :8], state)
    scatter(state, row, ours.initial_state(1))
    found = ours(x[:, 8:], state)
    assert torch.equal(found[:1], streamed(ours, x[:1], 8, 12)[:, 8:])
    assert torch.equal(found[1:], streamed(ours, x[1:, 8:], 12))
    assert [len(part) for part in gather(state, row).cell] == [1] * len(state.cell)
