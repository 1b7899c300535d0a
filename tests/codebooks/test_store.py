"""Weights on disk: back as they went, identity from settings and bytes, anything else refused."""

import json
from pathlib import Path

import pytest
import torch

from natd.codebooks import store
from natd.errors import ModelError

SETTINGS = {"name": "toy", "sr": 24_000}


def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path, "toy", SETTINGS, tensors(), {"codes": {"S0": {"0": "silence"}}})
    return tmp_path


def test_what_was_saved_is_loaded(folder: Path) -> None:
    found, legend, identity = store.load(folder, "toy", SETTINGS)
    assert all(torch.equal(found[k], v) for k, v in tensors().items())
    assert legend == {"codes": {"S0": {"0": "silence"}}}
    assert (
        identity
        == store.codebook_id(SETTINGS, tensors())
        == json.loads((folder / "toy.json").read_text())["codebook_id"]
    )


def test_identity_changes_with_settings_values_names_and_shapes() -> None:
    base = store.codebook_id(SETTINGS, tensors())
    others = [
        store.codebook_id(SETTINGS | {"sr": 16_000}, tensors()),
        store.codebook_id(SETTINGS, tensors() | {"b": torch.ones(4) * 2}),
        store.codebook_id(SETTINGS, {"a": tensors()["a"], "c": torch.ones(4)}),
        store.codebook_id(SETTINGS, tensors() | {"a": torch.arange(6.0).view(3, 2)}),
    ]
    assert len({base, *others}) == 5 and base.startswith("sha256:") and len(base) == 71


def test_other_settings_and_damage_are_refused_with_the_reason(folder: Path) -> None:
    with pytest.raises(ModelError, match="other encoder settings"):
        store.load(folder, "toy", SETTINGS | {"sr": 1})
    with pytest.raises(ModelError, match="other.json cannot be read"):
        store.load(folder, "other", SETTINGS)
    weights = folder / "toy.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-4])
    with pytest.raises(ModelError, match="truncated"):
        store.load(folder, "toy", SETTINGS)
    weights.write_bytes(data[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="damaged"):
        store.load(folder, "toy", SETTINGS)
    weights.unlink()
    with pytest.raises(ModelError, match="toy.safetensors cannot be read: No such file"):
        store.load(folder, "toy", SETTINGS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"codebook_id": "x", "settings": {}, "files": []}', "\udcff"])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "toy.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match="is not a manifest|other encoder settings"):
        store.load(folder, "toy", SETTINGS)


def test_a_manifest_for_other_tensors_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / "toy.json").read_text())
    manifest["codebook_id"] = "sha256:" + "0" * 64
    (folder / "toy.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="the manifest says"):
        store.load(folder, "toy", SETTINGS)
