"""`nat train ears-0`: fit the codebooks of `ears` on recordings, measure them on others, write weights, legend and card."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import fit, glossary, store, validate
from natd.codec import ears, rows
from natd.codec.descriptors import DESCRIPTORS, GATED, WEIGHTS
from natd.training import card as cards
from natd.training.hearing import Frames, hear
from natd.training.measure import measure
from natd.training.recordings import Clip, clips_of

Progress = Callable[[str], None]
SCENE_SCALE = 1.0
GAIN_DB = (-15.0, 6.0)


def train(
    audio_dir: Path,
    out: Path,
    seed: int = 0,
    threads: int = 2,
    progress: Progress = print,
    sizes: dict[str, int] | None = None,
    clips: list[Clip] | None = None,
) -> dict[str, Any]:
    """Fit on the `fit` part of `audio_dir` and write ears.safetensors, its legend, manifest and card to `out`; returns the figures.

    The same files, seed and thread count give the same codebook_id. `sizes` and `clips` shrink a run for tests.
    ModelError if a layer has dead or twin codes or does not lower the held-out residual energy.
    """
    torch.set_num_threads(threads)
    began = time.monotonic()
    clips = clips_of(audio_dir) if clips is None else clips
    sizes = dict(ears.SETTINGS["sizes"]) if sizes is None else sizes
    train_set = hear([c for c in clips if c.part == "fit"], progress)
    held = hear([c for c in clips if c.part == "held"], progress)
    progress(f"{len(train_set)} frames to fit on, {len(held)} held out, {time.monotonic() - began:.0f} s")
    tensors = _fit_semantic(train_set, held, sizes, seed, progress) | _fit_acoustic(train_set, held, sizes, seed, progress)
    draft = ears.Ears(tensors, _empty_legend(), "sha256:draft")
    codes = draft_codes(draft, train_set)
    for name, size in sizes.items():
        centres = tensors["A.codes"][int(name[1])] if name in ears.ACOUSTIC else tensors[f"{name}.codes"]
        validate.require_live(name, codes[name][~train_set.silent], centres[1:])
    legend = _legend(codes, train_set, sizes)
    figures = measure(draft, draft_codes, codes, train_set, held, sizes, seed, progress)
    validate.require_falling(figures["residual_energy_db2"])
    manifest = store.save(out, ears.NAME, ears.SETTINGS | {"sizes": sizes}, tensors, legend)
    figures |= {"seconds": round(time.monotonic() - began), "seed": seed, "threads": threads, "manifest": manifest}
    (out / f"{ears.NAME}.md").write_text(cards.write(figures, clips, audio_dir))
    progress(f"codebook_id {manifest['codebook_id']}, {figures['seconds']} s")
    return figures


def draft_codes(tokenizer: ears.Ears, frames: Frames) -> dict[str, Tensor]:
    """Codes [N] of every layer for frames already heard."""
    out = {name: [] for name in (*ears.SEMANTIC, *ears.ACOUSTIC)}
    for at in range(0, len(frames), 4096):
        part = slice(at, at + 4096)
        silent = frames.silent[part]
        for layer in ears.SEMANTIC:
            out[layer].append(tokenizer.books[layer](tokenizer.standard(layer, frames.vectors[layer][part]), silent))
        for name, code in zip(
            ears.ACOUSTIC, tokenizer.residual.encode(tokenizer.compress(frames.log_mel[part]), silent), strict=True
        ):
            out[name].append(code)
    return {name: torch.cat(parts) for name, parts in out.items()}


def _fit_semantic(train_set: Frames, held: Frames, sizes: dict[str, int], seed: int, progress: Progress) -> dict[str, Tensor]:
    tensors = {}
    for number, layer in enumerate(ears.SEMANTIC):
        x, y = train_set.vectors[layer][~train_set.silent], held.vectors[layer][~held.silent]
        shift = x.double().mean(0).float()
        deviation = x.double().std(0).float()
        scale = torch.where(deviation > 1e-6, 1.0 / deviation.clamp(min=1e-6), torch.zeros_like(deviation))
        if layer in WEIGHTS:
            scale = scale * torch.tensor(WEIGHTS[layer])
        width = rows.padded(x.shape[1])
        x, y = (torch.nn.functional.pad((v - shift) * scale, (0, width - v.shape[1])) for v in (x, y))
        found = fit.kmeans(x, y, sizes[layer] - 1, seed + 10 * number)
        progress(f"{layer}: held-out distortion {found.distortion:.3f}, starts {[round(t, 3) for t in found.tried]}")
        codes = torch.cat([torch.zeros(1, width), found.centres])
        tensors |= {f"{layer}.shift": shift, f"{layer}.scale": scale, f"{layer}.codes": codes}
    return tensors


def _fit_acoustic(train_set: Frames, held: Frames, sizes: dict[str, int], seed: int, progress: Progress) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = train_set.log_mel[~train_set.silent].clamp(min=ears.MEL_FLOOR_DB)
    low, high = GAIN_DB
    gain = low + (high - low) * torch.rand(len(x), 1, 1, generator=generator)
    mean, basis = _principal(x.flatten(1), ears.ACOUSTIC_WIDTH)
    parts = [_components(x, mean, basis)]
    y = _components(held.log_mel[~held.silent], mean, basis)
    size = sizes["A0"]
    fits = fit.residual(torch.cat(parts), y, len(ears.ACOUSTIC), size - 1, seed, progress)
    codes = torch.zeros(len(fits), size, ears.ACOUSTIC_WIDTH)
    for layer, found in enumerate(fits):
        codes[layer, 1:] = found.centres
    # Code 0 of A0 decodes to silence; code 0 of the others adds nothing.
    codes[0, 0] = _components(torch.full((1, 8, 128), ears.MEL_FLOOR_DB), mean, basis)[0]
    return {"A.mean": mean, "A.basis": basis, "A.codes": codes}


def _components(log_mel: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    blocks = log_mel.split(8192)
    return torch.cat([(b.clamp(min=ears.MEL_FLOOR_DB).flatten(1) - mean) @ basis for b in blocks])


def _principal(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and the `width` leading eigenvectors [D, width] of the covariance; signs fixed by the largest entry."""
    mean = x.double().mean(0)
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for block in x.split(8192):
        centred = block.double() - mean
        covariance += centred.T @ centred
    vectors = torch.linalg.eigh(covariance / len(x)).eigenvectors.flip(1)[:, :width]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean.float(), (vectors * largest.sign()).float().contiguous()


def _empty_legend() -> dict[str, Any]:
    return {"codes": {layer: {} for layer in ears.SEMANTIC}}


def _legend(codes: dict[str, Tensor], frames: Frames, sizes: dict[str, int]) -> dict[str, Any]:
    """Descriptors with units, and per layer and code: count, means in the order of the descriptors, phrase."""
    names = list(DESCRIPTORS)
    layers: dict[str, Any] = {}
    for layer, size in sizes.items():
        entries = glossary.measure(codes[layer], frames.descriptors, size, names, GATED)
        layers[layer] = {}
        for code, entry in enumerate(entries):
            row: dict[str, Any] = {"count": entry.count, "means": [entry.means[name] for name in names]}
            if layer in ears.SEMANTIC:
                row["phrase"] = glossary.SILENCE if code == 0 else glossary.phrase(layer, entry)
            layers[layer][str(code)] = row
    return {"descriptors": DESCRIPTORS, "codes": layers}
