"""Mimi by Kyutai: 24 kHz mono, 12.5 frames a second, causal; one semantic and up to 31 acoustic codebooks of 2048.

Options: `codebooks=8` (1..32; the first are the same), `window=` of the attention in positions of 40 ms (what the
checkpoint says, 250: transformers, and moshi offline; 251: rustymimi), `from=FOLDER`,
`dtype=float32`, or bfloat16 for matrices rounded to that (half as much to read, other codes; sums stay float32).
Source: Défossez et al., Moshi (2024); the checkpoint is kyutai/mimi as transformers reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codec import Spec, seanet
from natd.codec.checkpoint import Checkpoint, complete, open_checkpoint, small
from natd.codec.graph import Recorder
from natd.codec.options import number, parse
from natd.codec.packed import Linear
from natd.codec.packed_conv import Conv, TailState
from natd.codec.rvq import EuclideanQuantizer
from natd.codec.transformer import Layout, Transformer, TransformerState
from natd.codec.trial import tried
from natd.errors import ConfigError, ModelError
from natd.wire import Layer, TokenizerInfo

NAME, REPO, VERSION = "mimi", "kyutai/mimi", "kyutai/mimi"
ARITHMETIC = 2  # counts changes of the order of sums: with another one a near tie may fall elsewhere
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEFAULTS = {"codebooks": "8", "window": "", "dtype": "float32", "from": ""}
MOST_BOOKS = 32
MOST_WINDOW = 10_000  # positions, 400 s
LEAST_USAGE = 1e-5  # of a code in training
EXPECTED: dict[str, Any] = {
    "audio_channels": 1, "use_causal_conv": True, "pad_mode": "constant", "trim_right_ratio": 1.0,
    "num_semantic_quantizers": 1, "hidden_act": "gelu", "attention_bias": False, "sampling_rate": 24_000,
}  # fmt: skip


@dataclass(slots=True)
class MimiState:
    """What the encoder remembers of a stream, in the order of its parts."""

    seanet: seanet.ChainState
    transformer: TransformerState
    down: TailState


@dataclass(slots=True)
class MimiDecoderState:
    """What the decoder remembers of a stream, in the order of its parts; `up` is the latest latent [B, 1, C]."""

    up: Tensor
    transformer: TransformerState
    seanet: seanet.ChainState


class Mimi:
    """Encoder, split quantizer and decoder over a checkpoint, in float32."""

    def __init__(self, checkpoint: Checkpoint, options: str = "", device: str = "cpu") -> None:
        config, found = EXPECTED | dict(checkpoint.config), parse(NAME, options, DEFAULTS)
        _check(config)
        count = number(NAME, "codebooks", found["codebooks"], 1, config["num_quantizers"])
        window = number(NAME, "window", found["window"] or str(config["sliding_window"]), 1, MOST_WINDOW)
        stored, self._device = _dtype(found["dtype"]), torch.device(device)
        # Matrices are packed, which copies them; the little that stays as it is would keep the whole file in memory.
        tensors = {
            name: tensor.to(device, torch.float32, copy=tensor.dim() == 1)
            for name, tensor in checkpoint.tensors.items()
        }

        def weights(name: str) -> tuple[Tensor, Tensor | None]:
            return tensors[f"{name}.weight"].to(stored).float(), tensors[f"{name}.bias"]

        self._up, down = (tensors[f"{way}sample.conv.weight"].to(stored).float() for way in ("up", "down"))
        self._up = self._up[:, 0].clone()
        step = self._up.shape[1] // 2  # positions of the transformers in a frame
        convs, layers = _seanet(config), _transformer(config, window, step)
        self._encoder = seanet.encoder("encoder", convs, weights)
        self._encoder_transformer = Transformer("encoder_transformer", layers, tensors, stored)
        self._down = Conv(down, stride=step, beginning="replicate")
        self._quantizer = SplitQuantizer(tensors, count)
        self._decoder_transformer = Transformer("decoder_transformer", layers, tensors, stored)
        self._decoder = seanet.decoder("decoder", convs, weights)
        self._recorder: Recorder[MimiState] = Recorder(self.step, traced=False)
        self.glossary: Mapping[str, Mapping[int, str]] = {}
        settings = {"weights": checkpoint.digest, "window": window, "dtype": found["dtype"], "arithmetic": ARITHMETIC}
        about = _layers(count, self._quantizer.size)
        info = _info(found, settings)
        self.spec = Spec(info, EXPECTED["sampling_rate"], math.prod(convs.strides) * step, about)

    def initial_state(self, batch: int) -> MimiState:
        """State of `batch` streams that have heard nothing."""
        return MimiState(
            self._encoder.initial_state(batch),
            self._encoder_transformer.initial_state(batch),
            self._down.initial_state(batch),
        )

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: MimiState) -> list[Tensor]:
        """One frame [B, 1920] float32 -> S0, A0, A1, ... each [B, 1] int64."""
        return self._recorder(chunk, state)

    def step(self, chunk: Tensor, state: MimiState) -> list[Tensor]:
        """What `encode` records on CUDA, and replays."""
        return self._quantizer.encode(self.latent(chunk, state))

    @torch.no_grad()
    def latent(self, chunk: Tensor, state: MimiState) -> Tensor:
        """One frame [B, 1920] -> what is quantized, [B, 1, 512] float32; `state` moves on."""
        x = self._encoder(chunk.to(self._device)[:, :, None], state.seanet)
        x = self._encoder_transformer(x, state.transformer)
        return self._down(x, state.down)

    def initial_decoder_state(self, batch: int) -> MimiDecoderState:
        """State of `batch` decoders at the start of a stream."""
        return MimiDecoderState(
            self._up.new_zeros(batch, 1, self._up.shape[0]),
            self._decoder_transformer.initial_state(batch),
            self._decoder.initial_state(batch),
        )

    decodes = ("semantic", "acoustic")  # types of layers; the first of them holds sound too

    @torch.no_grad()
    def decode(self, codes: list[Tensor], state: MimiDecoderState) -> Tensor:
        """Codes [B, 1] of any number of layers from the first -> samples [B, 1920] float32 in -1..1."""
        x = self._quantizer.decode([code.to(self._device) for code in codes])
        x = self._upsampled(x, state)
        x = self._decoder_transformer(x, state.transformer)
        return self._decoder(x, state.seanet)[:, :, 0].clamp(-1.0, 1.0)

    def _upsampled(self, x: Tensor, state: MimiDecoderState) -> Tensor:
        """Every channel by itself, of the latest latent and the one before: [B, 1, C] -> [B, step, C]."""
        now, before = self._up.T.chunk(2)
        y = x * now + state.up * before
        state.up.copy_(x)
        return y


class SplitQuantizer:
    """One codebook of what is said, and residual ones of how it sounds, each kind behind its own projection."""

    def __init__(self, tensors: Mapping[str, Tensor], count: int) -> None:
        kinds = ["quantizer.semantic_residual_vector_quantizer", "quantizer.acoustic_residual_vector_quantizer"]
        into, out = ([tensors[f"{kind}.{way}put_proj.weight"][:, :, 0] for kind in kinds] for way in ("in", "out"))
        if any(one.shape != other.T.shape for one, other in zip(into, out, strict=True)):
            raise ValueError("a projection out of a codebook does not undo the one into it")
        self._into, self._out = Linear(torch.cat(into)), [Linear(matrix) for matrix in out]
        self._said = EuclideanQuantizer([_codes(tensors, f"{kinds[0]}.layers.0")])
        self._sound = EuclideanQuantizer([_codes(tensors, f"{kinds[1]}.layers.{i}") for i in range(count - 1)])
        self.size = len(self._said.books[0])
        if any(len(book) != self.size for book in self._sound.books):
            raise ValueError(f"the semantic codebook has {self.size} codes, an acoustic one has not")

    def encode(self, x: Tensor) -> list[Tensor]:
        """Latents [B, T, C] -> per codebook the codes [B, T]."""
        said, sound = self._into(x).chunk(2, -1)
        return self._said.encode(said) + self._sound.encode(sound)

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes [B, T] of any number of codebooks from the first -> latents [B, T, C]."""
        x = self._out[0](self._said.decode(codes[:1]))
        return x + self._out[1](self._sound.decode(codes[1:])) if len(codes) > 1 else x


def open_tokenizer(device: str = "cpu", options: str = "", folder: Path | None = None) -> Mimi:
    """Mimi from its folder or where it is installed; ConfigError for a wrong option, ModelError for missing weights."""
    found = parse(NAME, options, DEFAULTS)
    number(NAME, "codebooks", found["codebooks"], 1, MOST_BOOKS)
    number(NAME, "window", found["window"] or "1", 1, MOST_WINDOW)
    _dtype(found["dtype"])
    if found["from"]:
        folder = Path(found["from"])
    checkpoint = open_checkpoint(NAME, REPO, folder)
    with complete(NAME):
        return tried(Mimi(checkpoint, options, device))


def _codes(tensors: Mapping[str, Tensor], layer: str) -> Tensor:
    """A codebook is stored as the sums that training kept: [K, D]."""
    total, usage = (tensors[f"{layer}.codebook.{part}"] for part in ("embed_sum", "cluster_usage"))
    if usage.shape != total.shape[:1]:
        raise ValueError(f"{layer} sums {tuple(total.shape)} codes that were used {tuple(usage.shape)} times")
    return total / usage.clamp(min=LEAST_USAGE)[:, None]


def _dtype(text: str) -> torch.dtype:
    if text not in DTYPES:
        raise ConfigError(f"{NAME}:dtype={text} is none of {', '.join(DTYPES)}")
    return DTYPES[text]


def _seanet(config: Mapping[str, Any]) -> seanet.Layout:
    return seanet.Layout(
        tuple(reversed(config["upsampling_ratios"])),
        config["num_residual_layers"],
        config["dilation_growth_rate"],
        config["use_conv_shortcut"],
    )


def _transformer(config: Mapping[str, Any], window: int, step: int) -> Layout:
    rotary = config.get("rope_parameters") or {"rope_theta": config["rope_theta"]}
    if rotary.get("rope_type", "default") != "default":
        raise ModelError(f"{NAME}: config.json has rotary positions of type {rotary['rope_type']!r}: not read here")
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    return Layout(layers, heads, window, step, float(rotary["rope_theta"]), small("norm_eps", config["norm_eps"]))


def _check(config: Mapping[str, Any]) -> None:
    for key, value in EXPECTED.items():
        if config[key] != value:
            raise ModelError(f"{NAME}: config.json says {key}={config[key]!r}; only {value!r} is read here")
    if config["num_key_value_heads"] != config["num_attention_heads"]:
        raise ModelError(f"{NAME}: config.json shares keys between heads; that is not read here")


def _layers(count: int, size: int) -> tuple[Layer, ...]:
    abouts = ["sound of the frame, coarsest", *(f"sound, residual {i}" for i in range(1, count - 1))]
    acoustic = [Layer(f"A{i}", "acoustic", about, size) for i, about in enumerate(abouts[: count - 1])]
    return (Layer("S0", "semantic", "what is said, distilled from WavLM", size), *acoustic)


def _info(found: Mapping[str, str], settings: Mapping[str, Any]) -> TokenizerInfo:
    asked = ":".join(f"{key}={value}" for key, value in found.items() if key != "from" and value != DEFAULTS[key])
    identity = f"sha256:{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}"
    name = f"{NAME}:{asked}" if asked else NAME
    return TokenizerInfo(name, VERSION, identity, dtype=found["dtype"])
