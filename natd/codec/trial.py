"""What does not fit in a checkpoint shows in the first frame: that is tried before a tokenizer is given out."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from natd.codec import heard_layers

T = TypeVar("T", bound=Any)


@torch.no_grad()
def tried(tokenizer: T) -> T:
    """`tokenizer`, once a frame of noise has gone through it and, where it decodes, back.

    ValueError if codes or samples are not those that its spec promises; what is raised on the way goes on.
    """
    spec = tokenizer.spec
    codes: list[Tensor] = tokenizer.step(noise(spec.frame_samples), tokenizer.initial_state(1))
    for layer, code in zip(spec.layers, codes, strict=True):
        if code.shape != (1, layer.per_frame) or code.min() < 0 or code.max() >= layer.vocab:
            raise ValueError(f"{layer.name} gives {code.tolist()}, not {layer.per_frame} codes below {layer.vocab}")
    if hasattr(tokenizer, "decode"):
        types = heard_layers(tokenizer)
        heard = [code for layer, code in zip(spec.layers, codes, strict=True) if layer.type in types]
        sound = tokenizer.decode(heard, tokenizer.initial_decoder_state(1))
        if sound.shape != (1, spec.frame_samples) or not finite(sound):
            raise ValueError(f"its decoder gives samples of {tuple(sound.shape)} that are not all numbers")
    return tokenizer


def noise(samples: int) -> Tensor:
    """[1, samples] float32, always the same."""
    return torch.rand(1, samples, generator=torch.Generator().manual_seed(0)) - 0.5


def finite(x: Tensor) -> bool:
    """Whether all of it are numbers."""
    return bool(x.isfinite().all())
