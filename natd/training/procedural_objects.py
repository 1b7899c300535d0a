"""Things that are struck, rubbed, stepped on, broken or blown up: short noise and the modes of what was hit."""

from __future__ import annotations

import numpy as np

from natd.codec.mel import SR
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
    modes,
    noise,
    peaks,
    phase,
    placed,
    room,
    shaped,
    sine,
    spaced,
    unit,
)

# lowest and highest mode in Hz, ring in s, share of noise in the blow
MATERIALS = {
    "wood": (120, 2500, (0.02, 0.15), 0.5),
    "metal": (250, 9000, (0.2, 2.0), 0.2),
    "plastic": (200, 4000, (0.01, 0.08), 0.6),
    "stone": (400, 7000, (0.01, 0.06), 0.8),
    "drum": (50, 600, (0.08, 0.5), 0.4),
    "glass": (1200, 10_500, (0.05, 0.9), 0.25),
}


class Body:
    """An object of some material: its modes stay, each blow excites them anew."""

    def __init__(self, rng: np.random.Generator, material: str) -> None:
        low, high, ring, self.rasp = MATERIALS[material]
        size = log_between(rng, 0.7, 1.5)
        self.hz = sorted(log_between(rng, low, high) * size for _ in range(int(rng.integers(5, 14))))
        self.ring = [log_between(rng, *ring) * (self.hz[0] / f) ** 0.3 for f in self.hz]
        self.level = [between(rng, 0.2, 1) * (self.hz[0] / f) ** between(rng, 0, 0.6) for f in self.hz]

    def blow(self, rng: np.random.Generator, hard: float = 0.7) -> Floats:
        """One hit; `hard` 0 to 1 makes it brighter and the contact shorter."""
        level = [
            a * between(rng, 0.4, 1) * (self.hz[0] / f) ** (1 - hard) for a, f in zip(self.level, self.hz, strict=True)
        ]
        out = modes(rng, 1.1 * max(self.ring) + 0.05, self.hz, self.ring, level)
        m = count(between(rng, 0.002, 0.012) * (2 - hard))
        out[:m] += self.rasp * 3 * shaped(noise(rng, m), band(60, 500 * 22**hard, 1.2)) * decay(m, m / SR)
        return unit(out) * (0.5 + 0.5 * hard)


def clock_tick(rng: np.random.Generator, seconds: float) -> Samples:
    """Ticks 1 to 5 times a second, even as clockwork, every other one a little different (tick, tock)."""
    n, rate = count(seconds), float(rng.choice([1, 1, 2, 2, 4, 5])) * between(rng, 0.98, 1.02)
    both = [Body(rng, str(rng.choice(["plastic", "metal", "wood"]))) for _ in range(2)]
    ring, low = log_between(rng, 0.004, 0.06), log_between(rng, 300, 4000)
    for body in both:
        body.hz = [log_between(rng, low, min(9500.0, low * 5)) for _ in body.hz]
        body.ring = [ring * between(rng, 0.3, 1) for _ in body.hz]
    ticks = [body.blow(rng, between(rng, 0.4, 0.9)) for body in both]
    ticks[1] = ticks[0] if chance(rng, 0.5) else ticks[1] * between(rng, 0.4, 1)
    times, shift = np.arange(between(rng, 0, min(1 / rate, 0.5 * seconds)), seconds, 1 / rate), between(rng, 0.01, 0.06)
    grains = [ticks[k % 2] * between(rng, 0.85, 1) for k in range(len(times))]
    out = placed(n, times, grains)
    if chance(rng, 0.5):
        out += placed(n, times + shift, [g * between(rng, 0.1, 0.6) for g in reversed(grains)])
    if chance(rng, 0.5):
        out = room(rng, out, between(rng, 0.1, 0.8), 0.5 * rng.random())
    return finished(
        rng, out + gain(-80 + 50 * rng.random()) * np.max(np.abs(out)) * unit(noise(rng, n, between(rng, 1.5, 5))), n
    )


def knock(rng: np.random.Generator, seconds: float) -> Samples:
    """Knuckles on a door: groups of two to six blows 0.1 to 0.4 s apart, hollow wood."""
    n, body = count(seconds), Body(rng, str(rng.choice(["wood", "wood", "wood", "drum", "metal"])))
    t, times, grains = early(rng, seconds, 0.4), [], []
    while t < seconds:
        gap = between(rng, 0.1, 0.4)
        for _ in range(int(rng.integers(2, 7))):
            times.append(t)
            grains.append(body.blow(rng, between(rng, 0.0, 0.5)) * between(rng, 0.6, 1))
            t += gap * between(rng, 0.92, 1.08)
        t += log_between(rng, 0.4, 3)
    return finished(rng, room(rng, placed(n, times, grains), between(rng, 0.15, 1), 0.6 * rng.random()), n)


def footsteps(rng: np.random.Generator, seconds: float) -> Samples:
    """Steps 1.3 to 3.2 a second, heel then toe, on boards, stone, gravel, grass, snow or a metal stair."""
    n, gap = count(seconds), 1 / between(rng, 1.3, 3.2)
    ground = str(rng.choice(["boards", "stone", "gravel", "grass", "snow", "metal"]))
    body = Body(rng, {"boards": "drum", "stone": "stone", "metal": "metal"}.get(ground, "stone"))
    out = np.zeros(n)
    for t in spaced(rng, seconds, gap, 0.05):
        loud, hard = between(rng, 0.6, 1), between(rng, 0.2, 0.6 if ground == "boards" else 0.9)
        if ground in ("boards", "stone", "metal"):
            out += placed(
                n, [t, t + between(rng, 0.05, 0.15)], [body.blow(rng, hard) * loud, body.blow(rng, 0.3) * loud * 0.4]
            )
        else:
            out += placed(n, [t], [_crunch(rng, ground) * loud])
    return finished(rng, room(rng, out, between(rng, 0.15, 1.5), 0.5 * rng.random()), n)


def _crunch(rng: np.random.Generator, ground: str) -> Floats:
    """Grains that give way under a shoe: many small cracks in two swells."""
    m = count(between(rng, 0.15, 0.4))
    low, high, rate = {"gravel": (600, 9000, 1500), "grass": (1500, 9000, 4000), "snow": (300, 3500, 3000)}[ground]
    press = line(m, (0, 0.15, 0.4, 0.6, 1), (0, 1, 0.3, 0.7, 0))
    return unit(shaped(drizzle(rng, m, rate * press, 8), band(low * between(rng, 0.7, 1.4), high, 1)))


def glass(rng: np.random.Generator, seconds: float) -> Samples:
    """Glasses that clink, or a pane that breaks: a crack, then pieces that ring and fall for a second or two."""
    n, clink = count(seconds), chance(rng, 0.35)
    out, t = np.zeros(n), early(rng, seconds, 0.4)
    bodies = [Body(rng, "glass") for _ in range(6)]
    while t < seconds:
        if clink:
            out += placed(n, [t], [bodies[0].blow(rng, 0.9) * between(rng, 0.5, 1)])
            t += log_between(rng, 0.1, 1.5)
            continue
        m = count(0.08)
        out += placed(n, [t], [unit(shaped(noise(rng, m), band(800, 11_000, 1))) * decay(m, 0.08) * 3])
        fall = between(rng, 0.4, 2.0)
        shards = int(rng.integers(15, 80))
        times = t + fall * rng.random(shards) ** between(rng, 1.2, 2.5)
        grains = [bodies[i % 6].blow(rng, 0.95) * log_between(rng, 0.05, 1) for i in range(shards)]
        out += placed(n, times, grains)
        t += fall + log_between(rng, 0.5, 4)
    return finished(rng, room(rng, out, between(rng, 0.15, 1), 0.4 * rng.random()), n)


def impact(rng: np.random.Generator, seconds: float) -> Samples:
    """Things that fall, are thrown or hit each other: single blows, bounces, clatter, thuds and digging."""
    n, t = count(seconds), early(rng, seconds, 0.4)
    out = np.zeros(n)
    while t < seconds:
        body = Body(rng, str(rng.choice(["wood", "metal", "plastic", "stone", "drum"])))
        kind = str(rng.choice(["blow", "bounce", "clatter", "thud", "dig"]))
        if kind == "bounce":
            gap, keep, loud, at = between(rng, 0.15, 0.5), between(rng, 0.55, 0.85), 1.0, t
            while gap > 0.012:
                out += placed(n, [at], [body.blow(rng, 0.6) * loud])
                at, gap, loud = at + gap, gap * keep, loud * keep
            t = at
        elif kind == "clatter":
            times = t + between(rng, 0.2, 1) * np.sort(rng.random(int(rng.integers(4, 20))))
            out += placed(n, times, [body.blow(rng, rng.random()) * between(rng, 0.2, 1) for _ in times])
        elif kind == "dig":
            m = count(between(rng, 0.15, 0.5))
            scrape = drizzle(rng, m, log_between(rng, 800, 6000) * np.linspace(1, 0.1, m), 8)
            dig = shaped(scrape, band(log_between(rng, 200, 1500), log_between(rng, 3000, 10_000), 1))
            out += placed(n, [t, t], [unit(dig), body.blow(rng, 0.5) * between(rng, 0, 1)])
        else:
            m = count(between(rng, 0.08, 0.4))
            thud = unit(shaped(noise(rng, m), band(30, log_between(rng, 100, 600), 1))) * decay(m, m / SR, 0.003)
            out += placed(
                n,
                [t, t],
                [body.blow(rng, rng.random() ** 0.5) * (kind == "blow"), thud * (2 if kind == "thud" else 0.5)],
            )
        t += log_between(rng, 0.3, 3)
    return finished(rng, room(rng, out, between(rng, 0.15, 1.2), 0.5 * rng.random()), n)


def rubbed(rng: np.random.Generator, m: int) -> Floats:
    """Stick and slip: clicks whose rate wanders from single ticks to a squeal, through the modes of the body [m]."""
    low = log_between(rng, 8, 250)
    rate = low * 2.0 ** (curve(rng, m, between(rng, 1, 6), 0, between(rng, 0.5, 3)))
    rate = rate * (1 + 0.1 * curve(rng, m, 200, -1, 1))
    slips = (np.diff(np.floor(phase(rate)), prepend=0.0) > 0) * (0.6 + 0.4 * rng.random(m))
    body = [log_between(rng, 200, 10_000) for _ in range(10)]
    kernel = modes(rng, 0.08, body, [log_between(rng, 0.01, 0.08) for _ in body], [between(rng, 0.2, 1) for _ in body])
    return unit(convolved(slips, kernel)) * line(m, (0, 0.1, 0.85, 1), (0, 1, 1, 0)) * curve(rng, m, 8, 0.4, 1)


def creak(rng: np.random.Generator, seconds: float) -> Samples:
    """Hinges, floor boards, ropes and rusty metal, in pulls of 0.2 to 2 s."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.3), [], []
    while t < seconds:
        m = count(log_between(rng, 0.2, 2))
        times.append(t)
        grains.append(rubbed(rng, m) * between(rng, 0.5, 1))
        t += m / SR + log_between(rng, 0.1, 1.5)
    return finished(rng, room(rng, placed(n, times, grains), between(rng, 0.15, 1), 0.5 * rng.random()), n)


def door(rng: np.random.Generator, seconds: float) -> Samples:
    """Latch clicks, a swing that may creak, and the slam: a low thud with rattling metal; car and sliding doors too."""
    n, t = count(seconds), early(rng, seconds, 0.4)
    wood, lock = Body(rng, "drum"), Body(rng, "metal")
    lock.ring = [0.06 * between(rng, 0.2, 1) for _ in lock.ring]
    out = np.zeros(n)
    while t < seconds:
        for _ in range(int(rng.integers(1, 4))):
            out += placed(n, [t], [lock.blow(rng, 0.8) * between(rng, 0.15, 0.5)])
            t += between(rng, 0.04, 0.18)
        if chance(rng, 0.3):
            m = count(between(rng, 0.3, 1.2))
            out += placed(n, [t], [rubbed(rng, m) * between(rng, 0.1, 0.5)])
            t += m / SR
        elif chance(rng, 0.4):
            m = count(between(rng, 0.3, 1.0))
            slide = unit(shaped(noise(rng, m, 2), band(100, 3000, 1))) * np.sin(np.pi * np.linspace(0, 1, m))
            out += placed(n, [t], [slide * between(rng, 0.1, 0.4)])
            t += m / SR
        m = count(between(rng, 0.12, 0.5))
        thud = unit(shaped(noise(rng, m), band(35, log_between(rng, 150, 900), 1))) * decay(m, m / SR, 0.003)
        slam = between(rng, 0.6, 2)
        out += placed(
            n,
            [t, t, t + between(rng, 0.01, 0.08)],
            [thud * slam, wood.blow(rng, 0.4) * slam, lock.blow(rng, 0.8) * 0.4],
        )
        t += log_between(rng, 0.6, 4)
    return finished(rng, room(rng, out, between(rng, 0.2, 1.5), 0.5 * rng.random()), n)


def applause(rng: np.random.Generator, seconds: float) -> Samples:
    """Claps of 3 to 300 pairs of hands, each with its own sound and rate of 2 to 5 a second; swells, or in time."""
    n, people = count(seconds), int(log_between(rng, 3, 300))
    together = chance(rng, 0.15)
    beat = between(rng, 1.6, 3.2)
    claps = [_clap(rng) for _ in range(min(people, 24))]
    train = [np.zeros(n) for _ in claps]
    for person in range(people):
        rate = beat if together else between(rng, 2.2, 5.2)
        jitter = 0.02 if together else 0.08
        times = np.cumsum(1 / rate * (1 + jitter * rng.standard_normal(int(seconds * rate) + 3)))
        times = times - times[0] + (0.03 * rng.standard_normal() if together else -rng.random() / rate)
        at = (times * SR).astype(int)
        at = at[(at >= 0) & (at < n)]
        train[person % len(claps)][at] += log_between(rng, 0.15, 1) * rng.uniform(0.7, 1, len(at))
    out = np.sum([convolved(x, clap) for x, clap in zip(train, claps, strict=True)], 0)
    if chance(rng, 0.5):
        out = out * curve(rng, n, 0.4, 0.2, 1)
    out = room(rng, out, between(rng, 0.2, 2.5), between(rng, 0.1, 1.2))
    return finished(rng, out, n)


def _clap(rng: np.random.Generator) -> Floats:
    m = count(between(rng, 0.006, 0.03))
    hollow = log_between(rng, 600, 2800)  # the air between the palms
    burst = rng.standard_normal(m) * decay(m, m / SR * between(rng, 0.5, 1), 0.0004)
    return unit(shaped(burst, lambda f: 0.25 + peaks([hollow, hollow * 2.3], between(rng, 1, 3))(f))) * np.exp(
        -np.linspace(0, 3, m)
    )


def gun(rng: np.random.Generator, seconds: float) -> Samples:
    """Shots: a crack that is over in milliseconds, the low push of the muzzle gas, echoes; single or bursts."""
    n, t, times, grains = count(seconds), early(rng, seconds, 0.5), [], []
    burst, gap = int(rng.choice([1, 1, 1, 2, 5, 12])), 1 / between(rng, 6, 16)
    far, fall = rng.random(), log_between(rng, 0.06, 0.5)
    while t < seconds:
        for _ in range(burst):
            m = count(fall * 1.5)
            crack = noise(rng, m) * decay(m, fall * 0.25, 0.0003)
            push = shaped(noise(rng, m, 2), band(80, log_between(rng, 300, 2500), 1)) * decay(m, fall, 0.002)
            shot = unit(crack) * (1 - 0.8 * far) + unit(push) * between(rng, 0.1, 0.8)
            shot[: count(0.001)] += 4 * (1 - far)
            times.append(t)
            grains.append(shaped(np.tanh(shot * between(rng, 0.5, 3)), band(30, 11_000 - 9000 * far, 1)))
            t += gap * between(rng, 0.97, 1.03)
        t += log_between(rng, 0.4, 3)
    out = placed(n, times, grains)
    for _ in range(int(rng.integers(0, 4))):
        delay = count(between(rng, 0.08, 0.7))
        if delay < n:
            echo = shaped(out, band(60, 2000, 1)) * between(rng, 0.05, 0.4)
            out[delay:] += echo[:-delay]
    return finished(rng, room(rng, out, log_between(rng, 0.3, 3), between(rng, 0.1, 1)), n)


def explosion(rng: np.random.Generator, seconds: float) -> Samples:
    """A blast wave and a roar that darkens as it dies, debris after it; or fireworks: whistle, bang, crackle."""
    n, t = count(seconds), early(rng, seconds, 0.4)
    out, fireworks = np.zeros(n), chance(rng, 0.4)
    while t < seconds:
        fall = between(rng, 0.3, 1.2) if fireworks else log_between(rng, 0.8, 5)
        m = count(fall)
        if fireworks and chance(rng, 0.4):
            k = count(between(rng, 0.4, 1.2))
            rise = sine(np.linspace(between(rng, 1200, 2500), between(rng, 2500, 5000), k)) + 0.3 * noise(rng, k)
            out += placed(n, [t], [0.2 * rise * np.linspace(0.3, 1, k)])
            t += k / SR + 0.1
        bright = shaped(noise(rng, m), band(80, log_between(rng, 500, 4000), 1.5)) * decay(m, fall * 0.3, 0.002)
        dark = unit(shaped(noise(rng, m, 4), band(20, log_between(rng, 80, 400), 1))) * decay(m, fall, 0.01)
        blast = np.tanh(
            between(rng, 1, 4) * (unit(bright) * log_between(rng, 0.03, 0.7) + 2 * dark) * decay(m, 2 * fall, 0.001)
        )
        out += placed(n, [t], [blast * between(rng, 0.5, 1)])
        if chance(rng, 0.5):
            k = count(between(rng, 0.5, 2))
            grain = [rng.standard_normal(g) * decay(g, g / SR) for g in (40, 120, 300)]
            debris = hits(rng, k, log_between(rng, 30, 400) * np.linspace(1, 0, k), 7, grain)
            out += placed(n, [t + between(rng, 0.05, 0.5)], [debris * between(rng, 0.02, 0.15)])
        t += fall * between(rng, 0.3, 1) + log_between(rng, 0.1, 3) * (0.4 if fireworks else 1)
    return finished(rng, room(rng, out, log_between(rng, 0.5, 3), 0.6 * rng.random(), 2.0), n)


OBJECT_RECIPES = {
    "applause": applause,
    "clock tick": clock_tick,
    "door": door,
    "knock": knock,
    "footsteps": footsteps,
    "glass": glass,
    "impact": impact,
    "creak": creak,
    "gun": gun,
    "explosion": explosion,
}
