"""Folded weights are those that torch computes from its two ways to write a normalized one."""

import pytest
import torch

from natd.codec.weight_norm import folded


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


def test_half_a_pair_is_an_error() -> None:
    with pytest.raises(KeyError, match="weight_v"):
        folded({"a.weight_g": torch.ones(1)})
