"""The laws of a tokenizer on recordings: alone equals in company, chunked equals whole, silence is one code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk, SourceEvent
from natd.codec import Spec, Tokenizer
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, Samples, encode_batch
from natd.evaluation.material import HELD_EXCERPT_S, Material
from natd.training.recordings import Clip

SECONDS, STREAMS = 600.0, 8
ODD = (1, 37, 441, 997, 3001)  # samples of the source in a piece, in turn
ALONE, CHUNKED = "same codes, alone and among 8", "same codes, in odd pieces and whole"
Codes = list[list[Tensor]]  # of each stream, by layer


def rows(tokenizer: Tokenizer, held: Material, noise: Coded, silence: Coded, seed: int) -> list[Row]:
    """Share of equal codes over all layers of ten minutes of recordings, by both laws; codes of digital silence."""
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(held.clips))]
    stretches = _stretches([held.audio[i] for i in order], tokenizer.spec)
    if not stretches:
        return [missing(f, "all", "share", "no recording holds a frame") for f in (ALONE, CHUNKED)]
    promise = "" if tokenizer.spec.info.batch_invariant else "it does not promise this"
    together, alone = encode_batch(tokenizer, stretches), [encode_batch(tokenizer, [x])[0] for x in stretches]
    pieces = _recordings([held.clips[i] for i in order], tokenizer.spec)
    whole, chunked = (
        [encode_batch(tokenizer, [assembled(x, rate, tokenizer.spec, sizes)])[0] for x, rate in pieces]
        for sizes in ((), ODD)
    )
    found = [
        _same(ALONE, alone, together, promise, seed),
        _same(CHUNKED, whole, chunked, f"pieces of {ODD[0]} to {ODD[-1]} samples", seed),
    ]
    for layer in (layer.name for layer in tokenizer.spec.layers):
        quiet, loud = (int((torch.bincount(coded.codes[layer]) > 0).sum()) for coded in (silence, noise))
        nulls = {"noise": float(loud)}
        found.append(Row("codes of 12 s of silence", layer, "codes", float(quiet), nulls=nulls, note="1 is right"))
    return found


def _stretches(audio: Sequence[Samples], spec: Spec) -> list[Samples]:
    """Ten minutes of recordings one after another, or all there is, cut into eight."""
    joined = np.concatenate(audio)[: int(SECONDS * spec.sr)] if audio else np.zeros(0, np.float32)
    each = len(joined) // STREAMS // spec.frame_samples * spec.frame_samples
    return [joined[i * each : (i + 1) * each] for i in range(STREAMS)] if each else []


def _recordings(clips: Sequence[Clip], spec: Spec) -> list[tuple[NDArray[np.float32], int]]:
    """Samples [n, channels] of recordings and their own rates (Hz), ten minutes at most; none shorter than a frame."""
    found: list[tuple[NDArray[np.float32], int]] = []
    left = SECONDS
    for clip in clips:
        if left <= 0.0:
            break
        with soundfile.SoundFile(os.fsencode(clip.path)) as file:
            samples = file.read(int(min(HELD_EXCERPT_S, left) * file.samplerate), dtype="float32", always_2d=True)
            seconds = len(samples) / file.samplerate
            if seconds * spec.sr >= 2 * spec.frame_samples:
                found.append((samples, file.samplerate))
                left -= seconds
    return found


def assembled(samples: NDArray[np.float32], rate: int, spec: Spec, sizes: Sequence[int]) -> Samples:
    """What comes out of the resampler and the frames when `samples` [n, channels] go in in pieces of these sizes."""
    assembler = FrameAssembler(Format(rate, samples.shape[1]), spec.sr, spec.frame_samples, now_ns=lambda: 0)
    events: list[SourceEvent] = [Block(at, samples[at : at + n], 0) for at, n in _cuts(len(samples), sizes)]
    chunks = [chunk for event in [*events, End("eof")] for chunk in assembler.feed(event)]
    frames = [chunk.samples for chunk in chunks if isinstance(chunk, FrameChunk)]
    return np.concatenate(frames) if frames else np.zeros(0, np.float32)


def _cuts(length: int, sizes: Sequence[int]) -> Iterable[tuple[int, int]]:
    at, turn = 0, 0
    while at < length:
        n = min(sizes[turn % len(sizes)] if sizes else length, length - at)
        yield at, n
        at, turn = at + n, turn + 1


def _same(figure: str, one: Codes, other: Codes, note: str, seed: int) -> Row:
    found = estimate(_equal(one, other), ratio, seed)
    generator = torch.Generator().manual_seed(seed)
    chance = estimate(_equal(one, _shuffled(other, generator)), ratio, seed)
    return row(figure, "all", "share", found, {"shuffled": chance.value}, note)


def _shuffled(codes: Codes, generator: torch.Generator) -> Codes:
    return [[layer[torch.randperm(len(layer), generator=generator)] for layer in stream] for stream in codes]


def _equal(one: Codes, other: Codes) -> Floats:
    """Per stream: equal codes, codes; one that only one side has is not equal [C, 2]."""
    out = np.zeros((len(one), 2))
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        for x, y in zip(a, b, strict=True):
            shared = min(len(x), len(y))
            out[number] += [float((x[:shared] == y[:shared]).sum()), max(len(x), len(y))]
    return out
