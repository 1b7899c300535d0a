"""What the fitted layers are worth on held-out recordings, each figure beside its null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import validate
from natd.codec import ears
from natd.codec.descriptors import COLUMN, GATED
from natd.codec.mel import FRAME, SR
from natd.evaluation import probe, usage
from natd.evaluation.coding import Coded
from natd.evaluation.recovery import Measured, errors, legend, variance_share
from natd.training.hearing import Frames

KINDS = ("music", "speech", "environment")
RECOVERED = {
    "f0": "S1", "salience": "S1", "tonalness": "S1", "chroma_C": "S1", "chroma_A": "S1",
    "onset": "S2", "onset_rate": "S2", "pulse": "S2", "tempo": "S2", "slow": "S2", "fast": "S2",
    "level": "S3", "trend": "S3", "centroid": "S3", "flatness": "S3", "bandwidth": "S3", "rolloff": "S3",
}  # fmt: skip


def encode(
    tokenizer: ears.Ears, frames: Frames, layers: Sequence[str] = (*ears.SEMANTIC, *ears.ACOUSTIC)
) -> dict[str, Tensor]:
    """Codes [N] of `layers` (all of S, of A, or both) for frames already heard."""
    out: dict[str, list[Tensor]] = {name: [] for name in layers}
    for at in range(0, len(frames), 4096):
        part = slice(at, at + 4096)
        silent = frames.silent[part]
        for layer in ears.SEMANTIC:
            if layer in out:
                vectors = tokenizer.standard(layer, frames.vectors[layer][part].contiguous())
                out[layer].append(tokenizer.books[layer](vectors, silent))
        if ears.ACOUSTIC[0] in out:
            codes = tokenizer.residual.encode(tokenizer.compress(frames.log_mel[part]), silent)
            for name, code in zip(ears.ACOUSTIC, codes, strict=True):
                out[name].append(code)
    return {name: torch.cat(parts) for name, parts in out.items()}


def measure(
    tokenizer: ears.Ears,
    train_codes: dict[str, Tensor],
    train_set: Frames,
    held: Frames,
    sizes: Mapping[str, int],
    seed: int,
) -> dict[str, Any]:
    """Residual energy and log-mel error by kind, code usage, legend recovery, ESC-10 probe, entropy of silence."""
    codes = encode(tokenizer, held)
    energy, error = residuals(tokenizer, codes, held)
    return {
        "frames": {"fit": len(train_set), "held": len(held), "held_silent": int(held.silent.sum())},
        "residual_energy_db2": energy,
        "log_mel_l1_db": error,
        "usage": {name: validate.usage(codes[name][~held.silent], size) for name, size in sizes.items()},
        "changes_per_s": {name: round(changes(coded(codes, held), name), 2) for name in codes},
        "silence_bits": silence_bits(tokenizer),
        "recovery_r2": recovery(train_codes, train_set, codes, held, sizes, seed),
        "probe": probes(train_codes, train_set, codes, held, sizes, seed),
    }


def recovery(
    train_codes: dict[str, Tensor],
    train_set: Frames,
    codes: dict[str, Tensor],
    held: Frames,
    sizes: Mapping[str, int],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Share of a descriptor's held-out variance that the legend's means alone give back (R2), beside shuffled codes."""
    out = {}
    for name, layer in RECOVERED.items():
        learned, scored = _measured(name, train_codes[layer], train_set), _measured(name, codes[layer], held)
        if len(scored.codes) < 2 or len(learned.codes) < 2:
            continue
        means = legend(learned, sizes[layer])
        r2, null = (
            float(variance_share(errors(means, m).sum(0, keepdims=True))[0]) for m in (scored, scored.shuffled(seed))
        )
        out[name] = {"layer": layer, "r2": round(r2, 3), "shuffled": round(null, 3)}
    return out


def _measured(name: str, codes: Tensor, frames: Frames) -> Measured:
    known = _known(name, frames)
    values = frames.descriptors[known, COLUMN[name], None].double()
    return Measured(codes[known], values, frames.clip[known], len(frames.clips))


def _known(name: str, frames: Frames) -> Tensor:
    known = ~frames.silent
    if name in GATED:
        gate, least = GATED[name]
        known = known & (frames.descriptors[:, COLUMN[gate]] >= least)
    return known


def residuals(
    tokenizer: ears.Ears, codes: dict[str, Tensor], held: Frames
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """By kind: mean squared (dB^2) and mean absolute (dB) log-mel error of the mean frame, then after each A layer."""
    energy: dict[str, list[float]] = {}
    error: dict[str, list[float]] = {}
    kind_of = [c.kind for c in held.clips]
    for kind in KINDS:
        rows = torch.tensor([kind_of[int(c)] == kind for c in held.clip]) & ~held.silent
        if not rows.any():
            continue
        x = held.log_mel[rows].clamp(min=ears.MEL_FLOOR_DB).flatten(1)
        y = tokenizer.mean.expand_as(x)
        energy[kind], error[kind] = [float(((x - y) ** 2).mean())], [float((x - y).abs().mean())]
        for layers in range(1, len(ears.ACOUSTIC) + 1):
            part = [codes[name][rows] for name in ears.ACOUSTIC[:layers]]
            y = tokenizer.decode_mel([code[:, None] for code in part]).flatten(1)
            energy[kind].append(float(((x - y) ** 2).mean()))
            error[kind].append(float((x - y).abs().mean()))
    return energy, error


def changes(coded: Coded, layer: str) -> float:
    """Code changes per second within clips."""
    changed, of = usage.changes(coded, layer).sum(0)
    return float(changed / of) * SR / FRAME


def silence_bits(tokenizer: ears.Ears) -> float:
    """Entropy in bits, summed over layers, of 12 s of digital silence."""
    state = tokenizer.initial_state(1)
    frames = [tokenizer.encode(torch.zeros(1, FRAME), state) for _ in range(150)]
    return sum(validate.usage(torch.cat([f[i][0] for f in frames]), 1024)["bits"] for i in range(len(frames[0])))


def probes(
    train_codes: dict[str, Tensor],
    train_set: Frames,
    held_codes: dict[str, Tensor],
    held: Frames,
    sizes: Mapping[str, int],
    seed: int,
) -> dict[str, dict[str, float]]:
    """ESC-10 accuracy on fold 3 of a linear probe trained on folds 1-2, by layers, beside that of shuffled codes."""
    groups = {
        "S0": ["S0"],
        "S1": ["S1"],
        "S2": ["S2"],
        "S3": ["S3"],
        "S": list(ears.SEMANTIC),
        "A": list(ears.ACOUSTIC),
    }
    learned, scored = coded(train_codes, train_set), coded(held_codes, held)
    classes = sorted({c.label for frames in (train_set, held) for c in frames.clips if c.label})
    labels, truth = (
        [classes.index(c.label) if c.label else probe.UNLABELLED for c in frames.clips] for frames in (train_set, held)
    )
    out = {}
    for name, layers in groups.items():
        generator = torch.Generator().manual_seed(seed)
        hits = probe.linear(learned, labels, scored, truth, layers, sizes)
        if not len(hits):
            return {}
        mixed = [part.shuffled(generator) for part in (learned, scored)]
        null = probe.linear(mixed[0], labels, mixed[1], truth, layers, sizes)
        right = [float(h[:, 0].mean()) for h in (hits, null)]
        out[name] = {"accuracy": right[0], "shuffled": right[1], "clips": len(hits)}
    return out


def coded(codes: Mapping[str, Tensor], frames: Frames) -> Coded:
    """Codes of heard frames as the figures take them."""
    return Coded(codes, dict.fromkeys(codes, frames.clip), dict.fromkeys(codes, frames.silent), len(frames.clips))
