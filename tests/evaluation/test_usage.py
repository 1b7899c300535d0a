"""Alphabets and changes."""

import numpy as np
import pytest
import torch

from natd.evaluation.coding import Coded
from natd.evaluation.usage import bits, changes, counts, perplexity, used


def coded(codes: list[int], clip: list[int]) -> Coded:
    quiet = torch.zeros(len(codes), dtype=torch.bool)
    return Coded({"S0": torch.tensor(codes)}, {"S0": torch.tensor(clip)}, {"S0": quiet}, max(clip) + 1)


def test_counts_are_by_clip():
    assert counts(coded([0, 1, 1, 3], [0, 0, 1, 1]), "S0", 4).tolist() == [[1, 1, 0, 0], [0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("sums", "expected"),
    [([5, 5, 5, 5, 0], (4, 2.0, 4.0)), ([9, 0, 0, 0, 0], (1, 0.0, 1.0)), ([2, 1, 1, 0, 0], (3, 1.5, 2**1.5))],
)
def test_entropy(sums, expected):
    table = np.array([sums], dtype=float)
    assert (used(table)[0], bits(table)[0], perplexity(table)[0]) == pytest.approx(expected)
    assert not np.signbit(bits(table)[0])


def test_changes_are_within_clips():
    assert changes(coded([0, 0, 1, 2, 2, 0], [0, 0, 0, 1, 1, 1]), "S0").tolist() == [[1, 2], [1, 2]]
