"""Log-mel from codes."""

import pytest
import torch

from natd.evaluation import acoustic
from natd.evaluation.coding import encode
from natd.training.hearing import Frames
from tests.evaluation.made import Decoding, Made, tone

CLIPS = [tone(500.0, 1, 0.8), tone(4000.0, 2, 0.4)]


def heard(level: float) -> Frames:
    silent = torch.tensor([False] * 10 + [True] * 5 + [False] * 5 + [True] * 5)
    log_mel = torch.where(silent[:, None, None], 0.0, level).expand(-1, 8, 128)
    clip = torch.tensor([0] * 15 + [1] * 10)
    return Frames([], silent, torch.zeros(25, 29), log_mel, clip)


def test_frames_come_in_the_order_of_the_clips():
    given = acoustic.decoded(Decoding(), encode(Decoding(), CLIPS), ["A0"])
    counter = [0, 1, 2, 3] * 2 + [0, 1] + [0] * 5 + [0, 1, 2, 3, 0] + [0] * 5
    assert given.shape == (25, 8, 128) and given[:, 7, 127].tolist() == [-10.0 * (c + 1) for c in counter]


def test_the_error_is_that_of_sounding_frames_above_the_floor():
    given = torch.full((25, 8, 128), -30.0)
    assert acoustic.error(given, heard(-27.0), 2).tolist() == [[30.0, 10.0], [15.0, 5.0]]
    assert acoustic.error(given, heard(-200.0), 2).tolist() == [[500.0, 10.0], [250.0, 5.0]]


def test_the_mean_frame_is_of_sounding_frames():
    assert acoustic.mean_frame(heard(-27.0)).unique().tolist() == pytest.approx([-27.0])


def test_who_cannot_decode_is_told_why():
    assert acoustic.fault(Decoding()) == "" and "does not decode" in acoustic.fault(Made())
