"""Synthesized sound for every kind that synthesis can make credible, and sounds of no kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from natd.training import speech
from natd.training.procedural_machines import MACHINE_RECIPES
from natd.training.procedural_nature import NATURE_RECIPES
from natd.training.procedural_objects import OBJECT_RECIPES, applause
from natd.training.procedural_oddities import ODDITIES, ring_modulated, shuffled, vocoded
from natd.training.procedural_parts import (
    Recipe,
    Samples,
    band,
    between,
    chance,
    count,
    curve,
    finished,
    gain,
    log_between,
    noise,
    placed,
    room,
    shaped,
    unit,
)
from natd.training.procedural_signals import SIGNAL_RECIPES
from natd.training.procedural_voices import VOICE_RECIPES, swell, voiced


def crowd(rng: np.random.Generator, seconds: float) -> Samples:
    """Many people at once: babble of 5 to 30 voices, cheers, a hall; needs the program espeak-ng."""
    n, people = count(seconds), int(log_between(rng, 5, 30))
    out = unit(speech.speak(rng, seconds, crowd=people).astype(np.float64)) * between(rng, 0.5, 1)
    if chance(rng, 0.5):
        for _ in range(int(log_between(rng, 3, 25))):
            m = count(between(rng, 0.4, 2.5))
            f0 = log_between(rng, 150, 700) * curve(rng, m, 4, 0.85, 1.15)
            cry = voiced(rng, f0, ["o", "e", "a"], between(rng, 0.95, 1.35), 0.3, rng.random()) * swell(m, 0.2, 0.4)
            out += placed(n, [between(rng, -0.2, seconds)], [cry * gain(-22 + 14 * rng.random())])
    murmur = unit(shaped(noise(rng, n), band(150, log_between(rng, 500, 2500), 1))) * curve(rng, n, 4, 0.5, 1)
    out += gain(-30 + 24 * rng.random()) * murmur
    if chance(rng, 0.15):
        out += 0.3 * unit(applause(rng, seconds).astype(np.float64))
    return finished(rng, room(rng, out, between(rng, 0.3, 2.5), between(rng, 0.2, 1.5)), n)


def talk(rng: np.random.Generator, seconds: float) -> Samples:
    """One speaker, at times two; needs the program espeak-ng."""
    return speech.speak(rng, seconds, crowd=2 if chance(rng, 0.15) else 1)


def oddities(rng: np.random.Generator, seconds: float) -> Samples:
    """A sound of no kind: invented, or known ones mixed, cut, reversed or multiplied beyond recognition."""
    choice = int(rng.integers(len(ODDITIES) + 4))
    if choice < len(ODDITIES):
        return ODDITIES[choice](rng, seconds)
    pair = [_made[int(i)](rng, seconds) for i in rng.choice(len(_made), 2, replace=False)]
    if choice == len(ODDITIES):
        return shuffled(rng, pair[0])
    if choice == len(ODDITIES) + 1:
        return ring_modulated(rng, pair[0])
    if choice == len(ODDITIES) + 2:
        return vocoded(rng, pair[0], pair[1])
    return shuffled(
        rng, (pair[0] * np.float32(0.6) + ring_modulated(rng, pair[1]) * np.float32(0.6)).astype(np.float32)
    )


_ALONE: dict[str, Recipe] = {
    **VOICE_RECIPES,
    **NATURE_RECIPES,
    **MACHINE_RECIPES,
    **OBJECT_RECIPES,
    **SIGNAL_RECIPES,
}
_made = [recipe for kind, recipe in _ALONE.items() if kind not in ("hiss", "hum", "tone")]
NEED_ESPEAK = ("speech", "crowd")
RECIPES: Mapping[str, Recipe] = MappingProxyType({**_ALONE, "speech": talk, "crowd": crowd})
