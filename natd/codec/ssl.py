"""HuBERT, WavLM, wav2vec 2.0 (16 kHz, 50 vectors a second) and MERT (24 kHz, 75) as streaming tokenizers.

None of them is causal. Each tokenizer is therefore this definition, and the same samples give the same codes however
they arrive: when a frame (`hop`) has come, the waveform encoder makes its vectors, levelled over the latest `window`;
the transformer runs over the vectors of the latest `window`, and those of the frame, of some of its layers, are
quantized. Nothing stands before the start of a stream: its first frames have a shorter window (behind 5 ms of silence,
which the first vector sees in part). With `lookahead` the codes are of the frame that ended that much earlier. With
`features=anew` the vectors of the whole window are made again for every frame, at its one level: then the window gives
what the published model gives for it, at 1.6 times the cost.

S0, S1, ... are the nearest codes to one layer each, A0, A1, ... a residual quantizer of an early layer; their codebooks
are fitted (`nat codebook fit`). Layers are counted as transformers counts hidden states: 0 is what enters the first.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import store
from natd.codec import Spec
from natd.codec.checkpoint import Checkpoint, complete, open_checkpoint
from natd.codec.graph import Recorder
from natd.codec.options import parse
from natd.codec.packed import batch_invariant
from natd.codec.rvq import EuclideanQuantizer
from natd.codec.ssl_features import WaveformEncoder
from natd.codec.ssl_published import DTYPES, FEATURES, PUBLISHED, check_options, checked, planned, tensors_of
from natd.codec.ssl_transformer import Transformer
from natd.codec.trial import finite, noise
from natd.errors import ModelError, NotInstalled
from natd.wire import Layer, TokenizerInfo

VERSION = "base"
FIT = "nat codebook fit {} --audio DIR"
ARITHMETIC = 1  # counts changes of what is computed


@dataclass(slots=True)
class SslState:
    """The samples [B, n] and vectors [B, m, H] that later frames still need, the level's sums by frame [B, frames, k].

    `heard` [B] counts the frames of the window that have come.
    """

    samples: Tensor
    sums: Tensor
    vectors: Tensor
    heard: Tensor


class SslEncoder:
    """Samples of a frame -> the vectors that codebooks are fitted to and that the tokenizer quantizes."""

    def __init__(self, name: str, checkpoint: Checkpoint, options: str = "", device: str = "cpu") -> None:
        config, model = checked(name, checkpoint.config), PUBLISHED[name]
        given = parse(name, options, model.options)
        rate = model.sr // math.prod(config["conv_stride"])
        self.plan = plan = planned(name, given, rate, config["num_hidden_layers"])
        tensors, dtype = tensors_of(checkpoint, torch.device(device)), DTYPES[plan.dtype]
        end = (plan.frames - plan.late) * plan.per_frame
        at, deepest = slice(end - plan.per_frame, end), max(*plan.semantic, plan.acoustic)
        self._waveform = WaveformEncoder(tensors, config, dtype, model.even)
        self._transformer = Transformer(tensors, config, plan.frames * plan.per_frame, at, deepest, dtype)
        asked = [f":{key}={value}" for key, value in given.items() if key != "from" and value != model.options[key]]
        self.asked = "".join([name, *asked])  # its name, without where its weights came from
        self.name, self.sr, self.frame_samples = name, model.sr, plan.per_frame * self._waveform.stride
        self.fit = FIT.format(shlex.quote(f"{name}:{options}" if options else name))
        self._digest, self.device, self.width = checkpoint.digest, torch.device(device), self._waveform.width

    def settings(self) -> dict[str, Any]:
        """Everything that shapes the vectors."""
        plan = self.plan
        return {
            "name": self.name, "arithmetic": ARITHMETIC, "weights": self._digest, "sr": self.sr,
            "frame_samples": self.frame_samples, "window_frames": plan.frames, "late_frames": plan.late,
            "semantic": list(plan.semantic), "acoustic": plan.acoustic, "dtype": plan.dtype,
            "features": FEATURES[plan.anew],
        }  # fmt: skip

    def initial_state(self, batch: int) -> SslState:
        """State of `batch` streams that have heard nothing."""
        plan, past = self.plan, self.plan.frames - 1
        samples = self._waveform.before + past * self.frame_samples * plan.anew
        vectors = 0 if plan.anew else past * plan.per_frame
        zeros = partial(torch.zeros, device=self.device)
        return SslState(
            zeros(batch, samples),
            zeros(batch, past, self._waveform.sums, dtype=torch.float64),
            zeros(batch, vectors, self._waveform.width),
            zeros(batch, dtype=torch.int64),
        )

    @torch.no_grad()
    def vectors(self, chunk: Tensor, state: SslState) -> dict[str, Tensor]:
        """One frame [B, frame_samples] float32 -> "S0", ... and "A": [B, per_frame, H] float32; `state` moves on."""
        whole = self._whole(chunk, state)
        length = whole.shape[1]
        first = length - state.heard * self.plan.per_frame
        layers = self._transformer(whole, torch.arange(length, device=first.device) < first[:, None])
        found = {f"S{i}": layers[layer] for i, layer in enumerate(self.plan.semantic)}
        return found | {"A": layers[self.plan.acoustic]}

    def _whole(self, chunk: Tensor, state: SslState) -> Tensor:
        """What the waveform encoder gives for the whole window [B, frames * per_frame, H]."""
        frame, plan = self.frame_samples, self.plan
        samples = torch.cat([state.samples, chunk.to(self.device)], 1)
        newest = samples[:, -frame - self._waveform.before :]
        kept, rest = self._waveform.moments(newest)
        sums = torch.cat([state.sums, kept[:, None]], 1)
        state.heard.add_(1).clamp_(max=plan.frames)
        # One after the other, in one order.
        level = self._waveform.level(reduce(torch.add, sums.unbind(1)) + rest, state.heard * frame)
        if plan.anew:
            spans = [samples[:, i * frame : (i + 1) * frame + self._waveform.before] for i in range(plan.frames)]
            whole = torch.cat([self._waveform(span, *level) for span in spans], 1)
        else:
            whole = torch.cat([state.vectors, self._waveform(newest, *level)], 1)
            state.vectors.copy_(whole[:, plan.per_frame :])
        state.samples.copy_(samples[:, frame:])
        state.sums.copy_(sums[:, 1:])
        return whole


class Ssl:
    """An encoder and codebooks fitted to it, "S0.codes", ... [K, H] and "A.codes" [levels, K, H], with their legend."""

    def __init__(
        self, encoder: SslEncoder, codebooks: Mapping[str, Tensor], legend: Mapping[str, Any], codebook_id: str
    ) -> None:
        self.encoder = encoder
        names = [f"S{i}" for i in range(len(encoder.plan.semantic))]
        self._semantic = {layer: EuclideanQuantizer([_codes(encoder, codebooks, layer, 2)]) for layer in names}
        self._acoustic = EuclideanQuantizer(list(_codes(encoder, codebooks, "A", 3)))
        words = {layer: legend.get("codes", {}).get(layer, {}) for layer in names}
        self.glossary: Mapping[str, Mapping[int, str]] = {
            layer: {int(code): entry["phrase"] for code, entry in found.items()} for layer, found in words.items()
        }
        self._recorder: Recorder[SslState] = Recorder(self.step, traced=False)
        self.spec = _spec(encoder, codebook_id, self._semantic, self._acoustic)

    def settings(self) -> dict[str, Any]:
        """Everything that shapes the vectors."""
        return self.encoder.settings()

    def initial_state(self, batch: int) -> SslState:
        """State of `batch` streams that have heard nothing."""
        return self.encoder.initial_state(batch)

    def vectors(self, chunk: Tensor, state: SslState) -> dict[str, Tensor]:
        """What is quantized, see `SslEncoder.vectors`."""
        return self.encoder.vectors(chunk, state)

    @torch.no_grad()
    def encode(self, chunk: Tensor, state: SslState) -> list[Tensor]:
        """One frame [B, frame_samples] float32 -> S0, ..., A0, ... each [B, per_frame] int64."""
        return self._recorder(chunk, state)

    def step(self, chunk: Tensor, state: SslState) -> list[Tensor]:
        """What `encode` records on CUDA, and replays."""
        found = self.encoder.vectors(chunk, state)
        semantic = [book.encode(found[layer])[0] for layer, book in self._semantic.items()]
        return semantic + self._acoustic.encode(found["A"])


def open_encoder(name: str, device: str = "cpu", options: str = "") -> SslEncoder:
    """The encoder of `name` without codebooks, to fit them to; ModelError if its weights are missing or wrong."""
    model = PUBLISHED[name]
    given = parse(name, options, model.options)
    if not given["from"]:
        check_options(name, given)
    checkpoint = open_checkpoint(name, model.repo, Path(given["from"]) if given["from"] else None)
    with complete(name):
        encoder = SslEncoder(name, checkpoint, options, device)
        for layer, found in encoder.vectors(noise(encoder.frame_samples), encoder.initial_state(1)).items():
            if found.shape != (1, encoder.plan.per_frame, encoder.width) or not finite(found):
                raise ValueError(f"vectors of {tuple(found.shape)} for {layer} that are not all numbers")
        return encoder


def _open(name: str, device: str = "cpu", options: str = "") -> Ssl:
    encoder = open_encoder(name, device, options)
    folder, fitted = store.models_folder() / "codebooks", store.fitted_name(name, encoder.settings())
    if not (folder / f"{fitted}.json").exists():
        raise NotInstalled(f"{name}: no codebooks for these options are in {folder} ({fitted}); run `{encoder.fit}`")
    tensors, legend, codebook_id = store.load(folder, fitted, encoder.settings(), cure=encoder.fit)
    return Ssl(encoder, tensors, legend, codebook_id)


open_hubert = partial(_open, "hubert")
open_wavlm = partial(_open, "wavlm")
open_wav2vec2 = partial(_open, "wav2vec2")
open_mert = partial(_open, "mert")


def _codes(encoder: SslEncoder, codebooks: Mapping[str, Tensor], layer: str, axes: int) -> Tensor:
    """[K, H] or [levels, K, H]; ModelError if there are none, or they are not for the encoder's vectors."""
    found = codebooks.get(f"{layer}.codes")
    shape = None if found is None else tuple(found.shape)
    if found is None or found.dim() != axes or found.shape[-1] != encoder.width or not found.numel():
        raise ModelError(
            f"{encoder.name}: codebooks of {shape} for {layer}, whose vectors have {encoder.width} terms; "
            f"run `{encoder.fit}`"
        )
    return found.to(encoder.device)


def _spec(
    encoder: SslEncoder, codebook_id: str, semantic: Mapping[str, EuclideanQuantizer], acoustic: EuclideanQuantizer
) -> Spec:  # fmt: skip
    plan = encoder.plan
    layers = [
        Layer(layer, "semantic", f"{encoder.name} layer {of}", len(book.books[0]), plan.per_frame)
        for (layer, book), of in zip(semantic.items(), plan.semantic, strict=True)
    ]
    for i, book in enumerate(acoustic.books):
        about = f"{encoder.name} layer {plan.acoustic}, residual {i}"
        layers.append(Layer(f"A{i}", "acoustic", about, len(book), plan.per_frame))
    late_ms = 1000.0 * plan.late * encoder.frame_samples / encoder.sr
    info = TokenizerInfo(
        encoder.asked, VERSION, codebook_id, causal=plan.late == 0, lookahead_ms=late_ms, dtype=plan.dtype,
        batch_invariant=batch_invariant(DTYPES[plan.dtype], encoder.device),
    )  # fmt: skip
    return Spec(info, encoder.sr, encoder.frame_samples, tuple(layers), plan.late)
