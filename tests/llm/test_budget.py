"""Tokens estimated and spent."""

import pytest

from natd.llm.budget import Budget, tokens


@pytest.mark.parametrize(
    ("text", "real"),  # by OpenAI's o200k_base
    [
        ("0:03  scene: rain (0.82; also sea waves 0.1) | harmony: unpitched | rhythm: irregular events, 3 soft onsets"
         " | level -32 dBFS, bright, noisy", 48),
        ("0:04  scene: unknown (also train 0.35, wind 0.2; steady dark noise) | harmony: A4 0.3 s, chord Am7 0.5 s, "
         "unpitched 0.2 s | rhythm: tempo 120 bpm, 2 onsets (1 strong) | level -38 to -20 dBFS, bright 3.1 kHz, tonal",
         89),
        ("0:05 rain; A4, C5, chord Am7; rhythm: tempo 120 bpm", 21),
        ("1:01 silence", 4),
    ],
)  # fmt: skip
def test_the_estimate_is_near_what_a_vocabulary_makes_of_it(text, real):
    assert tokens(text) == pytest.approx(real, rel=0.1)


def test_a_budget_saves_up_and_may_fall_into_debt():
    budget = Budget(12.0, 4.0)
    assert budget.left(0.0) == 48
    budget.spend(60)
    assert budget.left(500.0) == -6
    assert budget.left(1500.0) == 6
    assert budget.left(1400.0) == 6  # time does not run back
    assert budget.left(60_000.0) == 48
