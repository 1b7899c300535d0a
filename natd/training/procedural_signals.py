"""Alarms, bells, horns and synthesizer music: what loudspeakers, bells and reeds make on purpose."""

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
    modes,
    noise,
    peaks,
    phase,
    placed,
    room,
    saw,
    shaped,
    sine,
    swept,
    unit,
)


def alarm(rng: np.random.Generator, seconds: float) -> Samples:
    """Beeps, smoke detectors, two-tone and wailing sirens, clock and reversing alarms, telephones."""
    n, kind = (
        count(seconds),
        str(rng.choice(["beep", "beep", "smoke", "two-tone", "wail", "yelp", "phone", "clock", "air raid"])),
    )
    t = np.arange(n) / SR
    base = log_between(rng, 400, 3200)
    if kind in ("wail", "yelp", "air raid"):
        rate = {"wail": between(rng, 0.1, 0.4), "yelp": between(rng, 2, 5), "air raid": between(rng, 0.05, 0.2)}[kind]
        sweep = 0.5 - 0.5 * np.cos(2 * np.pi * (rate * t + rng.random()))
        low = between(rng, 250, 700)
        out = _speaker(rng, low * between(rng, 1.8, 3) ** (sweep if chance(rng, 0.7) else np.mod(rate * t, 1)))
    elif kind == "two-tone":
        switch = np.mod(t * between(rng, 0.8, 3), 1) < 0.5
        out = _speaker(rng, np.where(switch, base * 0.5, base * 0.5 * between(rng, 1.15, 1.5)))
    elif kind == "phone":
        out = _phone(rng, n)
    else:
        if kind == "smoke":
            base, period, beeps, on = between(rng, 2800, 3500), between(rng, 1.5, 4), 3, 0.5
        elif kind == "clock":
            base, period, beeps, on = between(rng, 1200, 4100), between(rng, 0.7, 1.2), 4, 0.07
        else:
            period = log_between(rng, 0.15, 2)
            beeps, on = 1, between(rng, 0.25, 0.6) * period
        step = min(on * 2, period / (beeps + 0.5))
        since = np.mod(t + between(rng, 0, period * 0.3), period)
        gate = (since < beeps * step) & (np.mod(since, step) < min(on, step * 0.7))
        soft = np.convolve(gate.astype(float), np.ones(48) / 48, mode="same")
        out = _speaker(rng, np.full(n, base)) * soft
    if chance(rng, 0.4):
        out = room(rng, out, between(rng, 0.2, 2), 0.7 * rng.random())
    return finished(rng, out, n)


def _speaker(rng: np.random.Generator, hz: Floats) -> Floats:
    """A tone as piezo buzzers, horns and small speakers give it: sine, square or buzz through a resonance."""
    kind = int(rng.integers(3))
    tone = sine(hz) if kind == 0 else np.tanh(between(rng, 1, 5) * sine(hz)) if kind == 1 else saw(hz)
    centre = log_between(rng, 800, 4000)
    return unit(shaped(tone, lambda f: 0.2 + peaks([centre], 1.5)(f)))


def _phone(rng: np.random.Generator, n: int) -> Floats:
    """A bell with a clapper 20 times a second, an electronic warble, or a ring or dial tone in the line."""
    t, kind = np.arange(n) / SR, int(rng.integers(4))
    ring = (np.mod(t + between(rng, 0, 0.8), between(rng, 3, 6)) < between(rng, 1, 2)).astype(float)
    if kind == 0:
        hz = [between(rng, 900, 1800) * r for r in (1, 1.19, 2.4, 2.9, 4.4)]
        stroke = modes(rng, 0.5, hz, [0.7] * 5, [1, 0.8, 0.5, 0.4, 0.2])
        times = [x for x in np.arange(0, n / SR, 1 / between(rng, 18, 26)) if ring[min(n - 1, int(x * SR))]]
        return placed(n, times, [stroke] * len(times))
    if kind == 1:
        warble = np.mod(t * between(rng, 10, 25), 1) < 0.5
        rung = np.where(warble, 1.0, between(rng, 1.15, 1.4)) * between(rng, 600, 2000)
        return np.asarray(np.tanh(2 * sine(rung)) * ring, np.float64)
    if kind == 2:
        a, b = (350.0, 440.0) if chance(rng, 0.5) else (440.0, 480.0)
        return np.asarray((np.sin(2 * np.pi * a * t) + np.sin(2 * np.pi * b * t)) * (np.ones(n) if a < 400 else ring))
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    every = between(rng, 0.12, 0.4)
    key = (t / every).astype(int) % 16
    low, high = rng.choice(rows, 16)[key], rng.choice(columns, 16)[key]
    return np.asarray((np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)) * (np.mod(t, every) < every * 0.6))


# frequencies of the partials in units of the strike note: a church bell has a minor third; bars and shells differ
CHURCH = (0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17, 5.43, 6.8)
HAND = (1.0, 2.0, 2.76, 3.0, 4.07, 5.4, 6.2, 8.93)
BAR = (1.0, 2.76, 5.40, 8.93)


def bell(rng: np.random.Generator, seconds: float) -> Samples:
    """Church bells, hand bells, doorbells (ding-dong), bicycle and jingle bells, chimes: inharmonic, long ringing."""
    n, kind = count(seconds), str(rng.choice(["church", "church", "hand", "doorbell", "bicycle", "jingle", "chime"]))
    low, high, ring, partials, gap = {
        "church": (110, 700, (2, 12), CHURCH, (0.6, 3)),
        "hand": (500, 2500, (0.8, 4), HAND, (0.15, 0.8)),
        "doorbell": (350, 900, (0.8, 2.5), BAR, (0.4, 0.9)),
        "bicycle": (1500, 3500, (0.4, 1.2), HAND, (0.06, 0.3)),
        "jingle": (2500, 6000, (0.05, 0.3), BAR, (0.03, 0.15)),
        "chime": (400, 2500, (1, 5), BAR, (0.2, 1)),
    }[kind]
    strike = log_between(rng, low, high)
    voices = []
    for k in range({"church": int(rng.choice([1, 1, 2, 4])), "jingle": 6, "chime": 5, "doorbell": 2}.get(kind, 1)):
        step = 0.79 if kind == "doorbell" and k else 1.0 if k == 0 else 2.0 ** (float(rng.integers(-7, 8)) / 12)
        hz = [strike * step * p * (1 + 0.004 * rng.standard_normal()) for p in partials]
        hz += [f * 1.003 for f in hz[:4]]  # doublets: no bell is quite round, so it beats
        rings = [log_between(rng, *ring) * (hz[0] / f) ** 0.6 for f in hz]
        voice = modes(
            rng, min(seconds + 1, max(rings)), hz, rings, [between(rng, 0.3, 1) * (hz[0] / f) ** 0.3 for f in hz]
        )
        voice[: count(0.003)] += 0.5 * rng.standard_normal(len(voice[: count(0.003)]))
        voices.append(voice)
    t, k = early(rng, seconds, 0.3), 0
    every = between(rng, *gap)
    out = np.zeros(n)
    while t < seconds:
        which = k % len(voices) if kind in ("doorbell", "church") else int(rng.integers(len(voices)))
        out += placed(n, [t], [voices[which] * between(rng, 0.6, 1)])
        k += 1
        t += every * between(rng, 0.9, 1.1) + (
            between(rng, 0.5, 3) if kind in ("doorbell", "bicycle") and k % 2 == 0 else 0
        )
    return finished(rng, room(rng, out, between(rng, 0.3, 3), 0.4 * rng.random()), n)


def horn(rng: np.random.Generator, seconds: float) -> Samples:
    """Car horns (two reeds a third apart), train horns (chords), ship horns (70 to 200 Hz), bulb horns."""
    n, kind = count(seconds), str(rng.choice(["car", "car", "train", "ship", "bulb"]))
    low, high, ratios, length = {
        "car": (320, 520, (1, 1.25), (0.1, 1.5)),
        "train": (220, 400, (1, 1.19, 1.5, 1.68), (0.6, 3)),
        "ship": (65, 200, (1, 1.02), (1.5, 5)),
        "bulb": (250, 600, (1,), (0.1, 0.4)),
    }[kind]
    base, nasal, t = log_between(rng, low, high), log_between(rng, 900, 3500), early(rng, seconds, 0.4)
    out = np.zeros(n)
    while t < seconds:
        m = count(log_between(rng, *length))
        env = line(m, (0, 0.03, 0.95, 1), (0, 1, 1, 0))
        bend = 1 - 0.06 * np.exp(-np.arange(m) / SR / 0.04)
        hz = base * bend * curve(rng, m, 10, 0.998, 1.002)
        blast = sum((saw(hz * r * (1 + 0.003 * rng.standard_normal())) for r in ratios), np.zeros(m))
        out += placed(n, [t], [(blast + 0.1 * noise(rng, m)) * env])
        t += m / SR + log_between(rng, 0.08, 2.5)
    out = shaped(out, lambda f: 0.15 + peaks([nasal, base * 2], 2)(f))
    return finished(rng, room(rng, out, log_between(rng, 0.2, 3), 0.8 * rng.random()), n)


MINOR = (0, 2, 3, 5, 7, 8, 10)


def electronic_music(rng: np.random.Generator, seconds: float) -> Samples:
    """Loops of 85 to 175 beats a minute: kick, hats, clap, bass, pad, arpeggio, acid; or a drone without beat."""
    n = count(seconds)
    root = 27.5 * 2.0 ** (float(rng.integers(3, 17)) / 12)
    chords = [int(MINOR[int(i)]) for i in rng.choice(7, 4)]
    if chance(rng, 0.2):
        return finished(rng, _drone(rng, n, root), n)
    step = 15 / between(rng, 85, 175)
    out = np.zeros(n)
    if chance(rng, 0.8):
        out += _drums(rng, n, step)
    parts = [_bass, _pad, _arpeggio, _acid]
    for maker in [parts[int(i)] for i in rng.permutation(4)[: int(rng.integers(1, 4))]]:
        out += maker(rng, n, step, root, chords) * between(rng, 0.3, 1)
    if chance(rng, 0.5):
        out = np.tanh(between(rng, 0.5, 2) * out)
    return finished(rng, out, n)


def _drums(rng: np.random.Generator, n: int, step: float) -> Floats:
    """Kick (a falling sine), hats (short bright noise) and clap on a grid of sixteenths."""
    m = count(0.35)
    t = np.arange(m) / SR
    kick = np.sin(
        2 * np.pi * np.cumsum(between(rng, 42, 60) + between(rng, 80, 300) * np.exp(-t / 0.025)) / SR
    ) * np.exp(-t / 0.11)
    h, c = count(0.06), count(0.15)
    hat = unit(shaped(noise(rng, h), band(6000, 12_000))) * decay(h, between(rng, 0.03, 0.2)) * 0.3
    clap = unit(shaped(noise(rng, c), band(700, 6000))) * decay(c, 0.15) * 0.5
    grid = np.arange(0, n / SR, step)
    four = chance(rng, 0.65)
    kicks = {0, 4, 8, 12} if four else set(int(i) for i in rng.choice(16, 4)) | {0}
    hats = set(range(2, 16, 4)) if chance(rng, 0.5) else set(range(0, 16, int(rng.choice([1, 2]))))
    out = np.zeros(n)
    for steps, hit in ((kicks, kick), (hats, hat), ({4, 12}, clap)):
        times = [t for i, t in enumerate(grid) if i % 16 in steps]
        out += placed(n, times, [hit] * len(times))
    return out


def _notes(rng: np.random.Generator, n: int, step: float, hz: Sequence[float], hold: float) -> tuple[Floats, Floats]:
    """Frequency and envelope curves of one note per step; 0 Hz rests."""
    position = np.arange(n) / SR / step
    table = np.asarray(hz)[(position.astype(int)) % len(hz)]
    since = np.mod(position, 1) * step
    env = np.exp(-since / hold) * np.minimum(1, since / 0.003) * (table > 0)
    return np.maximum(table, 20.0), env


def _bass(rng: np.random.Generator, n: int, step: float, root: float, chords: Sequence[int]) -> Floats:
    pattern = rng.choice([0, 1, 1, 2], 16)
    hz = [root * float(p) * 2.0 ** (chords[bar] / 12) for bar in range(4) for p in pattern]
    f, env = _notes(rng, n, step, hz, between(rng, 0.05, 0.3))
    return unit(shaped(saw(f) * env, band(30, log_between(rng, 200, 2000), 2)))


def _pad(rng: np.random.Generator, n: int, step: float, root: float, chords: Sequence[int]) -> Floats:
    bar = (np.arange(n) / SR / (16 * step)).astype(int) % 4
    base = 4 * root * 2.0 ** (np.asarray(chords)[bar] / 12)
    out = np.zeros(n)
    for third in (0, 3, 7):
        for detune in (0.994, 1.006):
            out += saw(base * 2.0 ** (third / 12) * detune * curve(rng, n, 0.5, 0.999, 1.001))
    pump = np.mod(np.arange(n) / SR / (4 * step), 1) ** between(rng, 0, 1)
    return unit(shaped(out, band(100, log_between(rng, 500, 6000), 2))) * pump


def _arpeggio(rng: np.random.Generator, n: int, step: float, root: float, chords: Sequence[int]) -> Floats:
    up = [0, 3, 7, 12, 15, 12, 7, 3]
    hz = [8 * root * 2.0 ** ((c + up[int(i) % 8]) / 12) for c in chords for i in rng.permutation(16)]
    f, env = _notes(rng, n, step * float(rng.choice([1, 1, 2])), hz, between(rng, 0.03, 0.25))
    tone = (
        np.sign(sine(f))
        if chance(rng, 0.5)
        else saw(f)
        if chance(rng, 0.5)
        else sine(f + f * between(rng, 0, 3) * sine(2 * f))
    )
    dry = shaped(tone * env, band(100, 9000, 1))
    late = min(n - 1, count(3 * step))
    return unit(dry + 0.5 * np.concatenate([np.zeros(late), dry[:-late]]))


def _acid(rng: np.random.Generator, n: int, step: float, root: float, chords: Sequence[int]) -> Floats:
    notes = rng.choice([0, 0, 3, 5, 7, 10, 12], 16)
    f, env = _notes(rng, n, step, [2 * root * 2.0 ** (float(k) / 12) for k in notes], between(rng, 0.08, 0.4))
    cutoff = (log_between(rng, 200, 600) * 2.0 ** (curve(rng, n, 0.5, 0, 3) + 1.5 * env))[::240]
    q = between(rng, 3, 12)

    def filtered(t: Floats, hz: Floats) -> Floats:
        ratio = hz / cutoff[np.clip((t[:, 0] * 100).astype(int), 0, len(cutoff) - 1)][:, None]
        return np.asarray(1 / np.sqrt((1 - ratio**2) ** 2 + (ratio / q) ** 2), np.float64)

    return unit(swept(saw(f) * np.maximum(env, 0.05), filtered))


def _drone(rng: np.random.Generator, n: int, root: float) -> Floats:
    out = np.zeros(n)
    for ratio in (1, 1.5, 2, 3, 4):
        hz = 2 * root * ratio * curve(rng, n, 0.3, 0.996, 1.004)
        out += (saw(hz) if chance(rng, 0.5) else sine(hz)) * curve(rng, n, 0.4, 0.1, 1) / ratio
    shimmer = unit(shaped(noise(rng, n), peaks([root * k for k in (8, 12, 16, 24)], 30)))
    out = unit(out) + gain(-30 + 25 * rng.random()) * shimmer
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * phase(curve(rng, n, 0.5, 0.05, 0.5)))
    return room(rng, shaped(out, band(40, log_between(rng, 800, 8000), 1)) * swell, between(rng, 1, 4), 0.8)


SIGNAL_RECIPES = {"alarm": alarm, "bell": bell, "horn": horn, "electronic music": electronic_music}
