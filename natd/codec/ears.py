"""The embedded tokenizer `ears`: 24 kHz mono, 12.5 frames a second, causal; four layers of meaning, four of sound.

S0 scene, S1 harmony, S2 rhythm and S3 dynamics and register are k-means cells over named descriptors; A0-A3 are a
residual quantizer of the log-mel. Code 0 of every layer is silence. What a row gives depends on its own samples alone
(see `rows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import store
from natd.codec import Spec, descriptors, mel, rows
from natd.codec.descriptors import DescriptorState, FrontEnd, Heard
from natd.codec.rvq import Codebook, ResidualQuantizer
from natd.errors import ModelError
from natd.wire import Layer, TokenizerInfo

NAME, VERSION = "ears", "0"
MODELS = Path(__file__).parent.parent / "models"
SEMANTIC = {
    "S0": (256, "scene and texture: spectral shape and its motion over 0.08 to 3.2 s, without the level"),
    "S1": (256, "harmony: pitch classes, how tonal, f0"),
    "S2": (128, "rhythm: onsets, pulse and its rate, slow and fast flutter"),
    "S3": (256, "dynamics and register: level, brightness, noisiness, f0"),
}
ACOUSTIC = ("A0", "A1", "A2", "A3")
ACOUSTIC_SIZE = 1024
SCENE_WIDTH = 32  # principal components of the scene features
ACOUSTIC_WIDTH = 128
MEL_FLOOR_DB = -80.0
# All that shapes the codes beside the fitted tensors, and part of the codebook_id. New arithmetic: a new `front_end`.
SETTINGS: dict[str, Any] = {
    "name": NAME,
    "version": VERSION,
    "front_end": 2,
    "sr": mel.SR,
    "frame_samples": mel.FRAME,
    "silence_dbfs": descriptors.SILENCE_DBFS,
    "mel_floor_db": MEL_FLOOR_DB,
    "scene_width": SCENE_WIDTH,
    "acoustic_width": ACOUSTIC_WIDTH,
    "descriptors": list(descriptors.DESCRIPTORS),
    "weights": {layer: list(weights) for layer, weights in descriptors.WEIGHTS.items()},
    "sizes": {layer: size for layer, (size, _) in SEMANTIC.items()} | dict.fromkeys(ACOUSTIC, ACOUSTIC_SIZE),
}


@dataclass(slots=True)
class EarsState:
    """What the streams of a batch remember: 3.2 s of features, 6 s of onsets, 0.7 s of audio each."""

    front: DescriptorState


class Ears:
    """The tokenizer over given tensors (names and shapes as `natd.training.ears0` fits them)."""

    def __init__(
        self, tensors: Mapping[str, Tensor], legend: Mapping[str, Any], codebook_id: str, device: str = "cpu"
    ) -> None:
        on = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.front = FrontEnd(device)
        self.views = {layer: (on[f"{layer}.shift"], on[f"{layer}.matrix"]) for layer in SEMANTIC}
        self.books = {layer: Codebook(on[f"{layer}.codes"]) for layer in SEMANTIC}
        self.mean, self.basis = on["A.mean"], on["A.basis"]
        self.residual = ResidualQuantizer([Codebook(codes) for codes in on["A.codes"]])
        self.legend = legend
        self.glossary: Mapping[str, Mapping[int, str]] = {
            layer: {int(code): entry["phrase"] for code, entry in legend["codes"][layer].items()} for layer in SEMANTIC
        }
        self.spec = _spec(codebook_id)

    def initial_state(self, batch: int) -> EarsState:
        """State of `batch` streams that have heard nothing."""
        return EarsState(front=self.front.initial_state(batch))

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: EarsState) -> list[Tensor]:
        """One frame [B, 1920] float32 -> S0, S1, S2, S3, A0, A1, A2, A3, each [B, 1] int64."""
        heard = self.hear(chunk, state)
        codes = [self.books[layer](self.standard(layer, heard.vectors[layer]), heard.silent) for layer in SEMANTIC]
        codes += self.residual.encode(self.compress(heard.log_mel), heard.silent)
        return [code[:, None] for code in codes]

    def hear(self, chunk: Tensor, state: EarsState) -> Heard:
        """Descriptors, log-mel and layer vectors of one frame [B, 1920]; `state` moves on."""
        return self.front(chunk.to(self.mean.device), state.front)

    def standard(self, layer: str, vectors: Tensor) -> Tensor:
        """Vectors [B, n] of an S layer -> the space of its codebook [B, D]."""
        shift, matrix = self.views[layer]
        centred = torch.nn.functional.pad(vectors - shift, (0, matrix.shape[0] - len(shift)))
        return rows.product(centred[:, None], matrix)[:, 0]

    def compress(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, 8, 128] in dB -> its 128 principal components."""
        return compress(log_mel, self.mean, self.basis)

    def initial_mel_state(self, batch: int) -> None:
        """None: a frame's log-mel needs nothing of the frames before it."""

    def decode_mel(self, codes: list[Tensor], state: None = None) -> Tensor:
        """Codes [B, 1] of A0 and as many after it as there are -> log-mel [B, 8, 128] in dB."""
        components = self.residual.decode([code[:, 0] for code in codes])
        return (components @ self.basis.T + self.mean).view(-1, mel.HOPS, mel.BANDS)


def compress(log_mel: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Log-mel [B, 8, 128], mean [1024] and orthonormal basis [1024, D] -> components [B, D]."""
    flat = log_mel.clamp(min=MEL_FLOOR_DB).flatten(1) - mean
    return rows.product(flat[:, None], basis)[:, 0]


def open_tokenizer(device: str = "cpu", folder: Path = MODELS) -> Ears:
    """The shipped `ears` on a torch device; ModelError with the reason if its files are missing, damaged or others."""
    tensors, legend, codebook_id = store.load(folder, NAME, SETTINGS)
    try:
        return Ears(tensors, legend, codebook_id, device)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / NAME}.safetensors lacks what the tokenizer needs: {error!r}") from error


def _spec(codebook_id: str) -> Spec:
    layers = [Layer(name, "semantic", about, size, encoding="rle") for name, (size, about) in SEMANTIC.items()]
    about = ["log-mel of the frame, coarsest"] + [f"log-mel, residual {i}" for i in range(1, len(ACOUSTIC))]
    layers += [Layer(name, "acoustic", text, ACOUSTIC_SIZE) for name, text in zip(ACOUSTIC, about, strict=True)]
    info = TokenizerInfo(
        NAME, VERSION, codebook_id, causal=True, lookahead_ms=0.0, dtype="float32", batch_invariant=True
    )
    return Spec(info, mel.SR, mel.FRAME, tuple(layers))
