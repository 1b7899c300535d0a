"""What synthesized sounds are made of: noise, spectra, envelopes, grains, resonances and random curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from natd.codec.mel import SR

Samples = NDArray[np.float32]
Floats = NDArray[np.float64]
Recipe = Callable[[np.random.Generator, float], Samples]
HOP = 240


def count(seconds: float) -> int:
    """Samples in that many seconds."""
    return max(1, round(seconds * SR))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return float(rng.uniform(low, high))


def early(rng: np.random.Generator, seconds: float, latest_s: float) -> float:
    """When the first event begins: by `latest_s`, in the first two fifths of a shorter sound."""
    return between(rng, 0.0, min(latest_s, 0.4 * seconds))


def log_between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in octaves between two positive limits."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def chance(rng: np.random.Generator, p: float) -> bool:
    """True with probability p."""
    return bool(rng.random() < p)


def gain(db: float) -> float:
    """Decibels as a factor of amplitude."""
    return float(10.0 ** (db / 20))


def curve(rng: np.random.Generator, n: int, rate_hz: float, low: float, high: float) -> Floats:
    """A random curve [n] within [low, high] that takes a new course `rate_hz` times a second."""
    knots = max(4, int(n / SR * rate_hz) + 4)
    at = np.arange(n) * (rate_hz / SR) + rng.random()
    return np.asarray(np.interp(at, np.arange(knots), rng.uniform(low, high, knots)), np.float64)


def line(n: int, times: Sequence[float], values: Sequence[float]) -> Floats:
    """Straight lines [n] through points whose times are shares of the whole, 0 to 1."""
    return np.interp(np.linspace(0.0, 1.0, n), times, values)


def decay(n: int, seconds: float, attack_s: float = 0.0005) -> Floats:
    """Exponential decay by 60 dB in `seconds` after a short rise [n]."""
    t = np.arange(n) / SR
    return np.asarray(np.exp(-6.9 * t / seconds) * np.minimum(1.0, (t + 1 / SR) / attack_s))


def normal(x: NDArray[np.floating], peak: float = 1.0) -> Samples:
    """Scaled so that the largest sample is `peak`; silence stays."""
    top = float(np.max(np.abs(x), initial=0.0))
    return (x * (peak / top if top > 0 else 1.0)).astype(np.float32)


def finished(rng: np.random.Generator, x: NDArray[np.floating], n: int) -> Samples:
    """Exactly n samples whose peak lies between -20 and -0.5 dBFS."""
    x = x[:n] if len(x) >= n else np.pad(x, (0, n - len(x)))
    return normal(x, gain(-0.5 - 19.5 * rng.random() ** 2))


def noise(rng: np.random.Generator, n: int, slope_db: float = 0.0) -> Floats:
    """Gaussian noise of RMS 1 whose spectrum falls by `slope_db` an octave (3: pink, 6: brown) above 20 Hz."""
    white = rng.standard_normal(n, dtype=np.float32).astype(np.float64)
    if slope_db == 0.0:
        return white
    return unit(shaped(white, lambda f: np.maximum(f, 20.0) ** (-slope_db / 6.02)))


def unit(x: Floats) -> Floats:
    """Scaled to RMS 1; silence stays."""
    rms = math.sqrt(float(np.mean(x * x)))
    return x / rms if rms > 0 else x


def shaped(x: Floats, response: Callable[[Floats], Floats]) -> Floats:
    """The sound with its spectrum multiplied by response(Hz), without phase shift; the two ends do not meet."""
    size = fast_size(len(x) + 1024)
    spectrum = np.fft.rfft(x, size) * response(np.asarray(np.fft.rfftfreq(size, 1 / SR), np.float64))
    return np.asarray(np.fft.irfft(spectrum, size)[: len(x)])


def fast_size(n: int) -> int:
    """The smallest of 2^k, 3*2^k and 5*2^k that is at least n."""
    return min(m << max(0, (-(-n // m) - 1).bit_length()) for m in (1, 3, 5))


def band(low_hz: float, high_hz: float, order: float = 2.0) -> Callable[[Floats], Floats]:
    """Response between two corners, falling by about 6 dB times `order` an octave outside; 0 Hz: no lower corner."""

    def response(f: Floats) -> Floats:
        out = 1 / np.sqrt(1 + (f / high_hz) ** (2 * order))
        if low_hz > 0:
            out = out / np.sqrt(1 + (low_hz / np.maximum(f, 1e-3)) ** (2 * order))
        return out

    return response


def peaks(centres: Sequence[float], q: float, heights: Sequence[float] | None = None) -> Callable[[Floats], Floats]:
    """Sum of resonances of equal sharpness at some frequencies."""
    tops = heights if heights is not None else [1.0] * len(centres)

    def response(f: Floats) -> Floats:
        ratio = np.maximum(f, 1.0)
        each = [a / np.sqrt(1 + (q * (ratio / c - c / ratio)) ** 2) for c, a in zip(centres, tops, strict=True)]
        return np.asarray(np.sum(each, 0), np.float64)

    return response


def convolved(x: Floats, kernel: Floats) -> Floats:
    """Linear convolution, as long as x."""
    size = fast_size(len(x) + len(kernel))
    return np.asarray(np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[: len(x)])


def swept(x: Floats, response: Callable[[Floats, Floats], Floats]) -> Floats:
    """The sound through response(seconds of the frames [F, 1], Hz [1, 481]), by windows of 40 ms that overlap."""
    width = 4 * HOP
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    padded = np.pad(x, (width, 2 * width))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::HOP] * window
    seconds = (np.arange(len(frames)) - 2.0) * HOP / SR
    gains = response(seconds[:, None], np.asarray(np.fft.rfftfreq(width, 1 / SR), np.float64)[None])
    out = np.fft.irfft(np.fft.rfft(frames) * gains, width) * (window / 1.5)
    total = np.zeros((len(frames) + 4) * HOP)
    for part in range(4):
        total[part * HOP : (part + len(frames)) * HOP] += out[:, part * HOP : (part + 1) * HOP].ravel()
    return total[width : width + len(x)]


def phase(hz: Floats) -> Floats:
    """Cycles passed at every sample of a frequency curve."""
    return np.cumsum(hz) / SR


def saw(hz: Floats) -> Floats:
    """Band-limited falling sawtooth of a frequency curve: a buzz of all harmonics."""
    step = np.maximum(hz / SR, 1e-6)
    t = np.mod(np.cumsum(step), 1.0)
    out: Floats = 1.0 - 2.0 * t
    early, late = t < step, t > 1.0 - step
    a, b = t[early] / step[early], (t[late] - 1.0) / step[late]
    out[early] += a + a - a * a - 1.0  # the step is rounded over one sample either side
    out[late] += b * b + b + b + 1.0
    return out


def sine(hz: Floats) -> Floats:
    """Sine of a frequency curve."""
    return np.asarray(np.sin(2 * np.pi * phase(hz)))


def modes(
    rng: np.random.Generator, seconds: float, hz: Sequence[float], ring_s: Sequence[float], level: Sequence[float]
) -> Floats:
    """A struck body: modes that ring down by 60 dB in `ring_s`; those above 11 kHz are left out."""
    n = count(seconds)
    out = np.zeros(n)
    t = np.arange(n) / SR
    for f, ring, a in zip(hz, ring_s, level, strict=True):
        if f < 11_000:
            m = min(n, count(1.1 * ring))
            out[:m] += a * np.exp(-6.9 * t[:m] / ring) * np.sin(2 * np.pi * f * t[:m] + rng.uniform(0, 0.5))
    return out


def placed(n: int, times_s: Sequence[float] | Floats, grains: Sequence[NDArray[np.floating]]) -> Floats:
    """Grain i begins at time i, in n samples; what falls outside is cut."""
    out = np.zeros(n)
    for t, grain in zip(times_s, grains, strict=True):
        at = round(t * SR)
        if 0 <= at < n:
            part = grain[: n - at]
            out[at : at + len(part)] += part
    return out


def spaced(
    rng: np.random.Generator, seconds: float, gap_s: float, spread: float, first_s: float | None = None
) -> list[float]:
    """Times about `gap_s` apart, each gap varied by a share `spread`; at least one, early."""
    times = [between(rng, 0, min(gap_s, seconds * 0.5)) if first_s is None else first_s]
    while (t := times[-1] + gap_s * max(0.05, 1 + spread * rng.standard_normal())) < seconds:
        times.append(t)
    return times


def drizzle(rng: np.random.Generator, n: int, rate_hz: float | Floats, spread_db: float) -> Floats:
    """Single samples at random times, `rate_hz` a second, of random sign and level (log-normal, `spread_db`)."""
    hits = np.flatnonzero(rng.random(n, dtype=np.float32) < np.asarray(rate_hz) / SR)
    out = np.zeros(n)
    out[hits] = 10.0 ** (rng.normal(0, spread_db, len(hits)) / 20) * rng.choice([-1.0, 1.0], len(hits))
    return out


def hits(
    rng: np.random.Generator, n: int, rate_hz: float | Floats, spread_db: float, grains: Sequence[Floats]
) -> Floats:
    """Many like grains: each of them at its own share of the random times."""
    share = np.asarray(rate_hz) / len(grains)
    return np.asarray(np.sum([convolved(drizzle(rng, n, share, spread_db), grain) for grain in grains], 0), np.float64)


def room(rng: np.random.Generator, x: Floats, rt60_s: float, wet: float, dullness_db: float = 0.0) -> Floats:
    """The sound with the tail of a room: noise that dies by 60 dB in `rt60_s` and loses its treble on the way."""
    m = count(rt60_s)
    tail = noise(rng, m, dullness_db) * decay(m, rt60_s)
    dull = noise(rng, m, 3.0 + dullness_db) * decay(m, rt60_s)
    fade = np.linspace(1, 0, m)
    kernel = tail * fade + dull * (1 - fade)
    kernel *= wet / math.sqrt(float(np.sum(kernel * kernel)))
    return x + convolved(x, kernel)
