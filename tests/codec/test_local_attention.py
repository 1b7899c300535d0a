"""Attention within windows is the package's over the whole signal, a window later, whatever part of it comes a step."""

import pytest
import torch

from natd.codec.delayed import Axis, Chain
from natd.codec.local_attention import LocalAttention
from tests.codec import look_ahead_models  # imports the package without what torch says of it

WIDTH, WINDOW, WINDOWS = 128, 32, 4


def model(seed: int = 0) -> torch.nn.Module:
    from snac.attention import LocalMHA

    layer = LocalMHA(WIDTH, WINDOW).eval()
    look_ahead_models.fill(layer, seed)
    return layer


def streamed(chain: Chain, x: torch.Tensor, step: int) -> torch.Tensor:
    state = chain.initial_state(len(x))
    parts = [chain(part, state) for part in [*x.split(step, 1), *torch.zeros(len(x), WINDOW, WIDTH).split(step, 1)]]
    return torch.cat(parts, 1)[:, chain.axis.delay :][:, : x.shape[1]]


@pytest.mark.parametrize("step", [4, 8, 32])
def test_it_is_the_package_s(step: int) -> None:
    layer = model()
    x = torch.randn(5, WINDOWS * WINDOW, WIDTH, generator=torch.Generator().manual_seed(1))
    tensors = {f"a.{name}": tensor for name, tensor in layer.state_dict().items()}
    chain = Chain(Axis(step, WIDTH), [LocalAttention(Axis(step, WIDTH), tensors, "a", WINDOW)])
    assert chain.axis.delay == WINDOW - step
    with torch.no_grad():
        whole = layer(x.transpose(1, 2)).transpose(1, 2)
        found = streamed(chain, x, step)
    assert float((whole - x).abs().mean()) > 0.05
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)
    for row in range(5):
        with torch.no_grad():
            assert torch.equal(streamed(chain, x[row : row + 1], step), found[row : row + 1])


def test_windows_must_begin_with_a_step() -> None:
    with pytest.raises(ValueError, match="windows of 32 do not begin with steps of 5, 0 late"):
        LocalAttention(Axis(5, WIDTH), {}, "a", WINDOW)
    with pytest.raises(ValueError, match="steps of 8, 3 late"):
        LocalAttention(Axis(8, WIDTH, 3), {}, "a", WINDOW)
