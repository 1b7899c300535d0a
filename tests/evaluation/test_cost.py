"""What a frame costs."""

import time

import numpy as np
import pytest
import torch

from natd.evaluation import cost
from tests.evaluation.made import FRAME, Made, tone


class Slow(Made):
    """It works for a millisecond a step, in company or alone, and longer in its first steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[torch.Tensor] = []

    def encode(self, chunk, state):
        self.steps.append(chunk)
        until = time.process_time() + (0.01 if len(self.steps) <= cost.WARM_UP else 0.001)
        while time.process_time() < until:
            pass
        return super().encode(chunk, state)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(cost, "WARM_UP", 4)
    monkeypatch.setattr(cost, "FRAMES", 60)


def test_a_step_is_what_it_takes_after_the_first_ones():
    took = cost.spent(Slow(), [tone(500.0, 1)], 1)
    assert len(took) == 60 and 0.001 <= np.median(took) < 0.003


def test_eight_streams_are_somewhere_else_each():
    tokenizer = Slow()
    cost.spent(tokenizer, [tone(500.0, 1), np.zeros(FRAME // 2, np.float32)], 8)
    assert tokenizer.steps[0].shape == (8, FRAME) and len(tokenizer.steps) == 64
    # 25 frames go round: stream 1 begins at frame 3, where stream 0 comes three steps later.
    assert torch.equal(tokenizer.steps[0][1], tokenizer.steps[3][0]) and torch.equal(
        tokenizer.steps[25][0], tokenizer.steps[0][0]
    )


def test_rows_tell_of_the_ratio():
    found = {row.of: row for row in cost.rows(Slow(), [tone(500.0, 1)])}
    assert list(found) == ["1 stream, median", "1 stream, p99", "8 streams, median", "8 streams, p99", "8 streams to 1"]
    assert found["8 streams to 1"].value == pytest.approx(1 / 8, rel=0.6)
    assert found["1 stream, p99"].value >= found["1 stream, median"].value >= 1.0
    assert cost.rows(Slow(), [np.zeros(5, np.float32)])[0].value is None
