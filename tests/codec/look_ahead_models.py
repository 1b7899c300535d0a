"""Small models of the published DAC and SNAC packages with seeded random weights, and natd's tokenizers over them."""

import functools
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import DacConfig, DacModel

from natd.codec import dac, snac
from natd.codec.checkpoint import Checkpoint
from natd.codec.look_ahead import LookAheadCodec
from natd.offline import stand_ins

with warnings.catch_warnings():  # torch's own words on how the package was made
    warnings.simplefilter("ignore", FutureWarning)
    from snac import SNAC
    from snac.layers import NoiseBlock

SNAC_24 = stand_ins.SNAC_24 | {"encoder_dim": 16, "decoder_dim": 64, "codebook_size": 64}
SNAC_32 = stand_ins.SNAC_32 | {
    "encoder_dim": 8, "encoder_rates": [2, 3, 4, 4], "decoder_dim": 128, "decoder_rates": [4, 4, 3, 2],
    "codebook_size": 64,
}  # fmt: skip
DAC_16 = {
    "sampling_rate": 16000, "encoder_hidden_size": 16, "downsampling_ratios": [2, 4, 5, 8], "decoder_hidden_size": 64,
    "n_codebooks": 4, "codebook_size": 64, "codebook_dim": 8,
}  # fmt: skip
KINDS = ("dac", "snac", "snac_attention")


@dataclass
class Published:
    """The package's model, what its checkpoint holds, and the tokenizer over that."""

    model: Any
    checkpoint: Checkpoint
    tokenizer: LookAheadCodec

    @torch.inference_mode()
    def encode(self, samples: torch.Tensor) -> list[torch.Tensor]:
        """Codes [B, T] per layer of whole signals [B, N]."""
        if isinstance(self.model, SNAC):
            return self.model.encode(samples[:, None])
        return list(self.model.encode(samples[:, None]).audio_codes.unbind(1))

    @torch.inference_mode()
    def decode(self, codes: list[torch.Tensor]) -> torch.Tensor:
        """Samples [B, N] of whole signals."""
        if isinstance(self.model, SNAC):
            return self.model.decode(codes)[:, 0]
        return self.model.decode(audio_codes=torch.stack(codes, 1)).audio_values


@functools.cache
def published(kind: str, options: str = "") -> Published:
    """One of `KINDS`."""
    if kind == "dac":
        config, module, rate = DAC_16, dac, "16khz"
        model = DacModel(DacConfig(**DAC_16)).eval()
    else:
        config, module, rate = (SNAC_24, snac, "24khz") if kind == "snac" else (SNAC_32, snac, "32khz")
        model = SNAC(**config).eval()
    fill(model)
    for block in model.modules():
        if isinstance(block, NoiseBlock):
            block.forward = lambda x: x
    fit(model, sound(1, 24576, seed=2))
    checkpoint = Checkpoint(config, model.state_dict(), f"sha256:{kind}")
    return Published(model, checkpoint, module.build(checkpoint, f"model={rate}{options}"))


@torch.no_grad()
def fill(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights that let a mistake in any layer show in the codes."""
    draw = np.random.default_rng(seed)
    for name, weight in model.named_parameters():
        normal = torch.from_numpy(draw.standard_normal(tuple(weight.shape), np.float32))
        if name.endswith("alpha"):
            value = 0.3 + normal.abs()
        elif name.endswith("original0"):
            value = 0.5 + 0.2 * normal.abs()
        elif name.endswith("bias"):
            value = 0.1 * normal
        elif "codebook" in name or weight.ndim == 1:
            value = normal
        else:
            value = normal * (0.5 if "qkv" not in name else 2.0) / float(np.sqrt(weight[0].numel()))
        weight.copy_(value)


@torch.no_grad()
def fit(model: Any, samples: torch.Tensor) -> None:
    """Codebooks of what there is to quantize in `samples` [1, N], so that codes differ from frame to frame."""
    draw = np.random.default_rng(3)
    left = model.encoder(samples[:, None])
    for book in model.quantizer.quantizers:
        stride = getattr(book, "stride", 1)
        own = book.in_proj(torch.nn.functional.avg_pool1d(left, stride, stride))[0].T
        rows = torch.from_numpy(draw.integers(0, len(own), len(book.codebook.weight)))
        apart = 1 + 0.05 * torch.from_numpy(draw.standard_normal(own[rows].shape, np.float32))
        book.codebook.weight.copy_(own[rows] * apart)
        left = left - book(left)[0]


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """The two files that a checkpoint is."""
    (folder / "config.json").write_text(json.dumps(checkpoint.config))
    save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, folder / "model.safetensors")


def sound(batch: int, samples: int, seed: int = 1) -> torch.Tensor:
    """Noise that swells and falls: [batch, samples]."""
    noise = np.random.default_rng(seed).standard_normal((batch, samples), np.float32)
    swell = np.sin(np.arange(samples, dtype=np.float32) / 2000 + np.arange(batch, dtype=np.float32)[:, None])
    return torch.from_numpy(0.3 * noise * swell)


def encoded(tokenizer: LookAheadCodec, samples: torch.Tensor) -> list[torch.Tensor]:
    """Codes [B, T] per layer of signals of whole frames, step by step to their end."""
    frame, delay = tokenizer.spec.frame_samples, tokenizer.spec.delay_frames
    state, steps = tokenizer.initial_state(len(samples)), []
    for chunk in samples.split(frame, 1):
        steps.append(tokenizer.encode(chunk, state))
    tokenizer.finish(state)
    steps += [tokenizer.encode(torch.zeros(len(samples), frame), state) for _ in range(delay)]
    return [torch.cat(layer, 1) for layer in zip(*steps[delay:], strict=True)]


def decoded(tokenizer: LookAheadCodec, codes: list[torch.Tensor]) -> torch.Tensor:
    """Samples [B, N] of the codes of whole frames, step by step to their end, without the delay."""
    frame, delay = tokenizer.spec.frame_samples, tokenizer.decoder_delay_samples
    widths = [layer.per_frame for layer in tokenizer.spec.layers]
    frames = list(zip(*(layer.split(width, 1) for layer, width in zip(codes, widths, strict=False)), strict=True))
    state = tokenizer.initial_decoder_state(len(codes[0]))
    heard = [tokenizer.decode(list(frame), state) for frame in frames]
    tokenizer.finish_decoding(state)
    heard += [tokenizer.decode(list(frames[-1]), state) for _ in range(-(-delay // frame))]
    return torch.cat(heard, 1)[:, delay : delay + len(frames) * frame]
