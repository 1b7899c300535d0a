"""Models of EnCodec as transformers has them, with seeded random weights, and natd's tokenizer over their tensors."""

from typing import Any

import numpy as np
import torch
from transformers import EncodecConfig, EncodecModel

from natd.codec.checkpoint import Checkpoint
from natd.codec.encodec import EnCodec
from tests.codec.books import Book, beside
from tests.codec.sounds import score

SMALL = {"num_filters": 4, "hidden_size": 32, "codebook_size": 64, "target_bandwidths": [7.2]}  # 16 books
HOP, BOOK = 320, beside(0.1)


@torch.no_grad()
def published(
    books: int = 16, seed: int = 0, samples: torch.Tensor | None = None, book: Book = BOOK, **config: Any
) -> EncodecModel:
    """Memory that lasts, latents of unit spread in every channel, and that many codebooks of what `samples` hold."""
    draw = torch.Generator().manual_seed(seed)
    model = EncodecModel(EncodecConfig(**config)).eval()
    for name, weight in model.named_parameters():
        normal = torch.randn(weight.shape, generator=draw)
        if name.endswith("original0"):  # the length of a direction
            weight.copy_((1.0 if ".block." in name else 1.4) * (1 + 0.1 * normal))
        elif "lstm.weight" in name:
            weight.copy_(1.5 * normal / weight.shape[1] ** 0.5)
        else:
            weight.copy_(normal if name.endswith("original1") else 0.05 * normal)
    samples = torch.from_numpy(score().reshape(1, -1)) if samples is None else samples
    latents = model.encoder(samples[:, None])[0].T
    last = model.encoder.layers[-1].conv
    mean, spread = latents.mean(0), latents.std(0)
    last.parametrizations.weight.original0.div_(spread[:, None, None])
    last.bias.copy_((last.bias - mean) / spread)
    left = (latents - mean) / spread
    for layer in model.quantizer.layers[:books]:
        embed = layer.codebook.embed
        embed.copy_(book(left, len(embed), draw))
        left = left - embed[layer.codebook.quantize(left)]
    return model


def checkpoint(model: EncodecModel) -> Checkpoint:
    """Its configuration and tensors."""
    return Checkpoint(model.config.to_dict(), model.state_dict(), "sha256:0")


@torch.no_grad()
def their_codes(model: EncodecModel, samples: torch.Tensor, books: int) -> torch.Tensor:
    """Codes [B, books, T] of whole signals [B, N]."""
    return model.quantizer.encode(model.encoder(samples[:, None]), None)[:books].transpose(0, 1)


@torch.no_grad()
def their_sound(model: EncodecModel, codes: torch.Tensor) -> torch.Tensor:
    """Samples [B, N] of codes [B, books, T]."""
    return model.decode(codes[None], [None]).audio_values[:, 0]


def sound(batch: int, latents: int) -> torch.Tensor:
    """Different parts of the test sounds, at different levels: [batch, latents * 320]."""
    whole = score().reshape(-1)
    rows = [np.resize(np.roll(whole, -20_000 * (i + 1)), latents * HOP) / (1 + i % 4) for i in range(batch)]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def codes_of(tokenizer: EnCodec, samples: torch.Tensor, *steps: int) -> torch.Tensor:
    """Codes [B, books, T], in steps of so many latents, the last again and again."""
    state, codes, at, done = tokenizer.initial_state(len(samples)), [], 0, 0
    while at < samples.shape[1]:
        size = steps[min(done, len(steps) - 1)] * HOP
        codes.append(torch.stack(tokenizer.encode(samples[:, at : at + size], state), 1))
        at, done = at + size, done + 1
    return torch.cat(codes, 2)


def sound_of(tokenizer: EnCodec, codes: torch.Tensor, latents: int = 8) -> torch.Tensor:
    """Samples [B, N] of codes [B, books, T], in steps of so many latents."""
    state = tokenizer.initial_decoder_state(len(codes))
    return torch.cat([tokenizer.decode(list(part.unbind(1)), state) for part in codes.split(latents, 2)], 1)
