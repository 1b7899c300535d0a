"""SNAC (Multi-Scale Neural Audio Codec) at 24, 32 or 44.1 kHz as a stream: its published codes, late by its look-ahead.

`snac:model=24khz`. A frame is the time of one code of the coarsest layer; finer layers have 2, 4 (and 8) codes a frame.
The decoder's noise is left out: the same codes give the same samples. Source: Siuzdak et al. (2024); checkpoints
hubertsiuzdak/snac_24khz, _32khz, _44khz under their published tensor names.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm, prod
from typing import Any

import torch
from torch import Tensor

from natd.codec.checkpoint import Checkpoint, complete, open_checkpoint
from natd.codec.delayed import Axis, Chain
from natd.codec.factorised import FactorisedCodebook, FactorisedQuantizer
from natd.codec.local_attention import LocalAttention
from natd.codec.look_ahead import Identity, LookAheadCodec, check_rate, coded_by, folder_of
from natd.codec.options import named, number, parse
from natd.codec.snake_net import Builder, Unit
from natd.codec.trial import tried
from natd.codec.weight_norm import folded
from natd.errors import ConfigError

NAME, VERSION = "snac", "1"
RATES = {"24khz": 24_000, "32khz": 32_000, "44khz": 44_100}
BOOKS = {"24khz": 3, "32khz": 4, "44khz": 4}
OPTIONS = {"model": "24khz", "codebooks": "", "from": ""}


def encoder(tensors: Mapping[str, Tensor], config: Mapping[str, Any], frames: int) -> Chain:
    """[B, frames * hop, 1] -> [B, frames, C], in whole frames."""
    strides, window = config["encoder_rates"], config["attn_window_size"]
    build = Builder(tensors, Axis(frames * prod(strides), 1))
    build.conv("encoder.block.0")
    for i, stride in enumerate(strides, 1):
        block = f"encoder.block.{i}.block"
        align = frames if window and i == len(strides) else 1
        build.down(_units(block, 0), f"{block}.3", f"{block}.4", stride, align)
    last = len(strides) + 1
    if window:
        build.add(LocalAttention(build.axis, tensors, f"encoder.block.{last}", window))
    build.conv(f"encoder.block.{last + bool(window)}", align=frames)
    return build.chain(_whole(window, frames))


def decoder(tensors: Mapping[str, Tensor], config: Mapping[str, Any], frames: int) -> Chain:
    """[B, frames, C] -> [B, frames * hop, 1]."""
    strides, window = config["decoder_rates"], config["attn_window_size"]
    build = Builder(tensors, Axis(frames, tensors["decoder.model.0.weight"].shape[0]))
    first = 2 if config["depthwise"] else 1
    for i in range(first):
        build.conv(f"decoder.model.{i}", align=frames if window else 1)
    if window:
        build.add(LocalAttention(build.axis, tensors, f"decoder.model.{first}", window))
        first += 1
    for i, stride in enumerate(strides, first):
        block = f"decoder.model.{i}.block"
        build.up(_units(block, 3 if config["noise"] else 2), f"{block}.0", f"{block}.1", stride, more=stride % 2)
    build.snake(f"decoder.model.{first + len(strides)}")
    build.conv(f"decoder.model.{first + len(strides) + 1}")
    return build.chain()


def _whole(window: int | None, frames: int) -> int:
    """Frames that the published codec fills up with silence before it looks at their windows."""
    return lcm(window or 1, frames) // frames


def _units(block: str, first: int) -> list[Unit]:
    return [[f"{block}.{i}.block.{part}" for part in range(4)] for i in range(first, first + 3)]


def build(checkpoint: Checkpoint, options: str = "", device: str = "cpu") -> LookAheadCodec:
    """The codec over a checkpoint; ConfigError for options it has not, ModelError for a checkpoint of another model."""
    model, books = _asked(options)
    config = checkpoint.config
    check_rate(NAME, config, RATES[model])
    tensors = {name: tensor.to(device, torch.float32) for name, tensor in folded(checkpoint.tensors).items()}
    strides = config["vq_strides"]
    quantizer = FactorisedQuantizer(
        [FactorisedCodebook(tensors, f"quantizer.quantizers.{i}", stride) for i, stride in enumerate(strides[:books])]
    )
    settings = {"name": NAME, "version": VERSION, "codebooks": len(quantizer.books)}
    name = named(NAME, parse(NAME, options, OPTIONS), OPTIONS)
    identity = Identity(name, VERSION, coded_by(checkpoint.digest, settings), RATES[model])
    frames = strides[0]
    return LookAheadCodec(encoder(tensors, config, frames), quantizer, decoder(tensors, config, frames), identity)


def _asked(options: str) -> tuple[str, int]:
    """Model, codebooks."""
    asked = parse(NAME, options, OPTIONS)
    model = asked["model"]
    if model not in RATES:
        raise ConfigError(f"{NAME}:model={model} is none of {', '.join(RATES)}")
    return model, number(NAME, "codebooks", asked["codebooks"] or str(BOOKS[model]), 1, BOOKS[model])


def open_tokenizer(device: str = "cpu", options: str = "") -> LookAheadCodec:
    """SNAC as installed, or of the folder that `from=` names; ModelError says what is missing and how to get it."""
    model, _ = _asked(options)
    folder = folder_of(parse(NAME, options, OPTIONS)["from"])
    checkpoint = open_checkpoint(f"{NAME}_{model}", f"hubertsiuzdak/snac_{model}", folder)
    with complete(NAME):
        return tried(build(checkpoint, options, device))
