"""Losses found by counting against time, and what must not be taken for one."""

import random

import pytest

from natd.sources.lag import LagWatch

BLOCK = 480


def run(seconds, *, ppm=0.0, lose=(), stalls=(), jitter_s=0.09, flag_at=None, seed=0):
    """Blocks of 10 ms; `lose` (at, seconds) never come, `stalls` at their end. -> [(time, lost, flagged)]."""
    watch, dice, found, missing = LagWatch(48000), random.Random(seed), [], 0
    period = BLOCK / 48000 / (1 + ppm * 1e-6)
    last = 0.0
    for i in range(1, int(seconds / period)):
        t = i * period
        if any(at <= t < at + length for at, length in lose):
            continue
        arrival = t + dice.random() ** 8 * jitter_s
        for at, length in stalls:
            if at <= t < at + length:
                arrival = max(arrival, at + length)
        last = max(last, arrival)
        lost = watch.feed(BLOCK, round(last * 1e9), flag_at is not None and abs(t - flag_at) < period / 2)
        if lost:
            found.append((t, lost, watch.flagged))
            missing += lost
    return found


@pytest.mark.parametrize("length", [0.3, 1.0, 7.5])
def test_a_loss_is_found_within_3_s_and_measured(length):
    [(at, lost, flagged)] = run(60, lose=[(20, length)])
    assert 0 < at - 20 - length < 3
    assert lost / 48000 == pytest.approx(length, abs=0.015)
    assert not flagged


def test_two_short_losses_add_up():
    found = run(120, lose=[(20, 0.15), (60, 0.15)])
    assert sum(lost for _, lost, _ in found) / 48000 == pytest.approx(0.3, abs=0.04)


def test_a_short_loss_that_the_driver_announced():
    [(_, lost, flagged)] = run(60, lose=[(20, 0.05)], flag_at=20.055)
    assert lost / 48000 == pytest.approx(0.05, abs=0.01)
    assert flagged


@pytest.mark.parametrize("length", [0.3, 0.9, 1.9])
def test_a_stall_that_is_caught_up_is_no_loss(length):
    assert run(60, stalls=[(20, length), (40, length)]) == []


def test_a_stall_that_is_caught_up_slowly_is_no_loss():
    """After 0.8 s of silence blocks flow, all of them late, but each less so."""
    watch = LagWatch(48000)
    for i in range(1, 3000):
        t = i / 100
        late = max(0.0, 0.8 - (t - 10) / 2) if t > 10 else 0.0
        assert watch.feed(BLOCK, round((t + late) * 1e9)) == 0


@pytest.mark.parametrize("ppm", [-300, 0, 300])
def test_a_clock_that_is_off_loses_nothing(ppm):
    assert run(3600, ppm=ppm) == []


def test_losses_again_and_again():
    found = run(300, lose=[(10 + 20 * i, 0.5) for i in range(14)])
    assert len(found) == 14
    assert sum(lost for _, lost, _ in found) / 48000 == pytest.approx(7.0, abs=0.1)


def test_when_the_first_and_the_latest_sample_were_there():
    watch = LagWatch(48000)
    for i in range(1, 50):
        watch.feed(480, 1_000_000_000 + i * 10_000_000 + (0 if i % 3 else 40_000_000))
    assert watch.origin_ns() == 1_000_000_000
    assert watch.latest_ns() == 1_490_000_000
