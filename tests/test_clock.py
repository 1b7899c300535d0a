"""Times by counting, and how far a card's clock is off."""

import random

import pytest

from natd.clock import DriftEstimator, FakeClock, SampleClock


def test_sample_clock():
    clock = SampleClock(48000, 5_000_000_000, 100)
    assert clock.t_ns(100) == 5_000_000_000
    assert clock.t_ns(100 + 48000 * 3600) == 3605_000_000_000
    assert clock.t_ns(101) == 5_000_000_000 + 20833


def test_fake_clock_moves_only_when_told():
    clock = FakeClock()
    assert clock.mono_ns() == clock.mono_ns() == 0
    clock.advance(1.5)
    assert clock.mono_ns() == 1_500_000_000
    assert clock.unix_ns() - clock.mono_ns() == clock.wall_offset_ns


def play(estimator, ppm, seconds, *, start_s=0.0, jitter_s=0.01, seed=1, burst=lambda t: t, rate=48000, block=480):
    """Blocks of a card that is `ppm` off, each up to `jitter_s` late."""
    dice = random.Random(seed)
    period = block / rate / (1 + ppm * 1e-6)
    for i in range(1, int(seconds / period)):
        t = start_s + i * period + dice.random() * jitter_s
        estimator.feed(i * block, round(burst(t) * 1e9) + 77_000_000_000)


@pytest.mark.parametrize("ppm", [300.0, -300.0, 0.0, 11.57])
def test_an_hour_at_10_ms_jitter(ppm):
    estimator = DriftEstimator(48000)
    play(estimator, ppm, 3600)
    assert abs(estimator.ppm - ppm) < 1


def test_nothing_is_said_before_30_s():
    estimator = DriftEstimator(48000)
    assert estimator.ppm is None
    play(estimator, 300, 29)
    assert estimator.ppm is None
    estimator = DriftEstimator(48000)
    play(estimator, 300, 31.5)
    assert abs(estimator.ppm - 300) < 10


def test_bursts_do_not_bend_the_line():
    """Every 20 s the server stalls for 3 s and then delivers at once: whole seconds without a timely block."""
    estimator = DriftEstimator(48000)
    play(estimator, 300, 300, burst=lambda t: t if t % 20 < 17 else t - t % 20 + 20)
    assert abs(estimator.ppm - 300) < 5


def test_seconds_in_which_all_came_late_do_not_bend_the_line():
    estimator = DriftEstimator(48000)
    play(estimator, 300, 60, burst=lambda t: t + 0.5 if t > 56 else t)
    assert abs(estimator.ppm - 300) < 5


def test_a_loss_or_a_new_start_does_not_bend_the_line():
    estimator = DriftEstimator(48000)
    for i in range(6):
        play(estimator, 300, 20, start_s=i * 37.0 + i * 0.3, seed=i)
        estimator.restart()
    assert abs(estimator.ppm - 300) < 5


def test_a_change_shows_within_ten_minutes():
    estimator = DriftEstimator(48000)
    play(estimator, 300, 1000)
    estimator.restart()
    play(estimator, -100, 650, start_s=1000)
    assert abs(estimator.ppm + 100) < 5
