"""Level, length, delay and independence of the cutting, at the sizes real sources deliver."""

import numpy as np
import pytest
import soxr

from natd.audio.resample import Resampler
from natd.errors import ConfigError

RATES = [48000, 44100, 16000, 96000, 192000, 8000, 22050, 11025, 32000, 12000, 24000]
SR, HOP = 24000, 1920


def whole(x, rate, sizes, sr=SR, hop=HOP, quality="HQ"):
    resampler, parts, at, k = Resampler(rate, sr, hop, quality), [], 0, 0
    while at < len(x):
        n = sizes[k % len(sizes)]
        parts.append(resampler.feed(x[at : at + n]))
        at, k = at + n, k + 1
    parts.append(resampler.flush())
    return np.concatenate(parts)


def noise(n, seed=0):
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_output_does_not_depend_on_the_cutting(rate):
    x = noise(rate // 2 + 137)
    reference = whole(x, rate, [len(x)])
    for sizes in ([rate // 100], [1000], [rate], [3, 999, 50, 1, 4801]):
        np.testing.assert_array_equal(whole(x, rate, sizes), reference)
    np.testing.assert_array_equal(whole(x[:5000], rate, [1]), whole(x[:5000], rate, [5000]))


@pytest.mark.parametrize(
    ("rate", "sr", "hop"), [(48000, 44100, 512), (44100, 48000, 960), (16000, 24000, 320), (47999, 24000, 1920)]
)
def test_output_does_not_depend_on_the_cutting_where_hops_and_input_samples_do_not_coincide(rate, sr, hop):
    x = noise(rate // 3 + 1)
    reference = whole(x, rate, [len(x)], sr, hop)
    for sizes in ([rate // 100], [7, 1111]):
        np.testing.assert_array_equal(whole(x, rate, sizes, sr, hop), reference)


@pytest.mark.parametrize("quality", ["HQ", "VHQ"])
@pytest.mark.parametrize("rate", [r for r in RATES if r != SR])
def test_output_equals_soxr_over_the_whole_input(rate, quality):
    """A hop cut too tight around its filter would show as an error far above rounding."""
    x = noise(rate * 2)
    # soxr cuts the first milliseconds of its inner stages short; a second of silence before shows what they should be.
    reference = soxr.resample(np.concatenate([np.zeros(rate, np.float32), x]), rate, SR, quality=quality)[SR:]
    y = whole(x, rate, [rate // 100], quality=quality)
    assert len(y) == len(reference)
    assert np.abs(y - reference).max() < 0.1 * 10 ** (-110 / 20)


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_in_10_ms_blocks_keeps_level_and_place(rate):
    f, n = 997.0, rate * 2
    x = np.sin(2 * np.pi * f * np.arange(n) / rate).astype(np.float32) * 0.5
    y = whole(x, rate, [rate // 100])
    assert len(y) == round(n * SR / rate)
    inner = y[SR // 4 : -SR // 4]
    assert abs(20 * np.log10(np.sqrt(np.mean(inner.astype(float) ** 2)) / (0.5 / np.sqrt(2)))) < 0.05
    ideal = 0.5 * np.sin(2 * np.pi * f * np.arange(len(y)) / SR)[SR // 4 : -SR // 4]
    assert np.abs(inner - ideal).max() < 1e-4  # also proves the delay: one sample late would err by 0.13


@pytest.mark.parametrize("rate", RATES)
def test_noise_comes_out_where_it_went_in(rate):
    x = soxr.resample(noise(8000 * 2), 8000, rate).astype(np.float32)  # band-limited: the same signal at any rate
    y = whole(x, rate, [rate // 100])
    reference = soxr.resample(x, rate, SR)
    n = min(len(y), len(reference))
    spectrum = np.fft.rfft(y[:n], 2 * n) * np.conj(np.fft.rfft(reference[:n], 2 * n))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    assert min(lag, 2 * n - lag) <= 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 479, 480, 481, 4801])
def test_length(rate, n):
    assert len(whole(noise(n), rate, [480])) == int(np.floor(n * SR / rate + 0.5))


@pytest.mark.parametrize("rate", RATES)
def test_no_more_is_held_back_than_declared(rate):
    resampler = Resampler(rate, SR, HOP)
    x, given = noise(rate), 0
    for at in range(0, rate, rate // 1000):
        block = x[at : at + rate // 1000]
        given += len(resampler.feed(block))
        ready = int(((at + len(block)) / rate - resampler.delay_ms / 1000) * SR) // HOP * HOP
        assert given >= ready
    assert resampler.delay_ms <= 15.0 if rate < 16000 else resampler.delay_ms <= 7.5


def test_equal_rates_pass_through():
    x = noise(5000)
    np.testing.assert_array_equal(whole(x, SR, [7, 480]), x)
    assert Resampler(SR, SR, HOP).name == "none" and Resampler(SR, SR, HOP).delay_ms == 0.0
    assert Resampler(48000, SR, HOP).name == "soxr-hq" and Resampler(48000, SR, HOP).delay_ms == 5.0


def test_unknown_quality_is_refused():
    with pytest.raises(ConfigError, match="HQ, VHQ"):
        Resampler(48000, SR, HOP, "best")
