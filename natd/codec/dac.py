"""DAC (Descript Audio Codec) at 16, 24 or 44.1 kHz as a stream: its published codes, late by its look-ahead.

`dac:model=44khz:codebooks=9:frames=8`: which model, how many of its codebooks, how many latent vectors make a frame of
the stream. Source: Kumar et al. (2023); checkpoints descript/dac_16khz, _24khz, _44khz in the format of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from natd.codec.checkpoint import Checkpoint, complete, open_checkpoint
from natd.codec.delayed import Axis, Chain
from natd.codec.factorised import FactorisedCodebook, FactorisedQuantizer
from natd.codec.look_ahead import Identity, LookAheadCodec, check_rate, coded_by, folder_of
from natd.codec.options import named, number, parse
from natd.codec.snake_net import Builder, Unit
from natd.codec.trial import tried
from natd.codec.weight_norm import folded
from natd.errors import ConfigError

NAME, VERSION = "dac", "1"
RATES = {"16khz": 16_000, "24khz": 24_000, "44khz": 44_100}
FRAMES = {"16khz": "4", "24khz": "8", "44khz": "8"}  # latent vectors a frame: 80, 107 and 93 ms
BOOKS = {"16khz": 12, "24khz": 32, "44khz": 9}
MOST_FRAMES = 64
OPTIONS = {"model": "44khz", "codebooks": "", "frames": "", "from": ""}


def encoder(tensors: Mapping[str, Tensor], strides: Sequence[int], frames: int) -> Chain:
    """[B, frames * hop, 1] -> [B, frames, C], in whole frames."""
    build = Builder(tensors, Axis(frames * prod(strides), 1))
    build.conv("encoder.conv1")
    for i, stride in enumerate(strides):
        block = f"encoder.block.{i}"
        build.down(_units(block), f"{block}.snake1", f"{block}.conv1", stride)
    build.snake("encoder.snake1")
    build.conv("encoder.conv2", align=frames)
    return build.chain()


def decoder(tensors: Mapping[str, Tensor], strides: Sequence[int], frames: int) -> Chain:
    """[B, frames, C] -> [B, frames * hop, 1]; an odd stride costs the sound its very last samples."""
    build = Builder(tensors, Axis(frames, tensors["decoder.conv1.weight"].shape[1]))
    build.conv("decoder.conv1")
    for i, stride in enumerate(reversed(strides)):
        block = f"decoder.block.{i}"
        build.up(_units(block), f"{block}.snake1", f"{block}.conv_t1", stride, more=0)
    build.snake("decoder.snake1")
    build.conv("decoder.conv2")
    return build.chain()


def _units(block: str) -> list[Unit]:
    parts = ("snake1", "conv1", "snake2", "conv2")
    return [[f"{block}.res_unit{i}.{part}" for part in parts] for i in (1, 2, 3)]


def build(checkpoint: Checkpoint, options: str = "", device: str = "cpu") -> LookAheadCodec:
    """The codec over a checkpoint; ConfigError for options it has not, ModelError for a checkpoint of another model."""
    model, books, frames = _asked(options)
    check_rate(NAME, checkpoint.config, RATES[model])
    if parse(NAME, options, OPTIONS)["codebooks"]:
        number(NAME, "codebooks", str(books), 1, _books(checkpoint.tensors))
    tensors = {name: tensor.to(device, torch.float32) for name, tensor in folded(checkpoint.tensors).items()}
    strides = checkpoint.config["downsampling_ratios"]
    quantizer = FactorisedQuantizer(
        [
            FactorisedCodebook(tensors, f"quantizer.quantizers.{i}", length=-1.0)
            for i in range(min(books, _books(tensors)))
        ]
    )
    settings = {"name": NAME, "version": VERSION, "codebooks": len(quantizer.books), "frames": frames}
    name = named(NAME, parse(NAME, options, OPTIONS), OPTIONS)
    identity = Identity(name, VERSION, coded_by(checkpoint.digest, settings), RATES[model])
    return LookAheadCodec(encoder(tensors, strides, frames), quantizer, decoder(tensors, strides, frames), identity)


def _asked(options: str) -> tuple[str, int, int]:
    """Model, codebooks, latent vectors a frame."""
    asked = parse(NAME, options, OPTIONS)
    model = asked["model"]
    if model not in RATES:
        raise ConfigError(f"{NAME}:model={model} is none of {', '.join(RATES)}")
    books = number(NAME, "codebooks", asked["codebooks"] or str(BOOKS[model]), 1, BOOKS[model])
    frames = number(NAME, "frames", asked["frames"] or FRAMES[model], 1, MOST_FRAMES)
    return model, books, frames


def _books(tensors: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[2] for name in tensors if name.startswith("quantizer.quantizers.")})


def open_tokenizer(device: str = "cpu", options: str = "") -> LookAheadCodec:
    """DAC as installed, or of the folder that `from=` names; ModelError says what is missing and how to get it."""
    model, _, _ = _asked(options)
    folder = folder_of(parse(NAME, options, OPTIONS)["from"])
    checkpoint = open_checkpoint(f"{NAME}_{model}", f"descript/dac_{model}", folder)
    with complete(NAME):
        return tried(build(checkpoint, options, device))
