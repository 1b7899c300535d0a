"""The embedded tokenizer `ears`: 24 kHz mono, 12.5 frames a second, causal; four layers of meaning, four of sound.

S0 names the scene, S1 the harmony, S2 the rhythm, S3 level, brightness and noisiness; A0-A3 are a residual quantizer of
the log-mel. Code 0 of every layer is silence. What a row gives depends on its own samples alone (see `rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import store
from natd.codebooks.naming import Run
from natd.codec import Spec, descriptors, dynamics, ears_names, harmony_net, mel, rhythm_net, rows, scene_net
from natd.codec.descriptors import DescriptorState, FrontEnd, Heard
from natd.codec.dynamics import Dynamics, DynamicsState
from natd.codec.graph import Recorder
from natd.codec.harmony_net import HarmonyNet, HarmonyState
from natd.codec.mel_decoder import MelDecoder, MelDecoderState
from natd.codec.rhythm_net import RhythmNet, RhythmNetState
from natd.codec.rvq import Codebook, ResidualQuantizer
from natd.codec.scene_net import SceneNet, SceneNetState
from natd.errors import ModelError
from natd.wire import Layer, TokenizerInfo

NAME, VERSION = "ears", "1"
MODELS = Path(__file__).parent.parent / "models"
SEMANTIC = {
    "S0": (scene_net.SIZE, "scene: a kind of sound, how surely, and its texture"),
    "S1": (harmony_net.SIZE, "harmony: unpitched, a note, a chord, a mix of pitch classes"),
    "S2": (rhythm_net.CODES, "rhythm: onsets, tempo, regular ticks, flutter, syllables"),
    "S3": (dynamics.SIZE, "dynamics and register: level, brightness, noisiness"),
}
ACOUSTIC = ("A0", "A1", "A2", "A3")
ACOUSTIC_SIZE = 1024
ACOUSTIC_WIDTH = 128
MEL_FLOOR_DB = -80.0
# All that shapes the codes beside the fitted tensors, and part of the codebook_id. New arithmetic: a new `front_end`.
SETTINGS: dict[str, Any] = {
    "name": NAME,
    "version": VERSION,
    "front_end": 4,
    "sr": mel.SR,
    "frame_samples": mel.FRAME,
    "silence_dbfs": descriptors.SILENCE_DBFS,
    "mel_floor_db": MEL_FLOOR_DB,
    "acoustic_width": ACOUSTIC_WIDTH,
    "descriptors": list(descriptors.DESCRIPTORS),
    "sizes": {layer: size for layer, (size, _) in SEMANTIC.items()} | dict.fromkeys(ACOUSTIC, ACOUSTIC_SIZE),
}


@dataclass(slots=True)
class EarsState:
    """What the streams of a batch remember: the front end's past, and what each semantic layer holds on to."""

    front: DescriptorState
    scene: SceneNetState
    harmony: HarmonyState
    rhythm: RhythmNetState
    dynamics: DynamicsState


class Ears:
    """The tokenizer over given tensors (names and shapes as `natd.training` fits them)."""

    def __init__(
        self, tensors: Mapping[str, Tensor], legend: Mapping[str, Any], codebook_id: str, device: str = "cpu"
    ) -> None:
        self.front = FrontEnd(device)
        self.scene, self.harmony = SceneNet(tensors, device), HarmonyNet(tensors, device)
        self.rhythm, self.dynamics = RhythmNet(tensors, device), Dynamics(tensors, device)
        self.mean, self.basis = tensors["A.mean"].float().to(device), tensors["A.basis"].float().to(device)
        self.residual = ResidualQuantizer([Codebook(codes) for codes in tensors["A.codes"].float().to(device)])
        self.mel_decoder = MelDecoder(tensors, self.mean, self.basis, device)
        self.recorder: Recorder[EarsState] = Recorder(self.step)
        self.legend = legend
        self.glossary: Mapping[str, Mapping[int, str]] = {
            layer: {int(code): entry["phrase"] for code, entry in legend["codes"][layer].items()} for layer in SEMANTIC
        }
        scene = {int(code): entry for code, entry in legend["codes"]["S0"].items()}
        self.kinds = {"S0": {code: entry.get("closest", {}) for code, entry in scene.items()}}
        self.called = {"S0": {code: entry["called"] for code, entry in scene.items()}}
        self.names: Mapping[str, Sequence[Run]] = ears_names.runs(legend, self.harmony.names()) if scene else {}
        self.spec = _spec(codebook_id)

    def initial_state(self, batch: int) -> EarsState:
        """State of `batch` streams that have heard nothing."""
        return EarsState(
            front=self.front.initial_state(batch),
            scene=self.scene.initial_state(batch),
            harmony=self.harmony.initial_state(batch),
            rhythm=self.rhythm.initial_state(batch),
            dynamics=self.dynamics.initial_state(batch),
        )

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: EarsState) -> list[Tensor]:
        """One frame [B, 1920] float32 -> S0, S1, S2, S3, A0, A1, A2, A3, each [B, 1] int64."""
        return self.recorder(chunk, state)

    def step(self, chunk: Tensor, state: EarsState) -> list[Tensor]:
        """What `encode` records and replays."""
        return self.quantize(self.hear(chunk, state), state)

    def hear(self, chunk: Tensor, state: EarsState) -> Heard:
        """What the front end makes of one frame [B, 1920]; its part of the `state` moves on."""
        return self.front(chunk.to(self.mean.device), state.front)

    def quantize(self, heard: Heard, state: EarsState) -> list[Tensor]:
        """The codes of what was heard; the layers' part of the `state` moves on."""
        silent = heard.silent
        codes = [
            self.scene(heard.scene, silent, state.scene),
            self.harmony(heard.tonal, heard.of("f0"), heard.of("salience"), silent, state.harmony),
            self.rhythm(heard.past, heard.of("onset"), silent, state.rhythm),
            self.dynamics(heard.descriptors, silent, state.dynamics),
        ]
        codes += self.residual.encode(self.compress(heard.log_mel), silent)
        return [code[:, None] for code in codes]

    def compress(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, 8, 128] in dB -> its 128 principal components."""
        return compress(log_mel, self.mean, self.basis)

    def initial_mel_state(self, batch: int) -> MelDecoderState:
        """State of `batch` decoders to log-mel at the start of a stream."""
        return self.mel_decoder.initial_state(batch)

    @torch.no_grad()
    def decode_mel(self, codes: list[Tensor], state: MelDecoderState) -> Tensor:
        """Codes [B, 1] of A0 and as many after it as there are -> log-mel [B, 8, 128] in dB, at least -80."""
        flat = [code[:, 0].to(self.mean.device) for code in codes]
        log_mel = self.mel_decoder(self.residual.decode(flat), len(flat), state).clamp(min=MEL_FLOOR_DB)
        return torch.where((flat[0] == 0)[:, None, None], log_mel.new_full((), MEL_FLOOR_DB), log_mel)


def compress(log_mel: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Log-mel [B, 8, 128], mean [1024] and orthonormal basis [1024, D] -> components [B, D]."""
    flat = log_mel.clamp(min=MEL_FLOOR_DB).flatten(1) - mean
    return rows.product(flat[:, None], basis)[:, 0]


def open_tokenizer(device: str = "cpu", folder: Path = MODELS) -> Ears:
    """The shipped `ears` on a torch device; ModelError with the reason if its files are missing, damaged or others."""
    tensors, legend, codebook_id = store.load(folder, NAME, SETTINGS, "nat train ears")
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
