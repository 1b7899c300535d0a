"""What the scene and acoustic layers learn from: recordings as they are, changed copies of them, and made sounds.

A job is a name and a number; what it makes depends on these and the seed alone, so that jobs can run in any order and
in any process, and need not run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from natd.codebooks.kinds import UNKNOWN, WIDER
from natd.codec.mel import SR
from natd.training import augment, labels, midi, procedural, speech
from natd.training.recordings import Clip, clips_of, samples_of

Samples = NDArray[np.float32]
Thing = TypeVar("Thing")
CLIPS_A_JOB = 48
LONGEST_S = 45.0  # of a recording as it is
EXCERPT_S = 8.0  # of a changed copy
MADE_S = 6.0
FIRST_SEED = 500_000  # of the pieces: those of the harmony and rhythm layers begin at 0
BACKGROUNDS = ("ambience", "cafe", "street", "wind", "rain", "boat", "rumble")  # file names that begin so


@dataclass(frozen=True, slots=True)
class Take:
    """Samples at 24 kHz, the kinds of which one is right, whose it is (never in two folds), where it comes from."""

    samples: Samples
    kinds: tuple[str, ...]
    group: str
    origin: str


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many changed copies of a recording, made sounds of a kind, pieces of a style, voices, crowds, oddities."""

    copies: int = 3
    made: int = 24
    pieces: int = 40
    spoken: int = 96
    crowds: int = 24
    odd: int = 160

    def __str__(self) -> str:
        """What differs from the usual."""
        return "".join(f" {f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)


USUAL = Amounts()


@dataclass(frozen=True, slots=True)
class Job:
    """A part of the corpus: `name` is its recipe, `number` which part of it."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}-{self.number:03d}"


def jobs(audio_dir: Path, amounts: Amounts) -> list[Job]:
    """Every job, the same for the same recordings and amounts."""
    parts = _jobs_for(len(fit_clips(audio_dir)))
    counts = {
        "recorded": parts,
        "changed": parts * amounts.copies,
        "mixed": parts,
        "made": _jobs_for(len(procedural.RECIPES) * amounts.made),
        "played": _jobs_for(len(midi.STYLES) * amounts.pieces),
        "spoken": _jobs_for(amounts.spoken + amounts.crowds),
        "odd": _jobs_for(amounts.odd),
    }
    return [Job(name, number) for name, count in counts.items() for number in range(count)]


def _jobs_for(takes: int) -> int:
    return -(-takes // CLIPS_A_JOB)


def takes(job: Job, audio_dir: Path, seed: int, amounts: Amounts) -> Iterator[Take]:
    """The takes of a job."""
    rng = np.random.default_rng((seed, *job.name.encode(), job.number))
    return RECIPES[job.name](Part(job.number, audio_dir, amounts), rng)


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a recipe's takes is asked for, and what all of them are made of."""

    number: int
    audio_dir: Path
    amounts: Amounts

    def of(self, everything: Sequence[Thing]) -> Sequence[Thing]:
        """Every n-th one, so that each part has some of all."""
        count = max(1, _jobs_for(len(everything)))
        return everything[self.number % count :: count]


@lru_cache(maxsize=2)
def fit_clips(audio_dir: Path) -> tuple[Clip, ...]:
    """The recordings to fit on, in an order that mixes folders; nothing of `held` is ever read here."""
    clips = [c for c in clips_of(audio_dir) if c.part == "fit"]
    order = np.random.default_rng(0).permutation(len(clips))
    return tuple(clips[i] for i in order)


def allowed(clip: Clip) -> tuple[str, ...]:
    """The kinds of which one is right for a recording; `unknown` where no kind and no wider kind can be said."""
    if kind := labels.kind_of(clip):
        return (kind,)
    wider = labels.wider_of(clip)
    return WIDER[wider] if wider else (UNKNOWN,)


def group_of(clip: Clip) -> str:
    """Whose a recording is: its ESC-10 source, else its author as the file name gives it."""
    name = clip.path.stem
    if clip.folder == "esc10":
        return "esc " + name.split("-")[1]
    parts = name.split("__")
    return f"{clip.folder} " + (parts[1].split("_")[0] if len(parts) > 1 else name)


@lru_cache(maxsize=2)
def backgrounds(audio_dir: Path) -> tuple[Samples, ...]:
    """Rooms, streets and weather to lay under other sounds."""
    chosen = [c for c in fit_clips(audio_dir) if c.folder == "sounds" and c.path.name.startswith(BACKGROUNDS)]
    return tuple(samples_of(c.path, seconds=20.0) for c in chosen)


def origin(clip: Clip) -> str:
    """What a reader may be told of a recording: its folder and the first part of its name."""
    return f"{clip.folder}/{clip.label or clip.path.stem.split('__')[0]}"


def _recorded(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    for clip in part.of(fit_clips(part.audio_dir)):
        yield Take(samples_of(clip.path, seconds=LONGEST_S), allowed(clip), group_of(clip), origin(clip))


def _changed(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    noises = backgrounds(part.audio_dir)
    for clip in part.of(fit_clips(part.audio_dir)):
        x = staged(excerpt(samples_of(clip.path), EXCERPT_S, rng), rng)
        yield Take(augment.augmented(x, rng, noises), allowed(clip), group_of(clip), origin(clip))


def _mixed(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    """Two recordings at once: either name is right, unless the second is much softer."""
    clips, noises = fit_clips(part.audio_dir), backgrounds(part.audio_dir)
    for clip in part.of(clips):
        other = clips[int(rng.integers(len(clips)))]
        a, b = (staged(excerpt(samples_of(c.path), EXCERPT_S, rng), rng) for c in (clip, other))
        n = min(len(a), len(b))
        snr = float(rng.uniform(-3.0, 12.0))
        kinds = allowed(clip) if snr > 9.0 else tuple(dict.fromkeys((*allowed(clip), *allowed(other))))
        x = augment.mix(a[:n], b[:n], snr)
        if rng.random() < 0.5:
            x = augment.augmented(x, rng, noises)
        yield Take(x, kinds, group_of(clip), f"{origin(clip)} + {origin(other)}")


def _made(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    names = [kind for kind in procedural.RECIPES for _ in range(part.amounts.made)]
    for place, kind in enumerate(part.of(names)):
        x = procedural.RECIPES[kind](rng, MADE_S)
        yield Take(_perhaps(x, part, rng), (kind,), f"made {part.number} {place}", f"synthesis/{kind}")


def _played(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    wanted = [style for style in midi.STYLES for _ in range(part.amounts.pieces)]
    pieces = [midi.compose(style, FIRST_SEED + i) for i, style in part.of(list(enumerate(wanted)))]
    for piece, x in zip(pieces, midi.render_many(pieces, midi.soundfont()), strict=True):
        kind = midi.kind_of(piece)
        kinds = (kind,) if kind else WIDER["music"]
        yield Take(_perhaps(x, part, rng), kinds, f"played {piece.seed}", f"soundfont/{piece.style}")


def _spoken(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    for place in part.of(range(part.amounts.spoken + part.amounts.crowds)):
        crowd = place >= part.amounts.spoken
        x = speech.speak(rng, MADE_S, crowd=int(rng.integers(8, 20)) if crowd else 1)
        kind = "crowd" if crowd else "speech"
        yield Take(_perhaps(x, part, rng), (kind,), f"spoken {place}", f"synthesis/{kind}")


def _odd(part: Part, rng: np.random.Generator) -> Iterator[Take]:
    for place in part.of(range(part.amounts.odd)):
        x = procedural.oddities(rng, MADE_S)
        yield Take(_perhaps(x, part, rng), (UNKNOWN,), f"odd {place}", "synthesis/oddity")


def _perhaps(x: Samples, part: Part, rng: np.random.Generator) -> Samples:
    return augment.augmented(x, rng, backgrounds(part.audio_dir)) if rng.random() < 0.7 else x


def excerpt(x: Samples, seconds: float, rng: np.random.Generator) -> Samples:
    """A part of `x` that is no longer than `seconds`, anywhere in it."""
    n = int(seconds * SR)
    if len(x) <= n:
        return x
    at = int(rng.integers(len(x) - n))
    return x[at : at + n]


def staged(x: Samples, rng: np.random.Generator) -> Samples:
    """A short sound some times over, with pauses that differ, as it happens in a room; a longer one as it is."""
    if len(x) >= 2.5 * SR:
        return x
    parts = [np.zeros(int(rng.uniform(0.0, 0.6) * SR), np.float32)]
    for _ in range(int(rng.integers(1, 5))):
        parts += [x, np.zeros(int(rng.uniform(0.05, 1.2) * SR), np.float32)]
    return np.concatenate(parts)[: int(EXCERPT_S * SR)]


RECIPES: dict[str, Callable[[Part, np.random.Generator], Iterator[Take]]] = {
    "recorded": _recorded,
    "changed": _changed,
    "mixed": _mixed,
    "made": _made,
    "played": _played,
    "spoken": _spoken,
    "odd": _odd,
}
