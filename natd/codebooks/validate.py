"""Whether a fitted codebook is one: figures on held-out vectors, each beside what chance gives, and what is too little.

Sources: P. Rousseeuw 1987 (silhouette), T. Calinski and J. Harabasz 1974 (ratio of the variances).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from natd.codebooks.books import twins
from natd.codebooks.fit import nearest

POINTS, REFERENCE = 512, 16_384  # vectors whose silhouette is taken, and those that they are compared with
SEPARATION_LEAST = 0.01
ENERGY_MOST = 0.999  # of what was there before: a layer that leaves as much does nothing


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and the same of chance."""

    value: float
    null: float


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one layer; the null of the first two is the shuffled assignment, of the rest K vectors by lot.

    `silhouette` and `variances` (Calinski-Harabasz) of held-out vectors. `separation`: the smallest distance of two
    codes over the root mean square distance of a vector to its code. `energy`: share of the held-out energy before
    this layer that it leaves. `dead`: codes that no vector of the fit chose; `twins`: codes that lie on another;
    `unheard`: codes that no held-out vector chose.
    """

    silhouette: Figure
    variances: Figure
    separation: Figure
    energy: Figure
    dead: Figure
    twins: Figure
    unheard: Figure

    def faults(self) -> list[str]:
        """Why the fit is to be rejected; nothing where it is good."""
        found = []
        if not all(_finite(figure) for figure in self.figures().values()):
            return ["a figure is not finite"]
        if self.dead.value:
            found.append(f"{self.dead.value:.0f} dead codes")
        if self.twins.value:
            found.append(f"{self.twins.value:.0f} codes lie on others")
        if self.separation.value < SEPARATION_LEAST:
            found.append(f"codes are as near as {self.separation.value:.4f} of the spread, {SEPARATION_LEAST} is least")
        if self.energy.value > ENERGY_MOST:
            found.append(f"{self.energy.value:.1%} of the residual energy of held-out vectors is left: it must fall")
        elif self.energy.value >= self.energy.null:
            found.append(f"codes by lot leave less of the energy: {self.energy.null:.3f}, not {self.energy.value:.3f}")
        for name in ("silhouette", "variances"):
            figure = self.figures()[name]
            if figure.value <= figure.null:
                found.append(f"{name} {figure.value:.3f} is no better than by chance, {figure.null:.3f}")
        return found

    def figures(self) -> dict[str, Figure]:
        """By name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def as_json(self) -> dict[str, Any]:
        """Name -> value and null, rounded to six digits."""
        return {
            name: {key: float(f"{number:.6g}") for key, number in asdict(figure).items()}
            for name, figure in self.figures().items()
        }


def judge(x: Tensor, held_out: Tensor, centres: Tensor, before: float, seed: int) -> Report:
    """Centres [K, D] fitted on `x` [N, D], judged on `held_out` [M, D] whose energy was `before` (a mean square)."""
    generator = torch.Generator().manual_seed(seed)
    by_lot = x[torch.randperm(len(x), generator=generator)[: len(centres)]]
    labels, far = nearest(held_out, centres)
    mixed = labels[torch.randperm(len(labels), generator=generator)]
    k = len(centres)
    own, lot = _Of(x, held_out, centres, before), _Of(x, held_out, by_lot, before)
    return Report(
        silhouette=Figure(silhouette(held_out, labels, k, seed), silhouette(held_out, mixed, k, seed)),
        variances=Figure(variance_ratio(held_out, labels, k), variance_ratio(held_out, mixed, k)),
        separation=Figure(own.separation(), lot.separation()),
        energy=Figure(own.energy(), lot.energy()),
        dead=Figure(own.dead(), lot.dead()),
        twins=Figure(float(len(twins(centres))), float(len(twins(by_lot)))),
        unheard=Figure(own.unheard(), lot.unheard()),
    )


def energy(x: Tensor, about: Tensor | None = None) -> float:
    """Mean squared length of vectors [N, D], or distance from one [D]."""
    off = x if about is None else x - about
    return float((off.double() ** 2).sum(1).mean())


def silhouette(x: Tensor, labels: Tensor, k: int, seed: int) -> float:
    """Mean silhouette (-1..1) of up to `POINTS` vectors of `x` [N, D], labelled 0..k-1, against up to `REFERENCE`.

    A vector that is alone in its cluster counts 0.
    """
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:REFERENCE]
    others, of = x[order], labels[order]
    count = torch.bincount(of, minlength=k).double()
    values = []
    for block in torch.split(torch.arange(min(POINTS, len(order))), 128):
        far = torch.cdist(others[block].double(), others.double())
        sums = torch.zeros(len(block), k, dtype=torch.float64).index_add_(1, of, far)
        own = of[block][:, None]
        inside = sums.gather(1, own)[:, 0] / (count[own[:, 0]] - 1).clamp(min=1.0)
        mean = torch.where(count > 0, sums / count.clamp(min=1.0), torch.inf).scatter(1, own, torch.inf)
        outside = mean.min(1).values
        wide = torch.maximum(inside, outside).clamp(min=1e-12)
        alone = (count[own[:, 0]] < 2) | outside.isinf()
        values.append(torch.where(alone, 0.0, (outside - inside) / wide))
    return float(torch.cat(values).mean())


def variance_ratio(x: Tensor, labels: Tensor, k: int) -> float:
    """Calinski-Harabasz: variance between clusters over that within, each per degree of freedom; 0 for one cluster."""
    count = torch.bincount(labels, minlength=k).double()
    sums = torch.zeros(k, x.shape[1], dtype=torch.float64).index_add_(0, labels, x.double())
    live = count > 0
    means = sums[live] / count[live][:, None]
    clusters = len(means)
    between = float((count[live] * ((means - x.double().mean(0)) ** 2).sum(1)).sum())
    within = max(float(((x.double() ** 2).sum(1)).sum() - (count[live] * (means**2).sum(1)).sum()), 1e-12)
    if clusters < 2 or len(x) <= clusters:
        return 0.0
    return (between / (clusters - 1)) / (within / (len(x) - clusters))


@dataclass(frozen=True, slots=True)
class _Of:
    """Figures of any centres."""

    x: Tensor
    held_out: Tensor
    centres: Tensor
    before: float

    def separation(self) -> float:
        """Smallest distance of two centres in units of the spread."""
        gap = torch.cdist(self.centres.double(), self.centres.double())
        gap.fill_diagonal_(torch.inf)
        spread = float(nearest(self.x, self.centres)[1].double().mean()) ** 0.5
        return float(gap.min()) / max(spread, 1e-12) if len(self.centres) > 1 else 1.0

    def energy(self) -> float:
        """Share of the energy that is left."""
        return float(nearest(self.held_out, self.centres)[1].double().mean()) / max(self.before, 1e-12)

    def dead(self) -> float:
        """Codes without a vector of the fit."""
        return float((self._count(self.x) == 0).sum())

    def unheard(self) -> float:
        """Codes without a held-out vector."""
        return float((self._count(self.held_out) == 0).sum())

    def _count(self, x: Tensor) -> Tensor:
        return torch.bincount(nearest(x, self.centres)[0], minlength=len(self.centres))


def _finite(figure: Figure) -> bool:
    return all(abs(number) < float("inf") for number in asdict(figure).values())
