"""Models of Mimi as transformers has them, with seeded random weights, and natd's tokenizer over their tensors."""

from typing import Any

import numpy as np
import torch
from transformers import MimiConfig, MimiModel

from natd.codec.checkpoint import Checkpoint
from natd.codec.mimi import Mimi
from tests.codec.books import Book, beside
from tests.codec.sounds import FRAME, score

SMALL: dict[str, Any] = {
    "num_filters": 4, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "sliding_window": 10, "upsample_groups": 64, "num_quantizers": 8, "codebook_size": 64,
    "codebook_dim": 16, "vector_quantization_hidden_dimension": 16,
}  # fmt: skip
BOOK = beside(0.3)
PUBLISHED_NAMES = {
    "encoder.encoder_seanet.": "encoder.", "encoder.encoder_transformer.": "encoder_transformer.",
    "encoder.downsample.": "downsample.", "decoder.upsample.": "upsample.",
    "decoder.decoder_transformer.": "decoder_transformer.", "decoder.decoder_seanet.": "decoder.",
}  # fmt: skip


@torch.no_grad()
def published(
    books: int = 8, seed: int = 0, samples: torch.Tensor | None = None, book: Book = BOOK, **config: Any
) -> MimiModel:
    """Attention that chooses, layers that matter, and that many codebooks of what there is to code in `samples`."""
    draw = torch.Generator().manual_seed(seed)
    model = MimiModel(MimiConfig(**config)).eval()
    for name, weight in model.named_parameters():
        normal = torch.randn(weight.shape, generator=draw)
        if "layer_scale" in name:
            weight.copy_(0.1 + 0.4 * torch.rand(weight.shape, generator=draw))
        elif weight.dim() == 1:
            weight.copy_((1.0 if "layernorm.weight" in name else 0.0) + 0.05 * normal)
        else:
            fan_in = weight.shape[1] if weight.dim() == 2 else weight.shape[1] * weight.shape[2]
            gain = 1.5 if weight.dim() == 2 and ("q_proj" in name or "k_proj" in name) else 1.0
            weight.copy_(gain * normal / fan_in**0.5)
    samples = torch.from_numpy(score().reshape(1, -1)) if samples is None else samples
    heard = model.encoder(samples[:, None]).latents
    quantizer = model.quantizer
    for residual in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
        left = residual.input_proj(heard)[0].T
        for layer in residual.layers[:books]:
            code = layer.codebook
            embed = book(left, code.codebook_size, draw)
            code.cluster_usage.copy_(0.5 + torch.rand(len(embed), generator=draw))
            code.embed_sum.copy_(embed * code.cluster_usage[:, None])
            left = left - embed[torch.cdist(left, embed).argmin(1)]
    return model


def checkpoint(model: MimiModel) -> Checkpoint:
    """Its configuration and tensors, by the names under which they are published."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        ours = next((to + name.removeprefix(of) for of, to in PUBLISHED_NAMES.items() if name.startswith(of)), name)
        tensors[ours] = tensor
    return Checkpoint(model.config.to_dict(), tensors, "sha256:0")


@torch.no_grad()
def their_codes(model: MimiModel, samples: torch.Tensor, books: int = 8) -> torch.Tensor:
    """Codes [B, books, T] of whole signals [B, N]."""
    return model.encode(samples[:, None], num_quantizers=books).audio_codes


@torch.no_grad()
def their_sound(model: MimiModel, codes: torch.Tensor) -> torch.Tensor:
    """Samples [B, N] of codes [B, books, T], in -1..1."""
    return model.decode(codes).audio_values[:, 0].clamp(-1.0, 1.0)


def sound(batch: int, frames: int) -> torch.Tensor:
    """Different parts of the test sounds, at different levels: [batch, frames * 1920]."""
    whole = score().reshape(-1)
    rows = [np.resize(np.roll(whole, -20_000 * (i + 1)), frames * FRAME) / (1 + i % 4) for i in range(batch)]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def codes_of(tokenizer: Mimi, samples: torch.Tensor) -> torch.Tensor:
    """Codes [B, books, T] of streams that begin with these samples."""
    state = tokenizer.initial_state(len(samples))
    return torch.cat([torch.stack(tokenizer.encode(chunk, state), 1) for chunk in samples.split(FRAME, 1)], 2)


def sound_of(tokenizer: Mimi, codes: torch.Tensor) -> torch.Tensor:
    """Samples [B, N] of codes [B, books, T]."""
    state = tokenizer.initial_decoder_state(len(codes))
    return torch.cat([tokenizer.decode(list(frame.unbind(1)), state) for frame in codes.split(1, 2)], 1)
