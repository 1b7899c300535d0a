"""One backend in a process of its own: both programs over the same sound, and what a stream must not depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.parity import company
from tests.benchmarks.parity.nearest import Difference, Heard, differences
from tests.benchmarks.parity.streams import Say, Watched, heard, sounded
from tests.benchmarks.parity.subject import Subject

LATENT, SOUND = 1e-4, 1e-4  # of the largest value: above that it is no rounding
AWAY = 1e-3
CHUNKED_S = 4.0


@dataclass
class Result:
    """A line of the table. `first` and `worst` say where, and by how much, another code was chosen."""

    name: str
    against: str
    seconds: float = 0.0
    frames: int = 0
    layers: dict[str, float] = field(default_factory=dict)  # per cent of equal codes
    first: dict[str, Any] | None = None
    worst: dict[str, Any] | None = None
    ties: int = 0
    beyond: int = 0  # differences that are no near ties
    latent: float | None = None  # largest difference relative to the largest value
    moved: float | None = None  # per cent of codes that latents a thousandth away would alter
    sound: float | None = None  # largest difference of samples
    peak: float | None = None  # the loudest of them
    company: dict[str, bool] = field(default_factory=dict)
    chunks: dict[str, bool] = field(default_factory=dict)
    note: str = ""
    judged: bool = True  # whether codes must be equal but for near ties

    @property
    def ok(self) -> bool:
        """Nothing but near ties and rounding."""
        near = not self.judged or (self.beyond == 0 and (self.latent or 0.0) <= LATENT)
        kept = all(self.company.values()) and all(self.chunks.values())
        return near and kept and (self.sound or 0.0) <= SOUND * (self.peak or 1.0)


def compared(subject: Subject, samples: Tensor, seconds: float, say: Say) -> Result:
    """All columns of one line, over as many whole frames of [1, N] as have `seconds`."""
    stream = Watched(subject.tokenizer)
    spec, result = stream.spec, Result(subject.name, subject.against, judged=subject.judged)
    whole = spec.frame_samples * subject.align
    samples = samples[:, : math.ceil(seconds * spec.sr / whole) * whole]
    say("theirs, the whole sound")
    theirs = subject.theirs(samples)
    ours: Heard = subject.memory.get("heard") or heard(stream, samples, say)
    subject.memory["heard"] = ours
    codes(result, spec, theirs, ours, differences(_cut(theirs, ours), ours, subject.chains))
    result.seconds = samples.shape[1] / spec.sr
    result.moved = _moved(stream, ours)
    if subject.their_sound is not None:
        result.sound, result.peak = _sound(subject, theirs, ours, say)
    if subject.more is not None:
        say("more")
        result.note = subject.more(samples, ours)
    if subject.company is None:
        return result
    result.company = {str(n): same for n, same in company.alone(stream, samples, subject.company, say).items()}
    steps = max(4, min(int(CHUNKED_S * spec.sr / spec.frame_samples), 2 * subject.company.few))
    result.chunks = company.chunked(stream, samples, subject.others, steps, say)
    return result


def codes(result: Result, spec: Any, theirs: Heard, ours: Heard, wrong: Sequence[Difference]) -> None:
    """Fill in what is said of codes and latents."""
    theirs = _cut(theirs, ours)
    finest = max(layer.per_frame for layer in spec.layers)
    result.frames = len(ours.codes[0]) // spec.layers[0].per_frame
    for layer, a, b in zip(spec.layers, theirs.codes, ours.codes, strict=True):
        result.layers[layer.name] = 100.0 * float((a == b).double().mean())

    def told(one: Difference) -> dict[str, Any]:
        frame = one.at // finest
        gap = {"gap": one.gap.gap, "float32": one.gap.told, "near_tie": one.near, "latents": one.gap.moved}
        seconds = round(frame * spec.frame_samples / spec.sr, 3)
        return {"frame": frame, "seconds": seconds, "layer": spec.layers[one.layer].name} | gap

    if wrong:
        result.first = told(wrong[0])
        result.worst = told(max(wrong, key=lambda one: one.gap.gap / one.gap.told))
    result.ties, result.beyond = sum(one.near for one in wrong), sum(not one.near for one in wrong)
    result.latent = max(
        float((theirs.latents[name] - x).abs().max() / theirs.latents[name].abs().max())
        for name, x in ours.latents.items()
    )


def _moved(stream: Watched, ours: Heard) -> float:
    """A check of the check: codes that nothing alters would agree with anything."""
    draw = torch.Generator().manual_seed(0)
    moved = {}
    for name, x in ours.latents.items():
        away = torch.randn(x.shape, generator=draw)
        moved[name] = x + AWAY * away * x.norm(dim=1, keepdim=True) / away.norm(dim=1, keepdim=True)
    pairs = zip(stream.quantize(moved), ours.codes, strict=True)
    return 100.0 * sum(float((a != b).double().mean()) for a, b in pairs) / len(ours.codes)


def _cut(theirs: Heard, ours: Heard) -> Heard:
    """As long as natd's: a package may fill a last window up, and code that too."""
    cut = [a[: len(b)] for a, b in zip(theirs.codes, ours.codes, strict=True)]
    return Heard(cut, {name: x[: len(ours.latents[name])] for name, x in theirs.latents.items()})


def _sound(subject: Subject, theirs: Heard, ours: Heard, say: Say) -> tuple[float, float]:
    """Their codes, decoded by both: the largest difference, the loudest sample."""
    assert subject.their_sound is not None
    codes = _cut(theirs, ours).codes
    say("theirs decodes")
    with torch.inference_mode():
        expected = subject.their_sound(codes)
    of, found = subject.memory.get("sound", (None, None))
    if of is None or not all(torch.equal(a, b) for a, b in zip(codes, of, strict=True)):
        found = sounded(subject.tokenizer, codes, say)
        subject.memory["sound"] = codes, found
    least = min(len(found), len(expected))
    return float((found[:least] - expected[:least]).abs().max()), float(expected.abs().max())
