"""What the fitted layers are worth on held-out recordings, each figure beside its null."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from natd.codebooks import validate
from natd.codec import ears
from natd.codec.mel import FRAME
from natd.training.hearing import Frames

Progress = Callable[[str], None]
KINDS = ("music", "speech", "environment")


def measure(
    tokenizer: ears.Ears,
    encode: Callable[[ears.Ears, Frames], dict[str, Tensor]],
    train_codes: dict[str, Tensor],
    train_set: Frames,
    held: Frames,
    sizes: dict[str, int],
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Residual energy and log-mel error by kind, code usage, ESC-10 probe with its shuffled null, entropy of silence."""
    codes = encode(tokenizer, held)
    energy, error = residuals(tokenizer, codes, held)
    figures: dict[str, Any] = {
        "frames": {"fit": len(train_set), "held": len(held), "silent_held": int(held.silent.sum())},
        "residual_energy_db2": energy,
        "log_mel_l1_db": error,
        "usage": {name: validate.usage(codes[name][~held.silent], size) for name, size in sizes.items()},
        "changes_per_s": {name: changes(codes[name], held) for name in codes},
        "silence_bits": silence_bits(tokenizer),
    }
    figures["probe"] = probes(train_codes, train_set, codes, held, sizes, seed)
    for name, value in figures.items():
        progress(f"{name}: {value}")
    return figures


def residuals(tokenizer: ears.Ears, codes: dict[str, Tensor], held: Frames) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
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
            y = tokenizer.residual.decode(part) @ tokenizer.basis.T + tokenizer.mean
            energy[kind].append(float(((x - y) ** 2).mean()))
            error[kind].append(float((x - y).abs().mean()))
    return energy, error


def changes(codes: Tensor, frames: Frames) -> float:
    """Code changes per second within clips."""
    same_clip = frames.clip[1:] == frames.clip[:-1]
    return float(((codes[1:] != codes[:-1]) & same_clip).sum()) / float(same_clip.sum()) * 24_000 / FRAME


def silence_bits(tokenizer: ears.Ears) -> float:
    """Entropy in bits, summed over layers, of 12 s of digital silence."""
    state = tokenizer.initial_state(1)
    frames = [tokenizer.encode(torch.zeros(1, FRAME), state) for _ in range(150)]
    return sum(validate.usage(torch.cat([f[i][0] for f in frames]), 1024)["bits"] for i in range(len(frames[0])))


def probes(
    train_codes: dict[str, Tensor], train_set: Frames, held_codes: dict[str, Tensor], held: Frames, sizes: dict[str, int], seed: int
) -> dict[str, dict[str, float]]:
    """ESC-10 accuracy on fold 3 of a linear probe trained on folds 1-2: layer group -> accuracy and shuffled-token null."""
    groups = {"S0": ["S0"], "S1": ["S1"], "S2": ["S2"], "S3": ["S3"], "S": list(ears.SEMANTIC), "A": list(ears.ACOUSTIC)}
    out = {}
    for name, layers in groups.items():
        generator = torch.Generator().manual_seed(seed)
        x, labels = _histograms(train_codes, train_set, layers, sizes)
        y, truth = _histograms(held_codes, held, layers, sizes)
        if len(x) == 0 or len(y) == 0:
            continue
        out[name] = {"accuracy": _probe(x, labels, y, truth)}
        mixed = [{k: c[torch.randperm(len(c), generator=generator)] for k, c in part.items()} for part in (train_codes, held_codes)]
        x, _ = _histograms(mixed[0], train_set, layers, sizes)
        y, _ = _histograms(mixed[1], held, layers, sizes)
        out[name]["shuffled"] = _probe(x, labels, y, truth)
        out[name]["clips"] = len(truth)
    return out


def _histograms(codes: dict[str, Tensor], frames: Frames, layers: list[str], sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Square roots of the shares of each code, layers side by side, for the labelled clips [C, sum of sizes]; class numbers [C]."""
    classes = sorted({c.label for c in frames.clips if c.label})
    found, labels = [], []
    for i, clip in enumerate(frames.clips):
        if clip.label:
            rows = frames.clip == i
            counts = [torch.bincount(codes[layer][rows], minlength=sizes[layer]).float() for layer in layers]
            found.append(torch.cat([(c / c.sum()).sqrt() for c in counts]))
            labels.append(classes.index(clip.label))
    return (torch.stack(found) if found else torch.zeros(0, 1)), torch.tensor(labels)


def _probe(x: Tensor, labels: Tensor, y: Tensor, truth: Tensor, decay: float = 1e-2) -> float:
    """Accuracy on (y, truth) of multinomial logistic regression with an L2 penalty, trained on (x, labels)."""
    weight = torch.zeros(x.shape[1], int(labels.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight + bias, labels) + decay * (weight * weight).sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    return float(((y @ weight + bias).argmax(1) == truth).float().mean())
