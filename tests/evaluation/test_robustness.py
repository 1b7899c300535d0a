"""Changed sound."""

import numpy as np
import pytest
import torch

from natd.evaluation.coding import encode
from natd.evaluation.robustness import agreement, changed, mp3_fault, through_mp3, with_noise
from tests.evaluation.made import SR, Made, tone


def test_each_change_is_what_its_name_says_and_keeps_the_length():
    x = tone(1000.0, 3)
    out = {name: change(x, 0) for name, change in changed(SR, 0).items()}
    assert {len(y) for y in out.values()} == {len(x)} and all(y.dtype == np.float32 for y in out.values())
    np.testing.assert_allclose(out["gain -12 dB"], x * 0.2511886, rtol=1e-6)
    assert not out["shift 29 ms"][:696].any() and np.array_equal(out["shift 29 ms"][696:], x[:-696])


def test_noise_is_20_db_below_and_its_own_for_each_clip():
    x = tone(1000.0, 3)
    noise = with_noise(x, np.random.default_rng(1)) - x
    assert 10 * np.log10(np.mean(x**2) / np.mean(noise**2)) == pytest.approx(20.0, abs=0.1)
    change = changed(SR, 0)["noise 20 dB"]
    assert np.array_equal(change(x, 1), change(x, 1)) and not np.array_equal(change(x, 1), change(x, 2))
    assert not with_noise(np.zeros(50, np.float32), np.random.default_rng(0)).any()


def test_mp3_is_in_time():
    x = tone(1000.0, 3) * (np.arange(48_000) % 4800 < 1200)
    y = through_mp3(x.astype(np.float32), SR)
    lag = np.argmax(np.correlate(y[10_000:30_000], x[10_400:29_600], "valid")) - 400
    assert lag == 0 and 0.9 < np.corrcoef(x, y)[0, 1] < 0.999999


def test_what_mp3_cannot_hold_is_said():
    assert mp3_fault(24_000) == "" and "96000" in mp3_fault(96_000)


def test_agreement_is_of_sounding_frames():
    x = tone(1000.0, 3)
    clean = encode(Made(), [x, np.zeros(SR, np.float32)])
    assert agreement(clean, clean, "S0").tolist() == [[20, 20], [0, 0]]
    other = encode(Made(), [tone(4000.0, 3), np.zeros(SR, np.float32)])
    assert agreement(clean, other, "S0").tolist() == [[0, 20], [0, 0]]
    quiet = encode(Made(), [x * np.float32(10 ** (-12 / 20)), np.zeros(SR, np.float32)])
    assert agreement(clean, quiet, "S0")[0, 0] == 20 and agreement(clean, quiet, "S1")[0, 0] == 0
    assert torch.equal(clean.codes["S1"][:40] + 3, quiet.codes["S1"][:40])
