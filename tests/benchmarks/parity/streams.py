"""A tokenizer of natd as a stream: what it codes, what it quantizes on the way, what it decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.parity.nearest import Heard

Say = Callable[[str], None]


class Watched:
    """A tokenizer whose steps also leave what they quantized: `latents`, by name [B, T, C], of the latest step."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.spec = tokenizer, tokenizer.spec
        self.latents: dict[str, Tensor] = {}
        self.quantize: Callable[[dict[str, Tensor]], list[Tensor]]  # latents [T, C] -> codes [T] of each layer
        if hasattr(tokenizer, "encoder"):  # of hidden states
            vectors = tokenizer.encoder.vectors

            def seen(chunk: Tensor, state: Any) -> dict[str, Tensor]:
                self.latents = vectors(chunk, state)
                return self.latents

            tokenizer.encoder.vectors = seen
            self.quantize = self._quantized_vectors
            return
        quantizer = tokenizer.quantizer if hasattr(tokenizer, "quantizer") else tokenizer._quantizer
        encode = quantizer.encode

        def quantized(x: Tensor) -> list[Tensor]:
            self.latents = {"": (x if x.dim() == 3 else x[:, None]).clone()}
            return encode(x)

        quantizer.encode = quantized
        self.quantize = lambda latents: [code[0] for code in encode(latents[""][None])]

    def encode(self, chunk: Tensor, state: Any) -> list[Tensor]:
        return self.tokenizer.encode(chunk, state)

    def _quantized_vectors(self, latents: dict[str, Tensor]) -> list[Tensor]:
        semantic = [book.encode(latents[layer])[0] for layer, book in self.tokenizer._semantic.items()]
        return semantic + self.tokenizer._acoustic.encode(latents["A"])


def heard(stream: Watched, samples: Tensor, say: Say = lambda _: None) -> Heard:
    """What it gives for [1, N], whole frames, to the end."""
    frame, delay = stream.spec.frame_samples, stream.spec.delay_frames
    state, steps, latents = stream.tokenizer.initial_state(1), [], []
    chunks = [*samples.split(frame, 1), *[torch.zeros(1, frame)] * delay]
    for i, chunk in enumerate(chunks):
        if i == len(chunks) - delay and delay:
            stream.tokenizer.finish(state)
        steps.append([code.clone() for code in stream.encode(chunk, state)])
        latents.append(stream.latents)
        say(f"natd, {i + 1} of {len(chunks)} steps")
    codes = [torch.cat(layer, 1)[0] for layer in zip(*steps[delay:], strict=True)]
    return Heard(codes, {name: torch.cat([step[name] for step in latents[delay:]], 1)[0] for name in latents[0]})


def sounded(tokenizer: Any, codes: list[Tensor], say: Say = lambda _: None) -> Tensor:
    """Samples [N] of codes [T] of every layer, without what comes before them."""
    layers, late = tokenizer.spec.layers, getattr(tokenizer, "decoder_delay_samples", 0)
    parts = [layer[None].split(about.per_frame, 1) for layer, about in zip(codes, layers, strict=True)]
    frames, frame = list(zip(*parts, strict=True)), tokenizer.spec.frame_samples
    state, found = tokenizer.initial_decoder_state(1), []
    for i, step in enumerate(frames):
        found.append(tokenizer.decode(list(step), state))
        say(f"natd decodes, {i + 1} of {len(frames)} steps")
    if late:
        tokenizer.finish_decoding(state)
        found += [tokenizer.decode(list(frames[-1]), state) for _ in range(-(-late // frame))]
    return torch.cat(found, 1)[0, late : late + len(frames) * frame]
