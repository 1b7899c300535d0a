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
        "changes_per_s": {name: round(changes(codes[name], held), 2) for name in codes},
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
        known_train, known = _known(name, train_set), _known(name, held)
        if int(known.sum()) < 2 or int(known_train.sum()) < 2:
            continue
        column = COLUMN[name]
        x, y = train_set.descriptors[known_train, column].double(), held.descriptors[known, column].double()
        count = torch.bincount(train_codes[layer][known_train], minlength=sizes[layer])
        sums = torch.zeros(sizes[layer], dtype=torch.float64).index_add_(0, train_codes[layer][known_train], x)
        means = torch.where(count > 0, sums / count.clamp(min=1), x.mean())
        chosen = codes[layer][known]
        mixed = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))]
        spread = float(((y - y.mean()) ** 2).sum())
        r2, null = (1.0 - float(((y - means[c]) ** 2).sum()) / spread for c in (chosen, mixed))
        out[name] = {"layer": layer, "r2": round(r2, 3), "shuffled": round(null, 3)}
    return out


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
            y = tokenizer.residual.decode(part) @ tokenizer.basis.T + tokenizer.mean
            energy[kind].append(float(((x - y) ** 2).mean()))
            error[kind].append(float((x - y).abs().mean()))
    return energy, error


def changes(codes: Tensor, frames: Frames) -> float:
    """Code changes per second within clips."""
    same_clip = frames.clip[1:] == frames.clip[:-1]
    return float(((codes[1:] != codes[:-1]) & same_clip).sum()) / float(same_clip.sum()) * SR / FRAME


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
    out = {}
    for name, layers in groups.items():
        generator = torch.Generator().manual_seed(seed)
        x, labels = _histograms(train_codes, train_set, layers, sizes)
        y, truth = _histograms(held_codes, held, layers, sizes)
        if not len(x) or not len(y):
            return {}
        out[name] = {"accuracy": _probe(x, labels, y, truth)}
        mixed = [
            {k: c[torch.randperm(len(c), generator=generator)] for k, c in part.items()}
            for part in (train_codes, held_codes)
        ]
        x, _ = _histograms(mixed[0], train_set, layers, sizes)
        y, _ = _histograms(mixed[1], held, layers, sizes)
        out[name]["shuffled"] = _probe(x, labels, y, truth)
        out[name]["clips"] = len(truth)
    return out


def _histograms(
    codes: dict[str, Tensor], frames: Frames, layers: list[str], sizes: Mapping[str, int]
) -> tuple[Tensor, Tensor]:
    """Roots of the shares of each code, layers side by side, per labelled clip [C, sum of sizes]; class numbers [C]."""
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
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return float(((y @ weight + bias).argmax(1) == truth).float().mean())
