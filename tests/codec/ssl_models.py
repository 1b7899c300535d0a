"""Small models of transformers (HuBERT, WavLM, wav2vec 2.0) with seeded random weights; encoders of natd over them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from natd.codebooks import store
from natd.codec.checkpoint import Checkpoint
from natd.codec.ssl import Ssl, SslEncoder
from natd.codec.ssl_published import PUBLISHED

MODELS = {
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "mert": (HubertConfig, HubertModel),  # the same net on 24 kHz, as its configuration has it
}
SMALL: dict[str, Any] = {
    "conv_dim": [32] * 7, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "num_buckets": 32, "max_bucket_distance": 24,
}  # fmt: skip
LAYERS = 5  # of the small models, with what enters the first
FRAMES = 12  # more than twice their window
BEFORE = 80  # samples that the first vector sees of the silence before the start


def options(name: str) -> str:
    """A frame of 5 or 6 vectors, a window of 5 frames, every layer."""
    times = "hop=0.08:window=0.4" if name == "mert" else "hop=0.1:window=0.5"
    return f"{times}:semantic=0,1,2,3,4:acoustic=1"


@dataclass
class Reference:
    """The model of transformers and what its checkpoint holds."""

    name: str
    model: Any
    checkpoint: Checkpoint

    def encoder(self, more: str = "", usual: str | None = None) -> SslEncoder:
        return SslEncoder(self.name, self.checkpoint, f"{options(self.name) if usual is None else usual}{more}")

    @torch.no_grad()
    def hidden(self, window: Tensor) -> list[Tensor]:
        """Samples [B, N] of a window -> the hidden states [B, T, H] of the model behind its feature extractor."""
        return list(self.model(self.even(window), output_hidden_states=True).hidden_states)

    @torch.no_grad()
    def convolved(self, window: Tensor) -> Tensor:
        """Samples [B, N] -> what the convolutions give, [B, T, C]."""
        return self.model.feature_extractor(self.even(window)).transpose(1, 2)

    @torch.no_grad()
    def transformed(self, convolved: Tensor) -> list[Tensor]:
        """[B, T, C] -> hidden states [B, T, H]."""
        projected = self.model.feature_projection(convolved)
        projected = projected if isinstance(projected, Tensor) else projected[0]
        found: list[Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _, x, y: found.append(y[0] if isinstance(y, tuple) else y))
            for layer in self.model.encoder.layers
        ]
        first = self.model.encoder.layers[0].register_forward_pre_hook(lambda _, x: found.append(x[0]))
        self.model.encoder(projected)
        for hook in [*hooks, first]:
            hook.remove()
        return found

    def even(self, window: Tensor) -> Tensor:
        if not PUBLISHED[self.name].even:
            return window
        centred = window - window.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


def reference(name: str, sizes: dict[str, Any] = SMALL) -> Reference:
    config_class, model_class = MODELS[name]
    known = {key: value for key, value in sizes.items() if hasattr(config_class(), key)}
    model = model_class(config_class(**known)).eval()
    tensors = {key: drawn(key, like, seed) for seed, (key, like) in enumerate(sorted(model.state_dict().items()))}
    model.load_state_dict(tensors)
    config = model.config.to_dict()
    if name == "mert":
        config |= {"model_type": "mert_model", "sample_rate": 24_000, "feature_extractor_cqt": False, "deepnorm": False}
    return Reference(name, model, Checkpoint(config, tensors, "sha256:0"))


def drawn(name: str, like: Tensor, seed: int) -> Tensor:
    """Weights strong enough that attention and position decide what comes out."""
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    if "norm" in name or name.endswith("rel_pos_const"):
        return noise * 0.2 + (0.0 if name.endswith("bias") else 1.0)
    if name.endswith("original0"):
        return noise.abs() + 3.0
    if name.endswith("bias"):
        return noise * 0.1
    if "rel_attn_embed" in name:
        return noise
    gain = 2.0 if "q_proj" in name or "k_proj" in name else 1.4
    return noise * gain / like[0].numel() ** 0.5


def sounds(batch: int, samples: int, sr: int, seed: int = 0) -> Tensor:
    """Tones that rise and swell, in noise: [batch, samples]."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(samples) / sr
    rows = []
    for _ in range(batch):
        pitch, speed, loud = torch.rand(3, generator=generator).tolist()
        tone = torch.sin(2 * torch.pi * (80 + 900 * pitch) * t * (1 + 0.3 * t)) * (1.1 + torch.sin(3 + 17 * speed * t))
        rows.append((0.1 + 0.3 * loud) * (tone + 0.3 * torch.randn(samples, generator=generator)))
    return torch.stack(rows)


def heard(encoder: SslEncoder, batch: int, frames: int = FRAMES) -> Tensor:
    return sounds(batch, frames * encoder.frame_samples, encoder.sr)


def vectors_of(encoder: SslEncoder, audio: Tensor) -> list[dict[str, Tensor]]:
    """What each frame of [B, N] gives."""
    state = encoder.initial_state(len(audio))
    return [encoder.vectors(frame, state) for frame in audio.split(encoder.frame_samples, 1)]


def windows_of(encoder: SslEncoder, audio: Tensor) -> list[Tensor]:
    """What each frame of [B, N] makes the latest window, with what stands before it."""
    size, most = encoder.frame_samples, encoder.plan.frames
    heard = torch.cat([torch.zeros(len(audio), BEFORE), audio], 1)
    count = audio.shape[1] // size
    return [heard[:, max(0, end - most) * size : end * size + BEFORE] for end in range(1, count + 1)]


def codebooks(encoder: SslEncoder, codes: int = 24, levels: int = 4) -> dict[str, Tensor]:
    """Codes drawn from what the encoder gives for some sounds, and from what they leave over."""
    heard = vectors_of(encoder, sounds(2, 24 * encoder.frame_samples, encoder.sr, seed=9))
    every = {name: torch.cat([step[name].flatten(0, 1) for step in heard]) for name in heard[0]}
    generator = torch.Generator().manual_seed(3)
    books = {f"{name}.codes": x[torch.randperm(len(x), generator=generator)[:codes]] for name, x in every.items()}
    x, residual = every["A"], []
    for _ in range(levels):
        residual.append(x[torch.randperm(len(x), generator=generator)[:codes]])
        x = x - residual[-1][nearest(residual[-1], x)]
    return books | {"A.codes": torch.stack(residual)}


def nearest(codes: Tensor, x: Tensor) -> Tensor:
    """The nearest codes by the squared distance itself, in float64: [..., D] -> [...]."""
    return (x.double()[..., None, :] - codes.double()).square().sum(-1).argmin(-1)


def tokenizer(encoder: SslEncoder) -> Ssl:
    return Ssl(encoder, codebooks(encoder), {}, "sha256:0")


def store_codebooks(folder: Path, encoder: SslEncoder) -> str:
    """Where `open_tokenizer` looks for them; their codebook_id."""
    name = store.fitted_name(encoder.name, encoder.settings())
    legend = {"codes": {"S0": {"3": {"phrase": "soft, tonal", "count": 1}}}}
    return str(store.save(folder / "codebooks", name, encoder.settings(), codebooks(encoder), legend)["codebook_id"])


def codes_of(found: Ssl, audio: Tensor) -> np.ndarray:
    """[B, N] -> [B, layers, steps of all frames]."""
    state = found.initial_state(len(audio))
    steps = [torch.stack(found.encode(frame, state), 1) for frame in audio.split(found.spec.frame_samples, 1)]
    return torch.cat(steps, 2).numpy()
