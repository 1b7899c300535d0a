"""What a stream must not depend on: its company, and the cuts that its samples arrive in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk
from natd.codec.state import scatter
from tests.benchmarks.parity.audio import rows
from tests.benchmarks.parity.nearest import Heard
from tests.benchmarks.parity.streams import Say, Watched, heard
from tests.benchmarks.parity.subject import Company

BATCHES = (2, 7, 32)
AGES = 3  # row i begins i % AGES steps late
CHECKED = 4  # rows of a batch that also run alone
CHUNKS_MS = (1, 7, 333, 1000)


def alone(stream: Watched, samples: Tensor, company: Company, say: Say) -> dict[int, bool]:
    """Batch -> whether codes, latents and decoded samples of its rows are, to the bit, those of the rows alone.

    Some of the rows run alone, the last among them.
    """
    found = {}
    for batch in BATCHES:
        steps = company.many if batch == BATCHES[-1] else company.few
        say(f"{batch} streams, {steps} steps")
        found[batch] = _alone(stream, rows(samples, batch, steps * stream.spec.frame_samples))
    return found


def _alone(stream: Watched, samples: Tensor) -> bool:
    batch, one = len(samples), stream.tokenizer
    decodes = hasattr(one, "decode")
    together = [one.initial_state(batch), one.initial_decoder_state(batch) if decodes else None]
    checked = sorted({*range(min(batch, CHECKED - 1)), batch - 1})
    single = {i: [one.initial_state(1), one.initial_decoder_state(1) if decodes else None] for i in checked}
    for step, chunk in enumerate(samples.split(stream.spec.frame_samples, 1)):
        begin = torch.tensor([i for i in range(batch) if i % AGES == step], dtype=torch.int64)
        if len(begin):
            scatter(together[0], begin, one.initial_state(len(begin)))
            if decodes:
                scatter(together[1], begin, one.initial_decoder_state(len(begin)))
        every = _step(stream, chunk, together)
        for i in checked:
            if step < i % AGES:
                continue
            own = _step(stream, chunk[i : i + 1], single[i])
            if not all(torch.equal(a[0], b[i]) for a, b in zip(own, every, strict=True)):
                return False
    return True


def _step(stream: Watched, chunk: Tensor, state: list[Any]) -> list[Tensor]:
    """All that a step gives."""
    codes = [code.clone() for code in stream.encode(chunk, state[0])]
    latents = [x.clone() for x in stream.latents.values()]
    return codes + latents + ([] if state[1] is None else [stream.tokenizer.decode(codes, state[1])])


def chunked(
    stream: Watched, samples: Tensor, others: Mapping[str, Callable[[], Any]], steps: int, say: Say
) -> dict[str, bool]:
    """Cut -> whether it changes nothing: chunks of the source, or frames of another size.

    What is put together of chunks must be the samples of [1, N], to the bit; the first `steps` of it, put together of
    the smallest, are also coded.
    """
    frame, found = stream.spec.frame_samples, {}
    short = samples[:, : steps * frame]
    expected = heard(stream, short)
    for ms in CHUNKS_MS:
        say(f"chunks of {ms} ms")
        frames = _assembled(samples, stream.spec.sr, frame, ms)
        found[f"{ms} ms"] = torch.equal(frames, samples)
        if ms == min(CHUNKS_MS):
            found[f"{ms} ms"] &= _equal(heard(stream, frames[:, : steps * frame]), expected)
    for label, opened in others.items():
        say(label)
        other = Watched(opened())
        size = other.spec.frame_samples
        part = short[:, : short.shape[1] // size * size]
        found[label] = _begins_alike(heard(other, part), expected, other.spec.delay_frames == 0)
    return found


def _assembled(samples: Tensor, sr: int, frame: int, ms: int) -> Tensor:
    block, flat = ms * sr // 1000, samples[0].numpy()
    assembler = FrameAssembler(Format(sr, 1), sr, frame)
    events = [Block(at, flat[at : at + block, None], 0) for at in range(0, len(flat), block)]
    chunks = [c.samples for event in [*events, End("eof")] for c in assembler.feed(event) if isinstance(c, FrameChunk)]
    return torch.cat([torch.from_numpy(chunk.copy()) for chunk in chunks])[None]


def _equal(a: Heard, b: Heard) -> bool:
    both = zip([*a.codes, *a.latents.values()], [*b.codes, *b.latents.values()], strict=True)
    return all(torch.equal(x, y) for x, y in both)


def _begins_alike(found: Heard, expected: Heard, causal: bool) -> bool:
    """The codes of a part of the sound; where it looks ahead, those that no end of the sound is in."""
    for a, b in zip(found.codes, expected.codes, strict=True):
        least = len(a) if causal else max(0, len(a) - len(b) // 4)
        if not torch.equal(a[:least], b[:least]):
            return False
    return True
