"""Codes back to samples: runs of frames through the tokenizer that made them, each opened once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from natd import codec
from natd.codec import mel
from natd.codec.vocoder import DELAY_SAMPLES, Vocoder
from natd.errors import ConfigError, ModelError, WireError
from natd.wire import Header, Layer

ALONE = ("mimi",)  # their first layer, which is semantic, holds sound too
ONE_WAY = ("hubert", "wavlm", "wav2vec2", "mert")
Samples = npt.NDArray[np.float32]


class Run(Protocol):
    """Frames that follow one another without a hole."""

    def play(self, codes: list[Tensor]) -> Samples:
        """Samples for the acoustic codes [1, per_frame] of the next frame: as many as a frame has, but for a delay."""

    def close(self) -> Samples:
        """What is still to come: with it there are as many samples as the frames stand for."""


class CodecRun:
    """A tokenizer that gives back samples (`natd.codec.Decoder`), without its delay if it has one."""

    def __init__(self, tokenizer: codec.Decoder) -> None:
        self._tokenizer, self._state = tokenizer, tokenizer.initial_decoder_state(1)
        self._early: int = getattr(tokenizer, "decoder_delay_samples", 0)
        self._owed = 0  # samples of frames that came, not given yet
        self._codes: list[Tensor] = []

    def play(self, codes: list[Tensor]) -> Samples:
        """Samples, as many as a frame has, but for the delay."""
        self._codes = codes
        samples = _array(self._tokenizer.decode(codes, self._state)[0])
        self._owed += len(samples)
        return self._heard(samples)

    def close(self) -> Samples:
        """The end, that the delay held back."""
        parts = [np.zeros(0, np.float32)]
        if self._owed:
            cast(codec.LateDecoder, self._tokenizer).finish_decoding(self._state)
        while self._owed:
            parts.append(self._heard(_array(self._tokenizer.decode(self._codes, self._state)[0])))
        return np.concatenate(parts)

    def _heard(self, samples: Samples) -> Samples:
        cut = min(self._early, len(samples))
        self._early -= cut
        found = samples[cut:][: self._owed]
        self._owed -= len(found)
        return found


class Steps:
    """A run of the acoustic part of a hybrid, of whose frames several are one of the stream."""

    def __init__(self, run: Run, steps: int) -> None:
        self._run, self._steps = run, steps

    def play(self, codes: list[Tensor]) -> Samples:
        """Samples of all its frames."""
        frames = zip(*(code.chunk(self._steps, dim=1) for code in codes), strict=True)
        return np.concatenate([self._run.play(list(frame)) for frame in frames])

    def close(self) -> Samples:
        """What is still to come."""
        return self._run.close()


class MelRun:
    """A tokenizer that gives back log-mel (`natd.codec.MelDecoder`), through the vocoder and without its delay."""

    def __init__(self, tokenizer: codec.MelDecoder, vocoder: Vocoder) -> None:
        self._tokenizer, self._vocoder = tokenizer, vocoder
        self._mel, self._sound = tokenizer.initial_mel_state(1), vocoder.initial_state(1)
        self._early = DELAY_SAMPLES

    def play(self, codes: list[Tensor]) -> Samples:
        """One frame of samples; the first is shorter by the delay."""
        return self._heard(self._tokenizer.decode_mel(codes, self._mel))

    def close(self) -> Samples:
        """The end, that the delay held back."""
        silence = torch.full((1, mel.HOPS, mel.BANDS), mel.FLOOR_DB)
        return self._heard(silence)[:DELAY_SAMPLES] if not self._early else np.zeros(0, np.float32)

    def _heard(self, log_mel: Tensor) -> Samples:
        samples = _array(self._vocoder(log_mel.cpu(), self._sound)[0])[self._early :]
        self._early = 0
        return samples


@dataclass(frozen=True, slots=True)
class Voice:
    """What turns the codes of a stream into sound: `steps` of its frames are one of the stream; `layers` of those."""

    tokenizer: codec.Tokenizer
    steps: int
    layers: list[int]

    @property
    def sr(self) -> int:
        """Rate of the samples, Hz: with a hybrid perhaps another than that of the stream."""
        return self.tokenizer.spec.sr

    @property
    def frame_samples(self) -> int:
        """Samples that a frame of the stream becomes."""
        return self.steps * self.tokenizer.spec.frame_samples


class Voices:
    """The tokenizers that headers ask for, each opened once."""

    def __init__(self, layers: int | None, tokenizer: str | None = None) -> None:
        self._layers, self._tokenizer = layers, tokenizer
        self._opened: dict[str, codec.Tokenizer] = {}
        self._vocoder: Vocoder | None = None

    def voice(self, header: Header) -> Voice:
        """The voice of a stream, with the layers that sound, or the first of them.

        ConfigError or ModelError if the stream cannot be turned into sound here.
        """
        if not any(layer.type == "acoustic" for layer in header.layers):
            raise ConfigError(f"the stream {header.stream} has no acoustic layers: there is no sound in it")
        _refuse_mute(header.tokenizer.name)  # which needs no weights
        whole = self._open(header)
        tokenizer, steps = codec.sounding(whole)
        kinds = codec.heard_layers(tokenizer)
        if tokenizer is not whole and kinds != ("acoustic",):
            raise _taken_apart(header.tokenizer.name, tokenizer.spec.info.name)
        sounding = [i for i, layer in enumerate(header.layers) if layer.type in kinds]
        if self._layers is not None and not 1 <= self._layers <= len(sounding):
            raise ConfigError(f"{self._layers} layers; the stream {header.stream} has 1 to {len(sounding)} that sound")
        voice = Voice(tokenizer, steps, sounding[: self._layers])
        self.begin(voice)  # which says what it cannot
        return voice

    def begin(self, voice: Voice) -> Run:
        """A run of frames; ConfigError if the tokenizer has no way back."""
        run = self._run(voice.tokenizer)
        return run if voice.steps == 1 else Steps(run, voice.steps)

    def _run(self, tokenizer: codec.Tokenizer) -> Run:
        if hasattr(tokenizer, "initial_decoder_state"):
            return CodecRun(cast(codec.Decoder, tokenizer))
        spec = tokenizer.spec
        if hasattr(tokenizer, "initial_mel_state") and (spec.sr, spec.frame_samples) == (mel.SR, mel.FRAME):
            self._vocoder = self._vocoder or Vocoder()
            return MelRun(cast(codec.MelDecoder, tokenizer), self._vocoder)
        raise _no_way_back(spec.info.name)

    def _open(self, header: Header) -> codec.Tokenizer:
        asked = header.tokenizer
        if asked.name not in self._opened:
            self._opened[asked.name] = codec.open_tokenizer(self._tokenizer or asked.name)
        tokenizer = self._opened[asked.name]
        here = tokenizer.spec
        if here.info.codebook_id != asked.codebook_id:
            coded = f"{asked.name} {asked.version} ({asked.codebook_id[:19]}…)"
            installed = f"{here.info.name} {here.info.version} ({here.info.codebook_id[:19]}…)"
            raise ModelError(
                f"stream {header.stream} was coded by {coded}; here is {installed}, whose codes are others"
            )
        if (here.sr, here.frame_samples) != (header.sr, header.frame_samples):
            raise WireError(f"frames of {header.frame_samples} samples at {header.sr} Hz are not those of {asked.name}")
        for kind in ("semantic", "acoustic"):
            told, own = _rows(header.layers, kind), _rows(here.layers, kind)
            if told != own[: len(told)]:
                made = f"; it was coded by {asked.name}" if self._tokenizer else ""
                raise WireError(f"the {kind} layers of {header.stream} are not those of {here.info.name}{made}")
        return tokenizer


def _refuse_mute(name: str) -> None:
    """ConfigError if it is known by its name that what the tokenizer gives cannot be turned into sound."""
    _, plus, acoustic = name.rpartition("+")
    base = acoustic.partition(":")[0]
    if plus and base in ALONE:
        raise _taken_apart(name, acoustic)
    if base in ONE_WAY:
        raise _no_way_back(acoustic)


def _taken_apart(name: str, acoustic: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be turned back into sound: that of {acoustic} is also in its semantic layers, which are not in"
        f" the stream; record {acoustic} alone"
    )


def _no_way_back(name: str) -> ConfigError:
    return ConfigError(f"the codes of {name} cannot be turned back into sound")


def _rows(layers: Sequence[Layer], kind: str) -> list[tuple[str, int, int]]:
    return [(layer.name, layer.vocab, layer.per_frame) for layer in layers if layer.type == kind]


def _array(samples: Tensor) -> Samples:
    return samples.cpu().numpy()
