"""Seeded random weights of SoundStream's real shapes, quantized as the real ones are, and sounds at 16 kHz."""

from copy import copy

import numpy as np
import torch

from natd.codec import soundstream
from natd.codec.graph import Recorder
from natd.codec.soundstream import SoundStream

STEP, ZERO = 0.02, 7  # of every 8-bit activation
Tensors = dict[str, torch.Tensor]


def random_weights(seed: int = 0) -> Tensors:
    draw = np.random.default_rng(seed)
    tensors: Tensors = {}
    width = 64
    conv(tensors, draw, "encoder.first", (64, 64, 1), gain=4.0)
    for block, (stride, groups) in enumerate(soundstream.DOWN):
        units(tensors, draw, f"encoder.blocks.{block}", width, soundstream.GROUPS[block], whole=block == 2)
        shape = (2 * width, 2 * stride, width // groups)
        conv(tensors, draw, f"encoder.blocks.{block}.down", shape, whole=block == 2, act=block == 2)
        width *= 2
    conv(tensors, draw, "encoder.bottleneck", (64, 3, width // 4), whole=True, act=True)
    for part in ("dw", "pw"):  # of the real model these two are real numbers
        conv(tensors, draw, f"encoder.blocks.2.res.0.{part}", (3, 256) if part == "dw" else (256, 1, 256))
    tensors["encoder.blocks.2.res.0.out.act"] = quant()
    conv(tensors, draw, "decoder.bottleneck", (512, 3, 16))
    for block, (stride, groups) in enumerate(soundstream.UP):
        up = f"decoder.blocks.{block}.up"
        conv(tensors, draw, up, (width // 2, 2 * stride, width // groups), whole=block < 2, act=block == 1)
        tensors[f"{up}.tail_bias"] = tensors[f"{up}.bias"].float() * 0.001
        width //= 2
        units(tensors, draw, f"decoder.blocks.{block}", width, soundstream.GROUPS[2 - block], whole=block == 0)
    conv(tensors, draw, "decoder.last", (1, 64, 64), gain=0.3)
    tensors["decoder.last.tail_bias"] = tensors["decoder.last.bias"].clone()
    tensors["quantizer.codebooks"] = torch.from_numpy(draw.standard_normal((46, 16, 64), np.float32) * 0.5)
    return tensors


def units(tensors: Tensors, draw: np.random.Generator, block: str, width: int, groups: int, whole: bool) -> None:
    for i in range(3):
        name = f"{block}.res.{i}"
        conv(tensors, draw, f"{name}.dw", (3, width), whole=whole, act=whole and i > 0)
        conv(tensors, draw, f"{name}.pw", (width, 1, width), whole=whole)
        conv(tensors, draw, f"{name}.out", (width, 1, width // groups), whole=whole, act=whole)


def conv(
    tensors: Tensors,
    draw: np.random.Generator,
    name: str,
    shape: tuple[int, ...],
    gain: float = 1.0,
    whole: bool = False,
    act: bool = False,
) -> None:
    """Real numbers or, with `whole`, 8-bit ones; weights so large that the signal keeps its size."""
    for key in [key for key in tensors if key.startswith(f"{name}.")]:
        del tensors[key]
    fan_in = shape[0] if len(shape) == 2 else shape[1] * shape[2]
    outputs = shape[1] if len(shape) == 2 else shape[0]
    size = gain / fan_in**0.5
    if not whole:
        tensors[f"{name}.weight"] = torch.from_numpy(draw.standard_normal(shape, np.float32) * np.float32(size))
        tensors[f"{name}.bias"] = torch.from_numpy(draw.standard_normal(outputs, np.float32) * np.float32(0.05))
        return
    tensors[f"{name}.weight"] = torch.from_numpy(draw.integers(-127, 128, shape).astype(np.int8))
    tensors[f"{name}.bias"] = torch.from_numpy(draw.integers(-500, 501, outputs).astype(np.int32))
    spread = draw.uniform(0.8, 1.2, outputs).astype(np.float32)
    tensors[f"{name}.scale"] = torch.from_numpy(spread * np.float32(size / 73))
    tensors[f"{name}.in"] = quant()
    tensors[f"{name}.out"] = quant()[:, None].expand(2, outputs).contiguous()
    if act:
        tensors[f"{name}.act"] = quant()


def quant() -> torch.Tensor:
    return torch.tensor([STEP, ZERO])


def sounds(count: int, frames: int, seed: int = 0) -> np.ndarray:
    """`count` different noises whose level moves: [count, frames, 320] float32, multiples of 1/32768."""
    draw = np.random.default_rng(seed)
    level = np.repeat(draw.uniform(0.02, 0.6, (count, frames // 5 + 1, 1)), 5, axis=1)[:, :frames]
    noise = draw.uniform(-1, 1, (count, frames, soundstream.FRAME)) * level
    return (np.round(noise * 32767) / 32768).astype(np.float32)


def by_torch(tokenizer: SoundStream) -> SoundStream:
    """The same without kernels, as on other devices."""
    other = copy(tokenizer)
    assert other._native is not None
    other._native, other.quantizer = None, copy(tokenizer.quantizer)
    other.quantizer._native = None
    other._recorder = Recorder(other.step)
    return other
