"""Machines, and the steady noises: engines by their firing rate, rotors by their blades, motors by their whine."""

from __future__ import annotations

import math

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
    finished,
    gain,
    line,
    log_between,
    modes,
    noise,
    normal,
    peaks,
    phase,
    placed,
    room,
    saw,
    shaped,
    sine,
    spaced,
    swept,
    unit,
)


def firing(rng: np.random.Generator, rate_hz: Floats, cylinders: int, pulse_s: float, rough: float) -> Floats:
    """Exhaust pulses of a piston engine: `rate_hz` a second, each cylinder a bit different, each pulse a bit off."""
    cycles = phase(rate_hz)
    fires = np.flatnonzero(np.diff(np.floor(cycles), prepend=0.0) > 0)
    own = 1 + 0.35 * rng.standard_normal(cylinders)
    pulses = np.zeros(len(rate_hz))
    late = (rough * 0.1 * SR / np.maximum(rate_hz[fires], 1) * rng.standard_normal(len(fires))).astype(int)
    at = np.clip(fires + late, 0, len(rate_hz) - 1)
    pulses[at] = own[np.arange(len(fires)) % cylinders] * (1 + rough * 0.4 * rng.standard_normal(len(fires)))
    m = count(pulse_s * 5)
    t = np.arange(m) / SR
    shape = np.exp(-t / pulse_s) * np.sin(2 * np.pi * t / (pulse_s * between(rng, 2, 4)))
    puff = np.exp(-t / pulse_s) * rng.standard_normal(m)
    return unit(convolved(pulses, shape)) + rough * 0.4 * unit(convolved(np.abs(pulses), puff))


def pipe(rng: np.random.Generator, x: Floats, low: float, high: float) -> Floats:
    """The sound through the resonances of an exhaust or body."""
    centres = [log_between(rng, low, high) for _ in range(6)]
    return shaped(x, lambda f: 0.15 + peaks(centres, between(rng, 1, 5), [between(rng, 0.3, 1) for _ in centres])(f))


def revs(rng: np.random.Generator, n: int, idle: float, top: float) -> Floats:
    """Engine speed: steady, revved or changing gear, between idle and top."""
    kind = int(rng.integers(3))
    if kind == 0:
        return log_between(rng, idle, top) * curve(rng, n, 3, 0.98, 1.02)
    if kind == 1:
        return idle + (top - idle) * curve(rng, n, between(rng, 0.5, 1.5), -0.3, 1).clip(0) * between(rng, 0.4, 1)
    gear = np.mod(np.arange(n) / SR / between(rng, 1.5, 4) + rng.random(), 1)
    return idle + (top - idle) * (0.3 + 0.7 * gear) * curve(rng, n, 4, 0.98, 1.02)


def engine(rng: np.random.Generator, seconds: float) -> Samples:
    """Car, lorry, motorcycle or boat: firing of 1 to 8 cylinders, body resonances, whine, rattle and road noise."""
    n, cylinders = count(seconds), int(rng.choice([1, 2, 3, 4, 4, 6, 8]))
    turns = revs(rng, n, between(rng, 8, 16), between(rng, 25, 90))
    rough = between(rng, 0.1, 1.0)
    out = firing(rng, turns * cylinders / 2, cylinders, log_between(rng, 0.001, 0.006), rough)
    out = unit(pipe(rng, out, 50, 1200)) + rough * 0.3 * unit(pipe(rng, out, 600, 4000))
    mesh = sine(np.minimum(turns * between(rng, 8, 40), 9000))
    out += gain(-40 + 25 * rng.random()) * mesh
    road = unit(shaped(noise(rng, n, 3), band(30, log_between(rng, 500, 5000), 1)))
    return finished(rng, out + gain(-34 + 32 * rng.random()) * road * curve(rng, n, 2, 0.6, 1), n)


def chainsaw(rng: np.random.Generator, seconds: float) -> Samples:
    """A two-stroke at 40 (idle) to 200 turns a second, raspy, with the rattle of the chain; it bogs in the wood."""
    n, top = count(seconds), between(rng, 100, 210)
    idle = between(rng, 35, 60)
    kind = int(rng.integers(3))
    load = {0: np.ones(n), 1: np.clip(curve(rng, n, 1.2, -1.2, 1.8), 0, 1), 2: np.clip(curve(rng, n, 3, 0, 2), 0.2, 1)}[
        kind
    ]
    turns = (idle + (top - idle) * load) * curve(rng, n, 10, 0.96, 1.04)
    out = firing(rng, turns, 1, log_between(rng, 0.0006, 0.002), between(rng, 0.3, 0.8))
    out = unit(pipe(rng, np.tanh(1.5 * out), 150, 4500))
    chain = (
        unit(shaped(noise(rng, n), band(1200, 9000, 1))) * (0.5 + 0.5 * np.maximum(0, sine(turns * 2))) * (0.2 + load)
    )
    rattle = gain(-22 + 18 * rng.random()) * unit(noise(rng, n, between(rng, 1, 4))) * curve(rng, n, 8, 0.3, 1)
    return finished(rng, (out + gain(-16 + 17 * rng.random()) * chain + rattle) * (0.15 + 0.85 * load), n)


def helicopter(rng: np.random.Generator, seconds: float) -> Samples:
    """Blades that pass 8 to 30 times a second: thump and swish, with a turbine's whine and gear noise."""
    n = count(seconds)
    rate = log_between(rng, 8, 30) * curve(rng, n, 0.5, 0.98, 1.02)
    t = np.mod(phase(rate), 1)
    sharp = log_between(rng, 3, 25)
    slap = np.exp(-sharp * t) * (1 - np.exp(-40 * t))
    thump = unit(shaped(slap - slap.mean(), band(20, log_between(rng, 120, 1200), 1)))
    steady = log_between(rng, 0.15, 4)
    wash = shaped(noise(rng, n, between(rng, 1, 4)), band(50, log_between(rng, 400, 4000), 1))
    swish = unit(wash * (steady + slap / slap.max()))
    whine = sum((rng.random() * sine(np.full(n, log_between(rng, 500, 7000))) for _ in range(3)), np.zeros(n))
    out = (
        log_between(rng, 0.1, 1.5) * thump * curve(rng, n, 3, 0.5, 1)
        + swish * between(rng, 0.4, 1.5)
        + gain(-45 + 28 * rng.random()) * whine
    )
    out += gain(-24 + 22 * rng.random()) * unit(noise(rng, n, 5))
    return finished(rng, out * passing(rng, n), n)


def passing(rng: np.random.Generator, n: int) -> Floats:
    """Level of something that stays, comes, goes or passes by [n]."""
    if chance(rng, 0.5):
        return np.ones(n)
    t, near = np.linspace(-1, 1, n) - between(rng, -1, 1), log_between(rng, 0.1, 1)
    return near / np.sqrt(near**2 + t**2)


def aircraft(rng: np.random.Generator, seconds: float) -> Samples:
    """A jet (roar and falling fan whine), a propeller (buzz of its blades), or a cabin."""
    n, kind = count(seconds), str(rng.choice(["jet", "jet", "propeller", "cabin"]))
    if kind == "propeller":
        blades = (
            log_between(rng, 55, 160)
            * curve(rng, n, 0.4, 0.97, 1.03)
            * line(n, (0, 1), (1.05, between(rng, 0.85, 1.05)))
        )
        out = unit(pipe(rng, firing(rng, blades, 3, 0.0015, 0.3), 80, 2500))
        second = unit(firing(rng, blades * between(rng, 0.97, 1.03), 3, 0.002, 0.3))
        out = out + between(rng, 0, 0.7) * second + 0.3 * unit(shaped(noise(rng, n, 3), band(40, 2000, 1)))
        return finished(rng, out * passing(rng, n), n)
    knee = line(n, (0, 0.5, 1), (log_between(rng, 150, 1500), log_between(rng, 200, 3000), log_between(rng, 100, 800)))[
        ::240
    ]

    def roar(t: Floats, f: Floats) -> Floats:
        k = knee[np.clip((t[:, 0] * 100).astype(int), 0, len(knee) - 1)][:, None]
        return np.asarray(1 / (1 + (f / k) ** between(rng, 1.2, 1.9)), np.float64)

    out = unit(swept(noise(rng, n, between(rng, 1, 4)), roar)) * curve(rng, n, 6, 0.75, 1)
    if kind == "cabin":
        out = unit(shaped(out, band(40, 600, 0.8)))
    fan = log_between(rng, 900, 5000) * line(n, (0, 0.5, 1), (1.1, 1, between(rng, 0.7, 1)))
    buzz = (
        sine(fan) + 0.5 * sine(np.minimum(2 * fan, 11_000)) + 0.6 * unit(shaped(noise(rng, n), peaks([fan.mean()], 8)))
    )
    level = gain(-40 if kind == "cabin" else -30 + 24 * rng.random())
    return finished(rng, (out + level * buzz) * (np.ones(n) if kind == "cabin" else passing(rng, n)), n)


def train(rng: np.random.Generator, seconds: float) -> Samples:
    """Wheels over rail joints in pairs, rolling noise, a motor's whine or steam, squeals in curves."""
    n = count(seconds)
    roll = unit(shaped(noise(rng, n, 2), band(40, log_between(rng, 600, 4000), 1))) * curve(rng, n, 3, 0.6, 1)
    out = roll * gain(-14 + 12 * rng.random())
    gap, pair = log_between(rng, 0.35, 1.6), between(rng, 0.1, 0.3)
    modes_hz = [log_between(rng, 60, 2500) for _ in range(8)]
    for t in spaced(rng, seconds + gap, gap, 0.03, -gap * rng.random()):
        for k in range(4 if chance(rng, 0.7) else 2):
            clack = modes(rng, 0.15, modes_hz, [between(rng, 0.04, 0.12)] * 8, [between(rng, 0.2, 1)] * 8)
            clack += unit(shaped(noise(rng, len(clack)), band(100, 3000))) * decay(len(clack), 0.05) * 2
            out += placed(n, [t + (k % 2) * pair * 0.35 + (k // 2) * pair], [clack * between(rng, 0.1, 0.35)])
    kind = int(rng.integers(4))
    if kind == 0:
        out += gain(-26 + 20 * rng.random()) * saw(log_between(rng, 90, 700) * curve(rng, n, 0.4, 0.8, 1.2))
    elif kind == 1:
        chuff = np.mod(phase(log_between(rng, 1.5, 9) * curve(rng, n, 0.3, 0.9, 1.1)), 1)
        out += between(rng, 0.3, 1.5) * unit(shaped(noise(rng, n), band(150, 4000, 1)) * np.exp(-4 * chuff))
    elif kind == 2:
        squeal = sum((sine(log_between(rng, 1500, 6000) * curve(rng, n, 3, 0.99, 1.01)) for _ in range(3)), np.zeros(n))
        out += gain(-30 + 24 * rng.random()) * squeal * np.clip(curve(rng, n, 1, -1, 1), 0, 1)
    return finished(rng, out * passing(rng, n), n)


def tool(rng: np.random.Generator, seconds: float) -> Samples:
    """Drill, grinder, vacuum cleaner, hand saw, hammer, ratchet or sewing machine."""
    n, kind = count(seconds), str(rng.choice(["motor", "motor", "grinder", "vacuum", "saw", "hammer", "ratchet"]))
    if kind in ("motor", "grinder", "vacuum"):
        return finished(rng, _motor(rng, n, kind), n)
    if kind == "saw":
        stroke = np.mod(np.arange(n) / SR * between(rng, 1, 5), 1)
        teeth = 0.5 + 0.5 * np.maximum(0, sine(between(rng, 60, 300) * (0.3 + np.sin(np.pi * stroke))))
        body = pipe(rng, unit(shaped(noise(rng, n), band(500, 7000, 1))) * teeth, 400, 6000)
        return finished(rng, body * np.sin(np.pi * stroke) ** 2 * (0.6 + 0.4 * (stroke > 0.5)), n)
    gap = log_between(rng, 0.25, 0.9) if kind == "hammer" else log_between(rng, 0.02, 0.12)
    hz = [log_between(rng, 200 if kind == "hammer" else 1200, 8000) for _ in range(8)]
    ring = log_between(rng, 0.03, 0.5) if kind == "hammer" else 0.015
    out = np.zeros(n)
    for t in spaced(rng, seconds, gap, 0.06):
        blow = modes(rng, ring * 1.2, hz, [ring * between(rng, 0.3, 1) for _ in hz], [between(rng, 0.1, 1) for _ in hz])
        blow[: count(0.004)] += 2 * rng.standard_normal(len(blow[: count(0.004)]))
        out += placed(n, [t], [blow * between(rng, 0.6, 1)])
    return finished(rng, room(rng, out, between(rng, 0.15, 0.8), 0.5 * rng.random()), n)


def _motor(rng: np.random.Generator, n: int, kind: str) -> Floats:
    """A universal motor: whine of its commutator and gears, brush and air noise, runs and stops."""
    on = np.ones(n) if kind == "vacuum" or chance(rng, 0.4) else (curve(rng, n, 0.8, -0.7, 1) > 0).astype(float)
    m = count(between(rng, 0.1, 0.6))
    speed = np.convolve(np.pad(on, (m, 0), mode="edge"), np.ones(m) / m, mode="valid")[:n] if m < 400 else _lag(on, m)
    load = 1 - 0.15 * np.clip(curve(rng, n, 2, -1, 1), 0, 1)
    hz = np.maximum(log_between(rng, 90, 500) * speed * load * curve(rng, n, 20, 0.99, 1.01), 5)
    whine = pipe(rng, saw(hz) + 0.5 * saw(np.minimum(hz * between(rng, 5, 13), 9000)), 300, 6000)
    air = unit(shaped(noise(rng, n), band(log_between(rng, 150, 800), log_between(rng, 2500, 10_000), 1)))
    scrape = unit(shaped(noise(rng, n), peaks([log_between(rng, 1500, 8000) for _ in range(4)], 6))) * (load < 0.97)
    mix = {"motor": (1.0, -20.0, -12.0), "grinder": (0.8, -12.0, 0.0), "vacuum": (0.5, 0.0, -60.0)}[kind]
    return (unit(whine) * mix[0] + gain(mix[1] + 5 * rng.standard_normal()) * air + gain(mix[2]) * scrape) * speed**1.5


def _lag(x: Floats, m: int) -> Floats:
    total = np.cumsum(np.concatenate([np.full(m, x[0]), x]))
    return np.asarray((total[m:] - total[:-m])[: len(x)] / m, np.float64)


def hiss(rng: np.random.Generator, seconds: float) -> Samples:
    """Steady noise of any colour, RMS -65 to -8 dBFS: white, pink, brown, tape, radio, vents, room tone."""
    n = count(seconds)
    out = noise(rng, n, float(rng.choice([0, 0, 1.5, 3, 3, 4.5, 6])))
    if chance(rng, 0.5):
        out = unit(
            shaped(
                out,
                band(
                    log_between(rng, 20, 3000) * chance(rng, 0.6), log_between(rng, 2500, 12_000), between(rng, 0.5, 3)
                ),
            )
        )
    if chance(rng, 0.3):
        dents = [log_between(rng, 80, 9000) for _ in range(3)]
        out = unit(shaped(out, lambda f: 0.5 + peaks(dents, 2)(f)))
    if chance(rng, 0.3):
        out = out * curve(rng, n, log_between(rng, 0.3, 3), 0.6, 1)
    out = unit(out) * gain(between(rng, -65, -8))
    return np.clip(out, -1, 1).astype(np.float32)


def hum(rng: np.random.Generator, seconds: float) -> Samples:
    """Mains hum of 50 or 60 Hz with harmonics, a transformer (doubled), or a fan or fridge with its air."""
    n, mains = count(seconds), float(rng.choice([50.0, 60.0]))
    kind = str(rng.choice(["mains", "transformer", "fan"]))
    base = mains * (1 + 0.001 * rng.standard_normal()) * (2 if kind == "transformer" else 1)
    if kind == "fan":
        base = log_between(rng, 30, 240)
    top = int(min(40, between(rng, 3, 40), 8000 / base))
    fall = between(rng, 0.3, 2)
    t = np.arange(n) / SR
    out = np.zeros(n)
    for k in range(1, top + 1):
        level = k**-fall * (log_between(rng, 0.2, 1) if k > 1 else 1.0) * (0.4 if kind == "mains" and k % 2 == 0 else 1)
        out += level * np.sin(2 * np.pi * (base * k * t + rng.random()))
    out = unit(out) * curve(rng, n, 0.5, 0.9, 1)
    air = unit(shaped(noise(rng, n, 3), band(50, log_between(rng, 600, 5000), 1)))
    out += gain(-20 + 14 * rng.random() if kind == "fan" else -60 + 30 * rng.random()) * air
    return normal(out, gain(between(rng, -50, -1)))


def tone(rng: np.random.Generator, seconds: float) -> Samples:
    """Test signals: sines, sweeps, chords of sines, square and triangle waves, steps, beats."""
    n, kind = count(seconds), str(rng.choice(["sine", "sine", "sweep", "chord", "square", "triangle", "steps", "am"]))
    hz = np.full(n, log_between(rng, 60, 9000))
    if kind == "sweep":
        low, high = log_between(rng, 30, 500), log_between(rng, 1500, 11_000)
        rise = np.mod(np.arange(n) / SR / log_between(rng, 1, seconds + 1), 1)
        hz = low * (high / low) ** (rise if chance(rng, 0.7) else 1 - rise)
    elif kind == "steps":
        hz = np.repeat(
            np.exp(rng.uniform(math.log(100), math.log(6000), n // 2400 + 1)), int(rng.choice([2400, 6000, 12_000]))
        )[:n]
        hz = np.pad(hz, (0, n - len(hz)), mode="edge")
    out = sine(hz)
    if kind == "chord":
        out = out + sum((rng.random() * sine(np.full(n, log_between(rng, 60, 6000))) for _ in range(3)), np.zeros(n))
    elif kind == "square":
        pitch = np.full(n, log_between(rng, 40, 2000))
        out = saw(pitch) - saw_shifted(pitch)
    elif kind == "triangle":
        out = shaped(saw(hz / 4), lambda f: 1 / np.maximum(f, 20))
    elif kind == "am":
        out = out * (1 + sine(np.full(n, log_between(rng, 0.5, 30))))
    return normal(out, gain(between(rng, -50, -0.5)))


def saw_shifted(hz: Floats) -> Floats:
    """The sawtooth half a cycle later: the two make a square."""
    first = max(1, round(0.5 * SR / float(hz[0])))
    return np.concatenate([np.zeros(first), saw(hz)[: len(hz) - first]])[: len(hz)]


MACHINE_RECIPES = {
    "chainsaw": chainsaw,
    "helicopter": helicopter,
    "aircraft": aircraft,
    "engine": engine,
    "train": train,
    "tool": tool,
    "hiss": hiss,
    "hum": hum,
    "tone": tone,
}
