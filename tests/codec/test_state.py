"""Moving rows of streaming state, nested as it may be."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from natd.codec.state import gather, scatter


@dataclass
class Inner:
    tail: Tensor


@dataclass
class Outer:
    count: Tensor
    layers: list[Inner]


def example() -> Outer:
    return Outer(torch.arange(4), [Inner(torch.arange(8.0).view(4, 2)), Inner(torch.zeros(4, 1))])


def test_gather_takes_rows_in_order_and_copies() -> None:
    state = example()
    part = gather(state, torch.tensor([2, 0]))
    assert part.count.tolist() == [2, 0] and part.layers[0].tail.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    part.count += 10
    assert state.count.tolist() == [0, 1, 2, 3]


def test_scatter_writes_rows_in_place_and_leaves_the_others() -> None:
    state = example()
    count = state.count
    rows = torch.tensor([3, 1])
    part = gather(state, rows)
    part.count += 10
    part.layers[1].tail += 5.0
    scatter(state, rows, part)
    assert state.count is count and count.tolist() == [0, 11, 2, 13]
    assert state.layers[1].tail[:, 0].tolist() == [0.0, 5.0, 0.0, 5.0]


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="not int"):
        gather(Inner(3), torch.tensor([0]))  # type: ignore[arg-type]
