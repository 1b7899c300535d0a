"""Fitting S3: a book in a readable order, and the margin that gives the asked number of changes."""

import pytest
import torch

from natd.codebooks import glossary
from natd.codec.descriptors import COLUMN, DESCRIPTORS
from natd.codec.dynamics import SIZE, WEIGHTS, Dynamics
from natd.training import dynamics

TAKES, FRAMES = 12, 120


def recordings(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels that wander and flicker, over pauses: descriptors [N, 29], silence, take."""
    draw = torch.Generator().manual_seed(seed)
    table = torch.randn(TAKES * FRAMES, len(DESCRIPTORS), generator=draw) * 0.3
    slow = torch.randn(TAKES, FRAMES // 20, generator=draw).repeat_interleave(20, dim=1).flatten()
    table[:, COLUMN["level"]] += -35.0 + 9.0 * slow
    table[:, COLUMN["centroid"]] += 10.0 + slow.roll(10)
    table[:, COLUMN["flatness"]] += -18.0 + 6.0 * slow.roll(30)
    silent = torch.rand(len(table), generator=draw) < 0.05
    return table, silent, torch.arange(TAKES).repeat_interleave(FRAMES)


@pytest.fixture(scope="module")
def fitted() -> dict[str, torch.Tensor]:
    table, silent, take = recordings(0)
    more = torch.cat([table[~silent], recordings(1)[0]])
    return dynamics.fit_dynamics(more, table, silent, take, 3, lambda line: None)


def test_the_margin_gives_the_asked_changes_a_second(fitted: dict[str, torch.Tensor]) -> None:
    assert dynamics.changes(Dynamics(fitted), *recordings(0)) == pytest.approx(dynamics.CHANGES_A_SECOND, abs=0.15)
    free = Dynamics(fitted | {"S3.near": torch.zeros(1)})
    assert dynamics.changes(free, *recordings(0)) > 2.0 * dynamics.CHANGES_A_SECOND


def test_changes_are_counted_within_recordings() -> None:
    """Levels of 2 and 4 frames by a book of two codes: 1 change in 1 step, 2 in 3 steps."""
    layer = Dynamics({
        "S3.shift": torch.zeros(16), "S3.scale": torch.ones(16), "S3.near": torch.zeros(1),
        "S3.codes": torch.cat([torch.zeros(1, 16), torch.tensor([[-1.0], [1.0]]).expand(2, 16)]),
    })  # fmt: skip
    table = torch.tensor([-5.0, 5.0, 5.0, -5.0, -5.0, 5.0])[:, None].expand(6, len(DESCRIPTORS)).contiguous()
    take = torch.tensor([0, 0, 1, 1, 1, 1])
    assert dynamics.changes(layer, table, torch.zeros(6, dtype=torch.bool), take) == pytest.approx(3 / 4 * 12.5)
    assert dynamics.changes(layer, table, torch.ones(6, dtype=torch.bool), take) == 0.0


def test_codes_stand_by_loudness_then_brightness_then_noisiness(fitted: dict[str, torch.Tensor]) -> None:
    middles = dynamics.middles(fitted)
    graded = torch.stack([middles[name] for name in ("level", "centroid", "flatness")], dim=1)
    grades = [glossary.grade(*row) for row in graded[1:].tolist()]
    assert len(grades) == SIZE - 1
    scales = [[word for _, word in steps] for steps in (glossary.LOUD, glossary.BRIGHT, glossary.NOISY)]
    places = [[s.index(word) for s, word in zip(scales, grade.split(), strict=True)] for grade in grades]
    assert places == sorted(places) and len(set(grades)) > 10


def test_middles_are_in_the_units_of_the_descriptors(fitted: dict[str, torch.Tensor]) -> None:
    middles = dynamics.middles(fitted)
    assert set(middles) == set(WEIGHTS) and -70.0 < float(middles["level"][1:].min()) < -40.0
    x = torch.zeros(1, len(DESCRIPTORS))
    for name, values in middles.items():
        x[0, COLUMN[name]] = values[77]
    layer = Dynamics(fitted)
    assert int(layer(x, torch.tensor([False]), layer.initial_state(1))) == 77


def test_the_same_recordings_and_seed_give_the_same_book() -> None:
    table, silent, take = recordings(2)
    short = (table[:1000], silent[:1000], take[:1000])
    one, two = (dynamics.fit_dynamics(table[~silent], *short, 1, str) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one) and not one["S3.codes"][0].any()
