"""Recipes: same seed, same samples; right lengths and levels; spectra and rhythms as physics has them."""

import numpy as np
import pytest

from natd.codebooks.kinds import KINDS, WIDER
from natd.training import procedural
from natd.training import procedural_machines as machines
from natd.training import procedural_objects as objects
from natd.training import procedural_parts as parts
from natd.training import procedural_signals as signals
from natd.training import procedural_voices as voices
from natd.training.procedural_oddities import ODDITIES, ring_modulated, shuffled, vocoded

SR = 24_000
ALONE = [kind for kind in procedural.RECIPES if kind not in procedural.NEED_ESPEAK]


def rng(seed=0):
    return np.random.default_rng(seed)


def rms_db(x):
    return 10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2))


def spectrum(x):
    """Power at 0.5 Hz steps (of the first 2 s)."""
    return np.abs(np.fft.rfft(x[: 2 * SR] * np.hanning(2 * SR))) ** 2


def share(x, low, high):
    power = np.abs(np.fft.rfft(x)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / SR)
    return power[(hz >= low) & (hz < high)].sum() / power.sum()


def period_of(x, low_s, high_s):
    """The lag at which the envelope is most like itself."""
    step = SR // 1000
    envelope = np.abs(x[: len(x) // step * step].reshape(-1, step)).max(1) ** 0.5
    envelope = envelope - envelope.mean()
    lags = np.arange(int(low_s * 1000), int(high_s * 1000))
    return lags[np.argmax([np.mean(envelope[k:] * envelope[:-k]) for k in lags])] / 1000


def test_there_is_a_recipe_for_every_kind_but_the_instruments():
    assert set(procedural.RECIPES) <= set(KINDS)
    missing = set(KINDS) - set(procedural.RECIPES)
    assert missing < set(WIDER["music"]) and not missing & {"singing", "electronic music"}


@pytest.mark.parametrize("kind", ALONE)
def test_a_recipe_gives_its_seconds_of_sound_and_the_same_again(kind):
    recipe = procedural.RECIPES[kind]
    for seed, seconds in enumerate((0.3, 0.3, 0.3, 1.1)):
        x = recipe(rng(seed), seconds)
        assert x.dtype == np.float32 and x.shape == (round(seconds * SR),)
        assert np.isfinite(x).all() and 1e-4 < np.abs(x).max() <= 1
    again = recipe(rng(0), 0.3)
    np.testing.assert_array_equal(again, recipe(rng(0), 0.3))
    assert not np.array_equal(again, recipe(rng(1), 0.3))


@pytest.mark.parametrize("oddity", ODDITIES)
def test_an_oddity_gives_its_seconds_of_sound_and_the_same_again(oddity):
    x = oddity(rng(1), 0.9)
    assert (
        x.dtype == np.float32 and x.shape == (round(0.9 * SR),) and np.isfinite(x).all() and 0.01 < np.abs(x).max() <= 1
    )
    np.testing.assert_array_equal(x, oddity(rng(1), 0.9))


def test_oddities_are_of_many_makes_and_repeat_by_seed():
    assert len(ODDITIES) >= 12
    made = [procedural.oddities(rng(seed), 0.4) for seed in range(24)]
    np.testing.assert_array_equal(made[5], procedural.oddities(rng(5), 0.4))
    assert len({round(float(x @ x), 6) for x in made}) == 24


def test_manglers_keep_the_length_and_move_the_spectrum():
    x = parts.normal(parts.sine(np.full(SR, 1000.0)))
    assert len(shuffled(rng(), x)) == len(vocoded(rng(), x, x)) == SR
    moved = ring_modulated(rng(3), x)
    assert share(x, 990, 1010) > 0.99 and share(moved, 990, 1010) < 0.3


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_noise_has_unit_level_and_falls_by_its_slope(slope):
    x = parts.noise(rng(), 4 * SR, slope)
    octaves = [10 * np.log10(share(x, f, 2 * f) / f) for f in (200, 400, 800, 1600, 3200)]
    assert abs(np.sqrt(np.mean(x**2)) - 1) < 0.02
    assert abs(np.polyfit(range(5), octaves, 1)[0] + slope) < 0.3


def test_a_band_is_3_db_down_at_its_corners():
    f = np.array([500.0, 2000.0, 1000.0])
    low, high, middle = 20 * np.log10(parts.band(500, 2000, 4)(f))
    assert abs(low + 3.01) < 0.1 and abs(high + 3.01) < 0.1 and abs(middle) < 0.1


def test_shaping_leaves_out_what_the_response_leaves_out():
    x = parts.shaped(parts.noise(rng(), SR), lambda f: (f > 3000).astype(float))
    assert share(x, 0, 2900) < 1e-3


def test_a_moving_filter_that_lets_all_pass_changes_nothing():
    x = parts.noise(rng(), 10_000)
    same = parts.swept(x, lambda t, f: np.ones((len(t), f.shape[1])))
    np.testing.assert_allclose(same, x, atol=1e-6)


def test_a_moving_filter_moves_when_it_is_told_to():
    x = parts.swept(parts.noise(rng(), 2 * SR), lambda t, f: ((f > 2000) == (t > 1.0)).astype(float))
    assert share(x[: SR - 2000], 0, 2000) > 0.97 and share(x[SR + 2000 :], 2000, 12_000) > 0.97


def test_a_sawtooth_has_every_harmonic_and_little_else():
    power = spectrum(parts.saw(np.full(2 * SR, 500.0)))
    lines = power[1000:24_000:1000] / power[1000]
    np.testing.assert_allclose(lines[:5], 1 / np.arange(1, 6) ** 2, rtol=0.1)
    odd = spectrum(parts.saw(np.full(2 * SR, 997.0)))
    near = np.zeros(len(odd), bool)
    for k in range(0, 13):
        near[max(0, 2 * 997 * k - 6) : 2 * 997 * k + 7] = True
    assert odd[~near].sum() / odd.sum() < 0.005


def test_a_mode_rings_down_by_60_db_in_its_time():
    x = parts.modes(rng(), 1.0, [1000.0], [0.5], [1.0])
    fall = rms_db(x[2400:4800]) - rms_db(x[2400 + 6000 : 4800 + 6000])
    assert abs(fall - 30) < 0.5
    assert not parts.modes(rng(), 0.1, [11_500.0], [0.5], [1.0]).any()


def test_grains_stand_where_they_are_put():
    out = parts.placed(100, [0.001, 0.004, 1.0], [np.ones(10)] * 3)
    assert out.sum() == 14 and out[24] == 1 and out[23] == 0 and out[96:].sum() == 4


def test_drizzle_has_its_rate():
    assert abs(np.count_nonzero(parts.drizzle(rng(), 10 * SR, 200.0, 3.0)) - 2000) < 150


def test_sizes_of_transforms_are_no_smaller_than_asked_and_near():
    for n in (1, 5, 1000, 1025, 121_024):
        assert n <= parts.fast_size(n) <= max(5, 1.35 * n)


def test_convolution_is_that_of_numpy():
    x, kernel = rng().standard_normal(300), rng(1).standard_normal(50)
    np.testing.assert_allclose(parts.convolved(x, kernel), np.convolve(x, kernel)[:300], atol=1e-9)


def test_a_room_adds_its_energy_and_dies_in_its_time():
    click = np.zeros(SR)
    click[0] = 1.0
    wet = parts.room(rng(), click, 0.4, 0.5)
    assert abs(np.sum(wet**2) - 1.25) < 0.05
    assert rms_db(wet[8000:9000]) < rms_db(wet[500:1500]) - 35


def test_hum_stands_on_the_multiples_of_its_mains():
    found = 0
    for seed in range(12):
        power = spectrum(machines.hum(rng(seed), 2.0))
        peak_hz = np.argmax(power) / 2
        found += any(abs(peak_hz / base - round(peak_hz / base)) * base < 1 for base in (50, 60))
    assert found >= 7  # the rest are fans


def test_hiss_spans_the_levels_and_has_no_tone():
    made = [machines.hiss(rng(seed), 0.5) for seed in range(40)]
    levels = [rms_db(x) for x in made]
    assert -66 < min(levels) < -50 and -20 < max(levels) < -7


def test_a_helicopter_beats_8_to_30_times_a_second():
    rates = [1 / period_of(machines.helicopter(rng(seed), 3.0), 0.02, 0.2) for seed in range(6)]
    assert all(5 < rate < 50 for rate in rates) and np.ptp(rates) > 2


@pytest.mark.parametrize("seed", range(4))
def test_ticks_come_evenly(seed):
    period = period_of(objects.clock_tick(rng(seed), 6.0), 0.15, 2.3)
    assert min(abs(period * rate - k) / k for rate in (1, 2, 4, 5) for k in range(1, 12)) < 0.03


def test_thunder_is_low_glass_is_high():
    low = np.median([share(procedural.RECIPES["thunder"](rng(s), 2.0), 0, 800) for s in range(5)])
    high = np.median([share(procedural.RECIPES["glass"](rng(s), 2.0), 1000, 12_000) for s in range(5)])
    assert low > 0.8 and high > 0.8


def test_a_voice_has_its_pitch_and_its_formants():
    x = voices.voiced(rng(), np.full(SR, 120.0), ["a", "a"], breath=0.0)
    assert abs(np.argmax([x[k:] @ x[:-k] for k in range(100, 300)]) + 100 - 200) <= 6
    dark = voices.voiced(rng(), np.full(SR, 120.0), ["u", "u"], breath=0.0)
    assert share(x, 700, 1500) > 3 * share(dark, 700, 1500)
    assert share(x, 5000, 12_000) > 2e-5  # the treble of a tract, not of five resonances alone


def test_a_babys_tract_is_shorter_than_a_mans():
    man, baby = (voices.voiced(rng(), np.full(SR, 100.0), ["a", "a"], tract, 0.0) for tract in (1.0, 1.7))
    assert share(baby, 1150, 2500) > 2 * share(man, 1150, 2500)


def test_a_siren_moves_and_a_beep_stays():
    x = signals.alarm(rng(11), 2.0)
    assert share(x, 200, 6000) > 0.9


def test_electronic_music_keeps_a_beat():
    beats = 0
    for seed in range(6):
        period = period_of(signals.electronic_music(rng(seed), 6.0), 0.08, 1.5)
        beats += any(abs(period / step - round(period / step)) < 0.2 for step in np.linspace(15 / 175, 15 / 85, 20))
    assert beats >= 4
