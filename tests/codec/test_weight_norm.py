"""Folded weights are those that torch computes from its two ways to write a normalized one."""

from collections.abc import Callable, Iterator

import pytest
import torch

from natd.codec import ssl_transformer
from natd.codec.weight_norm import folded, weight


@pytest.fixture
def threads() -> Iterator[None]:
    """As many as before, afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("module", [torch.nn.Conv1d(6, 4, 3), torch.nn.ConvTranspose1d(6, 4, 3)])
def test_the_weight_is_torch_s(module: torch.nn.Module) -> None:
    normed = torch.nn.utils.parametrizations.weight_norm(module)
    with torch.no_grad():
        normed.parametrizations.weight.original0.mul_(1.7)
    found = folded({f"a.{name}": tensor for name, tensor in normed.state_dict().items()})
    assert sorted(found) == ["a.bias", "a.weight"]
    assert torch.equal(found["a.weight"], normed.weight)
    old = {
        "a.weight_g": normed.parametrizations.weight.original0,
        "a.weight_v": normed.parametrizations.weight.original1,
    }
    assert torch.equal(folded(old)["a.weight"], normed.weight)


@pytest.mark.parametrize("axis, length", [
    (0, (4, 6, 1)), (0, (1, 1, 1)), (0, (3, 1, 1)), (0, (4,)), (0, (0, 1, 1)), (2, (4, 1, 1)), (2, (1, 1, 1)),
])  # fmt: skip
def test_lengths_of_another_shape_are_refused(axis: int, length: tuple[int, ...]) -> None:
    """torch itself does not look, and writes beyond its memory."""
    assert weight(torch.ones(4, 6, 3), torch.ones([4, 1, 1] if axis == 0 else [1, 1, 3]), axis).shape == (4, 6, 3)
    with pytest.raises(ValueError, match=r"weights of \(4, 6, 3\) have lengths of "):
        weight(torch.ones(4, 6, 3), torch.ones(length), axis)


def test_half_a_pair_is_an_error() -> None:
    with pytest.raises(KeyError, match="weight_v"):
        folded({"a.weight_g": torch.ones(1)})


@pytest.mark.parametrize("fold", [
    lambda g, v: folded({"a.weight_g": g[:, None, None], "a.weight_v": v})["a.weight"],
    lambda g, v: ssl_transformer._unnormalized({"a.weight_g": g[None, None], "a.weight_v": v.movedim(0, 2)}, "a"),
])  # fmt: skip
def test_long_sums_are_the_same_on_any_number_of_threads(
    fold: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], threads: None
) -> None:
    g = torch.rand(8, generator=torch.Generator().manual_seed(0)) + 0.5
    v = torch.randn(8, 768, 96, generator=torch.Generator().manual_seed(1))
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(fold(g, v))
        assert torch.get_num_threads() == count
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
