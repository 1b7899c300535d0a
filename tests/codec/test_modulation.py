"""Modulation of the level by band and rate: its depth, at its rate, and no motion in a beginning."""

import pytest
import torch

from natd.codec.mel import BINS, HOPS
from natd.codec.modulation import FAST, RANGES, SLOW, Modulation


def test_the_motion_of_a_band_is_seen_at_its_rate() -> None:
    """5 Hz tremolo of the middle band: an index of its depth at 4 to 6 Hz, nothing above 1.25 Hz anywhere else."""
    modulation = Modulation()
    state = modulation.initial_state(1)
    power = torch.full((1, HOPS, BINS), 1e-3)
    middle = slice(30, 120)  # 703 to 2789 Hz
    for f in range(60):
        t = (f * HOPS + torch.arange(HOPS)) * 0.01
        power[0, :, middle] = (1e-1 * (1.0 + 0.5 * torch.sin(2 * torch.pi * 5.0 * t)) ** 2)[:, None]
        found = modulation(power, state)[0]
    assert float(found[1, 3]) == pytest.approx(0.5, abs=0.1)
    assert float(found[3, SLOW]) == pytest.approx(0.5, abs=0.1) and float(found[3, FAST]) < 0.05
    others = found[:3, 1:RANGES].clone()
    others[1, 2] = 0.0
    assert float(others.max()) < 0.02


def test_a_beginning_is_no_motion() -> None:
    modulation = Modulation()
    state = modulation.initial_state(2)
    for _ in range(5):
        found = modulation(torch.full((2, HOPS, BINS), 1e-2), state)
        assert float(found[..., 1:].max()) < 1e-4  # the slowest range sees a part of the mean


def test_a_stream_alone_gives_what_it_gives_in_a_batch() -> None:
    modulation, draw = Modulation(), torch.Generator().manual_seed(1)
    together, alone = modulation.initial_state(7), [modulation.initial_state(1) for _ in range(7)]
    for _ in range(25):
        power = torch.rand(7, HOPS, BINS, generator=draw) ** 4
        found = modulation(power, together)
        for b in range(7):
            assert torch.equal(modulation(power[b : b + 1].clone(), alone[b])[0], found[b])
