"""Programs of the authors themselves, where they are installed: moshi, rustymimi, encodec.

They read the weights under names of their own. A strict load says that none is forgotten.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from natd.offline.peers import older_name
from tests.benchmarks.parity.nearest import Heard
from tests.benchmarks.parity.subject import Subject, watching

FRAME, HEADS = 1920, 8  # of Mimi
MIMI = (
    (r"^(encoder|decoder)\.layers", r"\1.model"),
    (r"^(\w+_transformer)\.layers", r"\1.transformer.layers"),
    (r"^(decoder\.model\.(?:2|5|8|11))\.conv", r"\1.convtr.convtr"),
    (r"^upsample\.conv", "upsample.convtr.convtr.convtr"),
    (r"^downsample\.conv", "downsample.conv.conv.conv"),
    (r"^((?:encoder|decoder)\.model.*\.conv)\.(w|b)", r"\1.conv.\2"),
    (r"self_attn\.o_proj", "self_attn.out_projs.0"),
    ("input_layernorm", "norm1"),
    ("post_attention_layernorm", "norm2"),
    (r"mlp\.fc", "linear"),
    ("self_attn_layer_scale", "layer_scale_1"),
    ("mlp_layer_scale", "layer_scale_2"),
    ("semantic_residual_vector_quantizer", "rvq_first"),
    ("acoustic_residual_vector_quantizer", "rvq_rest"),
    (r"layers\.(\d+)\.codebook\.", r"vq.layers.\1._codebook."),
    ("embed_sum", "embedding_sum"),
    (r"_codebook\.initialized", "_codebook._initialized"),
)
ENCODEC = (
    (r"^(encoder|decoder)\.layers", r"\1.model"),
    (r"\.conv\.parametrizations\.weight\.original0", ".conv.conv.weight_g"),
    (r"\.conv\.parametrizations\.weight\.original1", ".conv.conv.weight_v"),
    (r"\.conv\.bias", ".conv.conv.bias"),
    (r"^(decoder\.model\.(?:3|6|9|12))\.conv\.conv", r"\1.convtr.convtr"),
    (r"^quantizer\.layers", "quantizer.vq.layers"),
    (r"\.codebook\.", "._codebook."),
)


def of_mimi(subject: Subject, tensors: Mapping[str, Tensor], books: int, window: int) -> list[Subject]:
    """moshi on whole sounds for the usual window, rustymimi step by step for the one that it has: 251."""
    named = _fused({_renamed(name, MIMI): tensor for name, tensor in tensors.items()})
    if window == 251:
        return _rust(subject, named, books)
    loaders = _installed("moshi.models.loaders")
    if loaders is None or window != 250:
        return []
    model = loaders.get_mimi(None, num_codebooks=books).eval()
    model.load_state_dict(named)

    def theirs(sound: Tensor) -> Heard:
        with torch.inference_mode():
            codes, latents = model.encode(sound[:, None]), model._encode_to_unquantized_latent(sound[:, None])
        return Heard(list(codes[0].clone()), {"": latents[0].T.clone()})

    def sound_of(codes: list[Tensor]) -> Tensor:
        return model.decode(torch.stack(codes)[None])[0, 0].clamp(-1.0, 1.0)

    against = f"moshi {version('moshi')} on the whole sound"
    return [replace(subject, against=against, theirs=theirs, their_sound=sound_of, company=None)]


def of_encodec(subject: Subject, tensors: Mapping[str, Tensor], books: int) -> list[Subject]:
    package = _installed("encodec")
    if package is None:
        return []
    model = package.EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.load_state_dict({_renamed(name, ENCODEC): tensor for name, tensor in tensors.items()})
    model.set_target_bandwidth(0.75 * books)

    def theirs(sound: Tensor) -> Heard:
        frames, latents = watching(model.encoder, lambda: model.encode(sound[:, None]))
        return Heard(list(frames[0][0][0]), {"": latents})

    def sound_of(codes: list[Tensor]) -> Tensor:
        return model.decode([(torch.stack(codes)[None], None)])[0, 0]

    against = f"encodec {version('encodec')}"
    return [replace(subject, against=against, theirs=theirs, their_sound=sound_of, company=None)]


def _rust(subject: Subject, tensors: Mapping[str, Tensor], books: int) -> list[Subject]:
    """Its latents cannot be seen: near ties are told by those of transformers."""
    package = _installed("rustymimi")
    if package is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mimi.safetensors"
        save_file({older_name(name): tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
        program = package.Tokenizer(str(path), num_codebooks=books)

    def theirs(sound: Tensor) -> Heard:
        steps = [program.encode_step(chunk[:, None].numpy()) for chunk in sound.split(FRAME, 1)]
        codes = torch.cat([torch.from_numpy(step.astype("int64")) for step in steps], 2)
        return Heard(list(codes[0]), subject.theirs(sound).latents)

    against = f"rustymimi {version('rustymimi')}, step by step"
    return [replace(subject, against=against, theirs=theirs, their_sound=None, company=None, more=None)]


def _installed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        print(f"{name.partition('.')[0]} is not installed: not compared with it", file=sys.stderr)
        return None


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for of, to in rules:
        name = re.sub(of, to, name)
    return name


def _fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values in one matrix; the pairs that are turned together side by side."""
    fused = {}
    for name, tensor in tensors.items():
        if name.endswith("q_proj.weight"):
            base = name.removesuffix("q_proj.weight")
            parts = [_side_by_side(tensors[f"{base}{part}_proj.weight"]) for part in "qk"]
            fused[f"{base}in_projs.0.weight"] = torch.cat([*parts, tensors[f"{base}v_proj.weight"]])
        elif not name.endswith(("k_proj.weight", "v_proj.weight")):
            fused[name] = tensor
    return fused


def _side_by_side(weight: Tensor) -> Tensor:
    rows, width = weight.shape
    return weight.view(HEADS, 2, rows // HEADS // 2, width).transpose(1, 2).reshape(rows, width)
