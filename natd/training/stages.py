"""A training as stages that are kept: what each gives is read again when a run that was stopped goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from natd.codec import ears
from natd.training import harmony, rhythm
from natd.training.corpus import USUAL, Amounts

Progress = Callable[[str], None]
Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is made and how long is trained; the values are those of the shipped weights."""

    harmony_pieces: int = harmony.PIECES
    harmony_steps: int = harmony.STEPS
    rhythm_pulses: int = rhythm.PULSES
    rhythm_pieces: int = rhythm.PIECES
    rhythm_rounds: int = rhythm.ROUNDS
    amounts: Amounts = USUAL
    fold_steps: int = 900
    scene_steps: int = 1500
    acoustic_frames: int = 120_000
    acoustic_size: int = ears.ACOUSTIC_SIZE
    decoder_steps: int = 1800
    decoder_width: int = 256


@dataclass(frozen=True, slots=True)
class Run:
    """What a training works on: recordings, where results go, seed, threads, whom to tell, and how much is done."""

    audio_dir: Path
    work: Path
    seed: int
    threads: int
    progress: Progress
    plan: Plan = Plan()

    def stage(self, name: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors of a stage: read if they are there, made and kept if not."""
        path = self.work / f"{name}-{self.seed}.safetensors"
        if path.is_file():
            self.progress(f"{name}: kept from before")
            return load_file(path)
        began = time.monotonic()
        made = {key: value.contiguous() for key, value in make().items()}
        keep(path, made)
        self.took(name, time.monotonic() - began)
        return made

    def took(self, name: str, seconds: float) -> float:
        """Add to what a stage has cost over all runs; the sum over all stages, s."""
        path = self.work / f"seconds-{self.seed}.json"
        known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
        known[name] = round(known.get(name, 0.0) + seconds, 1)
        fresh = path.with_suffix(".part")
        fresh.write_text(json.dumps(known, indent=1) + "\n")
        fresh.replace(path)
        self.progress(f"{name}: {seconds:.0f} s")
        return sum(known.values())


def keep(path: Path, tensors: Tensors) -> None:
    """A whole file or none."""
    fresh = path.with_suffix(".part")
    save_file(tensors, fresh)
    fresh.replace(path)
