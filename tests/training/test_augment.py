"""Augmentation: deterministic, as long as before, and each change does what its figures say."""

import numpy as np
import pytest

from natd.training import augment

SR = 24_000
NONE = augment.Chances(0, 0, 0, 0, 0, 0, 0, 0, 0)


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(seconds=1.0, seed=0, level=0.1):
    return (level * rng(seed).standard_normal(round(seconds * SR))).astype(np.float32)


def sine(hz, seconds=1.0, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * SR)) / SR)).astype(np.float32)


def share(x, low, high):
    power = np.abs(np.fft.rfft(x.astype(np.float64) * np.hanning(len(x)))) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / SR)
    return power[(hz >= low) & (hz < high)].sum() / power.sum()


def peak_hz(x):
    return np.argmax(np.abs(np.fft.rfft(x * np.hanning(len(x))))) * SR / len(x)


def test_augmented_is_deterministic_finite_and_as_long_as_before():
    x, noises = noise(1.0), [noise(0.4, 1), noise(2.0, 2)]
    made = [augment.augmented(x, rng(seed), noises) for seed in range(20)]
    for y in made:
        assert y.dtype == np.float32 and y.shape == x.shape and np.isfinite(y).all() and np.abs(y).max() <= 1
    np.testing.assert_array_equal(made[7], augment.augmented(x, rng(7), noises))
    assert not np.array_equal(made[7], made[8])
    np.testing.assert_array_equal(x, noise(1.0))  # the sound itself is left alone


def test_gain_spans_30_db_down_to_6_up_and_both_polarities():
    x = sine(300, 0.2, 0.1)
    gains = np.array([augment.coloured(x, rng(seed), [], NONE) @ x / (x @ x) for seed in range(200)])
    db = 20 * np.log10(np.abs(gains))
    assert -30.1 < db.min() < -25 and 3 < db.max() < 6.1
    assert 60 < np.sum(gains > 0) < 140


def test_coloured_leaves_a_sound_where_it_is():
    x = np.zeros(SR, np.float32)
    x[SR // 2] = 0.9
    for seed in range(10):
        y = augment.coloured(x, rng(seed), [], augment.Chances(codec=0.0, fade=0.0, hiss=0.0))
        assert abs(int(np.argmax(np.abs(y))) - SR // 2) < 0.05 * SR


def test_moved_keeps_the_speed_within_a_quarter():
    ratios = [
        peak_hz(augment.moved(sine(1000, 1.0), rng(seed), augment.Chances(speed=1.0, shift=0.0))) / 1000
        for seed in range(30)
    ]
    assert 0.75 < min(ratios) < 0.85 and 1.15 < max(ratios) < 1.26


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_a_mixture_has_its_signal_to_noise_ratio(snr_db):
    a, b = noise(2.0, 1), noise(0.7, 2, 0.003)
    rest = augment.mix(a, b, snr_db) - a
    assert abs(20 * np.log10(augment.rms(a) / augment.rms(rest)) - snr_db) < 0.4


def test_pauses_do_not_count_for_the_ratio():
    a = noise(2.0, 1)
    a[SR:] = 0
    rest = augment.mix(a, noise(2.0, 2), 10.0) - a
    assert abs(20 * np.log10(augment.rms(a[:SR]) / augment.rms(rest)) - 10) < 0.5


def test_mixtures_with_silence():
    a, nothing = noise(0.5), np.zeros(4800, np.float32)
    np.testing.assert_array_equal(augment.mix(a, nothing, 10.0), a)
    np.testing.assert_array_equal(augment.mix(nothing, a, 10.0), a[:4800])


def test_a_background_stands_5_to_40_db_below():
    x = noise(1.0, 1)
    ratios = [
        20 * np.log10(augment.rms(x) / augment.rms(augment.behind(x, rng(s), [noise(3.0, 9)]) - x)) for s in range(30)
    ]
    assert 4.5 < min(ratios) < 12 and 33 < max(ratios) < 40.5


def test_hiss_stands_15_to_60_db_below():
    x = noise(1.0, 1)
    ratios = [20 * np.log10(augment.rms(x) / augment.rms(augment.with_hiss(x, rng(s)) - x)) for s in range(30)]
    assert 13 < min(ratios) < 25 and 45 < max(ratios) < 61


def test_speed_moves_pitch_and_length():
    fast = augment.sped(sine(1000), 1.25)
    assert abs(len(fast) - SR / 1.25) <= 2 and abs(peak_hz(fast) - 1250) < 3


def test_shifts_and_fits():
    x = np.arange(1, 6, dtype=np.float32)
    assert augment.shifted(x, 2).tolist() == [0, 0, 1, 2, 3]
    assert augment.shifted(x, -2).tolist() == [3, 4, 5, 0, 0]
    assert augment.shifted(x, 0).tolist() == x.tolist()
    assert augment.fitted(x, 7).tolist() == [1, 2, 3, 4, 5, 0, 0]
    assert augment.fitted(x, 7, repeat=True).tolist() == [1, 2, 3, 4, 5, 1, 2]


def test_fades_begin_and_end_at_nothing():
    y = augment.faded(np.ones(100, np.float32), 10, 20)
    assert y[0] == y[-1] == 0 and (y[10:80] == 1).all() and y[5] < 1


def test_clipping_keeps_the_peak_and_makes_odd_harmonics():
    x = sine(500)
    y = augment.soft_clipped(x, 12.0)
    assert abs(np.abs(y).max() - np.abs(x).max()) < 1e-3
    assert share(y, 1450, 1550) > 0.01 > share(x, 1450, 1550) and share(y, 950, 1050) < 1e-6


def test_the_limit_bends_only_what_is_loud():
    y = augment.limited(np.array([0.5, -0.9, 1.5, -8.0], np.float32))
    assert y[:2].tolist() == pytest.approx([0.5, -0.9]) and 0.9 < y[2] <= 1 and y[3] >= -1


@pytest.mark.parametrize("rt60_s", [0.2, 1.0])
def test_a_room_dies_by_60_db_in_its_time(rt60_s):
    kernel = augment.impulse_response(rng(1), rt60_s, 0.5)
    assert abs(np.sum(kernel**2) - 1) < 1e-6
    a, b = (np.mean(kernel[round(s * rt60_s * SR) :][:1000] ** 2) for s in (0.3, 0.7))
    assert abs(10 * np.log10(a / b) - 24) < 3


def test_convolution_is_that_of_numpy():
    x, kernel = noise(0.1), rng(1).standard_normal(500)
    np.testing.assert_allclose(augment.convolved(x, kernel), np.convolve(x, kernel)[: len(x)], atol=1e-4)


def test_a_microphone_has_its_band():
    telephone = augment.Microphone(300.0, 3400.0, 6.0, 0.0, 0.0)
    gains = telephone.response_db(np.array([100.0, 300.0, 1000.0, 3400.0, 8000.0]))
    assert gains[0] < -50 and gains[4] < -40 and abs(gains[2]) < 0.1
    assert abs(gains[1] + 3) < 0.1 and abs(gains[3] + 3) < 0.1
    y = augment.equalized(noise(), telephone.response_db)
    assert share(y, 250, 4000) > 0.97


def test_shelves_and_bumps_have_their_height():
    tilted = augment.Microphone(1.0, 1e6, 2.0, 6.0, -9.0, ((1000.0, 4.0, 0.1),))
    low, middle, high = tilted.response_db(np.array([30.0, 1000.0, 12_000.0]))
    assert abs(low - 6) < 0.3 and abs(high + 8.5) < 0.3 and middle > 2.5


def test_random_microphones_keep_most_sounds_audible():
    x = noise()
    assert min(augment.rms(augment.through_microphone(x, rng(s))) for s in range(30)) > 0.005


def test_mu_law_keeps_35_db():
    x = noise()
    assert 20 * np.log10(augment.rms(x) / augment.rms(augment.mu_law(x) - x)) > 30
    assert len(np.unique(augment.mu_law(x))) <= 255


def test_a_low_rate_leaves_nothing_above_its_half():
    y = augment.at_rate(noise(), 8000)
    assert len(y) == SR and share(y, 4200, 12_000) < 1e-3 and share(y, 0, 3500) > 0.8


def test_vorbis_keeps_the_time_and_the_sound():
    x = sine(440)
    y = augment.through_vorbis(x)
    assert y.shape == x.shape and np.corrcoef(x, y)[0, 1] > 0.99


def test_codecs_keep_the_length():
    x = noise(0.5)
    assert all(augment.coded(x, rng(seed)).shape == x.shape for seed in range(12))


def test_active_frames_are_those_that_sound():
    x = np.zeros(1920 * 5 + 100, np.float32)
    x[1920 : 3 * 1920] = noise(1.0)[: 2 * 1920]
    x[4 * 1920 : 5 * 1920] = noise(1.0)[:1920] * 3e-3
    assert augment.active_frames(x).tolist() == [False, True, True, False, False]
    assert augment.active_frames(x, below_db=70.0).tolist() == [False, True, True, False, True]
    assert not augment.active_frames(np.zeros(4000, np.float32)).any()
