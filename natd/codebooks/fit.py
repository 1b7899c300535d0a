"""Codebooks from data: k-means and residual k-means, several seeded starts each, no dead and no duplicate code.

Afterwards the centres may be refined by exponential moving averages over minibatches (van den Oord et al. 2017,
appendix A.1); what serves unheard vectors no better is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from natd.codebooks.books import twins
from natd.errors import ModelError

Progress = Callable[[str], None]
BLOCK = 16_384
SAMPLE = 32_768
TRIAL_ROUNDS = 10
EMA_DECAY, EMA_BATCH, EMA_ROUNDS = 0.99, 1024, 4


@dataclass(frozen=True, slots=True)
class Fit:
    """Centres [K, D], their distortion (mean squared distance) on held-out vectors, and that of every start tried."""

    centres: Tensor
    distortion: float
    tried: tuple[float, ...]


One = Callable[[int, Tensor, Tensor], Fit]  # layer, vectors, held-out vectors


def kmeans(x: Tensor, held_out: Tensor, k: int, seed: int, starts: int = 3, rounds: int = 25) -> Fit:
    """Lloyd on `x` [N, D] float32 from the best of `starts` k-means++ beginnings, judged on `held_out` [M, D].

    The beginnings are run on a sample. The same vectors, seed and thread count give the same centres. ModelError if
    N < 2k.
    """
    if len(x) < 2 * k:
        few = f"{k} codes need at least {2 * k} frames to be fitted on, there are {len(x)}"
        raise ModelError(f"{few}: give fewer --codes or more --audio")
    runs = []
    for start in range(starts):
        rng = np.random.default_rng((seed, start))
        sample = x[torch.from_numpy(rng.permutation(len(x))[: max(SAMPLE, 20 * k)])]
        centres = _lloyd(sample, _plus_plus(sample, k, rng), TRIAL_ROUNDS)
        runs.append((_distortion(held_out, centres), centres))
    _, best = min(runs, key=lambda run: run[0])
    centres = _lloyd(x, best, rounds)
    return Fit(centres, _distortion(held_out, centres), tuple(run[0] for run in runs))


def residual(
    x: Tensor, held_out: Tensor, layers: int, k: int, seed: int, progress: Progress, starts: int = 2
) -> list[Fit]:
    """`layers` codebooks of `k`, each fitted on what the ones before left of `x` [N, D]."""

    def one(layer: int, x: Tensor, held_out: Tensor) -> Fit:
        fit = kmeans(x, held_out, k, seed + 1000 * layer, starts)
        progress(f"layer {layer}: held-out distortion {fit.distortion:.3f}, starts {[round(t, 3) for t in fit.tried]}")
        return fit

    return in_turn(x, held_out, layers, one)


def in_turn(x: Tensor, held_out: Tensor, layers: int, one: One) -> list[Fit]:
    """What `one` fits to `x` [N, D], then to what is left of it, and so on."""
    fits = []
    for layer in range(layers):
        fit = one(layer, x, held_out)
        x = x - fit.centres[nearest(x, fit.centres)[0]]
        held_out = held_out - fit.centres[nearest(held_out, fit.centres)[0]]
        fits.append(fit)
    return fits


def refine(x: Tensor, held_out: Tensor, found: Fit, seed: int, rounds: int = EMA_ROUNDS) -> Fit:
    """`found` after moving averages over seeded minibatches of `x` [N, D]; as it was unless held-out distortion falls.

    Neither is it kept where a code has become dead or the twin of another.
    """
    k, rng = len(found.centres), np.random.default_rng((seed, 1))
    count = torch.bincount(nearest(x, found.centres)[0], minlength=k).double() * min(1.0, EMA_BATCH / len(x))
    count = count.clamp(min=1e-3)
    total, centres = count[:, None] * found.centres.double(), found.centres
    for _ in range(rounds):
        for batch in torch.split(torch.from_numpy(rng.permutation(len(x))), EMA_BATCH):
            seen = x[batch]
            labels = nearest(seen, centres)[0]
            count = EMA_DECAY * count + (1.0 - EMA_DECAY) * torch.bincount(labels, minlength=k)
            sums = torch.zeros(centres.shape, dtype=torch.float64).index_add_(0, labels, seen.double())
            total = EMA_DECAY * total + (1.0 - EMA_DECAY) * sums
            centres = (total / count[:, None]).float()
    distortion = _distortion(held_out, centres)
    dead = torch.bincount(nearest(x, centres)[0], minlength=k) == 0
    worse = distortion >= found.distortion or bool(dead.any()) or len(twins(centres)) > 0
    return found if worse else Fit(centres, distortion, found.tried)


def nearest(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index [N] of the nearest centre [K, D] to each vector [N, D], and the squared distance [N]."""
    half = 0.5 * (centres * centres).sum(1)
    labels, far = [], []
    for block in torch.split(x, BLOCK):
        least, at = (half - block @ centres.T).min(1)
        labels.append(at)
        far.append((2.0 * least + (block * block).sum(1)).clamp(min=0.0))
    return torch.cat(labels), torch.cat(far)


def _distortion(x: Tensor, centres: Tensor) -> float:
    return float(nearest(x, centres)[1].double().mean())


def _plus_plus(x: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """k-means++ on the first of shuffled vectors: far ones are drawn in proportion to their squared distance."""
    sample = x[: max(20 * k, 4096)]
    squares = (sample * sample).sum(1)
    chosen = [int(rng.integers(len(sample)))]
    far = torch.full((len(sample),), torch.inf)
    for _ in range(k - 1):
        last = sample[chosen[-1]]
        far = torch.minimum(far, (squares - 2.0 * (sample @ last) + last @ last).clamp(min=0.0))
        far[chosen[-1]] = 0.0
        mass = far.double().cumsum(0)
        chosen.append(min(int(torch.searchsorted(mass, float(rng.random()) * float(mass[-1]))), len(sample) - 1))
    return sample[torch.tensor(chosen)].clone()


def _lloyd(x: Tensor, centres: Tensor, rounds: int) -> Tensor:
    k = len(centres)
    before = torch.inf
    for step in range(rounds):
        labels, far = nearest(x, centres)
        distortion = float(far.double().mean())
        counts = torch.bincount(labels, minlength=k)
        sums = torch.zeros(centres.shape, dtype=torch.float64).index_add_(0, labels, x.double())
        centres = (sums / counts.clamp(min=1)[:, None]).float()
        dead = (counts == 0).nonzero()[:, 0]
        # A code without frames, or the twin of another, takes over the frame that is served worst.
        dead = torch.unique(torch.cat([dead, twins(centres)]))
        if len(dead):
            centres[dead] = x[far.topk(len(dead)).indices]
        elif step > 4 and before - distortion < 1e-4 * distortion:
            break
        before = distortion
    return centres
