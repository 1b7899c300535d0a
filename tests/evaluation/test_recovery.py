"""Descriptors from the means of codes."""

import numpy as np
import pytest
import torch

from natd.evaluation.recovery import Measured, cosines, errors, halves, legend, variance_share


def measured(codes: torch.Tensor, values: torch.Tensor) -> Measured:
    return Measured(codes, values, torch.arange(len(codes)) % 10, 10)


def r2(learned: Measured, scored: Measured, size: int) -> float:
    return float(variance_share(errors(legend(learned, size), scored).sum(0, keepdims=True))[0])


def test_a_code_that_is_the_value_gives_all_of_it_and_shuffled_none():
    codes = torch.randint(8, (2000,), generator=torch.Generator().manual_seed(0))
    exact = measured(codes, 3.0 * codes[:, None].double() - 60)
    assert r2(exact, exact, 8) == pytest.approx(1.0, abs=1e-12)
    assert r2(exact, exact.shuffled(1), 8) == pytest.approx(-1.0, abs=0.1)


def test_half_the_variance_is_half():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (20_000,), generator=generator)
    noise = torch.randn(20_000, generator=generator, dtype=torch.float64)
    values = (2.0 * codes.double() - 1.0 + noise)[:, None]  # variance 1 of the code, 1 of the noise
    learned, scored = halves(measured(codes, values))
    assert r2(learned, scored, 2) == pytest.approx(0.5, abs=0.02)
    assert set(learned.clip.tolist()) == {0, 2, 4, 6, 8} and set(scored.clip.tolist()) == {1, 3, 5, 7, 9}


def test_the_spread_is_about_the_mean_of_what_was_drawn():
    # Two values, 1 and 3: variance about their mean 2 in sum; an error of 1 in sum leaves half.
    assert variance_share(np.array([[2.0, 4.0, 10.0, 1.0]])).tolist() == [0.5]


def test_a_code_that_was_not_met_stands_for_the_mean_of_all():
    known = measured(torch.tensor([0, 0, 2]), torch.tensor([[1.0], [3.0], [5.0]], dtype=torch.float64))
    assert legend(known, 4)[:, 0].tolist() == [2.0, 3.0, 5.0, 3.0]


def test_a_constant_has_no_share():
    flat = measured(torch.zeros(50, dtype=torch.int64), torch.full((50, 1), 7.0, dtype=torch.float64))
    assert torch.isnan(torch.tensor(r2(flat, flat, 1)))


def test_cosine_of_vectors():
    values = torch.eye(3, dtype=torch.float64)[torch.arange(30) % 3]
    exact = measured(torch.arange(30) % 3, values)
    sums = cosines(legend(exact, 3), exact).sum(0)
    assert sums.tolist() == [pytest.approx(30.0), 30.0]
    blind = measured(torch.zeros(30, dtype=torch.int64), values)
    assert cosines(legend(blind, 3), blind).sum(0)[0] / 30 == pytest.approx(3**-0.5)
