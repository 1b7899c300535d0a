"""Checkpoints of others: found where they are, whole or refused, never unpickled."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from natd.codebooks import store
from natd.codec import checkpoint
from natd.codec.checkpoint import open_checkpoint
from natd.errors import ModelError

REPO = "someone/toy"


def written(folder: Path, value: float = 1.0, record: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "toy", "value": value}))
    save_file({"a.weight": torch.full((2, 3), value)}, folder / "model.safetensors")
    if record:
        (folder / "manifest.json").write_text(json.dumps({"files": {name: row(folder / name) for name in FILES}}))
    return folder


FILES = ("config.json", "model.safetensors")


def row(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, and a cache of the hub beside it; both empty."""
    monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "models"


def cached(hub: Path, value: float) -> Path:
    """A snapshot as the hub's own client lays it out."""
    place = hub / "models--someone--toy"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    return written(place / "snapshots" / "abc", value)


def test_from_a_folder(tmp_path: Path, models: Path) -> None:
    found = open_checkpoint("toy", REPO, written(tmp_path / "own", 4.0))
    assert found.config == {"model_type": "toy", "value": 4.0}
    assert torch.equal(found.tensors["a.weight"], torch.full((2, 3), 4.0))


def test_the_digest_is_that_of_both_files(tmp_path: Path, models: Path) -> None:
    one, same = (open_checkpoint("toy", REPO, written(tmp_path / name)) for name in ("a", "b"))
    assert one.digest == same.digest and one.digest.startswith("sha256:") and len(one.digest) == 71
    (tmp_path / "b" / "config.json").write_text('{"model_type": "toy", "value": 2.0}')
    config = open_checkpoint("toy", REPO, tmp_path / "b")
    other = open_checkpoint("toy", REPO, written(tmp_path / "c", 3.0))
    assert len({one.digest, config.digest, other.digest}) == 3


def test_the_models_folder_comes_before_the_cache_of_the_hub(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ModelError, match=r"toy \(someone/toy\) are not installed; run `nat models fetch toy`"):
        open_checkpoint("toy", REPO)
    cached(tmp_path / "hub", 5.0)
    assert open_checkpoint("toy", REPO).config["value"] == 5.0
    written(models / "toy", 6.0)
    assert open_checkpoint("toy", REPO).config["value"] == 6.0


def test_half_a_snapshot_is_not_installed(tmp_path: Path, models: Path) -> None:
    (cached(tmp_path / "hub", 5.0) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="not installed"):
        open_checkpoint("toy", REPO)


def test_the_cure_names_the_option_of_a_tokenizer_with_several_models() -> None:
    assert "`nat models fetch dac_44khz`, or give a folder: dac:model=44khz:from=FOLDER" in checkpoint.cure("dac_44khz")
    assert checkpoint.cure("mimi").endswith("mimi:from=FOLDER")


class Hostile:
    """Unpickling it would make a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hostile",)


def test_pickled_weights_are_not_read_and_the_way_is_told(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(tmp_path / "own")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError, match=f"`nat models convert toy --from {folder}`"):
        open_checkpoint("toy", REPO, folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError, match="cannot be read"):
        open_checkpoint("toy", REPO, folder)
    assert not (tmp_path / "hostile").exists()


def harm_bit(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def cut(name: str, at: int) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:at])


def record(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def harm(folder: Path) -> None:
        found = json.loads((folder / "manifest.json").read_text())
        change(found)
        (folder / "manifest.json").write_text(json.dumps(found))

    return harm


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "there is no .*config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "there is no .*model.safetensors"),
    "a folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), "is not a file"),
    "a config cut": (cut("config.json", 10), "is not JSON"),
    "a config of bytes": (lambda f: (f / "config.json").write_bytes(b"\xff\xff"), "is not JSON"),
    "a config that is deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "is not JSON"),
    "a config that is a list": (lambda f: (f / "config.json").write_text("[]"), "is no JSON object"),
    "a config of 2 MB": (lambda f: (f / "config.json").write_text(" " * 2_000_000 + "{}"), "are the most"),
    "weights cut": (cut("model.safetensors", -2), "cannot be read"),
    "weights empty": (cut("model.safetensors", 0), "cannot be read"),
    "weights of 5 GB": (lambda f: os.truncate(f / "model.safetensors", 5 << 30), "are the most"),
    "a header of 2^60": (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 7 + b"\x10"), "cannot be read"),
}
BAD_RECORD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another config": (lambda f: (f / "config.json").write_text('{"model_type": "toy", "value": 2.0}'), "changed"),
    "another size": (lambda f: (f / "config.json").write_text("{}"), "has 2 bytes, .* were recorded"),
    "a bit": (harm_bit, "damaged or changed"),
    "record cut": (cut("manifest.json", 30), "is not a manifest"),
    "record a list": (lambda f: (f / "manifest.json").write_text("[]"), "is not a manifest"),
    "record of one file": (record(lambda m: m["files"].pop("config.json")), "is not a manifest"),
    "record without size": (record(lambda m: m["files"]["config.json"].pop("bytes")), "is not a manifest"),
    "record with a text": (record(lambda m: m["files"]["config.json"].update(bytes="9")), "sizes and hashes"),
    "record without hash": (record(lambda m: m["files"]["config.json"].update(sha256="")), "sizes and hashes"),
    "record of lists": (record(lambda m: m.update(files=[])), "is not a manifest"),
    "record of what came": (record(lambda m: m.update(upstream=[1])), "is not a manifest"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, models: Path, what: str) -> None:
    harm, reason = BAD[what]
    folder = written(tmp_path / "own")
    harm(folder)
    with pytest.raises(ModelError, match=f"^toy: .*{reason}.*; run `nat models fetch toy`"):
        open_checkpoint("toy", REPO, folder)


@pytest.mark.parametrize("what", BAD_RECORD)
def test_what_differs_from_the_record_is_refused(tmp_path: Path, models: Path, what: str) -> None:
    harm, reason = BAD_RECORD[what]
    folder = written(models / "toy", record=True)
    assert open_checkpoint("toy", REPO).config["value"] == 1.0
    harm(folder)
    with pytest.raises(ModelError, match=reason):
        open_checkpoint("toy", REPO)


def test_what_is_verified_is_the_hash_of_each_file(tmp_path: Path) -> None:
    folder = written(tmp_path, record=True)
    assert checkpoint.verify(folder) == {name: store.file_sha256(folder / name) for name in FILES}
