"""SEANet's ELU, alike at every place of a tensor; its chains: `test_encodec`, `test_mimi`."""

import pytest
import torch

from natd.codec.seanet import elu


def drawn(count: int) -> torch.Tensor:
    return 3 * torch.randn(count, generator=torch.Generator().manual_seed(3))


def test_elu_is_exact_to_half_a_unit_of_one() -> None:
    x = torch.cat([drawn(10_000), 1e-4 * drawn(10_000), torch.tensor([0.0, -0.0, -90.0, -1e4, 90.0, 1e4])])
    exact = torch.nn.functional.elu(x.double())
    assert float((elu(x).double() - exact)[x < 0].abs().max()) <= 2**-24
    assert torch.equal(elu(x)[x >= 0], x[x >= 0])


@pytest.mark.parametrize("length", [1, 7, 23, 33, 100])
def test_elu_of_an_element_does_not_depend_on_its_place(length: int) -> None:
    x = drawn(2000)
    assert torch.equal(torch.cat([elu(part.clone()) for part in x.split(length)]), elu(x))


@pytest.mark.parametrize("threads", [2, 3])
def test_elu_does_not_depend_on_the_threads(threads: int) -> None:
    x = drawn(100_003)
    alone = elu(x)
    torch.set_num_threads(threads)
    assert torch.equal(elu(x), alone)
