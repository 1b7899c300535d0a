"""Intervals of figures over clips."""

import numpy as np
import pytest

from natd.evaluation.bootstrap import Estimate, estimate, missing, ratio, row


def test_a_share_lies_inside_its_interval_and_the_seed_decides():
    hits = np.stack([np.arange(100) % 4 != 0, np.ones(100)], axis=1).astype(float)
    found = estimate(hits, ratio, 1)
    assert (found.value, found.n) == (0.75, 100)
    # The binomial standard error is 0.043: the interval is about 0.17 wide.
    assert 0.62 < found.low < 0.70 and 0.80 < found.high < 0.88
    assert estimate(hits, ratio, 1) == found != estimate(hits, ratio, 2)


def test_clips_are_drawn_and_not_frames():
    alike = np.array([[50.0, 50.0], [0.0, 50.0]] * 5)
    wide = estimate(alike, ratio, 0)
    assert wide.value == 0.5 and wide.high - wide.low > 0.4


@pytest.mark.parametrize("stats", [np.zeros((0, 2)), np.zeros((7, 2))])
def test_nothing_measured_is_none_and_not_zero(stats):
    assert estimate(stats, ratio, 0) == Estimate(None, None, None, 0)


def test_one_clip_has_no_interval():
    assert estimate(np.array([[1.0, 4.0]]), ratio, 0) == Estimate(0.25, None, None, 1)


def test_a_figure_that_is_undefined_is_none():
    assert estimate(np.array([[1.0, 0.0], [2.0, 0.0]]), ratio, 0).value is None


def test_a_centred_interval_holds_the_value():
    found = estimate(np.eye(30), lambda sums: (sums > 0).sum(axis=1).astype(float), 0, centred=True)
    assert found.low < found.value == 30.0 < found.high
    assert estimate(np.ones((9, 1)), lambda sums: sums[:, 0] * 0, 0, centred=True) == Estimate(0.0, 0.0, 0.0, 9)


def test_rows_as_json():
    line = row("f", "S0", "share", Estimate(1 / 3, 0.0, 1.0, 5), {"shuffled": None}).as_json()
    assert (line["value"], line["low"], line["nulls"], line["n"]) == (0.333333, 0.0, {"shuffled": None}, 5)
    assert missing("f", "S", "dB", "why").as_json()["value"] is None
