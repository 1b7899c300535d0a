"""Fits S2: made-up pulses, played scores and real recordings, then a small net over six seconds of their hops."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from natd.codec.mel import BANDS, HOPS
from natd.codec.rhythm import CHANNELS, HIGH_BANDS, LOW_BANDS, PULSE_HOPS, RISES, Rhythm
from natd.codec.rhythm_net import (
    FEATURES,
    HEAD,
    LOGITS,
    PERIODS,
    STATES,
    TEMPI,
    UNHEARD_FRAMES,
    Features,
)
from natd.training import midi, onset_levels, pulses
from natd.training.recordings import clips_of
from natd.training.rhythm_examples import Example, demos, kept, made_up, played, recordings, sketched

Progress = Callable[[str], None]
PULSES, PIECES = 64, 160  # of each kind of made-up sound, of each style of piece with drums
QUIETER = 4  # times fewer pieces without drums
SKETCHES = 4  # times as many pieces with drums, played roughly
SKETCHED = 100_000  # their first seed
BEATEN = ("drums", "band")
DEMOS = 24  # bands of the built-in synthesiser
WIDTHS = (FEATURES, 128, 64, LOGITS)
ROUNDS, BATCH = 24, 256  # passes, moments in a step
MOMENTS, MOMENTS_OF_A_PIECE = 20, 8  # of each sound in a pass
STRETCH = 0.3  # by how many octaves at most a sound is heard faster or slower
REMIX = 0.8  # by how much (log) at most the bands of a score are louder or softer
RATE, DECAY = 2e-3, 1e-2
BLUR = 0.35  # standard deviation of a soft label, in bins
DROPOUT = 0.25


@dataclass(slots=True)
class Moments:
    """Features [N, 832], which states are right [N, 8], soft periods [N, 8] and tempi [N, 24] (all zero: not known)."""

    features: Tensor
    states: Tensor
    periods: Tensor
    tempi: Tensor


def fit(
    audio_dir: Path | None, cache: Path, seed: int, progress: Progress, pulses_each: int = PULSES,
    pieces_each: int = PIECES, rounds: int = ROUNDS,
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors of `RhythmNet`, on one thread; what was heard is kept in `cache` and not heard again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        real, made = gathered(audio_dir, cache, seed, progress, pulses_each, pieces_each)
        # Made-up sounds are clearer than life: the levels are those of recordings where there are any.
        levels = onset_levels.fit([e.hops for e in real or made], progress)
        return learned([*real, *made], seed, progress, rounds) | {"S2.levels": levels}
    finally:
        torch.set_num_threads(threads)


def gathered(
    audio_dir: Path | None, cache: Path, seed: int, progress: Progress, pulses_each: int, pieces_each: int
) -> tuple[list[Example], list[Example]]:
    """All that is learned from: recordings of the fit part, and what is made up or played."""
    real: list[Example] = []
    if audio_dir is not None:
        clips = [c for c in clips_of(audio_dir) if c.part == "fit"]
        name = f"recordings-{zlib.crc32(repr([c.path.name for c in clips]).encode()):08x}"
        real = kept(cache, name, partial(recordings, clips), progress)
    out: list[Example] = []
    for kind in pulses.KINDS:
        seeds = range(1000 * seed, 1000 * seed + pulses_each)
        out += kept(cache, f"{kind}-{seed}-{pulses_each}", partial(made_up, kind, seeds), progress)
    for style in midi.STYLES if pieces_each else ():
        count = pieces_each if style in BEATEN else pieces_each // QUIETER
        seeds = range(1000 * seed, 1000 * seed + count)
        out += kept(cache, f"{style}-{seed}-{count}", partial(played, style, seeds), progress)
    for style in BEATEN if pieces_each else ():
        first = SKETCHED + SKETCHES * 1000 * seed
        seeds = range(first, first + SKETCHES * pieces_each)
        out += kept(cache, f"rough-{style}-{seed}-{len(seeds)}", partial(sketched, style, seeds), progress)
    if pieces_each:
        seeds = range(SKETCHED + 1000 * seed, SKETCHED + 1000 * seed + DEMOS)
        out += kept(cache, f"demo-{seed}-{DEMOS}", partial(demos, seeds), progress)
    return real, out


def learned(examples: Sequence[Example], seed: int, progress: Progress, rounds: int) -> dict[str, Tensor]:
    """Weights of the net, standardisation folded into the first layer."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    first = moments(examples, rng)
    shift, scale = first.features.mean(0), 1.0 / first.features.std(0).clamp(min=1e-3)
    scale[first.features.std(0) < 1e-6] = 0.0
    net = _net(generator)
    steps = rounds * math.ceil(len(first.features) / BATCH)
    optimizer = torch.optim.AdamW(net, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    for number in range(rounds):
        heard = moments(examples, rng) if number else first
        total = 0.0
        for part in torch.split(torch.randperm(len(heard.features), generator=generator), BATCH):
            x = ((heard.features[part] - shift) * scale).clamp(-6.0, 6.0)
            loss = _loss(_forward(net, x, generator), heard, part)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        progress(f"round {number}: loss {total / len(heard.features):.4f}")
    return _tensors(net, shift, scale)


def _net(generator: torch.Generator) -> list[Tensor]:
    out = []
    for into, to in zip(WIDTHS, WIDTHS[1:], strict=False):
        weight = torch.randn(into, to, generator=generator) * math.sqrt(2.0 / into)
        out += [weight.requires_grad_(), torch.zeros(to, requires_grad=True)]
    return out


def _forward(net: list[Tensor], x: Tensor, generator: torch.Generator) -> Tensor:
    for layer in (0, 2):
        x = (x @ net[layer] + net[layer + 1]).clamp(min=0.0)
        x = x * (torch.rand(x.shape, generator=generator) >= DROPOUT) / (1.0 - DROPOUT)
    return x @ net[4] + net[5]


def _loss(logits: Tensor, heard: Moments, part: Tensor) -> Tensor:
    """Mean of minus the log of what the right states, and the right period and tempo among theirs, are given."""
    states = logits[:, : len(STATES)].log_softmax(1)
    # Several states may be right: what they are given together counts.
    right = torch.where(heard.states[part], states, states.new_full((), -1e9)).logsumexp(1)
    periods = (heard.periods[part] * logits[:, HEAD : HEAD + len(PERIODS)].log_softmax(1)).sum(1)
    tempi = (heard.tempi[part] * logits[:, 2 * HEAD : 2 * HEAD + len(TEMPI)].log_softmax(1)).sum(1)
    return -(right + periods + tempi).mean()


def _tensors(net: list[Tensor], shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
    w1, b1, w2, b2, w3, b3 = (x.detach() for x in net)
    w1, b1 = w1 * scale[:, None], b1 - (shift * scale) @ w1
    return {f"S2.{name}": x.contiguous() for name, x in zip(
        ("w1", "b1", "w2", "b2", "w3", "b3"), (w1, b1, w2, b2, w3, b3), strict=True)}  # fmt: skip


@torch.no_grad()
def moments(examples: Sequence[Example], rng: np.random.Generator) -> Moments:
    """Moments of every sound, heard at random tempi from random beginnings."""
    rhythm, front = Rhythm(), Features()
    features, states, periods, tempi = [], [], [], []
    for example in examples:
        octaves = rng.uniform(-STRETCH, STRETCH)
        if not math.isnan(example.bpm):
            octaves = float(np.clip(octaves, math.log2(TEMPI[0] / example.bpm), math.log2(TEMPI[-1] / example.bpm)))
        hops = stretched(example.hops, 2.0**octaves)
        hops = hops if math.isnan(example.bpm) else remixed(hops, rng)
        windows, heard = _windows(hops, rng, MOMENTS if math.isnan(example.bpm) else MOMENTS_OF_A_PIECE)
        features.append(front(rhythm.look_back(windows, heard)))
        right = torch.tensor([name in example.states for name in STATES])
        states.append(right.expand(len(heard), -1))
        periods.append(_soft(math.log(example.period_s / 2.0**octaves), PERIODS).expand(len(heard), -1))
        tempi.append(_soft(math.log(example.bpm * 2.0**octaves), TEMPI).expand(len(heard), -1))
    return Moments(torch.cat(features), torch.cat(states), torch.cat(periods), torch.cat(tempi))


def stretched(hops: Tensor, faster: float) -> Tensor:
    """The hops [T, 5] as if the sound went `faster` times as fast."""
    at = torch.arange(int((len(hops) - 1) / faster)) * faster
    whole = at.long()
    part = (at - whole)[:, None]
    return hops[whole] * (1.0 - part) + hops[(whole + 1).clamp(max=len(hops) - 1)] * part


def remixed(hops: Tensor, rng: np.random.Generator) -> Tensor:
    """The hops [T, 5] as if other instruments had played: the low, middle and high rises each get a gain."""
    parts = hops[:, 1:RISES] * torch.from_numpy(np.exp(rng.uniform(-REMIX, REMIX, RISES - 1)).astype(np.float32))
    bands = torch.tensor([LOW_BANDS, HIGH_BANDS - LOW_BANDS, BANDS - HIGH_BANDS]) / BANDS
    return torch.cat([parts @ bands[:, None], parts, hops[:, RISES:]], dim=1)


def _windows(hops: Tensor, rng: np.random.Generator, each: int) -> tuple[Tensor, Tensor]:
    """Histories [each, 5, 608] that end at random frames, and how many of their hops were heard [each]."""
    out = torch.zeros(each, CHANNELS, PULSE_HOPS)
    heard = torch.zeros(each)
    frames = len(hops) // HOPS
    for row in range(each):
        begin = int(rng.integers(0, max(1, frames // 2))) if rng.random() < 0.6 else 0
        end = int(rng.integers(min(begin + UNHEARD_FRAMES, frames - 1), frames)) + 1
        part = hops[max(begin * HOPS, end * HOPS - PULSE_HOPS) : end * HOPS]
        out[row, :, PULSE_HOPS - len(part) :] = part.T
        heard[row] = float(min((end - begin) * HOPS, PULSE_HOPS))
    return out, heard


def _soft(value: float, bins: Sequence[float]) -> Tensor:
    """A log value as shares of the nearest bins [n]; zeros for nan."""
    if math.isnan(value):
        return torch.zeros(len(bins))
    logs = torch.tensor(bins).log()
    share = torch.exp(-0.5 * ((logs - value) / (BLUR * (logs[1] - logs[0]))) ** 2) + 1e-12
    return share / share.sum()
