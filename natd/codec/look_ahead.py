"""A codec that looks ahead, as a tokenizer: delayed chains around a factorised quantizer.

`finish` tells a state that its sounds end with the frames they had; steps of silence then give the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codec import Spec
from natd.codec.delayed import Chain, ChainState
from natd.codec.factorised import FactorisedQuantizer
from natd.codec.graph import Recorder
from natd.errors import ModelError
from natd.wire import Layer, TokenizerInfo


@dataclass(frozen=True, slots=True)
class Identity:
    """What the header says of a codec: its name with options, its version, its codes, its rate (Hz)."""

    name: str
    version: str
    codebook_id: str
    sr: int


class LookAheadCodec:
    """`encoder` gives the latent vectors of whole frames, `decoder` takes them.

    Codes are late by `spec.delay_frames`, samples by `decoder_delay_samples`.
    """

    glossary: Mapping[str, Mapping[int, str]] = {}

    def __init__(self, encoder: Chain, quantizer: FactorisedQuantizer, decoder: Chain, identity: Identity) -> None:
        self._encoder, self._quantizer, self._decoder = encoder, quantizer, decoder
        self._device = quantizer.books[0].codes.device
        self._recorder: Recorder[ChainState] = Recorder(self.step, traced=False)
        self.decoder_delay_samples = decoder.axis.delay
        self.spec = _spec(encoder, quantizer, decoder, identity)

    def initial_state(self, batch: int) -> ChainState:
        """State of `batch` streams that have heard nothing."""
        return self._encoder.initial_state(batch)

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: ChainState) -> list[Tensor]:
        """One frame [B, frame_samples] float32 -> A0, A1, ... each [B, per_frame] int64, of an earlier frame."""
        return self._recorder(chunk, state)

    def step(self, chunk: Tensor, state: ChainState) -> list[Tensor]:
        """What `encode` records on CUDA, and replays."""
        return self._quantizer.encode(self._encoder(chunk.to(self._device)[:, :, None], state))

    def finish(self, state: ChainState) -> None:
        """The sounds of all rows end with the frames they have had; steps of silence then give the other codes."""
        self._encoder.finish(state)

    def finish_decoding(self, state: ChainState) -> None:
        """The sounds of all rows end with the frames they have had; further steps, of any codes, give the rest."""
        self._decoder.finish(state)

    def initial_decoder_state(self, batch: int) -> ChainState:
        """State of `batch` decoders at the start of a stream."""
        return self._decoder.initial_state(batch)

    @torch.no_grad()
    def decode(self, codes: list[Tensor], state: ChainState) -> Tensor:
        """Codes [B, per_frame] of any number of layers from the first -> samples [B, frame_samples] in -1..1, late."""
        latents = self._quantizer.decode([code.to(self._device) for code in codes])
        return self._decoder(latents, state)[:, :, 0].tanh()


def coded_by(digest: str, settings: Mapping[str, Any]) -> str:
    """`sha256:` over the digest of the weights and what else shapes the codes."""
    text = digest + json.dumps(settings, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def folder_of(path: str) -> Path | None:
    """The folder that `from=` names, if any."""
    return Path(path).expanduser() if path else None


def check_rate(name: str, config: Mapping[str, Any], sr: int) -> None:
    """ModelError if the checkpoint is of another rate than the model asked for."""
    if config["sampling_rate"] != sr:
        raise ModelError(f"{name}: the checkpoint is of {config['sampling_rate']} Hz, the model asked for of {sr} Hz")


def _spec(encoder: Chain, quantizer: FactorisedQuantizer, decoder: Chain, identity: Identity) -> Spec:
    latents, samples = encoder.axis.per_frame, decoder.axis.per_frame
    layers = [
        Layer(
            f"A{i}", "acoustic", "sound, coarsest" if i == 0 else f"sound, residual {i}", len(book.codes),
            latents // book.stride,
        )
        for i, book in enumerate(quantizer.books)
    ]  # fmt: skip
    delay = encoder.axis.delay // latents
    info = TokenizerInfo(
        identity.name, identity.version, identity.codebook_id, causal=False,
        lookahead_ms=delay * samples * 1000 / identity.sr, dtype="float32", batch_invariant=True,
    )  # fmt: skip
    return Spec(info, identity.sr, samples, tuple(layers), delay)
