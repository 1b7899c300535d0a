"""Checkpoints that cannot be: each is refused when it is opened, or what is wrong with it is not used."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from natd.codec import heard_layers, open_tokenizer
from natd.codec.checkpoint import Checkpoint
from natd.codec.ssl import open_encoder
from natd.codec.ssl_published import PUBLISHED
from natd.errors import ConfigError, ModelError
from tests.codec.checkpoints import checkpoint_of, save
from tests.codec.look_ahead_models import sound
from tests.codec.ssl_models import options

ASKED = {"mimi": "mimi:codebooks=3", "encodec": "encodec:bandwidth=3", "snac": "snac", "dac": "dac:model=16khz"}
FAMILIES = (*ASKED, "hubert", "wavlm")
FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "lost": lambda x: x,
    "cut to one": lambda x: x[:1].clone(),
    "cut in half": lambda x: x[: len(x) // 2].clone(),
    "empty": lambda x: x[:0].clone(),
    "flat": lambda x: x.flatten(),
    "turned": lambda x: x.transpose(0, -1).clone(),
    "no number": lambda x: x.float().index_fill(0, torch.tensor([0]), torch.nan),
    "without end": lambda x: x.float().index_fill(0, torch.tensor([len(x) - 1]), torch.inf),
}
CHANGES_SHAPE = ("flat", "turned")
WEIRD: list[Any] = [None, 0, -1, 1.5, "x", [], {}, [0], ["a"], float("nan"), 10**9]


@pytest.fixture(scope="module", params=FAMILIES)
def whole(request: pytest.FixtureRequest) -> tuple[str, Checkpoint]:
    return request.param, checkpoint_of(request.param)


def opened(name: str, folder: Path) -> list[Tensor]:
    """The codes of a few frames and their sound, or the vectors."""
    if name in PUBLISHED:
        encoder = open_encoder(name, options=f"{options(name)}:from={folder}")
        state = encoder.initial_state(1)
        return list(encoder.vectors(sound(1, encoder.frame_samples), state).values())
    tokenizer: Any = open_tokenizer(f"{ASKED[name]}:from={folder}")
    codes = tokenizer.encode(sound(1, tokenizer.spec.frame_samples), tokenizer.initial_state(1))
    kinds = [layer.type for layer in tokenizer.spec.layers]
    heard = [code for kind, code in zip(kinds, codes, strict=True) if kind in heard_layers(tokenizer)]
    return [*codes, tokenizer.decode(heard, tokenizer.initial_decoder_state(1))]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tensor_that_cannot_be(whole: tuple[str, Checkpoint], fault: str, tmp_path: Path) -> None:
    name, held = whole
    right = opened(name, save(tmp_path, held.config, held.tensors))
    able = [key for key, tensor in held.tensors.items() if tensor.dim() and len(tensor) > 1]
    refused = 0
    for key in random.Random(fault + name).sample(sorted(able), 12):
        tensors = {**held.tensors, key: FAULTS[fault](held.tensors[key])}
        if fault in CHANGES_SHAPE and tensors[key].shape == held.tensors[key].shape:
            continue  # a bias is flat already
        if fault == "lost":
            del tensors[key]
        try:
            found = opened(name, save(tmp_path, held.config, tensors))
        except ModelError as error:
            assert error.exit_code == 65 and str(error).startswith(name)
            refused += 1
        else:  # nothing that is heard comes from it
            assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True)), key
    assert refused


def test_a_config_that_cannot_be(whole: tuple[str, Checkpoint], tmp_path: Path) -> None:
    name, held = whole
    save(tmp_path, held.config, held.tensors)
    for key in held.config:
        for value in random.Random(f"{key}{name}").sample(WEIRD, 4):
            save(tmp_path, {**held.config, key: value}, held.tensors)
            try:
                found = opened(name, tmp_path)
            except (ModelError, ConfigError) as error:
                assert str(error).startswith(name)
            else:
                assert all(bool(tensor.isfinite().all()) for tensor in found), (key, value)
