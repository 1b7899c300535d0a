"""HuBERT, WavLM, wav2vec 2.0 and MERT at their published sizes, beside transformers on every window.

MERT's own program is not asked: its net is a HuBERT's, at 24 kHz. The authors have no codebooks: both get the same, and
theirs are the codes nearest to the vectors of transformers, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor

from natd.codec.ssl import Ssl, SslEncoder
from tests.benchmarks.parity.nearest import Chain, Euclidean, Heard
from tests.benchmarks.parity.streams import Say
from tests.benchmarks.parity.subject import Company, Subject
from tests.codec.ssl_models import Reference, reference, windows_of

CODES, LEVELS = 512, 4
SPREAD = 0.3  # of what is added to a vector to make a code of it, in parts of what all of them spread
COMPANY = Company(2, 1)
NOTE = "levelled by other windows than the model's, as it is defined"


def subjects(name: str, options: str, samples: Tensor, say: Say) -> list[Subject]:
    """With vectors made anew in each window, which are the published model's, and kept, which are usual here."""
    model = reference(name, {})
    anew, kept = (model.encoder(usual=f"features={how}") for how in ("anew", "kept"))
    deepest = max(*anew.plan.semantic, anew.plan.acoustic)
    model.model.encoder.layers = model.model.encoder.layers[:deepest]  # what comes after is not asked for
    books = _books(model, anew, samples, say)
    theirs = _once(lambda sound: _theirs(model, anew, books, sound, say))
    acoustic = Chain(range(len(books) - 1, len(books) - 1 + LEVELS), Euclidean(list(books["A.codes"])), "A")
    chains = [
        *(Chain([i], Euclidean([books[f"S{i}.codes"]]), f"S{i}") for i in range(len(anew.plan.semantic))), acoustic,
    ]  # fmt: skip
    against = f"transformers {transformers.__version__} on every window"

    def subject(how: str, encoder: SslEncoder) -> Subject:
        return Subject(f"{name}:features={how}", against, Ssl(encoder, books, {}, "random"), theirs, chains,
                       company=COMPANY)  # fmt: skip

    other = subject("kept", kept)
    other.judged, other.more = False, lambda _, __: NOTE
    return [subject("anew", anew), other]


def _once(call: Callable[[Tensor], Heard]) -> Callable[[Tensor], Heard]:
    """The second time as the first: it takes minutes."""
    kept: list[Heard] = []

    def known(sound: Tensor) -> Heard:
        if not kept:
            kept.append(call(sound))
        return kept[0]

    return known


def _hidden(model: Reference, encoder: SslEncoder, window: Tensor, count: int) -> dict[str, Tensor]:
    """The latest vectors of a window, by what natd calls them: [count, H]."""
    states = model.hidden(window)
    layers = {f"S{i}": layer for i, layer in enumerate(encoder.plan.semantic)} | {"A": encoder.plan.acoustic}
    return {name: states[layer][0, -count:].clone() for name, layer in layers.items()}


def _theirs(model: Reference, encoder: SslEncoder, books: dict[str, Tensor], sound: Tensor, say: Say) -> Heard:
    windows, steps = windows_of(encoder, sound), []
    for i, window in enumerate(windows):
        steps.append(_hidden(model, encoder, window, encoder.plan.per_frame))
        say(f"transformers, {i + 1} of {len(windows)} windows")
    latents = {name: torch.cat([step[name] for step in steps]) for name in steps[0]}
    codes = [_nearest(books[f"{name}.codes"], x) for name, x in latents.items() if name != "A"]
    left = latents["A"].double()
    for book in books["A.codes"]:
        codes.append(_nearest(book, left))
        left = left - book[codes[-1]]
    return Heard(codes, latents)


def _nearest(book: Tensor, x: Tensor) -> Tensor:
    """By the distance itself, in float64."""
    return torch.cdist(x.double(), book.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def _books(model: Reference, encoder: SslEncoder, samples: Tensor, say: Say) -> dict[str, Any]:
    """Codes near to vectors of the sound, and to what they leave over."""
    size, draw = encoder.frame_samples * encoder.plan.frames, torch.Generator().manual_seed(3)
    parts = []
    for i, window in enumerate(samples[:, : samples.shape[1] // size * size].split(size, 1)):
        parts.append(_hidden(model, encoder, window, encoder.plan.frames * encoder.plan.per_frame - 1))
        say(f"codebooks, window {i + 1}")
    every = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def drawn(x: Tensor) -> Tensor:
        rows = torch.randint(len(x), (CODES,), generator=draw)
        return x[rows] + SPREAD * x.std(0) * torch.randn(CODES, x.shape[1], generator=draw)

    left, levels = every.pop("A"), []
    for _ in range(LEVELS):
        levels.append(drawn(left))
        left = left - levels[-1][_nearest(levels[-1], left)]
    return {f"{name}.codes": drawn(x) for name, x in every.items()} | {"A.codes": torch.stack(levels)}
