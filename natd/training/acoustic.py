"""Fitting of the acoustic layers: principal components of the log-mel, and residual codebooks over them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from natd.codebooks import fit

Progress = Callable[[str], None]
WIDTH, LAYERS, SIZE = 128, 4, 1024
FLOOR_DB = -80.0
GAIN_DB = (-15.0, 6.0)  # every frame is also fitted at another level


def fit_codebooks(log_mel: Tensor, held: Tensor, seed: int, progress: Progress, size: int = SIZE) -> dict[str, Tensor]:
    """Sounding frames [N, 1024] in dB, others to measure on -> `A.mean`, `A.basis`, `A.codes` [4, size, 128] (float16).

    Code 0 of the first layer decodes to silence, code 0 of the others adds nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = GAIN_DB
    gain = low + (high - low) * torch.rand(len(log_mel), 1, generator=generator)
    mean, basis = principal(log_mel, WIDTH)
    # The tensors are shipped as float16: codes are fitted over what the rounded ones give.
    mean, basis = mean.half(), basis.half()
    x = torch.cat([components(log_mel, mean, basis), components(log_mel + gain.half(), mean, basis)])
    fits = fit.residual(x, components(held, mean, basis), LAYERS, size - 1, seed, progress)
    codes = torch.zeros(LAYERS, size, WIDTH)
    for layer, found in enumerate(fits):
        codes[layer, 1:] = found.centres
    codes[0, 0] = components(torch.full((1, log_mel.shape[1]), FLOOR_DB), mean, basis)[0]
    return {"A.mean": mean, "A.basis": basis, "A.codes": codes.half()}


def components(log_mel: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Log-mel [N, 1024] in dB -> principal components [N, 128]."""
    blocks = torch.split(log_mel, 8192)
    return torch.cat([(b.float().clamp(min=FLOOR_DB) - mean.float()) @ basis.float() for b in blocks])


def principal(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and `width` leading eigenvectors [D, width] of [N, D]'s covariance; the largest entry of each is > 0."""
    mean = torch.zeros(x.shape[1], dtype=torch.float64)
    for block in torch.split(x, 8192):
        mean += block.float().clamp(min=FLOOR_DB).double().sum(0) / len(x)
    covariance = torch.zeros(x.shape[1], x.shape[1])
    for block in torch.split(x, 8192):
        centred = block.float().clamp(min=FLOOR_DB) - mean.float()
        covariance += centred.T @ centred
    vectors = torch.linalg.eigh(covariance.double() / len(x)).eigenvectors.flip(1)[:, :width]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean.float(), (vectors * largest.sign()).float().contiguous()


def quantized(x: Tensor, books: Tensor) -> Tensor:
    """Components [T, 128] and codebooks [4, K, 128] -> what each layer adds [T, 4, 128]; code 0 is never chosen."""
    parts = []
    for book in books:
        chosen = book[fit.nearest(x, book[1:])[0] + 1]
        parts.append(chosen)
        x = x - chosen
    return torch.stack(parts, dim=1)
