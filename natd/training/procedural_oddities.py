"""Sounds of no kind: outliers from which a classifier learns when to say that it does not know."""

from __future__ import annotations

import numpy as np

from natd.codec.mel import SR
from natd.training.procedural_parts import (
    Floats,
    Recipe,
    Samples,
    band,
    between,
    chance,
    convolved,
    count,
    curve,
    decay,
    drizzle,
    finished,
    log_between,
    noise,
    placed,
    saw,
    shaped,
    sine,
    swept,
    unit,
)
from natd.training.procedural_voices import VOWELS, voiced


def modulated_noise(rng: np.random.Generator, seconds: float) -> Samples:
    """Coloured noise in bands, each with its own slow or audible modulation."""
    n = count(seconds)
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        low = log_between(rng, 60, 6000)
        part = unit(shaped(noise(rng, n, 6 * rng.random()), band(low, low * log_between(rng, 1.1, 4))))
        out += part * (0.5 + 0.5 * sine(curve(rng, n, 1, 0.5, log_between(rng, 2, 300)))) ** between(rng, 0.5, 6)
    return finished(rng, out, n)


def fm_chaos(rng: np.random.Generator, seconds: float) -> Samples:
    """Three oscillators that modulate each other's frequency, with wandering depth."""
    n = count(seconds)
    out = np.zeros(n)
    for _ in range(3):
        hz = log_between(rng, 20, 2500) * curve(rng, n, log_between(rng, 0.5, 12), 0.5, 1.5)
        out = sine(np.clip(hz * (1 + between(rng, 0.2, 6) * curve(rng, n, 2, 0, 1) * out), 0, 11_000))
    return finished(rng, out * curve(rng, n, 2, 0.2, 1), n)


def filter_sweeps(rng: np.random.Generator, seconds: float) -> Samples:
    """Noise or buzz through two narrow bands that wander over the whole range."""
    n = count(seconds)
    source = noise(rng, n) if chance(rng, 0.6) else saw(log_between(rng, 30, 900) * curve(rng, n, 3, 0.5, 2))
    tracks = [100 * 80 ** curve(rng, n, log_between(rng, 0.3, 8), 0, 1)[::240] for _ in range(2)]
    q = log_between(rng, 2, 40)

    def bands(t: Floats, f: Floats) -> Floats:
        at = np.clip((t[:, 0] * 100).astype(int), 0, len(tracks[0]) - 1)
        ratios = [np.maximum(f, 1) / c[at][:, None] for c in tracks]
        return sum((1 / np.sqrt(1 + (q * (r - 1 / r)) ** 2) for r in ratios), np.zeros((len(at), f.shape[1])))

    return finished(rng, swept(source, bands), n)


def glitch(rng: np.random.Generator, seconds: float) -> Samples:
    """Stutters: scraps of noise, tone and clicks that repeat at a fast rate, with cuts and crushed bits."""
    n, at = count(seconds), 0
    out = np.zeros(n)
    while at < n:
        m = count(log_between(rng, 0.003, 0.12))
        scrap = [noise(rng, m), sine(np.full(m, log_between(rng, 60, 9000))), drizzle(rng, m, 2000, 6)][
            int(rng.integers(3))
        ]
        run = np.tile(scrap, int(rng.integers(1, 16)))[: n - at] * between(rng, 0, 1)
        steps = 2.0 ** rng.integers(1, 8)
        out[at : at + len(run)] = np.round(run * steps) / steps
        at += len(run) + (count(log_between(rng, 0.005, 0.4)) if chance(rng, 0.3) else 0)
    return finished(rng, out, n)


def metallic(rng: np.random.Generator, seconds: float) -> Samples:
    """Dense random resonators, bowed, scraped or struck: like no known instrument."""
    n = count(seconds)
    kernel_n = count(between(rng, 0.3, 2))
    t = np.arange(kernel_n) / SR
    kernel = np.zeros(kernel_n)
    for _ in range(int(rng.integers(8, 40))):
        kernel += np.sin(2 * np.pi * (log_between(rng, 80, 10_000) * t + rng.random())) * np.exp(
            -t / log_between(rng, 0.02, 0.8)
        )
    drive = (
        noise(rng, n) * curve(rng, n, 4, 0, 1) ** 2 if chance(rng, 0.5) else drizzle(rng, n, log_between(rng, 1, 60), 6)
    )
    return finished(rng, convolved(drive, kernel), n)


def modem(rng: np.random.Generator, seconds: float) -> Samples:
    """Data as sound: keys between 2 to 16 tones or phases at 20 to 1200 symbols a second, in blocks."""
    n, baud = count(seconds), log_between(rng, 20, 1200)
    symbols = rng.integers(0, int(rng.choice([2, 4, 16])), int(seconds * baud) + 2)
    now = symbols[(np.arange(n) / SR * baud).astype(int)]
    base, step = log_between(rng, 400, 2500), log_between(rng, 20, 600)
    if chance(rng, 0.6):
        out = sine(np.minimum(base + step * now, 11_000))
    else:
        out = np.sin(2 * np.pi * (base * np.arange(n) / SR + now / (symbols.max() + 1)))
    on = curve(rng, n, 2, -0.4, 1) > 0
    return finished(rng, out * on + 0.01 * noise(rng, n), n)


def alien_voice(rng: np.random.Generator, seconds: float) -> Samples:
    """A voice whose formants jump at random, ring-modulated with a low tone."""
    n = count(seconds)
    f0 = log_between(rng, 60, 900) * 2 ** curve(rng, n, log_between(rng, 1, 12), -1, 1)
    vowels = [str(v) for v in rng.choice(list(VOWELS), max(2, int(seconds * log_between(rng, 2, 12))))]
    voice = voiced(rng, f0, vowels, log_between(rng, 0.4, 2.5), rng.random(), rng.random())
    return finished(rng, voice * sine(np.full(n, log_between(rng, 15, 1500))) * curve(rng, n, 5, 0, 1), n)


def feedback(rng: np.random.Generator, seconds: float) -> Samples:
    """A few comb filters deep in feedback over noise bursts: tubes and springs that never were."""
    n = count(seconds)
    out = noise(rng, n) * curve(rng, n, 3, -0.5, 1).clip(0) + drizzle(rng, n, 8, 6)
    for _ in range(int(rng.integers(1, 4))):
        delay_s, keep = log_between(rng, 0.0004, 0.06), between(rng, 0.7, 0.98) * float(rng.choice([-1, 1]))
        stretch = log_between(rng, 0.7, 1.4)

        def comb(f: Floats, delay_s: float = delay_s, keep: float = keep, stretch: float = stretch) -> Floats:
            return np.asarray(1 / np.abs(1 - keep * np.exp(-2j * np.pi * delay_s * f**stretch * 1000 ** (1 - stretch))))

        out = unit(shaped(out, comb))
    return finished(rng, out, n)


def folded(rng: np.random.Generator, seconds: float) -> Samples:
    """Waves folded over themselves again and again while their drive wanders."""
    n = count(seconds)
    x = sine(log_between(rng, 30, 500) * 2 ** curve(rng, n, 2, -1, 1)) + rng.random() * sine(
        log_between(rng, 30, 900) * curve(rng, n, 1, 0.5, 1)
    )
    out = np.sin(curve(rng, n, 3, 0.5, log_between(rng, 3, 30)) * x)
    return finished(rng, out * curve(rng, n, 3, 0.1, 1), n)


def shepard(rng: np.random.Generator, seconds: float) -> Samples:
    """Tones or noise bands an octave (or another ratio) apart that rise or fall for ever."""
    n = count(seconds)
    ratio, rate = between(rng, 1.3, 3), log_between(rng, 0.05, 2) * float(rng.choice([-1, 1]))
    out = np.zeros(n)
    for k in range(8):
        place = np.mod(k + rate * np.arange(n) / SR, 8)
        out += sine(np.minimum(30 * ratio**place, 11_500)) * np.sin(np.pi * place / 8) ** 2
    return finished(rng, out * (1 + 0.5 * sine(np.full(n, log_between(rng, 0.2, 40)))), n)


def swarm(rng: np.random.Generator, seconds: float) -> Samples:
    """A cloud of short grains of random pitch, length and slope, thick or thin."""
    n, many = count(seconds), int(seconds * log_between(rng, 8, 150))
    grains = []
    low, high = log_between(rng, 80, 1500), log_between(rng, 1600, 9000)
    for _ in range(min(many, 40)):
        m = count(log_between(rng, 0.005, 0.2))
        glide = np.linspace(log_between(rng, low, high), log_between(rng, low, high), m)
        grains.append(sine(glide) * np.hanning(m + 2)[1:-1] * between(rng, 0.1, 1))
    times = np.sort(rng.random(many)) * seconds
    return finished(rng, placed(n, times, [grains[i % len(grains)] for i in range(many)]), n)


def spectral_mosaic(rng: np.random.Generator, seconds: float) -> Samples:
    """Noise under a random picture of time and frequency: blocks and stripes no source would make."""
    n = count(seconds)
    columns, bands = int(seconds * log_between(rng, 2, 25)) + 2, int(rng.integers(4, 24))
    picture = 10 ** (rng.uniform(-60, 0, (columns, bands)) / 20)
    edges = np.geomspace(60, 12_000, bands)

    def paint(t: Floats, f: Floats) -> Floats:
        at = np.clip((t[:, 0] / seconds * columns).astype(int), 0, columns - 1)
        return np.asarray(picture[at][:, np.searchsorted(edges, f[0]).clip(max=bands - 1)], np.float64)

    source = noise(rng, n) if chance(rng, 0.5) else saw(np.full(n, log_between(rng, 25, 600)))
    return finished(rng, swept(source, paint), n)


def pulses(rng: np.random.Generator, seconds: float) -> Samples:
    """Trains of clicks or resonant pulses whose rate sweeps from rhythm to pitch and back."""
    n = count(seconds)
    rate = log_between(rng, 2, 20) * 2 ** curve(rng, n, log_between(rng, 0.3, 3), 0, 6)
    clicks = np.diff(np.floor(np.cumsum(rate) / SR), prepend=0.0)
    kernel = decay(2400, between(rng, 0.005, 0.1)) * sine(
        np.linspace(log_between(rng, 100, 6000), log_between(rng, 100, 6000), 2400)
    )
    return finished(rng, convolved(clicks, kernel), n)


def shuffled(rng: np.random.Generator, x: Samples) -> Samples:
    """Another sound cut into pieces of 10 to 200 ms that are reordered, reversed and overlapped: its kind is lost."""
    n = len(x)
    m = min(n, count(log_between(rng, 0.01, 0.2)))
    window = np.hanning(m + 2)[1:-1]
    out = np.zeros(n + m)
    for at in range(0, n, max(1, m // 2)):
        start = int(rng.integers(0, n - m + 1))
        piece = x[start : start + m]
        out[at : at + m] += (piece[::-1] if chance(rng, 0.6) else piece) * window * (rng.random() < 0.9)
    return finished(rng, out, n)


def ring_modulated(rng: np.random.Generator, x: Samples) -> Samples:
    """Another sound times a sine that may glide: all its partials move off their series."""
    low, high = log_between(rng, 40, 3000), log_between(rng, 40, 3000)
    return finished(rng, x * sine(np.linspace(low, high, len(x))), len(x))


def vocoded(rng: np.random.Generator, x: Samples, y: Samples) -> Samples:
    """One sound with the short-time spectrum of the other laid over it."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(y.astype(np.float64), 960), 960)[::240]
    level = np.sqrt(np.abs(np.fft.rfft(frames * np.hanning(960))))

    def cast(t: Floats, f: Floats) -> Floats:
        return np.asarray(level[np.clip(t[:, 0] * 100 + 3, 0, len(level) - 1).astype(int)], np.float64)

    return finished(rng, swept(x.astype(np.float64), cast), len(x))


ODDITIES: tuple[Recipe, ...] = (
    modulated_noise,
    fm_chaos,
    filter_sweeps,
    glitch,
    metallic,
    modem,
    alien_voice,
    feedback,
    folded,
    shepard,
    swarm,
    spectral_mosaic,
    pulses,
)
