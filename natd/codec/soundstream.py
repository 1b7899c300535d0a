"""SoundStream as Lyra 1.3.2 ships it: 16 kHz mono, 50 frames a second, causal; a residual quantizer of 4 bits a layer.

`soundstream` has 16 layers (3.2 kbit/s), `soundstream:6.0` 30 and `soundstream:9.2` 46; the first layers are the same.
Codes are those of TensorFlow Lite's reference kernels: 8-bit layers exactly, real ones in float64. `:float` at the end
of the name takes the 8-bit layers as real numbers, all in float32: other codes, the same quality.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import store
from natd.codec import Spec, int8
from natd.codec.conv import ConvState
from natd.codec.graph import Recorder
from natd.codec.int8 import Quant
from natd.codec.kernels.chain import Chain, serves
from natd.codec.rvq import GramQuantizer
from natd.codec.soundstream_layers import SLOPE, Forward, Module, Residual, Shape, Up, Weights
from natd.codec.trial import tried
from natd.errors import ConfigError, ModelError, NotInstalled
from natd.wire import Layer, TokenizerInfo

NAME, VERSION = "soundstream", "lyra-1.3.2"
SR, FRAME = 16_000, 320
FEATURES, CODES = 64, 16
RATES = {"3.2": 16, "6.0": 30, "9.2": 46}  # kbit/s -> layers
DILATIONS = (1, 3, 9)
GROUPS = (1, 2, 4)  # of the last convolution of a residual unit, by block
DOWN = ((5, 1), (2, 2), (2, 4))  # stride, groups
UP = ((2, 4), (2, 2), (5, 1))
SETTINGS: dict[str, Any] = {"name": NAME, "version": VERSION, "arithmetic": 1, "sr": SR, "frame_samples": FRAME}
CURE = "nat models convert soundstream --from FOLDER"


@dataclass(slots=True)
class SoundStreamState:
    """What the convolutions of one direction remember (0.5 s), in their order."""

    convs: list[ConvState]


class SoundStream:
    """Encoder, quantizer and decoder over the tensors that `nat models convert soundstream` writes."""

    def __init__(self, tensors: Mapping[str, Tensor], codebook_id: str, options: str = "", device: str = "cpu") -> None:
        rate, exact = parse(options)
        on = {name: tensor.to(device) for name, tensor in tensors.items()}
        weights = Weights(on, whole=exact)
        self._dtype, self._device = weights.dtype, torch.device(device)
        self._encoder, self._decoder = encoder(weights), decoder(weights)
        self._features = Quant.of(weights.tensors["encoder.bottleneck.out"]) if exact else None
        self.quantizer = GramQuantizer(on["quantizer.codebooks"][: RATES[rate]])
        self._native = self._chain() if device == "cpu" else None
        self._recorder: Recorder[SoundStreamState] = Recorder(self.step, traced=self._native is None)
        self.glossary: Mapping[str, Mapping[int, str]] = {}
        self.spec = _spec(f"{NAME}:{options}" if options else NAME, RATES[rate], exact, codebook_id)

    def initial_state(self, batch: int) -> SoundStreamState:
        """State of `batch` streams that have heard nothing."""
        return SoundStreamState([state for step in self._encoder for state in step.initial_state(batch)])

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: SoundStreamState) -> list[Tensor]:
        """One frame [B, 320] float32 -> A0, A1, ... each [B, 1] int64."""
        return self._recorder(chunk, state)

    def step(self, chunk: Tensor, state: SoundStreamState) -> list[Tensor]:
        """What `encode` records and replays."""
        return [code[:, None] for code in self.quantizer.encode(self.features(chunk, state))]

    @torch.no_grad()
    def features(self, chunk: Tensor, state: SoundStreamState) -> Tensor:
        """One frame [B, 320] -> what is quantized, [B, 64] float32; `state` moves on."""
        if self._native is not None:
            return self._native(chunk, [conv.tail for conv in state.convs])
        states = iter(state.convs)
        x = chunk.to(self._device, self._dtype)[:, :, None]
        for step in self._encoder:
            x = step(x, states)
        if self._features is not None:
            x = int8.dequantize(x, self._features, torch.float32)
        return x[:, 0]

    def _chain(self) -> Chain | None:
        """The encoder as one call, where there are kernels for it."""
        layers = [layer for step in self._encoder for layer in step.native()]
        return Chain(layers, FRAME, self._dtype, SLOPE, self._features) if serves(layers) else None

    def initial_decoder_state(self, batch: int) -> SoundStreamState:
        """State of `batch` decoders at the start of a stream."""
        return SoundStreamState([state for step in self._decoder for state in step.initial_state(batch)])

    @torch.no_grad()
    def decode(self, codes: list[Tensor], state: SoundStreamState) -> Tensor:
        """Codes [B, 1] of any number of layers from the first -> samples [B, 320] float32 in -1..1."""
        states = iter(state.convs)
        x = self.quantizer.decode([code[:, 0] for code in codes]).to(self._dtype)[:, None]
        for step in self._decoder:
            x = step(x, states)
        return x[:, :, 0].float().clamp(-1.0, 1.0)


def encoder(weights: Weights) -> list[Forward]:
    """[B, 320, 1] -> [B, 1, 64], an index in 8 bits or real."""
    steps: list[Forward] = [weights.conv("encoder.first", Shape(stride=16))]
    for block, (stride, groups) in enumerate(DOWN):
        down = f"encoder.blocks.{block}.down"
        steps += _residuals(weights, f"encoder.blocks.{block}", GROUPS[block], down)
        steps.append(weights.conv(down, Shape(stride, groups, leaky=True)))
    return [*steps, weights.conv("encoder.bottleneck", Shape(groups=4, leaky=True))]


def decoder(weights: Weights) -> list[Module]:
    """[B, 1, 64] -> [B, 320, 1]."""
    steps: list[Module] = [weights.conv("decoder.bottleneck", Shape(groups=4))]
    for block, (stride, groups) in enumerate(UP):
        after = f"decoder.blocks.{block + 1}.up" if block < 2 else "decoder.last"
        steps.append(Up(weights, f"decoder.blocks.{block}.up", stride, groups))
        steps += _residuals(weights, f"decoder.blocks.{block}", GROUPS[2 - block], after)
    return [*steps, Up(weights, "decoder.last", 16, 1)]


def _residuals(weights: Weights, block: str, groups: int, after: str) -> list[Residual]:
    names = [f"{block}.res.{i}" for i in range(len(DILATIONS))]
    follow = [f"{name}.dw" for name in names[1:]] + [after]
    return [
        Residual(weights, name, dilation, groups, next_)
        for name, dilation, next_ in zip(names, DILATIONS, follow, strict=True)
    ]


def parse(options: str) -> tuple[str, bool]:
    """`6.0:float` -> the rate and whether 8-bit layers stay in 8 bits; ConfigError for what is neither."""
    words = options.split(":") if options else []
    exact = "float" not in words[-1:]
    rates = words if exact else words[:-1]
    if len(rates) > 1 or any(rate not in RATES for rate in rates):
        raise ConfigError(f"{NAME} has no option {options!r}: {', '.join(RATES)} (kbit/s), then float or nothing")
    return (rates or ["3.2"])[0], exact


def open_tokenizer(device: str = "cpu", options: str = "", folder: Path | None = None) -> SoundStream:
    """`soundstream` of the models folder; ModelError with the command that installs it, or with what is wrong."""
    parse(options)
    folder = folder or store.models_folder()
    if not (folder / f"{NAME}.json").exists():
        raise NotInstalled(
            f"the weights of {NAME} are not in {folder}: run `{CURE}`, where FOLDER holds Lyra's .tflite files"
        )
    tensors, _, codebook_id = store.load(folder, NAME, SETTINGS, cure=CURE)
    try:
        return tried(SoundStream(tensors, codebook_id, options, device))
    except (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder / NAME}.safetensors lacks what the tokenizer needs: {error!r}") from error


def _spec(name: str, count: int, exact: bool, codebook_id: str) -> Spec:
    layers = [
        Layer(f"A{i}", "acoustic", "sound of the frame, coarsest" if i == 0 else f"sound, residual {i}", CODES)
        for i in range(count)
    ]
    dtype = "int8+float64" if exact else "float32"
    # The same codebooks, but other codes for the same sound.
    identity = codebook_id if exact else f"sha256:{hashlib.sha256(f'{codebook_id} {dtype}'.encode()).hexdigest()}"
    info = TokenizerInfo(name, VERSION, identity, causal=True, lookahead_ms=0.0, dtype=dtype, batch_invariant=True)
    return Spec(info, SR, FRAME, tuple(layers))
