"""Layers that look ahead are torch's over the whole signal, only later; to the bit in any company and at any age."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d

from natd.codec.delayed import Axis, Chain, Layer
from natd.codec.delayed_layers import DelayedConv, DelayedTransposedConv, Pointwise, Residual, SnakeLayer
from natd.codec.snake import Snake

STEPS, PER_FRAME, WIDTH = 6, 24, 16


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def start(delay: int = 0) -> Axis:
    return Axis(PER_FRAME, WIDTH, delay)


def streamed(chain: Chain, x: Tensor) -> Tensor:
    """The whole of a signal, one frame a step, without the delay; what comes after its end must not matter."""
    axis, length = chain.axis, x.shape[1] // PER_FRAME * chain.axis.per_frame
    state, heard = chain.initial_state(len(x)), []
    for frame in x.split(PER_FRAME, 1):
        heard.append(chain(frame, state))
    chain.finish(state)
    noise = drawn(len(x), PER_FRAME, WIDTH, seed=9)
    heard += [chain(noise, state) for _ in range(axis.delay // axis.per_frame + 2)]
    whole = torch.cat(heard, 1)[:, axis.delay :]
    assert not whole[:, length + axis.more : length + axis.per_frame].any()
    return whole[:, : length + axis.more]


def late(axis: Axis, count: int) -> list[Layer]:
    """A layer before the one that is looked at, which makes its input late."""
    layer = DelayedConv(axis, torch.eye(WIDTH)[:, :, None] * torch.eye(2 * count + 1)[count], torch.zeros(WIDTH),
                        padding=count)  # fmt: skip
    assert layer.axis.delay == axis.delay + count
    return [layer]


@pytest.mark.parametrize("before", [1, 2, 5])
@pytest.mark.parametrize("kernel, stride, dilation, padding, align", [
    (7, 1, 1, 3, 1), (7, 1, 9, 27, 1), (4, 2, 1, 1, 1), (6, 3, 1, 2, 1), (16, 8, 1, 4, 1), (3, 1, 1, 1, 8),
    (1, 1, 1, 0, 1), (7, 1, 1, 3, 4),
])  # fmt: skip
def test_a_conv_is_torch_s(kernel: int, stride: int, dilation: int, padding: int, align: int, before: int) -> None:
    weight, bias, x = drawn(8, WIDTH, kernel, seed=1), drawn(8, seed=2), drawn(3, STEPS * PER_FRAME, WIDTH, seed=3)
    layers = late(start(), before)
    layers.append(DelayedConv(layers[-1].axis, weight, bias, stride, dilation, padding, align))
    chain = Chain(start(), layers)
    assert chain.axis.delay % align == 0
    whole = conv1d(x.transpose(1, 2), weight, bias, stride, padding, dilation).transpose(1, 2)
    torch.testing.assert_close(streamed(chain, x), whole, rtol=1e-4, atol=1e-4)
    assert torch.equal(streamed(chain, x[1:2]), streamed(chain, x)[1:2])


def test_a_depthwise_conv_is_torch_s() -> None:
    weight, bias, x = drawn(WIDTH, 1, 7, seed=1), drawn(WIDTH, seed=2), drawn(2, STEPS * PER_FRAME, WIDTH, seed=3)
    chain = Chain(start(), [DelayedConv(start(), weight, bias, dilation=3, padding=9)])
    whole = conv1d(x.transpose(1, 2), weight, bias, 1, 9, 3, WIDTH).transpose(1, 2)
    torch.testing.assert_close(streamed(chain, x), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("before", [1, 4])
@pytest.mark.parametrize("stride, more", [(2, 0), (8, 0), (5, 0), (5, 1), (3, 1)])
def test_a_transposed_conv_is_torch_s_to_its_odd_end(stride: int, more: int, before: int) -> None:
    weight, bias, x = drawn(WIDTH, 8, 2 * stride, seed=1), drawn(8, seed=2), drawn(2, STEPS * PER_FRAME, WIDTH, seed=3)
    padding = (stride + 1) // 2
    layers = late(start(), before)
    layers.append(DelayedTransposedConv(layers[-1].axis, weight, bias, stride, padding, more))
    after = drawn(8, 8, 7, seed=4)  # must see zeros, not a bias, where the signal has ended
    layers.append(DelayedConv(layers[-1].axis, after, bias, padding=3))
    whole = conv_transpose1d(x.transpose(1, 2), weight, bias, stride, padding, more)
    whole = conv1d(whole, after, bias, padding=3).transpose(1, 2)
    torch.testing.assert_close(streamed(Chain(start(), layers), x), whole, rtol=1e-4, atol=1e-4)


def test_a_residual_unit_meets_its_own_input() -> None:
    axis, x = start(), drawn(2, STEPS * PER_FRAME, WIDTH, seed=3)
    alphas = [drawn(1, WIDTH, 1, seed=4).abs(), drawn(1, WIDTH, 1, seed=5).abs()]
    conv = (drawn(WIDTH, WIDTH, 7, seed=6), drawn(WIDTH, seed=7))
    point = (drawn(WIDTH, WIDTH, 1, seed=8), drawn(WIDTH, seed=9))
    unit = Residual(axis, Snake(alphas[0]), conv, Snake(alphas[1]), point, 3)
    chain = Chain(axis, [unit, SnakeLayer(unit.axis, alphas[0]), Pointwise(unit.axis, *point)])
    y = x.transpose(1, 2)
    y = y + conv1d(snake(conv1d(snake(y, alphas[0]), *conv, padding=9, dilation=3), alphas[1]), *point)
    whole = conv1d(snake(y, alphas[0]), *point).transpose(1, 2)
    torch.testing.assert_close(streamed(chain, x), whole, rtol=1e-4, atol=2e-4)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    return x + torch.sin(alpha * x).square() / (alpha + 1e-9)


@pytest.mark.parametrize("scale", [0.1, 3.0, 1000.0])
def test_snake_is_exact_to_float32(scale: float) -> None:
    x, alpha = scale * drawn(3, 40, 48, seed=1), drawn(1, 48, 1, seed=2).abs() + 0.1
    found = Snake(alpha)(x)
    exact = snake(x.double().transpose(1, 2), alpha.double()).transpose(1, 2)
    near = 4e-7 * scale * 4 / float(alpha.min())  # the argument is rounded to float32 before its sine is taken
    assert float((found.double() - exact).abs().max()) < max(near, 1e-5)
    assert torch.equal(Snake(alpha).over(x.clone()), found)
    assert torch.equal(Snake(alpha)(x[1:2, 7:9]), found[1:2, 7:9])
    assert not Snake(alpha)(torch.zeros(1, 1, 48)).any()
