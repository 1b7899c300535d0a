"""Figures of a fit: as their definitions say, above chance for what has clusters, and faults for what has not."""

import numpy as np
import pytest
import torch

from natd.codebooks import fit, validate
from natd.codebooks.validate import Figure, Report
from tests.codebooks.test_fit import blobs


def labelled(count: int = 150, k: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    x = blobs(count)
    return x, fit.nearest(x, fit.kmeans(x, x, k, 0).centres)[0]


def test_silhouette_is_that_of_its_definition() -> None:
    x, labels = labelled()
    far = np.linalg.norm(x.numpy()[:, None] - x.numpy()[None], axis=2)
    values = []
    for i in range(len(x)):
        of = labels.numpy()
        same = (of == of[i]) & (np.arange(len(x)) != i)
        inside = far[i, same].mean()
        outside = min(far[i, of == other].mean() for other in set(of.tolist()) - {of[i]})
        values.append((outside - inside) / max(inside, outside))
    assert validate.silhouette(x, labels, 5, 0) == pytest.approx(np.mean(values), rel=1e-4)


def test_a_vector_alone_in_its_cluster_counts_nothing() -> None:
    x = torch.tensor([[0.0], [1.0], [10.0]])
    # Of the two that are together: (9.5 to 10 - 1) over 9.5 to 10; the third is alone.
    expected = ((10 - 1) / 10 + (9 - 1) / 9 + 0) / 3
    assert validate.silhouette(x, torch.tensor([0, 0, 2]), 4, 0) == pytest.approx(expected)
    assert validate.silhouette(x, torch.tensor([1, 1, 1]), 4, 0) == 0.0


def test_variance_ratio_is_that_of_its_definition() -> None:
    x, labels = labelled()
    centre, between, within = x.mean(0), 0.0, 0.0
    for code in labels.unique():
        part = x[labels == code]
        between += len(part) * float(((part.mean(0) - centre) ** 2).sum())
        within += float(((part - part.mean(0)) ** 2).sum())
    expected = (between / 4) / (within / (len(x) - 5))
    assert validate.variance_ratio(x, labels, 5) == pytest.approx(expected, rel=1e-4)
    assert validate.variance_ratio(x, torch.zeros(len(x), dtype=torch.int64), 5) == 0.0


def judged(centres: torch.Tensor, x: torch.Tensor, held: torch.Tensor) -> Report:
    return validate.judge(x, held, centres, validate.energy(held, x.mean(0)), 0)


def test_a_good_fit_has_no_fault_and_stands_above_chance() -> None:
    x, held = blobs(), blobs(600, 1)
    report = judged(fit.kmeans(x, held, 20, 0).centres, x, held)
    assert report.faults() == []
    assert report.silhouette.value > 0.5 and report.silhouette.null < 0.0
    assert report.variances.value > 50 and 0.5 < report.variances.null < 2.0  # 1 is what it is of labels by lot
    assert report.energy.value < 0.1 < report.energy.null < 1.0
    assert (
        report.separation.value > report.separation.null
        and report.dead.value == report.twins.value == report.unheard.value == 0
    )


def test_the_same_seed_gives_the_same_figures() -> None:
    x, held = blobs(), blobs(600, 1)
    centres = fit.kmeans(x, held, 20, 0).centres
    assert judged(centres, x, held) == judged(centres, x, held)


def test_dead_twin_and_crowded_codes_are_faults() -> None:
    x, held = blobs(), blobs(600, 1)
    centres = fit.kmeans(x, held, 20, 0).centres
    dead = centres.clone()
    dead[3] = 1000.0
    assert any("1 dead codes" in fault for fault in judged(dead, x, held).faults())
    twin = centres.clone()
    twin[5] = twin[2]
    assert any("1 codes lie on others" in fault for fault in judged(twin, x, held).faults())
    near = centres.clone()
    near[5] = near[2] + 0.005
    assert any("codes are as near as" in fault for fault in judged(near, x, held).faults())


def test_energy_that_does_not_fall_on_unheard_vectors_is_a_fault() -> None:
    x = blobs()
    centres = fit.kmeans(x, x, 20, 0).centres
    inside = 0.01 * blobs(600, 1) + x.mean(0)  # between all codes: each is further away than the mean
    faults = judged(centres, x, inside).faults()
    assert any("residual energy of held-out vectors is left: it must fall" in fault for fault in faults)


def test_codes_by_lot_and_labels_by_lot_are_no_fit() -> None:
    good = Figure(1.0, 0.5)
    fine = {"separation": good, "dead": Figure(0, 0), "twins": Figure(0, 0), "unheard": Figure(9, 9)}
    chance = Report(silhouette=Figure(-0.3, -0.3), variances=Figure(0.9, 1.0), energy=Figure(0.6, 0.6), **fine)
    assert [fault.split(" ")[0] for fault in chance.faults()] == ["codes", "silhouette", "variances"]
    broken = Report(silhouette=Figure(float("nan"), 0.0), variances=good, energy=good, **fine)
    assert broken.faults() == ["a figure is not finite"]
