"""Made-up sounds whose rhythm is known: ticks, irregular events, flutter, swells, syllables, steady noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natd.codec.mel import SR

Samples = NDArray[np.float32]
_Float = NDArray[np.float64]
SECONDS = 10.0
TICK_S = (0.18, 2.15)  # periods; the named ones reach from 0.2 to 2 s


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples at 24 kHz, the states that are right, and the period of regular ticks in seconds."""

    samples: Samples
    states: tuple[str, ...]
    period_s: float | None = None


def sound(kind: str, seed: int, seconds: float = SECONDS) -> Sound:
    """The sound of a kind in `KINDS` and a seed; at most full scale."""
    rng = np.random.default_rng((seed, *kind.encode()))
    made = _MAKERS[kind](rng, int(seconds * SR))
    return Sound(_scaled(made.samples, rng), made.states, made.period_s)


def spoiled(samples: Samples, rng: np.random.Generator) -> Samples:
    """The same with, by chance, a room, background noise and another gain."""
    out = samples.astype(np.float64)
    if rng.random() < 0.4:
        out = _in_room(out, rng)
    if rng.random() < 0.5:
        rms = float(np.sqrt(np.mean(out * out))) + 1e-6
        out = out + rms * 10 ** (-rng.uniform(8, 45) / 20) * _noise(rng, len(out))
    return _scaled(out, rng)


def _scaled(x: _Float | Samples, rng: np.random.Generator) -> Samples:
    peak = float(np.abs(x).max()) + 1e-9
    return (x * (10 ** (-rng.uniform(1, 30) / 20) / peak)).astype(np.float32)


def _in_room(x: _Float, rng: np.random.Generator) -> _Float:
    decay = rng.uniform(0.1, 0.9)
    n = int(decay * SR)
    tail = rng.standard_normal(n) * 10 ** (-3.0 * np.arange(n) / n) * rng.uniform(0.01, 0.06)
    tail[0] = 1.0
    size = 1 << (len(x) + n).bit_length()
    wet: _Float = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)]
    return wet


def _noise(rng: np.random.Generator, n: int) -> _Float:
    """Noise of RMS 1, white to brown, by chance through a band."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / SR) + 20.0
    spectrum *= hz ** -rng.choice([0.0, 0.0, 0.25, 0.5, 1.0])
    if rng.random() < 0.5:
        centre, width = np.exp(rng.uniform(np.log(150), np.log(6000))), rng.uniform(0.3, 1.5)
        spectrum *= np.exp(-0.5 * (np.log2(hz / centre) / width) ** 2) + 1e-3
    out: _Float = np.fft.irfft(spectrum, n)
    return _unit(out)


def _tone(rng: np.random.Generator, n: int) -> _Float:
    """A hum, a note or a chord of up to three, with partials; RMS about 1."""
    t = np.arange(n) / SR
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        hz = np.exp(rng.uniform(np.log(60), np.log(1500)))
        for k in range(1, int(rng.integers(1, 7)) + 1):
            out += np.sin(2 * np.pi * hz * k * t + rng.uniform(0, 6)) / k
    return _unit(out)


def _unit(x: _Float) -> _Float:
    out: _Float = x / (np.sqrt(np.mean(x * x)) + 1e-12)
    return out


def _carrier(rng: np.random.Generator, n: int) -> _Float:
    share = rng.choice([0.0, 0.0, 0.5, 1.0])
    out: _Float = (1 - share) * _noise(rng, n) + share * _tone(rng, n)
    return out


def _backed(x: _Float, rng: np.random.Generator, low: float = 25.0, high: float = 75.0) -> _Float:
    """With steady noise below the peak by `low` to `high` dB."""
    peak = float(np.abs(x).max())
    out: _Float = x + peak * 10 ** (-rng.uniform(low, high) / 20) * 0.3 * _noise(rng, len(x))
    return out


def _event(rng: np.random.Generator, decay_s: tuple[float, float]) -> Callable[[], _Float]:
    """A maker of similar events: bursts and struck tones that die away."""
    decay = np.exp(rng.uniform(*np.log(decay_s)))
    n = int(min(6 * decay, 1.5) * SR)
    fall = np.exp(-np.arange(n) / (decay * SR))
    attack = np.minimum(1.0, np.arange(n) / (SR * np.exp(rng.uniform(np.log(2e-4), np.log(0.02)))))
    body = _carrier(rng, n) if rng.random() < 0.7 else _tone(rng, n)
    noisy = rng.random() < 0.5
    spread = rng.uniform(0.0, 2.0)

    def make() -> _Float:
        shape = fall * attack * 10 ** (spread * rng.standard_normal() / 20)
        out: _Float = shape * (np.roll(body, int(rng.integers(n))) if noisy else body)
        return out

    return make


def _placed(times: _Float, make: Callable[[], _Float], n: int) -> _Float:
    out = np.zeros(n)
    for at in (times * SR).astype(int):
        wave = make()
        if 0 <= at < n:
            out[at : at + len(wave)] += wave[: n - at]
    return out


def _ticks(rng: np.random.Generator, n: int) -> Sound:
    period = float(np.exp(rng.uniform(*np.log(TICK_S))))
    jitter = rng.choice([0.0, 0.005, 0.02, 0.04])
    count = int(n / SR / period) + 2
    times = rng.uniform(0, period) + period * np.arange(count) + jitter * period * rng.standard_normal(count)
    decay = (0.002, min(0.12, 0.18 * period))
    x = _placed(times, _event(rng, decay), n)
    if rng.random() < 0.35:  # tick and tock
        x = _placed(times[::2], _event(rng, decay), n)
        x = x + rng.uniform(0.4, 1) * _placed(times[1::2], _event(rng, decay), n)
    return Sound(_backed(x, rng, 20.0).astype(np.float32), ("ticks",), period)


def _irregular(rng: np.random.Generator, n: int, rates: tuple[float, float], state: str) -> Sound:
    rate = np.exp(rng.uniform(*np.log(rates)))
    gaps = rng.exponential(1 / rate, int(3 * rate * n / SR) + 10)
    if rng.random() < 0.4:  # no gap far shorter than the mean
        gaps = rng.uniform(0.35, 1.65, len(gaps)) / rate
    x = _placed(np.cumsum(gaps) - rng.uniform(0, 1 / rate), _event(rng, (0.003, min(0.4, 0.6 / rate))), n)
    if rng.random() < 0.3:
        x = x + _placed(np.cumsum(np.roll(gaps, 3)) * 1.7, _event(rng, (0.003, min(0.3, 0.5 / rate))), n)
    return Sound(_backed(x, rng, 15.0).astype(np.float32), (state,))


def _flutter(rng: np.random.Generator, n: int, rates: tuple[float, float], state: str) -> Sound:
    hz = np.exp(rng.uniform(*np.log(rates)))
    drift = 1 + rng.uniform(0, 0.05) * np.sin(
        2 * np.pi * rng.uniform(0.05, 0.3) * np.arange(n) / SR + rng.uniform(0, 6)
    )
    phase = 2 * np.pi * np.cumsum(hz * drift) / SR
    swing = (0.5 + 0.5 * np.sin(phase)) ** np.exp(rng.uniform(-0.3, 1.6))
    depth = rng.uniform(0.35, 1.0)
    x = _carrier(rng, n) * (1 - depth + depth * swing)
    return Sound(_backed(x, rng, 20.0).astype(np.float32), (state,))


def _curve(rng: np.random.Generator, n: int, step_s: tuple[float, float], low_db: float) -> _Float:
    """Amplitude that wanders between 0 and `low_db`, with turning points irregularly apart."""
    times, values = [0.0], [rng.uniform(low_db, 0)]
    while times[-1] < n / SR:
        times.append(times[-1] + rng.uniform(*step_s))
        values.append(rng.uniform(low_db, 0.5 * low_db) if len(times) % 2 else rng.uniform(0.3 * low_db, 0))
    smooth = np.interp(np.arange(n) / SR, times, values)
    out: _Float = 10 ** (smooth / 20)
    return out


def _steady(rng: np.random.Generator, n: int) -> Sound:
    x = _carrier(rng, n) * _curve(rng, n, (1.5, 5.0), -rng.uniform(0.0, 4.0))
    return Sound(x.astype(np.float32), ("steady",))


def _swells(rng: np.random.Generator, n: int) -> Sound:
    x = _noise(rng, n) * _curve(rng, n, (0.7, 5.0), -rng.uniform(6.0, 25.0)) + 0.1 * _noise(rng, n)
    return Sound(x.astype(np.float32), ("steady", "sparse"))


def _drops(rng: np.random.Generator, n: int) -> Sound:
    rate = np.exp(rng.uniform(np.log(15.0), np.log(120.0)))
    times = np.sort(rng.uniform(0, n / SR, int(rate * n / SR)))
    x = _placed(times, _event(rng, (0.001, 0.02)), n)
    x = x * rng.uniform(0.1, 1.0) + float(np.sqrt(np.mean(x * x))) * rng.uniform(0.3, 3.0) * _noise(rng, n)
    return Sound(x.astype(np.float32), ("steady", "dense"))


def _syllables(rng: np.random.Generator, n: int) -> Sound:
    rate = rng.uniform(3.0, 7.0)
    swing = np.zeros(n)
    at = rng.uniform(0, 0.3)
    while at < n / SR:
        length = rng.lognormal(np.log(1 / rate), 0.35)
        m = int(length * SR)
        begin = int(at * SR)
        hump = np.sin(np.pi * np.arange(m) / m) ** rng.uniform(0.5, 2.0) * 10 ** (-rng.uniform(0, 12) / 20)
        swing[begin : begin + m] = np.maximum(swing[begin : begin + m], hump[: max(0, n - begin)])
        at += length * rng.uniform(0.75, 1.15) + (rng.exponential(0.5) if rng.random() < 0.12 else 0.0)
    x = _carrier(rng, n) * swing
    return Sound(_backed(x, rng, 20.0, 60.0).astype(np.float32), ("syllabic",))


_MAKERS: dict[str, Callable[[np.random.Generator, int], Sound]] = {
    "ticks": _ticks,
    "sparse": lambda rng, n: _irregular(rng, n, (0.25, 1.8), "sparse"),
    "dense": lambda rng, n: _irregular(rng, n, (2.3, 14.0), "dense"),
    "slow flutter": lambda rng, n: _flutter(rng, n, (2.6, 7.8), "slow flutter"),
    "fast flutter": lambda rng, n: _flutter(rng, n, (10.0, 38.0), "fast flutter"),
    "steady": _steady,
    "swells": _swells,
    "drops": _drops,
    "syllables": _syllables,
}
KINDS = tuple(_MAKERS)
