"""EnCodec at 24 kHz mono by Meta: 75 latents a second, causal; 2 to 32 residual codebooks of 1024.

Options: `bandwidth=6` (kbit/s: 1.5, 3, 6, 12 or 24, that is 2, 4, 8, 16 or 32 codebooks, of which the first are the
same), `frames=8` latents of 320 samples in a frame (7..75), `from=FOLDER`. A layer has one code a latent.

Before the stream stands, at every layer, the mirror image of its own first inputs: hence the 7 latents. What is left at
the end is handled as everywhere in natd: a frame is coded when it is whole. The published model codes a recording to
its end, after padding a last latent that is not whole; to have that too, add samples up to a whole frame.
Source: Défossez et al., High Fidelity Neural Audio Compression (2022); the checkpoint is facebook/encodec_24khz as
transformers reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codec import Spec, seanet
from natd.codec.checkpoint import Checkpoint, complete, open_checkpoint
from natd.codec.graph import Recorder
from natd.codec.lstm import LSTM
from natd.codec.options import number, parse
from natd.codec.rvq import EuclideanQuantizer
from natd.codec.trial import tried
from natd.codec.weight_norm import folded
from natd.errors import ConfigError, ModelError
from natd.wire import Layer, TokenizerInfo

NAME, REPO, VERSION = "encodec", "facebook/encodec_24khz", "facebook/encodec_24khz"
ARITHMETIC = 2  # counts changes of the order of sums: with another one a near tie may fall elsewhere
BANDWIDTHS = {"1.5": 2, "3": 4, "6": 8, "12": 16, "24": 32}  # kbit/s -> codebooks
DEFAULTS = {"bandwidth": "6", "frames": "8", "from": ""}
LEAST, MOST = 7, 75  # latents in a frame
SR = 24_000  # Hz
EXPECTED = {
    "audio_channels": 1, "normalize": False, "norm_type": "weight_norm", "use_causal_conv": True,
    "pad_mode": "reflect", "trim_right_ratio": 1.0, "chunk_length_s": None, "sampling_rate": SR,
}  # fmt: skip


class EnCodec:
    """Encoder, quantizer and decoder over a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, options: str = "", device: str = "cpu") -> None:
        config, count, latents = {**EXPECTED, **checkpoint.config}, *_asked(options)
        _check(config)
        tensors = {name: tensor.to(device).float() for name, tensor in folded(checkpoint.tensors).items()}
        strides = tuple(reversed(config["upsampling_ratios"]))
        layout = seanet.Layout(
            strides, config["num_residual_layers"], config["dilation_growth_rate"],
            config.get("use_conv_shortcut", True), config["pad_mode"],
        )  # fmt: skip

        def weights(name: str) -> tuple[Tensor, Tensor | None]:
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        after = len(strides) * (config["num_residual_layers"] + 2) + 1
        self._device = torch.device(device)
        self._encoder = seanet.encoder("encoder", layout, weights, [_lstm(tensors, f"encoder.layers.{after}.lstm.")])
        self._decoder = seanet.decoder("decoder", layout, weights, [_lstm(tensors, "decoder.layers.1.lstm.")])
        books = [tensors[f"quantizer.layers.{i}.codebook.embed"] for i in range(count)]
        self._quantizer = EuclideanQuantizer(books)
        self._recorder: Recorder[seanet.ChainState] = Recorder(self.step, traced=False)
        self.glossary: Mapping[str, Mapping[int, str]] = {}
        settings = {"weights": checkpoint.digest, "codebooks": count, "arithmetic": ARITHMETIC}
        self.spec = _spec(options, settings, math.prod(strides), latents, len(books[0]))

    def initial_state(self, batch: int) -> seanet.ChainState:
        """State of `batch` streams that have heard nothing."""
        return self._encoder.initial_state(batch)

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: seanet.ChainState) -> list[Tensor]:
        """One frame [B, 2560] float32 -> A0, A1, ... each [B, 8] int64.

        Any other number of latents of 320 samples will do, if it is more than 6 in the first step of a row (on CUDA
        in every one).
        """
        return self._recorder(chunk, state)

    def step(self, chunk: Tensor, state: seanet.ChainState) -> list[Tensor]:
        """What `encode` records on CUDA, and replays."""
        return self._quantizer.encode(self.latents(chunk, state))

    @torch.no_grad()
    def latents(self, chunk: Tensor, state: seanet.ChainState) -> Tensor:
        """One frame [B, 2560] -> what is quantized, [B, 8, 128]; `state` moves on."""
        return self._encoder(chunk.to(self._device)[:, :, None], state)

    def initial_decoder_state(self, batch: int) -> seanet.ChainState:
        """State of `batch` decoders at the start of a stream."""
        return self._decoder.initial_state(batch)

    @torch.no_grad()
    def decode(self, codes: list[Tensor], state: seanet.ChainState) -> Tensor:
        """Codes [B, 8] of any number of layers from the first -> samples [B, 2560] float32, not clipped."""
        latents = self._quantizer.decode([code.to(self._device) for code in codes])
        return self._decoder(latents, state)[:, :, 0]


def open_tokenizer(device: str = "cpu", options: str = "") -> EnCodec:
    """`encodec` from where its checkpoint is; ModelError if it is not there or of another model, ConfigError else."""
    _asked(options)
    folder = parse(NAME, options, DEFAULTS)["from"]
    checkpoint = open_checkpoint(NAME, REPO, Path(folder).expanduser() if folder else None)
    with complete(NAME):
        return tried(EnCodec(checkpoint, options, device))


def _asked(options: str) -> tuple[int, int]:
    """Codebooks, latents a frame."""
    found = parse(NAME, options, DEFAULTS)
    if found["bandwidth"] not in BANDWIDTHS:
        raise ConfigError(f"{NAME}:bandwidth={found['bandwidth']} is none of {', '.join(BANDWIDTHS)} (kbit/s)")
    return BANDWIDTHS[found["bandwidth"]], number(NAME, "frames", found["frames"], LEAST, MOST)


def _check(config: Mapping[str, Any]) -> None:
    for key, value in EXPECTED.items():
        if config[key] != value:
            raise ModelError(f"{NAME}: the checkpoint says {key}={config[key]!r}; only {value!r} can be streamed")


def _lstm(tensors: Mapping[str, Tensor], prefix: str) -> LSTM:
    return LSTM({name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)})


def _spec(options: str, settings: Mapping[str, Any], hop: int, latents: int, codes: int) -> Spec:
    layers = [
        Layer(f"A{i}", "acoustic", "sound, coarsest" if i == 0 else f"sound, residual {i}", codes, latents)
        for i in range(settings["codebooks"])
    ]
    asked = ":".join(f"{k}={v}" for k, v in parse(NAME, options, DEFAULTS).items() if k != "from" and v != DEFAULTS[k])
    identity = f"sha256:{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}"
    info = TokenizerInfo(f"{NAME}:{asked}" if asked else NAME, VERSION, identity)
    return Spec(info, SR, latents * hop, tuple(layers))
