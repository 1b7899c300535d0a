"""`nat train ears-0`: fit the codebooks of `ears` on recordings, measure them on others, write weights and card."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import fit, glossary, store, validate
from natd.codec import ears, rows
from natd.codec.descriptors import COLUMN, DESCRIPTORS, GATED, SILENCE_DBFS, WEIGHTS
from natd.training import card, measure
from natd.training.hearing import Frames, hear
from natd.training.recordings import clips_of

Progress = Callable[[str], None]
GAIN_DB = (-15.0, 6.0)  # every frame is also fitted at another level
WHITENING = 0.5  # exponent: 0 keeps the variance of the scene's components, 1 makes them equal


def train(
    audio_dir: Path,
    out: Path,
    seed: int = 0,
    threads: int = 2,
    progress: Progress = print,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Fit on the `fit` part of `audio_dir`; write weights, legend, manifest and card to `out`; returns the figures.

    The same files, seed and thread count give the same codebook_id on one machine. `sizes` (layer -> codes) shrinks a
    run for tests. SourceError if there are no recordings; ModelError if a layer has dead or twin codes or does not
    lower the held-out residual energy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _train(audio_dir, out, seed, progress, dict(sizes or ears.SETTINGS["sizes"]), threads)
    finally:
        torch.set_num_threads(before)


def _train(
    audio_dir: Path, out: Path, seed: int, progress: Progress, sizes: dict[str, int], threads: int
) -> dict[str, Any]:
    began = time.monotonic()
    clips = clips_of(audio_dir)
    frames = hear([c for c in clips if c.part == "fit"], progress)
    held = hear([c for c in clips if c.part == "held"], progress)
    progress(f"{len(frames)} frames to fit on, {len(held)} held out, {time.monotonic() - began:.0f} s")
    louder = at_other_levels(frames, seed)
    tensors = _fit_semantic(frames, held, sizes, seed, progress) | _fit_acoustic(
        frames, louder, held, sizes, seed, progress
    )
    settings = ears.SETTINGS | {"sizes": sizes}
    draft = ears.Ears(tensors, {"codes": {layer: {} for layer in ears.SEMANTIC}}, store.codebook_id(settings, tensors))
    codes, copies = measure.encode(draft, frames), measure.encode(draft, louder, ears.ACOUSTIC)
    heard = {name: torch.cat([code, copies[name]]) if name in copies else code for name, code in codes.items()}
    for name in sizes:
        centres = tensors["A.codes"][int(name[1])] if name in copies else tensors[f"{name}.codes"]
        validate.require_live(name, heard[name], centres[1:])
    figures = measure.measure(draft, codes, frames, held, sizes, seed)
    validate.require_falling(figures["residual_energy_db2"])
    for name, value in figures.items():
        progress(f"{name}: {value}")
    figures["seconds"] = round(time.monotonic() - began)
    manifest = store.save(out, ears.NAME, settings, tensors, _legend(heard, frames, louder, sizes))
    text = card.write(figures, clips, audio_dir, manifest, seed, threads)
    (out / f"{ears.NAME}.md").write_text(text)
    progress(f"codebook_id {manifest['codebook_id']}, {figures['seconds']} s")
    return figures | {"manifest": manifest}


def at_other_levels(frames: Frames, seed: int) -> Frames:
    """Every frame at a random other level, without those that are silent there: only level and log-mel differ."""
    low, high = GAIN_DB
    generator = torch.Generator().manual_seed(seed)
    gain = low + (high - low) * torch.rand(len(frames), generator=generator)
    descriptors = frames.descriptors.clone()
    descriptors[:, COLUMN["level"]] += gain
    keep = ~frames.silent & (descriptors[:, COLUMN["level"]] >= SILENCE_DBFS)
    return replace(
        frames,
        silent=frames.silent[keep],
        descriptors=descriptors[keep],
        log_mel=frames.log_mel[keep] + gain[keep, None, None],
        vectors={name: v[keep] for name, v in frames.vectors.items()},
        clip=frames.clip[keep],
    )


def _fit_semantic(
    frames: Frames, held: Frames, sizes: Mapping[str, int], seed: int, progress: Progress
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, layer in enumerate(ears.SEMANTIC):
        x, y = frames.vectors[layer][~frames.silent], held.vectors[layer][~held.silent]
        shift = x.double().mean(0).float()
        deviation = x.double().std(0).float()
        scale = torch.where(deviation > 1e-6, 1.0 / deviation.clamp(min=1e-6), torch.zeros_like(deviation))
        matrix = _scene_matrix((x - shift) * scale, scale) if layer == "S0" else _weighted(layer, scale)
        found = fit.kmeans(
            (x - shift) @ matrix[: len(shift)], (y - shift) @ matrix[: len(shift)], sizes[layer] - 1, seed + number
        )
        progress(f"{layer}: held-out distortion {found.distortion:.3f}, starts {[round(t, 3) for t in found.tried]}")
        codes = torch.cat([torch.zeros(1, matrix.shape[1]), found.centres])
        tensors |= {f"{layer}.shift": shift, f"{layer}.matrix": matrix, f"{layer}.codes": codes}
    return tensors


def _weighted(layer: str, scale: Tensor) -> Tensor:
    """Diagonal of standardised and weighted dimensions, padded to a multiple of 16."""
    width = rows.padded(len(scale))
    out = torch.zeros(width, width)
    out[: len(scale), : len(scale)] = torch.diag(scale * torch.tensor(WEIGHTS[layer]))
    return out


def _scene_matrix(standard: Tensor, scale: Tensor) -> Tensor:
    """Standardise, then the leading principal components, half whitened: [224, 32]."""
    _, basis = principal(standard, ears.SCENE_WIDTH)
    variance = (standard @ basis).double().var(0)
    return (scale[:, None] * basis * (variance ** (-WHITENING / 2)).float()).contiguous()


def _fit_acoustic(
    frames: Frames, louder: Frames, held: Frames, sizes: Mapping[str, int], seed: int, progress: Progress
) -> dict[str, Tensor]:
    floored = frames.log_mel[~frames.silent].clamp(min=ears.MEL_FLOOR_DB)
    mean, basis = principal(floored.flatten(1), ears.ACOUSTIC_WIDTH)
    x = torch.cat([_components(floored, mean, basis), _components(louder.log_mel, mean, basis)])
    y = _components(held.log_mel[~held.silent], mean, basis)
    fits = fit.residual(x, y, len(ears.ACOUSTIC), sizes["A0"] - 1, seed, progress)
    codes = torch.zeros(len(fits), sizes["A0"], ears.ACOUSTIC_WIDTH)
    for layer, found in enumerate(fits):
        codes[layer, 1:] = found.centres
    # Code 0 of A0 decodes to silence; code 0 of the others adds nothing.
    codes[0, 0] = _components(torch.full((1, 8, 128), ears.MEL_FLOOR_DB), mean, basis)[0]
    return {"A.mean": mean, "A.basis": basis, "A.codes": codes}


def _components(log_mel: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    blocks = torch.split(log_mel, 8192)
    return torch.cat([(b.clamp(min=ears.MEL_FLOOR_DB).flatten(1) - mean) @ basis for b in blocks])


def principal(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and `width` leading eigenvectors [D, width] of [N, D]'s covariance; the largest entry of each is > 0."""
    mean = x.double().mean(0)
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for block in torch.split(x, 8192):
        centred = block.double() - mean
        covariance += centred.T @ centred
    vectors = torch.linalg.eigh(covariance / len(x)).eigenvectors.flip(1)[:, :width]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean.float(), (vectors * largest.sign()).float().contiguous()


def _legend(heard: Mapping[str, Tensor], frames: Frames, louder: Frames, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Descriptors with units; per layer and code: count, means in the order of the descriptors, phrase (S layers)."""
    names = list(DESCRIPTORS)
    table = torch.cat([frames.descriptors, louder.descriptors])
    layers: dict[str, Any] = {}
    for layer, size in sizes.items():
        codes = heard[layer]
        layers[layer] = {}
        for code, entry in enumerate(glossary.measure(codes, table[: len(codes)], size, names, GATED)):
            row: dict[str, Any] = {"count": entry.count, "means": [entry.means[name] for name in names]}
            if layer in ears.SEMANTIC:
                row["phrase"] = glossary.SILENCE if code == 0 else glossary.phrase(layer, entry)
            layers[layer][str(code)] = row
    return {"descriptors": DESCRIPTORS, "codes": layers}
