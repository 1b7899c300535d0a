"""What is learned from and what is scored: excerpts of the recordings, as codes and as measured descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from natd.codec import Spec, Tokenizer
from natd.codec.mel import FRAME, SR
from natd.evaluation.coding import Coded, Samples, encode, rate_of
from natd.evaluation.probe import UNLABELLED
from natd.training.hearing import Frames, hear
from natd.training.recordings import Clip, clips_of, samples_of

Progress = Callable[[str], None]
FIT_SECONDS = 900.0  # beside ESC-10, which is taken whole
FIT_EXCERPT_S = 10.0
HELD_EXCERPT_S = 20.0
DESCRIBED_HZ = SR / FRAME


@dataclass(frozen=True, slots=True)
class Material:
    """Excerpts, their class numbers (-1: none), their samples at the tokenizer's rate, codes and descriptors."""

    clips: list[Clip]
    labels: list[int]
    audio: list[Samples]
    coded: Coded
    heard: Frames


def choose(audio_dir: Path, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn from (all of ESC-10 folds 1 and 2, others drawn up to a length) and all that are held out."""
    clips = clips_of(audio_dir)
    others = [c for c in clips if c.part == "fit" and not c.label]
    drawn, seconds = set(), 0.0
    for i in np.random.default_rng(seed).permutation(len(others)):
        if seconds >= FIT_SECONDS:
            break
        drawn.add(others[i])
        seconds += min(FIT_EXCERPT_S, soundfile.info(os.fsencode(others[i].path)).duration)
    fit = [c for c in clips if c.part == "fit" and (c.label or c in drawn)]
    return fit, [c for c in clips if c.part == "held"]


def classes_of(clips: list[Clip]) -> list[str]:
    """Names of the labelled classes, in order."""
    return sorted({c.label for c in clips if c.label})


def load(
    tokenizer: Tokenizer, clips: list[Clip], classes: list[str], seconds: float, progress: Progress, what: str
) -> Material:
    """The first `seconds` of clips, encoded and heard."""
    sr = tokenizer.spec.sr
    progress(f"{what}: {len(clips)} clips")
    audio = [samples_of(c.path, sr, seconds) for c in clips]
    coded = encode(tokenizer, audio)
    heard = hear(clips, lambda text: None, seconds)
    labels = [classes.index(c.label) if c.label else UNLABELLED for c in clips]
    return Material(clips, labels, audio, coded, heard)


def described(material: Material, spec: Spec, layer: str) -> Tensor:
    """For each code of a layer [N] the number of the 80 ms of `heard` that its middle falls in, or -1."""
    clip = material.coded.clip[layer]
    lengths = torch.bincount(material.heard.clip, minlength=len(material.clips))
    begins = torch.cumsum(lengths, 0) - lengths
    at = (places(clip) + 0.5) / rate_of(spec, layer) * DESCRIBED_HZ
    # The small part of a step keeps a middle that falls on an edge from being rounded either way.
    at = (at + 1e-9).floor().long()
    return torch.where(at < lengths[clip], begins[clip] + at, -1)


def places(clip: Tensor) -> Tensor:
    """Clip numbers in order [N] -> how many codes of the same clip come before each [N]."""
    counts = torch.bincount(clip) if len(clip) else torch.zeros(0, dtype=torch.int64)
    begins = torch.cumsum(counts, 0) - counts
    return torch.arange(len(clip)) - begins[clip]
