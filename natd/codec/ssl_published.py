"""The published encoders that `natd.codec.ssl` runs: where they are, what is usual for them, what options mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from natd.codec.checkpoint import Checkpoint
from natd.codec.options import number
from natd.errors import ConfigError, ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FEATURES = ("kept", "anew")
SECONDS = re.compile(r"\d{1,4}(\.\d{0,9})?|\.\d{1,9}", re.ASCII)
MOST_S = 60  # of a window: attention costs its square


@dataclass(frozen=True, slots=True)
class Published:
    """A published model: its repository, what its config.json calls it, its rate, and the options that are usual here.

    `even`: its feature extractor brings what it hears to mean 0 and variance 1.
    """

    repo: str
    types: tuple[str, ...]
    sr: int
    even: bool
    options: Mapping[str, str]


def _options(hop: str, window: str, semantic: str, acoustic: str) -> dict[str, str]:
    whole = {"hop": hop, "window": window, "lookahead": "0", "semantic": semantic, "acoustic": acoustic}
    return {**whole, "features": "kept", "dtype": "float32", "from": ""}


# A frame of MERT holds a whole number of vectors, 36 in 0.48 s; its net costs more than that much time on one core, so
# twice that is usual. Phones are clearest in layers 7-10 of HuBERT and WavLM, in 5-8 of wav2vec 2.0 (Pasad et al.,
# 2021 and 2023).
PUBLISHED = {
    "hubert": Published("facebook/hubert-base-ls960", ("hubert",), 16_000, True, _options("0.5", "5", "7,8,9,10", "2")),
    "wavlm": Published("microsoft/wavlm-base", ("wavlm",), 16_000, False, _options("0.5", "5", "7,8,9,10", "2")),
    "wav2vec2": Published("facebook/wav2vec2-base", ("wav2vec2",), 16_000, True, _options("0.5", "5", "5,6,7,8", "2")),
    "mert": Published(
        "m-a-p/MERT-v1-95M", ("mert_model", "hubert"), 24_000, True, _options("0.96", "4.8", "5,6,7,8", "2")
    ),
}
# What config.json may leave out.
BASE: dict[str, Any] = {
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "num_conv_pos_embedding_groups": 16,
    "num_buckets": 320,
    "max_bucket_distance": 800,
}
# What is run here, and nothing else: key, value, and what holds where the key is missing.
REQUIRED = {
    "feat_extract_norm": "group", "feat_extract_activation": "gelu", "hidden_act": "gelu", "feat_proj_layer_norm": True,
    "do_stable_layer_norm": False, "conv_pos_batch_norm": False, "feature_extractor_cqt": False, "deepnorm": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What options ask for: vectors a frame, window and look-ahead in frames, layers of the transformer."""

    per_frame: int
    frames: int
    late: int
    semantic: tuple[int, ...]
    acoustic: int
    anew: bool
    dtype: str


def planned(name: str, given: Mapping[str, str], rate: int, layers: int) -> Plan:
    """Options as `parse` gives them, for `rate` vectors a second and so many layers; ConfigError for what cannot be."""
    per_frame = _count(name, "hop", given["hop"], Fraction(1, rate), 1)
    hop = Fraction(per_frame, rate)
    frames = _count(name, "window", given["window"], hop, 1)
    late = _count(name, "lookahead", given["lookahead"], hop, 0)
    if late >= frames:
        raise ConfigError(f"{name}:lookahead={given['lookahead']} leaves nothing of the window of {given['window']} s")
    if given["features"] not in FEATURES:
        raise ConfigError(f"{name}:features={given['features']} is none of {', '.join(FEATURES)}")
    if given["dtype"] not in DTYPES:
        raise ConfigError(f"{name}:dtype={given['dtype']} is none of {', '.join(DTYPES)}")
    semantic = tuple(number(name, "semantic", word, 0, layers) for word in given["semantic"].split(","))
    if len(set(semantic)) < len(semantic):
        raise ConfigError(f"{name}:semantic={given['semantic']} has a layer twice")
    acoustic = number(name, "acoustic", given["acoustic"], 0, layers)
    return Plan(per_frame, frames, late, semantic, acoustic, given["features"] == "anew", given["dtype"])


def _count(name: str, key: str, text: str, unit: Fraction, least: int) -> int:
    """Seconds as a number of units; ConfigError if it is not whole, too few or too many."""
    if not SECONDS.fullmatch(text) or Fraction(text) > MOST_S:
        raise ConfigError(f"{name}:{key}={text[:40]} is not a number of seconds up to {MOST_S}")
    count = Fraction(text) / unit
    if count.denominator > 1 or count < least:
        raise ConfigError(
            f"{name}:{key}={text} is not a multiple of {float(unit):.6g} s from {float(least * unit):.6g} on"
        )
    return int(count)


def check_options(name: str, given: Mapping[str, str]) -> None:
    """ConfigError for options that the published model cannot have: said before its weights are looked for."""
    rate = PUBLISHED[name].sr // math.prod(BASE["conv_stride"])
    planned(name, given, rate, BASE["num_hidden_layers"])


def checked(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json with what it leaves out; ModelError for another model than `name`, or one that is built otherwise."""
    model = PUBLISHED[name]
    if config.get("model_type") not in model.types or config.get("sample_rate", model.sr) != model.sr:
        raise ModelError(f"{name}: config.json is of model_type {config.get('model_type')!r}, not {model.repo}")
    for key, value in REQUIRED.items():
        if config.get(key, value) != value:
            raise ModelError(f"{name}: {key} is {config[key]!r} in config.json; only {value!r} is run here")
    return {**BASE, **config}


def tensors_of(checkpoint: Checkpoint, device: torch.device) -> dict[str, Tensor]:
    """The base model's tensors, whatever head it was saved with."""
    prefix = f"{checkpoint.config['model_type']}."
    return {name.removeprefix(prefix): t.to(device, torch.float32) for name, t in checkpoint.tensors.items()}
