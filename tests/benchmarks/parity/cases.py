"""Which tokenizers with which options, at which rate, made by what."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.parity import audio
from tests.benchmarks.parity.run import Result

RATES = {"16khz": 16_000, "24khz": 24_000, "32khz": 32_000, "44khz": 44_100}
NAMES = (
    "mimi:codebooks=8", "mimi:codebooks=32", "mimi:window=251", "encodec:bandwidth=6", "encodec:bandwidth=24",
    "snac:model=24khz", "snac:model=32khz", "snac:model=44khz", "dac:model=16khz", "dac:model=24khz",
    "dac:model=44khz", "hubert", "wavlm", "wav2vec2", "mert", "soundstream",
)  # fmt: skip
SSL = ("hubert", "wavlm", "wav2vec2", "mert")
MARGIN_S = 2.0  # more than any frame, or windows of frames


def chosen(asked: Sequence[str]) -> list[str]:
    """Those of `NAMES` that are asked for, by name or by its first word; all where none is."""
    unknown = [one for one in asked if not any(_is(name, one) for name in NAMES)]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: none of {', '.join(NAMES)}")
    return [name for name in NAMES if not asked or any(_is(name, one) for one in asked)]


def measure(name: str, paths: Sequence[Path], seconds: float) -> list[Result]:
    """The lines of one of `NAMES`, in this process and on one thread."""
    torch.set_num_threads(1)
    base, _, options = name.partition(":")
    say = progress(name)
    rate = RATES.get(options.partition("=")[2], 24_000 if base in ("mimi", "encodec", "mert") else 16_000)
    samples = audio.sound(paths, rate, seconds + MARGIN_S)
    if base == "soundstream":
        from tests.benchmarks.parity import speech

        return speech.compared(samples, say)
    from tests.benchmarks.parity.run import compared

    say("weights")
    made = _maker(base)(options, samples, say)
    return [compared(subject, samples, seconds, say) for subject in made]


def _maker(base: str) -> Callable[..., Any]:
    """What makes the subjects of a tokenizer, from its options and a sound to draw codebooks from."""
    if base in SSL:
        from tests.benchmarks.parity import windowed

        return partial(windowed.subjects, base)
    from tests.benchmarks.parity import causal, look_ahead

    return {"mimi": causal.mimi, "encodec": causal.encodec, "snac": look_ahead.of_snac, "dac": look_ahead.of_dac}[base]


def progress(name: str) -> Callable[[str], None]:
    """A line on standard error that says where this is: over and over, or where that is no terminal, now and then."""
    began = latest = time.monotonic()
    shown, stage = sys.stderr.isatty(), ""

    def say(what: str) -> None:
        nonlocal latest, stage
        now, same = time.monotonic(), what.partition(",")[0] == stage
        if same and now - latest < (0.2 if shown else 10.0):
            return
        latest, stage = now, what.partition(",")[0]
        print(f"{chr(13) * shown}{name}: {now - began:.0f} s, {what}{' ' * 20 * shown}", end="" if shown else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    return say


def _is(name: str, asked: str) -> bool:
    return asked in (name, name.partition(":")[0])
