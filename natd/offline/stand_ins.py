"""Checkpoints of the published shapes with seeded random weights: they cost what the real ones cost, and say nothing.

For measuring speed and memory where the real weights are not at hand. Needs the packages of the models' authors where
transformers has none (`pip install 'natd[bench]'`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from natd.codec import Tokenizer, open_tokenizer, ssl
from natd.codec.checkpoint import CONFIG, WEIGHTS
from natd.errors import ConfigError

SEED = 0
PLAIN = {"mimi": "Mimi", "encodec": "Encodec", "hubert": "Hubert", "wavlm": "WavLM", "wav2vec2": "Wav2Vec2"}
MERT = {"model_type": "mert_model", "sample_rate": 24_000}
SSL = ("hubert", "wavlm", "wav2vec2", "mert")
CODES, LEVELS = 512, 4  # of the codebooks that such an encoder would be given
DAC = {
    "16khz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12, "sampling_rate": 16_000},
    "24khz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32, "sampling_rate": 24_000},
    "44khz": {"downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9, "sampling_rate": 44_100},
}
SNAC_24 = {
    "sampling_rate": 24_000, "encoder_dim": 48, "encoder_rates": [2, 4, 8, 8], "latent_dim": None, "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2], "attn_window_size": None, "codebook_size": 4096, "codebook_dim": 8,
    "vq_strides": [4, 2, 1], "noise": True, "depthwise": True,
}  # fmt: skip
SNAC_32 = SNAC_24 | {
    "sampling_rate": 32_000, "encoder_dim": 64, "encoder_rates": [2, 3, 8, 8], "decoder_dim": 1536,
    "decoder_rates": [8, 8, 3, 2], "attn_window_size": 32, "vq_strides": [8, 4, 2, 1],
}  # fmt: skip
SNAC = {"24khz": SNAC_24, "32khz": SNAC_32, "44khz": SNAC_32 | {"sampling_rate": 44_100}}


@dataclass(frozen=True, slots=True)
class Model:
    """A module of a package with random weights, and the configuration that it was made from."""

    module: Any
    config: Mapping[str, Any]


def opened(name: str, folder: Path, device: str = "cpu") -> Tokenizer:
    """The tokenizer `name` (with options, but without `from=`) over random weights, which are written to `folder`."""
    base, _, options = named(name, folder).partition(":")
    if base not in SSL:
        return open_tokenizer(f"{base}:{options}", device)
    encoder = ssl.open_encoder(base, device, options)
    draw = torch.Generator().manual_seed(SEED)
    shape = (CODES, encoder.vectors(torch.zeros(1, encoder.frame_samples), encoder.initial_state(1))["A"].shape[-1])
    books = {f"S{i}.codes": torch.randn(shape, generator=draw) for i in range(len(encoder.plan.semantic))}
    books["A.codes"] = torch.randn(LEVELS, *shape, generator=draw)
    return ssl.Ssl(encoder, books, {}, "random")


def named(name: str, folder: Path) -> str:
    """Write the checkpoint of `name` to `folder`; the name that opens it there."""
    made = build(name)
    if hasattr(made.module, "save_pretrained"):  # which writes the published names
        progress = import_module("transformers.utils.logging")
        progress.disable_progress_bar()
        made.module.save_pretrained(folder)
        if made.config is MERT:  # a HuBERT at another rate, under another name
            known = json.loads((folder / CONFIG).read_text())
            (folder / CONFIG).write_text(json.dumps(known | MERT))
        return f"{name}:from={folder}"
    (folder / CONFIG).write_text(json.dumps(made.config))
    tensors: dict[str, Tensor] = made.module.state_dict()
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / WEIGHTS)
    return f"{name}:from={folder}"


def build(name: str) -> Model:
    """The published shape of `name`, as its authors' package or transformers builds it."""
    base, _, options = name.partition(":")
    size = dict(word.split("=", 1) for word in options.split(":") if "=" in word).get("model", "")
    torch.manual_seed(SEED)
    if base in PLAIN:
        return _of_transformers(PLAIN[base], {})
    if base == "mert":
        return Model(_of_transformers("Hubert", {}).module, MERT)
    if base == "dac":
        return _of_transformers("Dac", DAC[size or "44khz"])
    if base == "snac":
        return _snac(SNAC[size or "24khz"])
    raise ConfigError(f"no random weights are made for {base!r}: {', '.join([*PLAIN, 'mert', 'dac', 'snac'])}")


def _of_transformers(family: str, settings: Mapping[str, Any]) -> Model:
    package = import_module("transformers")
    config = getattr(package, f"{family}Config")(**settings)
    module = getattr(package, f"{family}Model")(config).eval()
    for name, buffer in module.named_buffers():
        if name.endswith(("embed", "embed_sum")):  # codebooks are not drawn by the package
            buffer.copy_(torch.randn(buffer.shape))
    return Model(module, config.to_dict())


def _snac(settings: Mapping[str, Any]) -> Model:
    try:
        with warnings.catch_warnings():  # torch's own words on how the package was made
            warnings.simplefilter("ignore", FutureWarning)
            package = import_module("snac")
    except ImportError as error:
        raise ConfigError("random weights of snac need its package: pip install 'natd[bench]'") from error
    return Model(package.SNAC(**settings).eval(), settings)
