"""The transformer over a stream is causal attention within a window, written out over the whole signal in float64."""

import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from natd.codec.state import gather, scatter
from natd.codec.transformer import Layout, Transformer

C, HEADS, D, FRAMES = 32, 2, 16, 24


def drawn(*shape: int, seed: int, size: float = 1.0) -> torch.Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights(layers: int) -> dict[str, torch.Tensor]:
    found = {}
    for i in range(layers):
        shapes = {f"self_attn.{part}_proj.weight": (C, C) for part in "qkvo"}
        shapes |= {"mlp.fc1.weight": (2 * C, C), "mlp.fc2.weight": (C, 2 * C)}
        for j, (name, shape) in enumerate(shapes.items()):
            found[f"t.layers.{i}.{name}"] = drawn(*shape, seed=10 * i + j, size=1.3 / shape[1] ** 0.5)
        for j, name in enumerate(("input_layernorm", "post_attention_layernorm")):
            found[f"t.layers.{i}.{name}.weight"] = 1 + drawn(C, seed=100 + 10 * i + j, size=0.1)
            found[f"t.layers.{i}.{name}.bias"] = drawn(C, seed=200 + 10 * i + j, size=0.1)
        for j, name in enumerate(("self_attn_layer_scale", "mlp_layer_scale")):
            found[f"t.layers.{i}.{name}.scale"] = drawn(C, seed=300 + 10 * i + j, size=0.5)
    return found


def turned(x: torch.Tensor) -> torch.Tensor:
    """Channels d and d + D / 2 of a head by the angle p / 10000 ** (2 d / D) at position p: [B, H, T, D]."""
    angle = torch.arange(x.shape[2])[:, None] / 10_000.0 ** (torch.arange(D // 2).double() * 2 / D)
    first, second = x.chunk(2, -1)
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1
    )  # fmt: skip


def written_out(x: torch.Tensor, tensors: dict[str, torch.Tensor], layers: int, window: int) -> torch.Tensor:
    at = torch.arange(x.shape[1])
    unseen = (at > at[:, None]) | (at <= at[:, None] - window)
    x = x.double()
    for i in range(layers):
        w = {name.removeprefix(f"t.layers.{i}."): tensor.double() for name, tensor in tensors.items()}
        normed = layer_norm(x, (C,), w["input_layernorm.weight"], w["input_layernorm.bias"])
        q, k, v = ((normed @ w[f"self_attn.{p}_proj.weight"].T).unflatten(2, (HEADS, D)).transpose(1, 2) for p in "qkv")
        score = (turned(q) @ turned(k).transpose(2, 3) / math.sqrt(D)).masked_fill(unseen, -math.inf)
        heard = (score.softmax(-1) @ v).transpose(1, 2).flatten(2) @ w["self_attn.o_proj.weight"].T
        x = x + w["self_attn_layer_scale.scale"] * heard
        normed = layer_norm(x, (C,), w["post_attention_layernorm.weight"], w["post_attention_layernorm.bias"])
        x = x + w["mlp_layer_scale.scale"] * (gelu(normed @ w["mlp.fc1.weight"].T) @ w["mlp.fc2.weight"].T)
    return x


def streamed(transformer: Transformer, x: torch.Tensor, step: int) -> torch.Tensor:
    state = transformer.initial_state(len(x))
    return torch.cat([transformer(part, state) for part in x.split(step, 1)], 1)


@pytest.mark.parametrize(("window", "step"), [(1, 1), (5, 1), (10, 2), (11, 2), (15, 2), (16, 2), (3, 4), (100, 2)])
def test_it_is_attention_within_the_window(window: int, step: int) -> None:
    tensors, x = weights(2), drawn(2, FRAMES * 2, C, seed=1)
    transformer = Transformer("t", Layout(2, HEADS, window, step), tensors)
    torch.testing.assert_close(
        streamed(transformer, x, step).double(), written_out(x, tensors, 2, window), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_of_any_age_are_as_they_are_alone(dtype: torch.dtype, threads: int) -> None:
    """Also where the rows are divided among threads in the midst of one of them."""
    transformer = Transformer("t", Layout(1, HEADS, 7, 2), weights(1), dtype)
    x, ages = drawn(5, 16, C, seed=2), (0, 3, 1, 7, 2)
    alone = torch.cat([streamed(transformer, x[i : i + 1], 2) for i in range(5)])
    state, found = transformer.initial_state(5), []
    torch.set_num_threads(threads)
    for step in range(15):
        begin = torch.tensor([i for i, age in enumerate(ages) if age == step], dtype=torch.int64)
        scatter(state, begin, transformer.initial_state(len(begin)))
        at = [max(0, min(7, step - age)) * 2 for age in ages]
        found.append(transformer(torch.stack([x[i, t : t + 2] for i, t in enumerate(at)]), state))
    torch.set_num_threads(1)
    for i, age in enumerate(ages):
        assert torch.equal(torch.cat([found[age + n][i] for n in range(8)]), alone[i])


def test_rows_can_be_moved() -> None:
    transformer = Transformer("t", Layout(1, HEADS, 7, 2), weights(1))
    x, state, order = drawn(3, 24, C, seed=3), transformer.initial_state(3), torch.tensor([2, 0])
    whole = streamed(transformer, x, 2)
    for part in x[:, :12].split(2, 1):
        transformer(part, state)
    moved = gather(state, order)
    found = torch.cat([transformer(part, moved) for part in x[order, 12:].split(2, 1)], 1)
    assert torch.equal(found, whole[order, 12:])
