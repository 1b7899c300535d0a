"""Encoders of others by name: their options, what shapes them, and models that never run under another's name."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from natd.codec import open_tokenizer
from natd.codec.ssl import SslEncoder, open_encoder
from natd.errors import ConfigError, ModelError
from tests.codec.ssl_models import (
    MODELS,
    Reference,
    codes_of,
    heard,
    options,
    reference,
    store_codebooks,
    tokenizer,
    vectors_of,
)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Reference:
    return reference(request.param)


@pytest.fixture
def folder(model: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint as it is published, and an empty models folder beside it."""
    monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
    (tmp_path / "config.json").write_text(json.dumps(model.checkpoint.config))
    save_file(dict(model.checkpoint.tensors), tmp_path / "model.safetensors")
    return tmp_path


def test_opened_by_name(model: Reference, folder: Path) -> None:
    name = f"{model.name}:{options(model.name)}:from={folder}"
    with pytest.raises(
        ModelError, match=f"no codebooks .* run `nat codebook fit {re.escape(name)} --audio DIR`"
    ) as caught:
        open_tokenizer(name)
    assert caught.value.exit_code == 65
    encoder = open_encoder(model.name, options=name.partition(":")[2])
    identity = store_codebooks(folder / "models", encoder)
    found = open_tokenizer(name)
    info, layers = found.spec.info, found.spec.layers
    assert (info.name, info.codebook_id) == (f"{model.name}:{options(model.name)}", identity)
    assert (info.causal, info.lookahead_ms, info.dtype, info.batch_invariant) == (True, 0.0, "float32", True)
    assert [layer.name for layer in layers] == ["S0", "S1", "S2", "S3", "S4", "A0", "A1", "A2", "A3"]
    assert {(layer.vocab, layer.per_frame) for layer in layers} == {(24, 6 if model.name == "mert" else 5)}
    assert found.glossary["S0"] == {3: "soft, tonal"}
    audio = heard(encoder, 1)
    np.testing.assert_array_equal(codes_of(found, audio), codes_of(tokenizer(encoder), audio))


def test_a_head_and_older_names_change_nothing(model: Reference) -> None:
    encoder = model.encoder()
    kind, old = model.checkpoint.config["model_type"], {}
    for key, tensor in model.checkpoint.tensors.items():
        key = key.replace("parametrizations.weight.original0", "weight_g")
        old[f"{kind}.{key}".replace("parametrizations.weight.original1", "weight_v")] = tensor
    other = Reference(model.name, None, type(model.checkpoint)(model.checkpoint.config, old, "sha256:0")).encoder()
    audio = heard(encoder, 1)
    for one, two in zip(vectors_of(encoder, audio), vectors_of(other, audio), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_option_shapes_the_settings() -> None:
    model = reference("hubert")
    usual = "hop=0.1:window=0.5:semantic=1,2:acoustic=1"
    others = ["hop=0.1:window=0.6:semantic=1,2:acoustic=1", "hop=0.02:window=0.5:semantic=1,2:acoustic=1",
              "hop=0.1:window=0.5:semantic=2,1:acoustic=1", "hop=0.1:window=0.5:semantic=1,2:acoustic=2",
              f"{usual}:lookahead=0.1", f"{usual}:dtype=bfloat16", f"{usual}:features=anew"]  # fmt: skip
    found = [json.dumps(model.encoder(usual=each).settings()) for each in [usual, *others]]
    assert len(set(found)) == len(found)
    model.checkpoint = type(model.checkpoint)(model.checkpoint.config, model.checkpoint.tensors, "sha256:1")
    assert json.dumps(model.encoder(usual=usual).settings()) != found[0]


def test_the_usual_frames_hold_whole_numbers_of_vectors() -> None:
    for name in MODELS:
        encoder = reference(name).encoder(usual="semantic=4:acoustic=1")
        seconds = encoder.frame_samples / encoder.sr
        assert (encoder.plan.per_frame, seconds) == ((72, 0.96) if name == "mert" else (25, 0.5))
        assert encoder.plan.frames == (5 if name == "mert" else 10)


@pytest.mark.parametrize("asked, said", [
    ("hop=0.51", "multiple of 0.02 s"), ("hop=0", "multiple of 0.02 s"), ("hop=half", "not a number of seconds"),
    ("hop=0.5:window=1.2", "multiple of 0.5 s"), ("lookahead=5", "leaves nothing of the window"),
    ("hop=inf", "seconds"), ("hop=1e400", "not a number of seconds up to 60"), ("hop=1/50", "not a number of seconds"),
    ("window=1000", "number of seconds up to 60"), ("hop=1e99999999", "seconds"), ("window=" + "9" * 5000, "9 is"),
    ("semantic=5", "number in 0..4"), ("semantic=3,4,3", "3,4,3 has a layer twice"), ("semantic=", "number in 0..4"),
    ("acoustic=-1", "number in 0..4"),
    ("dtype=float16", "none of float32, bfloat16"), ("features=new", "none of kept, anew"), ("layers=3", "no option"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused(asked: str, said: str) -> None:
    base = "" if "semantic" in asked or "acoustic" in asked else ":semantic=4:acoustic=1"
    with pytest.raises(ConfigError, match=said):
        reference("hubert").encoder(usual=asked + base)


@pytest.mark.parametrize("fault", [
    {"model_type": "wavlm"}, {"sample_rate": 24_000}, {"do_stable_layer_norm": True}, {"feat_extract_norm": "layer"},
    {"feature_extractor_cqt": True}, {"deepnorm": True}, {"hidden_act": "relu"}, {"conv_pos_batch_norm": True},
])  # fmt: skip
def test_another_model_never_runs_under_this_name(fault: dict[str, object]) -> None:
    model = reference("hubert")
    checkpoint = type(model.checkpoint)({**model.checkpoint.config, **fault}, model.checkpoint.tensors, "sha256:0")
    with pytest.raises(ModelError, match="hubert: "):
        SslEncoder("hubert", checkpoint, "hop=0.1:window=0.5:semantic=4:acoustic=1")
