"""SNAC and DAC at their published shapes: SNAC beside its own package, DAC beside transformers."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import DacConfig, DacModel

from natd.codec import dac, snac
from natd.codec.checkpoint import Checkpoint
from natd.codec.weight_norm import folded
from natd.offline import stand_ins
from tests.benchmarks.parity.nearest import Chain, Factorised, Heard
from tests.benchmarks.parity.streams import Say
from tests.benchmarks.parity.subject import Company, Subject, watching
from tests.codec.look_ahead_models import SNAC, NoiseBlock, Published, fill, fit

FITTED_S = 20.0  # of sound, that codebooks are drawn from
ALIGN = 4  # frames: what SNAC looks at together


def of_dac(options: str, samples: Tensor, _: Say) -> list[Subject]:
    rate = options.partition("=")[2]
    config = stand_ins.DAC[rate]
    model = DacModel(DacConfig(**config)).eval()
    _fit(model, samples, math.prod(config["downsampling_ratios"]), config["sampling_rate"])
    held = Checkpoint(config, model.state_dict(), "sha256:dac")
    frames = {f"frames={n}": lambda n=n: dac.build(held, f"{options}:frames={n}") for n in (1, 3, 16)}
    against = f"transformers {transformers.__version__}"
    return [_subject(f"dac:{options}", against, model, held, dac.build(held, options), frames)]


def of_snac(options: str, samples: Tensor, _: Say) -> list[Subject]:
    rate = options.partition("=")[2]
    config = stand_ins.SNAC[rate]
    model = SNAC(**config).eval()
    for block in model.modules():
        if isinstance(block, NoiseBlock):  # which makes no sound twice
            block.forward = lambda x: x
    _fit(model, samples, math.prod(config["encoder_rates"]), config["sampling_rate"])
    held = Checkpoint(config, model.state_dict(), "sha256:snac")
    return [_subject(f"snac:{options}", f"snac {version('snac')}", model, held, snac.build(held, options), {})]


def _fit(model: Any, samples: Tensor, hop: int, rate: int) -> None:
    fill(model)
    whole = 32 * hop  # of SNAC's windows
    samples = samples[:, : min(int(FITTED_S * rate), samples.shape[1]) // whole * whole]
    _spread(model, samples)
    fit(model, samples)


@torch.no_grad()
def _spread(model: Any, samples: Tensor) -> None:
    """Latents of mean 0 and spread 1 in every channel, so that the sound decides where they lie."""
    last = [module for module in model.encoder.modules() if isinstance(module, nn.Conv1d)][-1]
    latents = model.encoder(samples[:, None])[0]
    mean, spread = latents.mean(1), latents.std(1)
    length = last.parametrizations.weight.original0 if hasattr(last, "parametrizations") else last.weight
    length.div_(spread[:, None, None])
    last.bias.copy_((last.bias - mean) / spread)


def _subject(
    name: str, against: str, model: Any, held: Checkpoint, tokenizer: Any, others: dict[str, Any]
) -> Subject:  # fmt: skip
    published = Published(model, held, tokenizer)

    def theirs(sound: Tensor) -> Heard:
        codes, latents = watching(model.encoder, lambda: published.encode(sound))
        return Heard([layer[0] for layer in codes], {"": latents})

    tensors = folded({name: t for name, t in held.tensors.items() if name.startswith("quantizer.")})
    books = [
        _book(tensors, f"quantizer.quantizers.{i}", quantizer) for i, quantizer in enumerate(model.quantizer.quantizers)
    ]
    heavy = Company(8, 3)
    return Subject(
        name, against, tokenizer, theirs, [Chain(range(len(books)), Factorised(books))],
        lambda codes: published.decode([layer[None] for layer in codes]).flatten(), others, company=heavy, align=ALIGN,
    )  # fmt: skip


def _book(tensors: Any, prefix: str, quantizer: nn.Module) -> tuple[Any, ...]:
    into, out = (tensors[f"{prefix}.{part}.weight"][:, :, 0] for part in ("in_proj", "out_proj"))
    bias, after = (tensors[f"{prefix}.{part}.bias"] for part in ("in_proj", "out_proj"))
    return into, bias, out, after, tensors[f"{prefix}.codebook.weight"], getattr(quantizer, "stride", 1)
