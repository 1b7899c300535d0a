"""Classes from code histograms and from words."""

import numpy as np
import pytest
import torch

from natd.evaluation.coding import Coded
from natd.evaluation.probe import UNLABELLED, by_legend, histograms, linear


def coded(rows: list[list[int]]) -> Coded:
    clip = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(r) for r in rows]))
    codes = torch.tensor([code for row in rows for code in row])
    return Coded({"S0": codes}, {"S0": clip}, {"S0": torch.zeros(len(codes), dtype=torch.bool)}, len(rows))


LABELS = [i % 3 for i in range(60)]


def clips(seed: int, share: float) -> Coded:
    """60 clips of 3 classes: a code is that of the class (code = class) with probability `share`, else of 6 any."""
    rng = np.random.default_rng(seed)
    return coded([[c if rng.random() < share else int(rng.integers(6)) for _ in range(20)] for c in LABELS])


def test_a_probe_finds_classes_and_shuffled_codes_do_not():
    train, held = clips(1, 0.6), clips(2, 0.6)
    assert linear(train, LABELS, held, LABELS, ["S0"], {"S0": 6})[:, 0].mean() == 1.0
    generator = torch.Generator().manual_seed(0)
    mixed = [part.shuffled(generator) for part in (train, held)]
    assert linear(mixed[0], LABELS, mixed[1], LABELS, ["S0"], {"S0": 6})[:, 0].mean() == pytest.approx(1 / 3, abs=0.17)


def test_clips_without_a_class_neither_teach_nor_count():
    train, labels = clips(1, 0.6), [UNLABELLED if i >= 30 else c for i, c in enumerate(LABELS)]
    assert len(linear(train, LABELS, clips(2, 0.6), labels, ["S0"], {"S0": 6})) == 30
    assert linear(train, [UNLABELLED] * 60, train, LABELS, ["S0"], {"S0": 6}).shape == (0, 2)


def test_histograms_are_roots_of_shares():
    x, labels = histograms(coded([[0, 0, 0, 1], [2], []]), [1, UNLABELLED, 0], ["S0"], {"S0": 3})
    assert labels.tolist() == [1, 0]
    torch.testing.assert_close(x, torch.tensor([[0.75**0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]))


def test_words_vote_and_a_clip_without_a_vote_is_wrong():
    votes = {"S0": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])}
    held = coded([[0, 0, 1], [0, 1, 1], [1, 0, 0], [2, 2, 2], [0]])
    assert by_legend(held, [0, 1, 1, 0, UNLABELLED], votes)[:, 0].tolist() == [1, 1, 0, 0]
