"""A training as stages that are kept: what each gives is read again when a run that was stopped goes on."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from natd.codec import ears
from natd.training import harmony, rhythm
from natd.training.corpus import USUAL, Amounts
from natd.training.recordings import clips_of

Progress = Callable[[str], None]
Tensors = dict[str, Tensor]
KEEP_SIZE = ("acoustic_size", "decoder_width", "rhythm_rounds")


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

    def scaled(self, times: int) -> Plan:
        """As much as `times` the data, and as many steps; the nets and the codebooks keep their size."""
        of = {field.name: getattr(self, field.name) for field in fields(self)}
        more = {name: value * times for name, value in of.items() if name not in ("amounts", *KEEP_SIZE)}
        amounts = {field.name: getattr(self.amounts, field.name) * times for field in fields(self.amounts)}
        return replace(self, **more, amounts=Amounts(**amounts))


@dataclass(frozen=True, slots=True)
class Run:
    """What a training works on: recordings, where results go, seed, threads, whom to tell, how much, the device."""

    audio_dir: Path
    work: Path
    seed: int
    threads: int
    progress: Progress
    plan: Plan = Plan()
    device: str = "cpu"

    @property
    def key(self) -> str:
        """What the kept files are named by: the seed, and a checksum of how much is done and of the recordings."""
        clips = [(c.path.name, c.path.stat().st_size) for c in clips_of(self.audio_dir)]
        return f"{self.seed}-{zlib.crc32(repr((self.plan, clips)).encode()):08x}"

    def stage(self, name: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors of a stage: read if they are there, made and kept if not."""
        path = self.work / f"{name}-{self.key}.safetensors"
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
        path = self.work / f"seconds-{self.key}.json"
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
