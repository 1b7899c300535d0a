"""Weather, water, fire, birds and insects: noise and many small events, shaped as the thing itself shapes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from natd.training.procedural_parts import (
    Floats,
    Samples,
    band,
    between,
    chance,
    convolved,
    count,
    curve,
    decay,
    drizzle,
    early,
    finished,
    gain,
    hits,
    line,
    log_between,
    noise,
    peaks,
    placed,
    room,
    shaped,
    sine,
    spaced,
    swept,
    unit,
)


def bubble(rng: np.random.Generator, hz: float) -> Floats:
    """A bubble in water: a sine that dies in some 10 to 60 ms and rises in pitch as the bubble nears the surface."""
    ring = between(rng, 4, 14) / hz + 0.02
    n = count(ring * 1.2)
    rise = 1 + between(rng, 0, 0.5) * np.linspace(0, 1, n)
    return sine(hz * rise) * decay(n, ring, 0.001)


def rain(rng: np.random.Generator, seconds: float) -> Samples:
    """Drops by the thousand: a hiss of the far ones, clicks of the near ones, resonances of what they hit."""
    n, heavy = count(seconds), rng.random()
    wash = shaped(noise(rng, n), band(log_between(rng, 100, 1500), log_between(rng, 4000, 11000), 1))
    out = unit(wash) * curve(rng, n, 0.5, 0.7, 1)
    grains = []
    for _ in range(6):
        m = count(between(rng, 0.002, 0.02))
        tone = sine(np.full(m, log_between(rng, 300, 8000)))
        grains.append(
            decay(m, m / 24_000) * (between(rng, 0, 1) * tone + between(rng, 0.2, 1) * rng.standard_normal(m))
        )
    near = hits(rng, n, log_between(rng, 8, 1200) * (0.3 + heavy), between(rng, 3, 9), grains)
    out = out * gain(-18 + 18 * heavy) + unit(near) * gain(-20 * rng.random())
    if chance(rng, 0.4):
        plink = [bubble(rng, log_between(rng, 500, 4000)) for _ in range(5)]
        out += gain(-15 * rng.random()) * hits(rng, n, log_between(rng, 2, 30), 5, plink)
    if chance(rng, 0.3):
        out = shaped(out, lambda f: 0.4 + peaks([log_between(rng, 150, 2500) for _ in range(3)], 4)(f))
    return finished(rng, out, n)


def wind(rng: np.random.Generator, seconds: float) -> Samples:
    """Turbulence in gusts: low rumble whose brightness follows its level, with whistling gaps and leaves at times."""
    n = count(seconds)
    gust = curve(rng, n, log_between(rng, 0.3, 1.5), 0.1, 1) * curve(rng, n, 4, 0.7, 1)
    knee, slope = log_between(rng, 80, 900), between(rng, 1.2, 2.6)
    knots = gust[::240]

    def air(t: Floats, f: Floats) -> Floats:
        strength = knots[np.clip((t[:, 0] * 100).astype(int), 0, len(knots) - 1)][:, None]
        return np.asarray(strength**1.5 / (1 + (f / (knee * (0.4 + 1.6 * strength))) ** slope), np.float64)

    out = unit(swept(noise(rng, n, between(rng, 0, 3)), air))
    if chance(rng, 0.45):
        centre = log_between(rng, 250, 1500) * (1 + 0.4 * (knots - 0.5))
        width = between(rng, 8, 40)

        def gap(t: Floats, f: Floats) -> Floats:
            c = centre[np.clip((t[:, 0] * 100).astype(int), 0, len(knots) - 1)][:, None]
            ratio = np.maximum(f, 1.0) / c
            return np.asarray(1 / np.sqrt(1 + (width * (ratio - 1 / ratio)) ** 2), np.float64)

        out += between(rng, 0.2, 1.0) * unit(swept(noise(rng, n), gap) * gust)
    if chance(rng, 0.35):
        leaves = shaped(noise(rng, n), band(1500, 8000)) * gust**2 * curve(rng, n, 20, 0.3, 1)
        out += between(rng, 0.1, 0.7) * unit(leaves)
    if chance(rng, 0.3):
        out += between(rng, 0.5, 2) * unit(shaped(noise(rng, n, 6), band(15, 90)) * gust**3)
    return finished(rng, out, n)


def sea_waves(rng: np.random.Generator, seconds: float) -> Samples:
    """Waves every 1.5 to 12 s: a low roar that builds, breaks bright, hisses back over sand; splashes near by."""
    n, period = count(seconds), log_between(rng, 1.5, 12)
    out = between(rng, 0.05, 0.5) * unit(noise(rng, n, between(rng, 1, 4)))
    for t in np.arange(-rng.random() * period, seconds, period):
        m, peak = count(period * between(rng, 0.9, 1.3)), between(rng, 0.25, 0.5)
        rise = line(m, (0, peak, peak + 0.1, 1), (0, 1, 0.8, 0)) ** 1.7
        roar = unit(shaped(noise(rng, m, 3), band(60, log_between(rng, 600, 4000), 1))) * rise
        foam = line(m, (0, peak * 0.8, peak + 0.12, 1), (0, 0.2, 1, 0)) ** 2
        hiss = unit(shaped(noise(rng, m), band(log_between(rng, 500, 2500), 9000, 1))) * foam
        wave = (
            (roar + gain(-20 + 18 * rng.random()) * hiss)
            * between(rng, 0.5, 1)
            * curve(rng, m, 12, between(rng, 0.3, 0.8), 1)
        )
        skip = max(0, round(-t * 24_000))
        out += placed(n, [max(0.0, float(t))], [wave[skip:]])
    if chance(rng, 0.6):
        grains = [bubble(rng, log_between(rng, 150, 2500)) for _ in range(8)]
        lapping = hits(rng, n, log_between(rng, 5, 200) * curve(rng, n, 3, 0, 1) ** 2, 6, grains)
        out += unit(lapping) * gain(-28 + 22 * rng.random())
    return finished(rng, out, n)


def thunder(rng: np.random.Generator, seconds: float) -> Samples:
    """A crack when near, then rumble: many pressure waves from along the bolt, duller the later they arrive."""
    n = count(seconds)
    out = 0.01 * unit(noise(rng, n, 3)) * between(rng, 0, 1)
    if chance(rng, 0.3):
        out += gain(-45 + 25 * rng.random()) * unit(rain(rng, seconds).astype(np.float64))
    t = between(rng, 0, min(1.5, 0.3 * seconds))
    while t < seconds:
        length, near = between(rng, 2.5, 9), rng.random()
        m = count(length)
        claps = drizzle(rng, m, 60 * line(m, (0, 0.1, 1), (1, 1, 0.1)), 9) * decay(
            m, length * between(rng, 0.5, 1.2), 0.02 + 0.6 * (1 - near)
        )
        boom = noise(rng, count(0.35), 6) * decay(count(0.35), 0.35, 0.01)
        rumble = unit(shaped(convolved(claps, boom), band(20, log_between(rng, 100, 1000), 1.2)))
        roll = unit(
            shaped(noise(rng, m, 3), band(30, log_between(rng, 150, 1000), 1.2))
            * curve(rng, m, 3, 0.1, 1)
            * decay(m, length, 0.3)
        )
        strike = rumble + between(rng, 0.3, 1) * roll
        if near > 0.5:
            k = count(between(rng, 0.1, 0.8))
            crack = drizzle(rng, k, 3000, 9) * decay(k, k / 24_000)
            strike[:k] += near * between(rng, 1, 5) * unit(shaped(crack, band(150, 6000, 1)))[: len(strike)]
        out += placed(n, [t], [strike * between(rng, 0.3, 1)])
        t += length * between(rng, 0.6, 1.5)
    return finished(rng, out, n)


def water(rng: np.random.Generator, seconds: float) -> Samples:
    """Bubbles, in number from a dripping tap to a stream; pouring raises the note of the vessel as it fills."""
    n, kind = count(seconds), str(rng.choice(["drip", "stream", "stream", "pour", "splash", "tap"]))
    low = log_between(rng, 150, 900)
    grains = [bubble(rng, low * 2.0 ** (4.5 * rng.random())) for _ in range(24)]
    if kind == "drip":
        out = np.zeros(n)
        for t in spaced(rng, seconds, log_between(rng, 0.15, 1.5), 0.3):
            drop = bubble(rng, log_between(rng, 500, 3500))
            click = shaped(rng.standard_normal(120) * np.linspace(1, 0, 120), band(2000, 10000)) * 0.3
            out += placed(n, [t, t + 0.01], [click, drop]) * between(rng, 0.3, 1)
        return finished(rng, room(rng, out, between(rng, 0.2, 2), rng.random()), n)
    rate = 40 * log_between(rng, 0.5, 12) * curve(rng, n, 1.5, 0.3, 1)
    if kind == "splash":
        rate = rate * 4 * _bursts(rng, n, seconds)
    out = unit(hits(rng, n, rate, 7, grains))
    wash = unit(shaped(noise(rng, n), band(log_between(rng, 300, 1500), log_between(rng, 3000, 10000), 1)))
    share = rate / np.max(rate)
    out += wash * share * gain(-24 + 24 * rng.random() + (6 if kind == "tap" else 0))
    if kind == "pour":
        top = log_between(rng, 400, 1200)

        def vessel(t: Floats, f: Floats) -> Floats:
            c = top * (1 + 1.5 * np.clip(t / seconds, 0, 1))
            ratio = np.maximum(f, 1.0) / c
            return (
                0.25
                + 1 / np.sqrt(1 + (6 * (ratio - 1 / ratio)) ** 2)
                + 0.6 / np.sqrt(1 + (12 * (ratio / 3 - 3 / ratio)) ** 2)
            )

        out = swept(out, vessel)
    return finished(rng, out, n)


def _bursts(rng: np.random.Generator, n: int, seconds: float) -> Floats:
    times = spaced(rng, seconds, log_between(rng, 0.4, 2.5), 0.4)
    falls = [decay(count(1.0), between(rng, 0.3, 1.5), 0.02) * between(rng, 0.4, 1) for _ in times]
    return np.clip(placed(n, times, falls), 0.02, 1)


def fire(rng: np.random.Generator, seconds: float) -> Samples:
    """Crackle of bursting wood cells over the low roar and hiss of flames."""
    n = count(seconds)
    roar = unit(shaped(noise(rng, n, 4), band(25, log_between(rng, 200, 900), 1))) * curve(rng, n, 7, 0.4, 1)
    hiss = unit(shaped(noise(rng, n), band(log_between(rng, 800, 3000), 10_000, 1))) * curve(rng, n, 3, 0.3, 1)
    grains = []
    for _ in range(6):
        m = count(log_between(rng, 0.0008, 0.012))
        snap = rng.standard_normal(m) * decay(m, m / 24_000, 0.0002)
        grains.append(shaped(snap, band(log_between(rng, 200, 2500), log_between(rng, 3000, 11_000), 1)))
    rate = log_between(rng, 3, 120) * curve(rng, n, 8, 0, 1) ** 3 * 3
    crackle = hits(rng, n, rate, between(rng, 6, 10), grains)
    out = roar * gain(-50 + 42 * rng.random()) + hiss * gain(-45 + 30 * rng.random())
    return finished(rng, out + 1.5 * crackle / (np.max(np.abs(crackle)) + 1e-9) * between(rng, 0.3, 2), n)


def insects(rng: np.random.Generator, seconds: float) -> Samples:
    """Crickets (pulsed tones), cicadas (buzzing bands of noise) or the hum of wings going by; alone or by night."""
    n = count(seconds)
    makers: tuple[Callable[[np.random.Generator, int], Floats], ...] = (_cricket, _cicada, _wings)
    kind = int(rng.choice([0, 0, 0, 1, 1, 2]))
    out = np.zeros(n)
    for _ in range(int(rng.choice([1, 1, 2, 4, 8])) if kind < 2 else int(rng.choice([1, 1, 1, 6]))):
        out += makers[kind](rng, n) * gain(-20 * rng.random())
    if chance(rng, 0.4):
        out += gain(-40 + 25 * rng.random()) * unit(noise(rng, n, 3)) * np.max(np.abs(out))
    return finished(rng, out, n)


def _cricket(rng: np.random.Generator, n: int) -> Floats:
    hz, pulse, chirp = between(rng, 2800, 7500), between(rng, 18, 60), between(rng, 0.8, 4)
    t = np.arange(n) / 24_000 + rng.random()
    beat = np.maximum(0, np.sin(2 * np.pi * pulse * t)) ** between(rng, 0.5, 2)
    on = np.ones(n) if chance(rng, 0.35) else (np.mod(t * chirp, 1) < between(rng, 0.25, 0.7)).astype(float)
    soft = np.convolve(on, np.ones(96) / 96, mode="same")
    return sine(hz * curve(rng, n, 10, 0.995, 1.005)) * beat * soft * curve(rng, n, 0.5, 0.6, 1)


def _cicada(rng: np.random.Generator, n: int) -> Floats:
    hz, q, buzz = between(rng, 3500, 8500), between(rng, 2, 9), between(rng, 60, 350)
    rattle = np.maximum(0, sine(buzz * curve(rng, n, 1, 0.9, 1.1))) ** 2
    call = line(n, (0, 0.2, 0.8, 1), (0.3, 1, 1, 0.3)) if chance(rng, 0.5) else curve(rng, n, 1, 0.1, 1)
    return np.asarray(
        unit(shaped(noise(rng, n), peaks([hz, hz * between(rng, 1.1, 1.5)], q, [1, 0.5]))) * rattle * call, np.float64
    )


def _wings(rng: np.random.Generator, n: int) -> Floats:
    hz = log_between(rng, 110, 650) * curve(rng, n, 2, 0.88, 1.12) * curve(rng, n, 20, 0.98, 1.02)
    t = np.mod(np.cumsum(hz) / 24_000, 1)
    beat = (1 - 2 * t) + 0.4 * rng.standard_normal(n) * (t < 0.3)
    passing = curve(rng, n, between(rng, 0.5, 2), 0.02, 1) ** 2
    return unit(shaped(beat, band(hz.mean() * 0.8, log_between(rng, 900, 5000), 1))) * passing


def birds(rng: np.random.Generator, seconds: float) -> Samples:
    """Songs of glides, whistles, trills and harsh calls at 400 to 9000 Hz; one bird or a wood full of them."""
    n = count(seconds)
    out = np.zeros(n)
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        out += _bird(rng, n, seconds) * gain(-18 * rng.random())
    if chance(rng, 0.5):
        out = room(rng, out, between(rng, 0.3, 2), 0.5 * rng.random())
    if chance(rng, 0.4):
        out += gain(-45 + 20 * rng.random()) * unit(noise(rng, n, between(rng, 2, 5)))
    return finished(rng, out, n)


def _bird(rng: np.random.Generator, n: int, seconds: float) -> Floats:
    low = log_between(rng, 450, 5500)
    syllables = [_syllable(rng, low) for _ in range(int(rng.integers(1, 5)))]
    gap, rest = between(rng, 0.02, 0.2), log_between(rng, 0.3, 2.5)
    t, times, grains = early(rng, seconds, 0.6), [], []
    while t < seconds:
        for syllable in syllables:
            for _ in range(int(rng.choice([1, 1, 2, 4, 10]))):
                times.append(t)
                grains.append(syllable)
                t += len(syllable) / 24_000 + gap * between(rng, 0.8, 1.2)
        t += rest * between(rng, 0.4, 1.6)
    return placed(n, times, grains)


def _syllable(rng: np.random.Generator, low: float) -> Floats:
    m = count(log_between(rng, 0.03, 0.45))
    points = int(rng.integers(2, 5))
    hz = low * np.interp(np.linspace(0, 1, m), np.linspace(0, 1, points), 2.0 ** rng.uniform(-0.4, 0.8, points))
    if chance(rng, 0.3):
        hz = hz * (1 + between(rng, 0.02, 0.15) * sine(np.full(m, log_between(rng, 15, 120))))
    tone = sine(hz)
    for k in (2, 3):
        tone += rng.random() ** 3 * sine(np.minimum(k * hz, 11_500)) * (k * hz < 11_500)
    if chance(rng, 0.15):
        tone = unit(tone) * (1 + between(rng, 0.5, 3) * noise(rng, m))
    return unit(tone) * np.sin(np.pi * np.linspace(0, 1, m) ** between(rng, 0.5, 1.5)) * between(rng, 0.4, 1)


NATURE_RECIPES = {
    "birds": birds,
    "insects": insects,
    "rain": rain,
    "thunder": thunder,
    "wind": wind,
    "sea waves": sea_waves,
    "water": water,
    "fire": fire,
}
