"""Voices of people and animals by source and filter: a buzz or breath through moving resonances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from natd.codec.mel import SR
from natd.training.procedural_parts import (
    Floats,
    Samples,
    band,
    between,
    chance,
    count,
    curve,
    decay,
    early,
    finished,
    gain,
    line,
    log_between,
    noise,
    placed,
    room,
    saw,
    shaped,
    sine,
    swept,
    unit,
)

VOWELS = {
    "a": (800, 1200, 2500, 3500, 4500),
    "e": (500, 1800, 2500, 3500, 4500),
    "i": (300, 2300, 3000, 3600, 4600),
    "o": (450, 800, 2600, 3400, 4500),
    "u": (325, 700, 2500, 3400, 4400),
    "@": (500, 1500, 2500, 3500, 4500),
    "m": (250, 1100, 2200, 3300, 4300),
}


def voiced(
    rng: np.random.Generator,
    f0: Floats,
    vowels: Sequence[str],
    tract: float = 1.0,
    breath: float = 0.05,
    rough: float = 0.0,
    times: Sequence[float] | None = None,
) -> Floats:
    """A voice on a pitch curve that glides through vowels; `tract` scales the formants (1: a man, 1.7: a baby).

    `breath` is the share of noise, `rough` that of irregular cycles (a growl, a hoarse cry).
    """
    n = len(f0)
    wobble = 1 + 0.01 * rng.standard_normal() + curve(rng, n, 30, -0.008, 0.008)
    if rough > 0:
        wobble = wobble + rough * 0.15 * curve(rng, n, 150, -1, 1)
    hz = np.clip(f0 * wobble, 20, 5000)
    buzz = saw(hz)
    if rough > 0:
        buzz = buzz * (1 - 0.5 * rough * (1 + sine(hz / 2))) + rough * 0.5 * noise(rng, n) * np.maximum(0, buzz)
    source = unit(buzz) * (1 - breath) + breath * noise(rng, n) * (0.5 + 0.5 * np.maximum(buzz, 0))
    points = np.linspace(0, 1, len(vowels)) if times is None else np.asarray(times)
    table = np.array([VOWELS[v] for v in vowels], float) * tract * (1 + 0.05 * rng.standard_normal(5))
    width = between(rng, 0.06, 0.14)
    above = 500 * tract * np.arange(11, 61, 2)[:, None]  # the tract's higher resonances: without them the treble dies

    def tube(seconds: Floats, f: Floats) -> Floats:
        share = seconds[:, 0] * SR / n
        squares = np.tile(np.prod((1 - (f / above) ** 2) ** 2 + (0.15 * f / above) ** 2, axis=0), (len(share), 1))
        for k in range(5):
            centre = np.interp(share, points, table[:, k])[:, None]
            ratio = (f / centre) ** 2
            squares *= (1 - ratio) ** 2 + ratio * (width + 40 / centre) ** 2
        return np.asarray(1 / np.sqrt(squares))

    return unit(swept(source, tube))


def swell(n: int, attack: float, release: float) -> Floats:
    """Rises in a share `attack` of the whole, falls in a share `release` [n]."""
    return line(n, (0, attack, 1 - release, 1), (0, 1, 1, 0)) ** 1.5


def baby_cry(rng: np.random.Generator, seconds: float) -> Samples:
    """Cries of half a second to two, an arch of pitch at 350 to 650 Hz, hoarse at times, a gasp between."""
    n, base, tract = count(seconds), between(rng, 350, 650), between(rng, 1.5, 2.0)
    harsh, times, grains, t = rng.random() * 0.6, [], [], early(rng, seconds, 0.3)
    while t < seconds:
        m = count(log_between(rng, 0.4, 2.0))
        f0 = (
            base
            * line(m, (0, 0.15, 0.6, 1), (0.75, 1.1 + 0.1 * rng.standard_normal(), 1.0, 0.7))
            * curve(rng, m, 8, 0.96, 1.04)
        )
        cry = voiced(rng, f0, ["@", "a", "a", "@"], tract, 0.05 + 0.2 * rng.random(), harsh * rng.random())
        times.append(t)
        grains.append(cry * swell(m, 0.1, 0.2) * between(rng, 0.6, 1))
        t += m / SR
        g = count(between(rng, 0.1, 0.3))
        times.append(t)
        grains.append(shaped(noise(rng, g), band(1200, 5000)) * swell(g, 0.5, 0.4) * 0.15)
        t += g / SR + between(rng, 0, 0.4)
    return finished(rng, placed(n, times, grains), n)


def laughter(rng: np.random.Generator, seconds: float) -> Samples:
    """Ha-ha: bursts of breath and voice 4 to 6 a second that fall in pitch and level; one person to a group."""
    n = count(seconds)
    out = np.zeros(n)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        base, tract = log_between(rng, 110, 420), between(rng, 0.95, 1.35)
        vowel, breath, t = str(rng.choice(["a", "e", "i", "o", "@"])), between(rng, 0.1, 0.5), early(rng, seconds, 0.4)
        while t < seconds:
            rate, run = between(rng, 3.8, 6.5), int(rng.integers(3, 12))
            for k in range(run):
                m = count(between(rng, 0.5, 0.8) / rate)
                f0 = base * (1.25 - 0.35 * k / run) * line(m, (0, 0.3, 1), (0.95, 1.1, 0.85))
                puff = voiced(rng, f0, ["@", vowel, vowel], tract, breath, 0.2 * rng.random()) * swell(m, 0.25, 0.4)
                h = m // 3
                puff[:h] += shaped(noise(rng, h), band(600, 5000)) * np.linspace(1, 0, h) * 0.4 * breath
                out += placed(n, [t], [puff * (1 - 0.6 * k / run)])
                t += 1 / rate
            t += between(rng, 0.2, 1.2)
    return finished(rng, out, n)


def scream(rng: np.random.Generator, seconds: float) -> Samples:
    """Long cries at 500 to 2000 Hz, strained: rough cycles, open vowel, high formants."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.4), [], []
    while t < seconds:
        m, base = count(log_between(rng, 0.5, 3.0)), log_between(rng, 450, 1800)
        f0 = base * line(m, (0, 0.1, 0.8, 1), (0.7, 1, between(rng, 0.85, 1.1), 0.6)) * curve(rng, m, 12, 0.97, 1.03)
        cry = voiced(rng, f0, ["a", str(rng.choice(["a", "e", "i"])), "a"], between(rng, 1.1, 1.5), 0.1, rng.random())
        times.append(t)
        grains.append(cry * swell(m, 0.05, 0.15))
        t += m / SR + log_between(rng, 0.3, 2)
    return finished(rng, room(rng, placed(n, times, grains), 0.6, 0.3 * rng.random()), n)


def sneeze(rng: np.random.Generator, seconds: float) -> Samples:
    """A drawn breath with some voice, then a blast of noise with a short shout; coughs are blasts in rows."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.4), [], []
    base, tract, cough = log_between(rng, 120, 420), between(rng, 1.0, 1.4), chance(rng, 0.3)
    while t < seconds:
        if not cough:
            m = count(between(rng, 0.25, 0.8))
            breath = 0.1 * shaped(noise(rng, m), band(700, 4500)) + 0.12 * voiced(
                rng, base * line(m, (0, 1), (0.9, 1.4)), ["@", "a"], tract, 0.6
            )
            times.append(t)
            grains.append(breath * line(m, (0, 0.8, 1), (0, 1, 0)))
            t += m / SR + between(rng, 0.02, 0.15)
        for _ in range(int(rng.integers(2, 5)) if cough else 1):
            m = count(between(rng, 0.12, 0.4))
            hiss = shaped(noise(rng, m), band(log_between(rng, 120, 1500), log_between(rng, 2500, 7000), 1)) * decay(
                m, 0.9 * m / SR, 0.01
            )
            shout = voiced(rng, base * line(m, (0, 1), (1.5, 0.8)), ["e", "u"], tract, 0.4, 0.6) * decay(
                m, 0.8 * m / SR, 0.02
            )
            times.append(t)
            grains.append(between(rng, 0.5, 1) * unit(hiss) + between(rng, 0.2, 1.2) * shout)
            t += m / SR + between(rng, 0.1, 0.3)
        t += between(rng, 0.6, 2.5)
    return finished(rng, placed(n, times, grains), n)


def dog(rng: np.random.Generator, seconds: float) -> Samples:
    """Barks of 0.1 to 0.3 s in rows, their pitch jumping up and falling; size of the dog sets pitch and tract."""
    n, size = count(seconds), rng.random()
    base, tract = 220 * 4.0 ** (size + 0.1 * rng.standard_normal()), 0.9 * 1.7**size
    rough, t, times, grains = between(rng, 0.2, 1), early(rng, seconds, 0.4), [], []
    if chance(rng, 0.12):
        return finished(rng, _growl(rng, n, base * 0.35, tract), n)
    while t < seconds:
        for _ in range(int(rng.integers(1, 5))):
            m = count(between(rng, 0.09, 0.3))
            f0 = base * line(m, (0, 0.2, 1), (0.7, 1.2, 0.6)) * between(rng, 0.9, 1.1)
            bark = voiced(rng, f0, ["u", "a", "o"], tract, 0.15 + 0.3 * rough, rough, (0, 0.3, 1))
            times.append(t)
            grains.append(bark * swell(m, 0.08, 0.5) * between(rng, 0.6, 1))
            t += m / SR + between(rng, 0.08, 0.45)
        t += log_between(rng, 0.2, 2.5)
    return finished(rng, room(rng, placed(n, times, grains), between(rng, 0.15, 0.8), 0.4 * rng.random()), n)


def _growl(rng: np.random.Generator, n: int, base: float, tract: float) -> Floats:
    f0 = max(35.0, base) * curve(rng, n, 5, 0.85, 1.15)
    return voiced(rng, f0, ["o", "@", "u", "@"], tract, 0.4, 1.0) * curve(rng, n, 2, 0.2, 1)


def cat(rng: np.random.Generator, seconds: float) -> Samples:
    """Meows: an arch of pitch at 300 to 900 Hz while the mouth opens and closes; purring at times."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.5), [], []
    if chance(rng, 0.2):
        purr = (
            noise(rng, n, 4)
            * (0.5 + 0.5 * sine(curve(rng, n, 1, 22, 30))) ** 2
            * (0.6 + 0.4 * sine(np.full(n, between(rng, 0.5, 1))))
        )
        return finished(rng, shaped(purr, band(40, 1500)), n)
    base, tract = between(rng, 350, 850), between(rng, 1.5, 1.9)
    while t < seconds:
        m = count(log_between(rng, 0.3, 1.4))
        f0 = base * line(m, (0, 0.3, 0.6, 1), (0.8, 1.1, 1.05, between(rng, 0.6, 0.9))) * curve(rng, m, 6, 0.97, 1.03)
        meow = voiced(rng, f0, ["m", "i", "a", "o", "u"], tract, 0.08, 0.4 * rng.random() ** 2)
        times.append(t)
        grains.append(meow * swell(m, 0.2, 0.35))
        t += m / SR + log_between(rng, 0.2, 2)
    return finished(rng, placed(n, times, grains), n)


def rooster(rng: np.random.Generator, seconds: float) -> Samples:
    """Cock-a-doodle-doo: three short notes and a long one that falls, at 400 to 1100 Hz, many strong harmonics."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.4), [], []
    base, tract = between(rng, 450, 850), between(rng, 1.5, 2.2)
    while t < seconds:
        for length, start, end in ((0.15, 0.8, 1), (0.22, 1, 1.1), (0.2, 1.1, 1.2), (between(rng, 0.5, 1.2), 1.3, 0.8)):
            m = count(length * between(rng, 0.8, 1.2))
            f0 = base * line(m, (0, 0.2, 0.5, 1), (start * 0.8, start, start, end)) * curve(rng, m, 15, 0.98, 1.02)
            note = voiced(rng, f0, ["o", "e", "a", "o"], tract, 0.08, 0.5 * rng.random())
            times.append(t)
            grains.append(note * swell(m, 0.12, 0.25))
            t += m / SR + between(rng, 0.01, 0.08)
        t += log_between(rng, 0.5, 4)
    return finished(rng, room(rng, placed(n, times, grains), between(rng, 0.2, 1.2), 0.4 * rng.random()), n)


# pitch, tract, seconds, vowels, roughness, gap
FARM = {
    "cow": ((70, 180), (0.55, 0.8), (0.8, 2.5), "muaum", 0.2, 1.5),
    "sheep": ((150, 350), (0.9, 1.2), (0.4, 1.2), "@ea@", 0.3, 0.8),
    "pig": ((60, 200), (0.8, 1.1), (0.1, 0.4), "o@o", 1.0, 0.2),
    "goose": ((250, 500), (1.1, 1.5), (0.15, 0.4), "eae", 0.7, 0.25),
    "duck": ((180, 300), (1.2, 1.6), (0.1, 0.25), "aa@", 0.6, 0.15),
    "hen": ((300, 600), (1.6, 2.1), (0.08, 0.3), "oae", 0.3, 0.2),
    "horse": ((300, 900), (0.8, 1.0), (0.8, 1.8), "iea@", 0.6, 1.5),
}


def farm_animal(rng: np.random.Generator, seconds: float) -> Samples:
    """A cow, sheep, pig, goose, duck, hen or horse, alone or a few of them."""
    n = count(seconds)
    pitch, tracts, lengths, vowels, rough, gap = FARM[str(rng.choice(list(FARM)))]
    bleat = between(rng, 6, 11)
    out = np.zeros(n)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        base, tract, t = log_between(rng, *pitch), between(rng, *tracts), early(rng, seconds, 0.5)
        loud = gain(-12 * rng.random())
        while t < seconds:
            m = count(log_between(rng, *lengths))
            f0 = base * line(m, (0, 0.25, 0.7, 1), (0.8, 1.1, 1, 0.75)) * curve(rng, m, 5, 0.95, 1.05)
            if pitch[0] in (150, 300):
                f0 = f0 * (1 + between(rng, 0.02, 0.08) * sine(np.full(m, bleat)))
            call = voiced(rng, f0, list(vowels), tract, 0.1 + 0.2 * rough, rough * rng.random()) * swell(m, 0.12, 0.3)
            out += placed(n, [t], [call * loud])
            t += m / SR + gap * log_between(rng, 0.4, 3)
    return finished(rng, out, n)


SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))


def singing(rng: np.random.Generator, seconds: float) -> Samples:
    """Sung notes of a scale with vibrato and glides; alone, in parts or as a choir in a hall."""
    n, singers = count(seconds), int(rng.choice([1, 1, 1, 2, 4, 8]))
    scale, beat, low = SCALES[int(rng.integers(len(SCALES)))], between(rng, 0.25, 0.9), int(rng.integers(40, 60))
    steps = np.cumsum(rng.integers(-2, 3, 200))
    lengths = beat * rng.choice([0.5, 1, 1, 1, 2, 3], 200)
    vowels = [str(v) for v in rng.choice(list("aeiou@"), 200)]
    out = np.zeros(n)
    for k in range(singers):
        part = [0, 0, 2, 4, 7][k % 5] if singers > 2 else 0
        high = float(rng.random())
        out += _part(rng, n, low + 12 * round(high), scale, steps + part, lengths, vowels, 1 + 0.2 * high)
    if singers > 2 or chance(rng, 0.5):
        out = room(rng, out, between(rng, 0.4, 3), between(rng, 0.2, 0.8))
    return finished(rng, out, n)


def _part(
    rng: np.random.Generator,
    n: int,
    low: int,
    scale: Sequence[int],
    steps: np.ndarray,
    lengths: np.ndarray,
    vowels: list[str],
    tract: float,
) -> Floats:
    ends = np.cumsum(lengths)
    used = min(len(ends), int(np.searchsorted(ends, n / SR)) + 1)
    which = np.minimum(np.searchsorted(ends, np.arange(0, n, 48) / SR + 0.02 * rng.standard_normal()), used - 1)
    degree = np.mod(steps[which], 2 * len(scale))
    midi = low + np.asarray(scale)[degree % len(scale)] + 12 * (degree // len(scale))
    glide = np.convolve(np.pad(midi, 20, mode="edge"), np.hanning(41) / 20, mode="valid")
    pitch = np.interp(np.arange(n), np.arange(0, n, 48), glide)
    depth = between(rng, 0.05, 0.6) * curve(rng, n, 1, 0, 1)
    f0 = 440 * 2 ** ((pitch - 69 + depth * sine(np.full(n, between(rng, 4.8, 6.5)))) / 12)
    mouth = [vowels[i] for i in range(used) for _ in range(2)]
    times = np.sort([x * SR / n for i in range(used) for x in (ends[i] - 0.9 * lengths[i], ends[i] - 0.1 * lengths[i])])
    voice = voiced(rng, f0, mouth, tract, 0.02 + 0.1 * rng.random() ** 2, 0.0, list(times))
    since = np.arange(n) / SR - np.concatenate([[0], ends])[np.searchsorted(ends, np.arange(n) / SR).clip(max=used)]
    dip = 1 - between(rng, 0.1, 1.0) * np.exp(-since / 0.03)
    return np.asarray(voice * dip * curve(rng, n, 2, 0.5, 1), np.float64)


VOICE_RECIPES = {
    "singing": singing,
    "laughter": laughter,
    "scream": scream,
    "baby cry": baby_cry,
    "sneeze": sneeze,
    "dog": dog,
    "cat": cat,
    "rooster": rooster,
    "farm animal": farm_animal,
}
