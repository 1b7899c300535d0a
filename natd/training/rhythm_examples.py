"""Sounds whose rhythm is known, as hops: made-up pulses, played scores and real recordings, kept in a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from natd.audio import demo
from natd.audio.voices import RATE
from natd.codec.mel import FRAME, HISTORY, SR, Mel
from natd.codec.rhythm import CHANNELS, Rhythm
from natd.codec.rhythm_net import STATES
from natd.training import midi, pulses, sketches
from natd.training.recordings import Clip, samples_of

LONGEST_S = 24.0  # of a recording
BLOCK = 64  # frames heard at once
EVENTFUL = ("steady", "sparse", "dense")
MOTOR = ("fast flutter", "steady")
# What a recording may be called, by the beginning of its name or its class; anything else is no tempo.
RECORDED: dict[str, tuple[str, ...]] = {
    "speech": ("syllabic",), "clock": ("ticks",), "rain": ("steady", "dense"), "sea_waves": ("steady", "sparse"),
    "wind": ("steady", "sparse"), "water": ("steady", "dense"), "fire": EVENTFUL, "thunder": EVENTFUL,
    "rumble": ("steady",), "helicopter": (*MOTOR, "slow flutter"), "chainsaw": MOTOR, "engine": MOTOR,
    "aircraft": MOTOR, "dog": ("sparse", "dense"), "rooster": EVENTFUL, "sneeze": EVENTFUL, "baby_cry": EVENTFUL,
    "gun": (*EVENTFUL, "fast flutter"), "laugh": ("syllabic", "dense", "slow flutter"),
}  # fmt: skip
NO_TEMPO = tuple(state for state in STATES if state != "tempo")
MUSIC = ("tempo", *EVENTFUL, "slow flutter")
DRIFTING = ("tempo", *EVENTFUL)  # played without a pulse, or with one that is hard to feel


@dataclass(frozen=True, slots=True)
class Example:
    """Hops [T, 5] of a sound; the states that are right; seconds between ticks and beats a minute where known."""

    hops: Tensor
    states: tuple[str, ...]
    period_s: float = math.nan
    bpm: float = math.nan


@torch.no_grad()
def hops_of(samples: pulses.Samples) -> Tensor:
    """Samples -> hops [8 T, 5] of their T whole frames, as `Rhythm` gives them frame by frame."""
    mel, rhythm = Mel(), Rhythm()
    count = len(samples) // FRAME
    padded = torch.nn.functional.pad(torch.from_numpy(samples[: count * FRAME]), (HISTORY - FRAME, 0))
    out, last = [], torch.zeros(1, 128)
    for at in range(0, count, BLOCK):
        n = min(BLOCK, count - at)
        audio = padded[at * FRAME : (at + n - 1) * FRAME + HISTORY].unfold(0, HISTORY, FRAME)
        level = mel.log_mel(mel.power(audio))
        started = torch.ones(n, 1, dtype=torch.bool)
        started[0] = at > 0
        out.append(rhythm.hops(level, torch.cat([last, level[:-1, -1]]), started))
        last = level[-1:, -1]
    return torch.cat(out).flatten(0, 1) if out else torch.zeros(0, CHANNELS)


def made_up(kind: str, seeds: Iterable[int]) -> list[Example]:
    """Sounds of one kind of `pulses`, half of them spoiled by noise or a room."""
    out = []
    for seed in seeds:
        made = pulses.sound(kind, seed)
        samples = pulses.spoiled(made.samples, np.random.default_rng((seed, 7))) if seed % 2 else made.samples
        out.append(Example(hops_of(samples), made.states, made.period_s or math.nan))
    return out


def played(style: str, seeds: Iterable[int], font: Path | None = None) -> list[Example]:
    """Scores of one style; only those with drums must have a tempo that is said."""
    out = []
    for seed in seeds:
        piece = midi.compose(style, seed)
        samples = midi.render(piece, font)
        samples = pulses.spoiled(samples, np.random.default_rng((seed, 8))) if seed % 2 else samples
        states = ("tempo",) if style in ("drums", "band") else DRIFTING if piece.bpm else EVENTFUL
        out.append(Example(hops_of(samples), states, bpm=piece.bpm or math.nan))
    return out


def sketched(style: str, seeds: Iterable[int]) -> list[Example]:
    """Scores with drums, played roughly."""
    out = []
    for seed in seeds:
        piece = midi.compose(style, seed)
        samples = sketches.play(piece, seed)
        samples = pulses.spoiled(samples, np.random.default_rng((seed, 9))) if seed % 2 else samples
        out.append(Example(hops_of(samples), ("tempo",), bpm=piece.bpm or math.nan))
    return out


def demos(seeds: Iterable[int]) -> list[Example]:
    """The drums and the band of the built-in synthesiser, apart."""
    out = []
    for seed in seeds:
        for event in demo.Demo(seed).score(0, demo.CYCLE):
            if event.kind == "section" and event.name in ("drums", "band"):
                stereo = demo.Demo(seed).render(event.first, event.count)
                mono = soxr.resample(stereo.mean(axis=1), RATE, SR).astype(np.float32)
                out.append(Example(hops_of(mono), ("tempo",), bpm=float(event.bpm or math.nan)))
    return out


def recordings(clips: Sequence[Clip]) -> list[Example]:
    """Real recordings of at least two seconds, named as far as their folder and name tell."""
    out = []
    for clip in clips:
        hops = hops_of(samples_of(clip.path, seconds=LONGEST_S)) if clip.folder != "drums" else torch.zeros(0, CHANNELS)
        if len(hops) >= 200:
            out.append(Example(hops, states_of(clip)))
    return out


def states_of(clip: Clip) -> tuple[str, ...]:
    """The states that a recording may be in."""
    if clip.kind == "music":
        return MUSIC
    if clip.kind == "speech":
        return ("syllabic",)
    name = clip.label or clip.path.stem
    return next((states for begin, states in RECORDED.items() if name.startswith(begin)), NO_TEMPO)


def kept(cache: Path, name: str, make: Callable[[], list[Example]], progress: Callable[[str], None]) -> list[Example]:
    """What `make` gives, from the folder if it was made before."""
    path = cache / f"rhythm-{name.replace(' ', '-')}.npz"
    if not path.exists():
        made = make()
        cache.mkdir(parents=True, exist_ok=True)
        facts = json.dumps([[len(e.hops), e.states, e.period_s, e.bpm] for e in made])
        part = path.with_suffix(".part.npz")  # a run that is cut off leaves nothing half written
        np.savez(part, hops=torch.cat([e.hops for e in made]).numpy(), facts=np.array(facts))
        part.replace(path)
        progress(f"heard {len(made)} sounds: {name}")
    with np.load(path) as stored:
        facts, hops = json.loads(str(stored["facts"])), torch.from_numpy(stored["hops"])
    parts = torch.split(hops, [fact[0] for fact in facts])
    return [Example(part, tuple(f[1]), f[2], f[3]) for part, f in zip(parts, facts, strict=True)]
