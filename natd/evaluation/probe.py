"""Which class of sound a clip is: by a linear probe on its code histograms, and by the words of its codes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import Coded

UNLABELLED = -1


def linear(
    train: Coded,
    train_labels: Sequence[int],
    held: Coded,
    held_labels: Sequence[int],
    layers: Sequence[str],
    sizes: Mapping[str, int],
) -> Floats:
    """(right, 1) per labelled clip of `held` [C, 2], of a probe that was trained on the labelled clips of `train`."""
    x, labels = histograms(train, train_labels, layers, sizes)
    y, truth = histograms(held, held_labels, layers, sizes)
    if not len(x) or not len(y):
        return np.zeros((0, 2))
    return hits(_fitted(x, labels, y) == truth)


def histograms(
    coded: Coded, labels: Sequence[int], layers: Sequence[str], sizes: Mapping[str, int]
) -> tuple[Tensor, Tensor]:
    """Roots of the shares of each code, layers side by side, per labelled clip [C, sum of sizes]; its label [C]."""
    wanted = [i for i, label in enumerate(labels) if label != UNLABELLED]
    parts = []
    for layer in layers:
        flat = coded.clip[layer] * sizes[layer] + coded.codes[layer]
        counts = torch.bincount(flat, minlength=coded.clips * sizes[layer]).view(coded.clips, sizes[layer])[wanted]
        parts.append((counts / counts.sum(1, keepdim=True).clamp(min=1)).sqrt())
    return torch.cat(parts, dim=1), torch.tensor([labels[i] for i in wanted], dtype=torch.int64)


def hits(right: Tensor) -> Floats:
    """Right or wrong [C] -> statistics whose ratio is the share of right ones [C, 2]."""
    return np.stack([right.double().numpy(), np.ones(len(right))], axis=1)


def _fitted(x: Tensor, labels: Tensor, y: Tensor, decay: float = 1e-2) -> Tensor:
    """Classes of `y` by multinomial logistic regression with an L2 penalty, trained on (x, labels)."""
    weight = torch.zeros(x.shape[1], int(labels.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight + bias, labels) + decay * (weight * weight).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return (y @ weight + bias).argmax(1)


def by_legend(held: Coded, held_labels: Sequence[int], votes: Mapping[str, Tensor]) -> Floats:
    """(right, 1) per labelled clip: its codes vote by `votes` (layer -> [codes, classes]); no vote at all is wrong."""
    wanted = [i for i, label in enumerate(held_labels) if label != UNLABELLED]
    classes = next(iter(votes.values())).shape[1]
    total = torch.zeros(held.clips, classes, dtype=torch.float64)
    for layer, table in votes.items():
        total.index_add_(0, held.clip[layer], table.double()[held.codes[layer]])
    total = total[wanted]
    truth = torch.tensor([held_labels[i] for i in wanted], dtype=torch.int64)
    return hits((total.argmax(1) == truth) & (total.sum(1) > 0))
