"""Fit S1 of `ears`: the net on synthetic music with a known score, the cells of chroma on recordings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from natd.codebooks import fit as clusters
from natd.codec.harmony import NOTES
from natd.codec.harmony_net import (
    AT_F0,
    FIRST_CHORD,
    FIRST_MIX,
    FIRST_NOISE,
    MIX,
    MIXES,
    NOISES,
    QUALITIES,
    SHAPES,
    SIZE,
    HarmonyNet,
    initial_tensors,
)
from natd.training import harmony_frames, harmony_tones
from natd.training.harmony_frames import Frames, joined, kept
from natd.training.recordings import clips_of

Progress = Callable[[str], None]
PIECES = 400
NOISE_CLIPS, TONE_CLIPS = 60, 96
STEPS = 5000
BATCH = 128
RATE = 2e-3
EQ_DB = 4.0
MIX_BIAS = -1.5  # added to the learned logit of a mix, which names nothing
CELL_WEIGHT, CHORD_WEIGHT = 20.0, 10.0  # of the chroma beside the net's logits
BLOCK, LEAST = 50, 10  # frames: the pieces that are held out in turn; the fewest a cell
TOGETHER = 32  # recordings heard side by side


def fit(
    audio_dir: Path,
    seed: int = 0,
    progress: Progress = print,
    folder: Path | None = None,
    pieces: int = PIECES,
    steps: int = STEPS,
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """The tensors of S1, the same for the same arguments; `folder` keeps what was heard, so that a run can go on."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scored, recorded = material(audio_dir, seed, progress, folder, pieces)
        tensors = train(joined([scored, recorded]), seed, steps, progress, device)
        return tensors | {"S1.cells": cells(tensors, recorded, seed)}
    finally:
        torch.set_num_threads(before)


def material(audio_dir: Path, seed: int, progress: Progress, folder: Path | None, pieces: int) -> tuple[Frames, Frames]:
    """Frames of synthetic pieces and noises, and frames of the recordings to fit on."""
    net, began = HarmonyNet(initial_tensors(seed)), time.monotonic()
    parts = []
    for first in range(0, pieces, harmony_frames.GROUP):
        numbers = range(first, min(pieces, first + harmony_frames.GROUP))
        path = folder and folder / f"pieces-{seed}-{numbers[0]}-{len(numbers)}.safetensors"
        parts.append(kept(path, lambda n=numbers: harmony_frames.pieces(net, n, seed)))  # type: ignore[misc]
        if first % (2 * harmony_frames.GROUP) == 0:
            progress(f"heard {numbers[-1] + 1} of {pieces} pieces, {time.monotonic() - began:.0f} s")
    path = folder and folder / f"noises-{seed}.safetensors"
    parts.append(kept(path, lambda: harmony_frames.noises(net, NOISE_CLIPS, seed)))
    path = folder and folder / f"tones-{seed}.safetensors"
    parts.append(kept(path, lambda: harmony_tones.tones(net, TONE_CLIPS, seed)))
    clips = [c for c in clips_of(audio_dir) if c.part == "fit"]
    clips.sort(key=lambda c: c.path.stat().st_size)
    heard = []
    for at in range(0, len(clips), TOGETHER):
        path = folder and folder / f"recordings-{at}.safetensors"
        batch = clips[at : at + TOGETHER]
        heard.append(kept(path, lambda batch=batch: harmony_frames.recordings(net, batch)))  # type: ignore[misc]
    progress(f"heard {len(clips)} recordings, {time.monotonic() - began:.0f} s")
    return joined(parts), joined(heard)


def train(frames: Frames, seed: int, steps: int, progress: Progress, device: str = "cpu") -> dict[str, Tensor]:
    """The net after `steps` of Adam on frames that have a weight, learned on `device`; the cells are not touched."""
    weights = {name: w.to(device) for name, w in initial_tensors(seed).items()}
    learned = {name: w.requires_grad_() for name, w in weights.items() if name != "S1.cells"}
    net = HarmonyNet(weights, device)
    optimiser = torch.optim.Adam(learned.values(), lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng((seed, 3))
    usable = frames.weight.nonzero()[:, 0]
    loss_sum, began = 0.0, time.monotonic()
    for step in range(steps):
        batch = usable[torch.from_numpy(rng.integers(len(usable), size=BATCH))]
        context = _filtered(frames.context[batch].float(), rng).to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):  # a third quicker, and as good here
            logits = net.logits(context, torch.matmul, _affine)
        each = torch.nn.functional.cross_entropy(logits.float(), frames.label[batch].to(device), reduction="none")
        weight = frames.weight[batch].to(device)
        loss = (each * weight).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
        optimiser.step()
        schedule.step()
        loss_sum += float(loss.detach())
        if (step + 1) % max(1, steps // 10) == 0:
            mean = loss_sum / max(1, steps // 10)
            progress(f"S1 step {step + 1} of {steps}: loss {mean:.3f}, {time.monotonic() - began:.0f} s")
            loss_sum = 0.0
    found = {name: w.detach().cpu() for name, w in weights.items()}
    found["S1.other.1.bias"][MIX] += MIX_BIAS
    return found


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.matmul(x, weight) + bias


def _filtered(context: Tensor, rng: np.random.Generator) -> Tensor:
    """Contexts [B, 90, 16] as another instrument or room would balance the frequencies: five waves."""
    waves, place = np.arange(1, 6), np.arange(NOTES) / NOTES
    height = rng.normal(0.0, EQ_DB, (len(context), len(waves), 1)) / np.sqrt(waves)[:, None]
    phase = rng.uniform(0.0, 2 * np.pi, height.shape)
    db = (height * np.cos(np.pi * waves[:, None] * place + phase)).sum(1)
    gain = torch.from_numpy(10.0 ** (db / 40.0)).float()  # contexts are roots of magnitudes
    out = context.clone()
    out[:, :NOTES, :AT_F0] *= gain[:, :, None]
    return out


@torch.no_grad()
def name(net: HarmonyNet, frames: Frames) -> tuple[Tensor, Tensor]:
    """Codes [N] of frames, clip by clip as streams, and their slow chroma [N, 12]."""
    counts = torch.bincount(frames.clip)
    begins = torch.cumsum(counts, 0) - counts
    codes, slow = torch.zeros(len(frames), dtype=torch.int64), torch.zeros_like(frames.chroma)
    logits = torch.cat([net.logits(part.float(), torch.matmul, _affine) for part in torch.split(frames.context, BATCH)])
    for group in torch.split(counts.argsort(stable=True), TOGETHER):
        state = net.initial_state(len(group))
        for t in range(int(counts[group].max())):
            on = counts[group] > t
            at = torch.where(on, begins[group] + t, begins[group])
            chroma, f0, salience, silent = (x[at] for x in (frames.chroma, frames.f0, frames.salience, frames.silent))
            codes[at[on]] = net.decide(logits[at], chroma, f0, salience, silent, state)[on]
            slow[at[on]] = state.chroma[on]
    return codes, slow


def cells(tensors: dict[str, Tensor], recorded: Frames, seed: int) -> Tensor:
    """What a share of each pitch class adds to the fit of each chord, mix and cell without pitch [16, 176].

    Unit vectors times how much the chroma counts: for chords the mean chroma of their quality, for the others the
    centres of clusters of the slow chroma.
    """
    out = torch.zeros(SHAPES["S1.cells"])
    codes, slow = name(HarmonyNet(tensors | {"S1.cells": out}), recorded)
    held = torch.arange(len(recorded)) // BLOCK % 5 == 0
    x, slow = (torch.nn.functional.normalize(chroma, dim=1) for chroma in (recorded.chroma, slow))
    chords = torch.stack([_chroma_of(x, codes, FIRST_CHORD + number) for number in range(len(QUALITIES))])
    turned = torch.stack([torch.roll(chords, root, dims=1) for root in range(12)]).flatten(0, 1)
    found = [CHORD_WEIGHT * torch.nn.functional.normalize(turned, dim=1)]
    for first, count in ((FIRST_MIX, MIXES), (FIRST_NOISE, NOISES)):
        inside = (codes >= first) & (codes < first + count)
        if int(inside.sum()) < LEAST * count:  # a net that has hardly learned may never say this
            inside = ~recorded.silent
        centres = clusters.kmeans(slow[inside & ~held], slow[inside & held], count, seed).centres
        found.append(CELL_WEIGHT * torch.nn.functional.normalize(centres, dim=1))
    out[:12, : SIZE - FIRST_CHORD] = torch.cat(found).T
    return out


def _chroma_of(x: Tensor, codes: Tensor, first: int) -> Tensor:
    """Mean chroma [12] above the root of the frames that a quality names; `first` is its chord on C."""
    turned = [torch.roll(x[codes == first + root * len(QUALITIES)], -root, dims=1) for root in range(12)]
    every = torch.cat(turned)
    return every.mean(0) if len(every) else torch.full((12,), 1 / 12)
