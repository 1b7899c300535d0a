"""Confidence beside truth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from natd.evaluation import calibration
from natd.evaluation.calibration import Claims, answered, binned, bins, gap
from natd.evaluation.calling import UNNAMED
from natd.evaluation.material import Material
from tests.evaluation.made import CLASSES, Made, Naming, material_of, tone


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder: Path = tmp_path_factory.mktemp("held")
    clips = [("esc10", f"3-{label}", label) for label in CLASSES]
    return material_of(folder, [tone(hz, 1) for hz in CLASSES.values()], clips)


def test_the_error_is_between_the_share_and_how_often_it_is_right(held):
    rows = {row.figure: row for row in calibration.rows(Naming(), held, 0)}
    # dog 0.9 and right, "rain" 0.6 and wrong; nature 0.8 and right.
    assert rows["calibration error, called a kind"].value == pytest.approx((0.1 + 0.6) / 2)
    assert rows["calibration error, called a wider kind only"].value == pytest.approx(0.2)
    assert rows["calibration error, called either"].value == pytest.approx(0.3)
    assert rows["calibration error, called either"].n == 3
    assert rows["calibration error, called either"].nulls["shuffled"] > 0.3


def test_the_surest_answer_first(held):
    rows = {row.figure: row for row in calibration.rows(Naming(), held, 0)}
    found = [rows[f"kind right, {share} % most confident"].value for share in (25, 50, 75, 100)]
    # 0.9 dog, right; 0.6 rain, wrong; 0.5 rain behind "nature", right; 0.3 clock tick behind "unknown", right.
    assert found == pytest.approx([1.0, 0.5, 2 / 3, 0.75])


def test_curves_are_the_same_figures(held):
    curves = calibration.curves(Naming(), held)["S0"]
    assert curves["reliability"] == [[0.6, 0.0, 0.333333], [0.8, 1.0, 0.333333], [0.9, 1.0, 0.333333]]
    assert len(curves["coverage"]) == calibration.CURVE
    assert [curves["coverage"][i] for i in (4, 9, 19)] == [[0.25, 1.0], [0.5, 0.5], [1.0, 0.75]]


def test_bins_have_equal_mass_and_equal_confidences_stay_together():
    assert torch.bincount(bins(torch.linspace(0, 1, 100))).tolist() == [10] * 10
    mixed = bins(torch.tensor([0.5] * 60 + [0.1] * 20 + [0.9] * 20))
    assert mixed.tolist() == [5] * 60 + [1] * 20 + [9] * 20
    assert bins(torch.zeros(0)).tolist() == []


def test_what_is_calibrated_has_no_error_whatever_the_bin():
    rng = np.random.default_rng(0)
    confidence = torch.from_numpy(rng.uniform(0, 1, 20_000))
    right = torch.from_numpy(rng.uniform(0, 1, 20_000)) < confidence
    clip = torch.arange(20_000) % 50
    claims = Claims(confidence, right, clip, 50)
    assert gap(binned(claims).sum(0, keepdims=True))[0] < 0.02
    sure = Claims(torch.ones(20_000), right, clip, 50)
    assert gap(binned(sure).sum(0, keepdims=True))[0] == pytest.approx(1 - right.double().mean().item())


def test_those_at_the_border_count_in_part():
    confidence = torch.tensor([0.9, 0.5, 0.5, 0.1], dtype=torch.float64)
    assert answered(confidence, 0.5).tolist() == [1.0, 0.5, 0.5, 0.0]
    assert answered(confidence, 0.25).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert answered(confidence, 1.0).tolist() == [1.0] * 4


def test_a_tokenizer_without_names_is_told_why(held):
    rows = calibration.rows(Made(), held, 0)
    assert len(rows) == 7 and all(row.value is None and row.note == UNNAMED for row in rows)
    assert calibration.curves(Made(), held) == {}
