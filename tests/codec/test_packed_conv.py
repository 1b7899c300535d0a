"""Streaming convolutions over packed weights are those of torch over the whole signal, to the bit in any steps."""

import pytest
import torch
from torch.nn.functional import conv1d, conv_transpose1d, pad

from natd.codec.packed_conv import Conv, TransposedConv

T = 48


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def streamed(layer, x: torch.Tensor, *steps: int) -> torch.Tensor:
    state = layer.initial_state(x.shape[0])
    return torch.cat([layer(part, state) for part in x.split(list(steps), 1)], 1)


def padded(x: torch.Tensor, context: int, beginning: str) -> torch.Tensor:
    x = x.transpose(1, 2)
    return pad(x, (context, 0)) if beginning == "zeros" else pad(x, (context, 0), beginning)


@pytest.mark.parametrize("beginning", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("kernel, stride, dilation, late", [
    (7, 1, 1, 0), (3, 1, 1, 0), (3, 1, 9, 0), (8, 4, 1, 0), (1, 1, 1, 0), (4, 2, 1, 3), (1, 1, 1, 5), (2, 2, 1, 0),
])  # fmt: skip
def test_a_conv_is_torch_s(kernel: int, stride: int, dilation: int, late: int, beginning: str) -> None:
    weight, bias, x = drawn(24, 16, kernel, seed=1), drawn(24, seed=2), drawn(3, T, 16, seed=3)
    conv = Conv(weight, bias, stride, dilation, beginning, late)
    whole = conv1d(padded(x, conv.context, beginning), weight, bias, stride, 0, dilation)
    found = streamed(conv, x, T)
    torch.testing.assert_close(found, whole.transpose(1, 2)[:, : T // stride], rtol=1e-4, atol=1e-4)
    for steps in ((24, 4, 8, 12), (24, 24), (28, 4, 4, 4, 4, 4)):
        assert torch.equal(streamed(conv, x, *steps), found), steps
    assert torch.equal(streamed(conv, x[1:2], 24, 24), found[1:2])


@pytest.mark.parametrize("kernel, stride", [(4, 2), (16, 8), (2, 2), (1, 1)])
def test_a_transposed_conv_is_torch_s(kernel: int, stride: int) -> None:
    weight, bias, x = drawn(16, 24, kernel, seed=4), drawn(24, seed=5), drawn(3, T, 16, seed=6)
    conv = TransposedConv(weight, bias, stride)
    whole = conv_transpose1d(x.transpose(1, 2), weight, bias, stride)[..., : T * stride]
    found = streamed(conv, x, T)
    torch.testing.assert_close(found, whole.transpose(1, 2), rtol=1e-4, atol=1e-4)
    for steps in ([1] * T, (24, 4, 8, 12)):
        assert torch.equal(streamed(conv, x, *steps), found)
    assert torch.equal(streamed(conv, x[2:], 24, 24), found[2:])


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(ValueError, match="neither the stride, 2, nor twice that"):
        TransposedConv(torch.zeros(1, 1, 6), None, 2)
    with pytest.raises(ValueError, match="skips inputs"):
        Conv(torch.zeros(1, 1, 1), stride=2)
    conv = Conv(torch.zeros(1, 1, 7), beginning="reflect")
    with pytest.raises(ValueError, match="a first step of 6 inputs has no mirror image of 6"):
        conv(torch.zeros(1, 6, 1), conv.initial_state(1))
