"""A row of a product over packed weights has the same bits in any company; only the dtype sets how exact they are."""

import pytest
import torch
from torch.nn.functional import gelu, linear

from natd.codec.packed import Linear

SHAPES = [(64, 7), (32, 192), (512, 2560), (512, 3072), (2048, 512), (768, 3072), (1, 448), (96, 12288), (2048, 8)]
ROWS = [*range(1, 20), 31, 32, 33, 64, 100, 128, 192, 256, 480, 500, 640]


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_in_any_company(shape: tuple[int, int], dtype: torch.dtype) -> None:
    layer = Linear(drawn(*shape, seed=1).to(dtype), drawn(shape[0], seed=2).to(dtype))
    x = drawn(max(ROWS), shape[1], seed=3).to(dtype)
    whole = layer(x)
    for rows in ROWS:
        assert torch.equal(layer(x[:rows].clone()), whole[:rows]), rows
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_change_nothing(shape: tuple[int, int], threads: int) -> None:
    layer, x = Linear(drawn(*shape, seed=1)), drawn(37, shape[1], seed=3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = layer(x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, layer(x[:5]).new_tensor(layer(x).tolist()))


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product(activation: str, biased: bool) -> None:
    weight, x = drawn(48, 80, seed=4), drawn(2, 3, 80, seed=5)
    bias = drawn(48, seed=6) if biased else None
    exact = linear(x.double(), weight.double(), None if bias is None else bias.double())
    exact = {"none": exact, "relu": exact.relu(), "gelu": gelu(exact)}[activation]
    found = Linear(weight, bias, activation)(x)
    assert found.shape == (2, 3, 48)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 3, 4, 50])
def test_a_sum_is_added_as_it_would_be_behind_the_product(rows: int) -> None:
    layer, x, plus = Linear(drawn(48, 80, seed=4), drawn(48, seed=6)), drawn(rows, 80, seed=5), drawn(rows, 48, seed=7)
    assert torch.equal(layer(x, plus), layer(x) + plus)


@pytest.mark.parametrize(
    "weight, bias", [((2, 3), (1,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((0, 3), None), ((2,), (2,))]
)
def test_what_does_not_fit_is_refused(weight: tuple[int, ...], bias: tuple[int, ...] | None) -> None:
    with pytest.raises(ValueError, match="a matrix of .* with a bias of "):
        Linear(torch.zeros(weight), None if bias is None else torch.zeros(bias))


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="no activation 'tanh': none, relu, gelu"):
        Linear(torch.zeros(2, 2), activation="tanh")
