"""Streaming convolutions are those of torch over the whole signal; a row gives the same bits in any company."""

import pytest
import torch
from torch.nn.functional import conv1d, conv_transpose1d, pad

from natd.codec.conv import CausalConv, Depthwise, TransposedConv, by_row, exact

T = 40


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def layer_and_whole(kind: str, dtype: torch.dtype = torch.float64, batch: int = 3):
    """A layer, its input [B, T, 32], and what torch makes of the whole."""
    x = drawn(batch, T, 32, seed=1, dtype=dtype)
    time_last = x.transpose(1, 2)
    if kind.startswith("conv"):
        kernel, stride, groups = map(int, kind.split("-")[1:])
        weight = drawn(64, kernel, 32 // groups, seed=2, dtype=dtype)
        layer = CausalConv(weight, stride, groups)
        whole = conv1d(pad(time_last, (kernel - stride, 0)), weight.transpose(1, 2), None, stride, groups=groups)
        return layer, x, whole.transpose(1, 2)
    if kind.startswith("depthwise"):
        dilation = int(kind.split("-")[1])
        taps = drawn(3, 32, seed=3, dtype=dtype)
        whole = conv1d(pad(time_last, (2 * dilation, 0)), taps.T[:, None], None, 1, 0, dilation, 32)
        return Depthwise(taps, dilation), x, whole.transpose(1, 2)
    kernel, stride, groups = map(int, kind.split("-")[1:])
    weight, bias = drawn(64, kernel, 32 // groups, seed=4, dtype=dtype), drawn(64, seed=5, dtype=dtype)
    of_torch = weight.view(groups, 64 // groups, kernel, -1).permute(0, 3, 1, 2).reshape(32, -1, kernel)
    whole = conv_transpose1d(time_last, of_torch, bias, stride, groups=groups)[..., : T * stride]
    return Spread(weight, bias, stride, groups), x, whole.transpose(1, 2)


class Spread:
    """A transposed convolution with its bias, called as the others are."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, stride: int, groups: int) -> None:
        self.conv, self.bias, self.stride = TransposedConv(weight, stride, groups), bias, stride

    def initial_state(self, batch: int):
        return self.conv.initial_state(batch, self.bias.dtype)

    def __call__(self, x: torch.Tensor, state) -> torch.Tensor:
        return self.conv.overlap(self.conv.spread(x) + self.bias, self.bias, state)


def streamed(layer, x: torch.Tensor, chunk: int) -> torch.Tensor:
    state = layer.initial_state(x.shape[0])
    return torch.cat([layer(part, state) for part in x.split(chunk, 1)], 1)


KINDS = (
    ["conv-1-1-1", "conv-3-1-1", "conv-3-1-4", "conv-10-5-1", "conv-4-2-2", "conv-8-8-1"]
    + ["depthwise-1", "depthwise-3", "depthwise-9"]
    + ["transposed-4-2-1", "transposed-4-2-4", "transposed-10-5-1", "transposed-64-16-1"]
)


@pytest.mark.parametrize("chunk", [40, 80])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_is_torch_s(kind: str, chunk: int) -> None:
    layer, x, whole = layer_and_whole(kind)
    torch.testing.assert_close(streamed(layer, x, chunk), whole, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_chunked_equals_whole(kind: str, steps: int) -> None:
    layer, x, whole = layer_and_whole(kind)
    chunk = steps * getattr(layer, "stride", 1) if kind.startswith("conv") else steps
    torch.testing.assert_close(streamed(layer, x, chunk), whole, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_alone_is_in_company_bit_for_bit(kind: str, dtype: torch.dtype, cores: int) -> None:
    layer, x, _ = layer_and_whole(kind, dtype, batch=32)
    torch.set_num_threads(1)
    alone = torch.cat([streamed(layer, row[None], 20) for row in x])
    torch.set_num_threads(cores)
    for batch in (2, 7, 32):
        order = torch.randperm(32, generator=torch.Generator().manual_seed(batch))
        together = torch.cat([streamed(layer, x[rows], 20) for rows in order.split(batch)])
        assert torch.equal(together, alone[order])


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_does_not_change_the_past_and_the_state_stays_where_it_is(kind: str) -> None:
    layer, x, _ = layer_and_whole(kind)
    state = layer.initial_state(3)
    at = state.tail.data_ptr()
    first = layer(x[:, :20], state)
    assert state.tail.data_ptr() == at
    changed = x.clone()
    changed[:, 20:] *= -2
    other = layer.initial_state(3)
    assert torch.equal(layer(changed[:, :20], other), first)
    assert torch.equal(other.tail, state.tail)
    assert not torch.equal(layer(changed[:, 20:], other), layer(x[:, 20:], state))


@pytest.mark.parametrize("groups", [1, 4])
def test_whole_numbers_are_exact_in_one_batch(groups: int) -> None:
    """Products of 8 bits, 1024 of them at most: float32 holds every sum."""
    draw = torch.Generator().manual_seed(6)
    x = torch.randint(-255, 256, (7, 5, 128 * groups), generator=draw)
    weight = torch.randint(-127, 128, (32 * groups, 4, 128), generator=draw)
    by = [CausalConv(w, 1, groups, exact) for w in (weight.float(), weight.double())]
    single, double = (layer(x.to(layer.matrix.dtype), layer.initial_state(7)) for layer in by)
    assert torch.equal(single.double(), double)
    rows = CausalConv(weight.double(), 1, groups, by_row)
    assert torch.equal(rows(x.double(), rows.initial_state(7)), double)


def test_a_kernel_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of stride"):
        TransposedConv(torch.zeros(16, 5, 16), 2)
