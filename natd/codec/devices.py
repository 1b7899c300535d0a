"""The torch device a model runs on."""

from __future__ import annotations

import logging

import torch

from natd.errors import ConfigError

log = logging.getLogger(__name__)


def present(device: str) -> str:
    """The torch device; `auto` is CUDA where there is one, said aloud; ConfigError for one that is absent."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        log.info("device auto: %s", device)
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {device} was asked for but torch finds no CUDA device: use cpu, or auto")
    elif device != "cpu" and not device.startswith("cuda"):
        raise ConfigError(f"there is no device {device!r}: use cpu, cuda, cuda:N, or auto")
    return device


def exact_products() -> None:
    """Products on CUDA in float32, not in the 10 bits of TF32: a code must not depend on the device."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
