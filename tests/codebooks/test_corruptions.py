"""Stored codebooks that are damaged, others, or none at all: each is refused with a reason."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from natd.codebooks import store
from natd.errors import ModelError

NAME = "toy-0123456789abcdef"
SETTINGS = {"name": "toy", "sr": 8000, "width": 16}
Harm = Callable[[Path], Any]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def tensors() -> dict[str, torch.Tensor]:
    return {"S0.codes": drawn(32, 16), "A.codes": drawn(4, 8, 16)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path, NAME, SETTINGS, tensors(), {"codes": {}}, {"key": "sha256:0"})
    return tmp_path


def weights(folder: Path) -> Path:
    return folder / f"{NAME}.safetensors"


def manifest(folder: Path) -> Path:
    return folder / f"{NAME}.json"


def cut(at: int) -> Harm:
    """Only the first `at` bytes of the weights; from the end if negative."""
    return lambda folder: weights(folder).write_bytes(weights(folder).read_bytes()[:at])


def flipped(at: int) -> Harm:
    def harm(folder: Path) -> None:
        data = bytearray(weights(folder).read_bytes())
        data[at] ^= 0x10
        weights(folder).write_bytes(data)

    return harm


def recorded(data: bytes, folder: Path) -> None:
    """Other bytes as the weights, and the manifest says that these are they."""
    weights(folder).write_bytes(data)
    told(lambda m: m["files"].update({weights(folder).name: row(data)}))(folder)


def row(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def held(change: Callable[[dict[str, torch.Tensor]], Any]) -> Harm:
    """Other tensors, with every hash right: as if they had been stored so, but for the recorded shapes."""

    def harm(folder: Path) -> None:
        shapes = json.loads(manifest(folder).read_text())["fit"]["shapes"]
        found = tensors()
        change(found)
        store.save(folder, NAME, SETTINGS, found, {"codes": {}}, {"key": "sha256:0"})
        told(lambda m: m["fit"].update(shapes=shapes))(folder)

    return harm


def told(change: Callable[[dict[str, Any]], Any]) -> Harm:
    """Another manifest."""

    def harm(folder: Path) -> None:
        found = json.loads(manifest(folder).read_text())
        change(found)
        manifest(folder).write_text(json.dumps(found))

    return harm


def in_place(path: Callable[[Path], Path], put: Callable[[Path], Any]) -> Harm:
    def harm(folder: Path) -> None:
        path(folder).unlink()
        put(path(folder))

    return harm


def header(length: int) -> Harm:
    """A safetensors file that claims a header of so many bytes, its hash right."""
    return lambda folder: recorded(struct.pack("<Q", length) + weights(folder).read_bytes()[8:], folder)


def swapped(folder: Path) -> None:
    words = folder / f"{NAME}.glossary.json"
    one, other = weights(folder).read_bytes(), words.read_bytes()
    weights(folder).write_bytes(other)
    words.write_bytes(one)


def swapped_and_told(folder: Path) -> None:
    words = folder / f"{NAME}.glossary.json"
    swapped(folder)
    files = {path.name: row(path.read_bytes()) for path in (weights(folder), words)}
    told(lambda m: m.update(files=files))(folder)


def mapped(change: Callable[[dict[str, Any]], Any]) -> Harm:
    """Another header before the same numbers, its hash right."""

    def harm(folder: Path) -> None:
        data = weights(folder).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        found = json.loads(data[8 : 8 + size])
        change(found)
        fresh = json.dumps(found).encode()
        recorded(struct.pack("<Q", len(fresh)) + fresh + data[8 + size :], folder)

    return harm


def put_nan(found: dict[str, torch.Tensor]) -> None:
    found["S0.codes"][3, 4] = torch.nan


def put_inf(found: dict[str, torch.Tensor]) -> None:
    found["A.codes"][1, 2, 3] = -torch.inf


def put_twin(found: dict[str, torch.Tensor]) -> None:
    found["S0.codes"][9] = found["S0.codes"][2]


def put_near_twin(found: dict[str, torch.Tensor]) -> None:
    found["A.codes"][2, 5] = found["A.codes"][2, 1] + 1e-5


CORRUPTIONS: dict[str, tuple[Harm, str]] = {
    "empty weights": (cut(0), "truncated"),
    "weights cut in the length": (cut(5), "truncated"),
    "weights cut in the header": (cut(40), "truncated"),
    "weights cut in the middle": (cut(2000), "truncated"),
    "weights without the last byte": (cut(-1), "truncated"),
    "a byte more": (lambda f: weights(f).write_bytes(weights(f).read_bytes() + b"\0"), "truncated or another"),
    "a bit of the length": (flipped(1), "damaged or changed"),
    "a bit of the header": (flipped(20), "damaged or changed"),
    "a bit of a code": (flipped(-100), "damaged or changed"),
    "no weights": (lambda f: weights(f).unlink(), "No such file"),
    "no legend": (lambda f: (f / f"{NAME}.glossary.json").unlink(), "No such file"),
    "no manifest": (lambda f: manifest(f).unlink(), "No such file"),
    "files swapped": (swapped, "truncated or another"),
    "files swapped and recorded": (swapped_and_told, "cannot be read"),
    "a link to nowhere": (in_place(weights, lambda p: p.symlink_to("/nowhere/at/all")), "No such file"),
    "a link in a circle": (in_place(weights, lambda p: p.symlink_to(p)), "symbolic links"),
    "a folder": (in_place(weights, Path.mkdir), "is not a file"),
    "a pipe that nobody writes": (in_place(weights, os.mkfifo), "is not a file"),
    "a device": (in_place(manifest, lambda p: p.symlink_to("/dev/zero")), "is not a file"),
    "the manifest is a folder": (in_place(manifest, Path.mkdir), "is not a file"),
    "a manifest of 65 MB": (lambda f: os.truncate(manifest(f), 65 << 20), "are the most"),
    "an empty manifest": (lambda f: manifest(f).write_text(""), "not a manifest"),
    "half a manifest": (lambda f: manifest(f).write_text(manifest(f).read_text()[:200]), "not a manifest"),
    "a manifest of bytes": (lambda f: manifest(f).write_bytes(b"\xff\xfe\x00"), "not a manifest"),
    "a manifest that is deep": (lambda f: manifest(f).write_text("[" * 100_000), "not a manifest"),
    "a manifest that is a list": (lambda f: manifest(f).write_text("[]"), "no JSON object"),
    "an identity that is a number": (told(lambda m: m.update(codebook_id=5)), "codebook_id is no text"),
    "another identity": (told(lambda m: m.update(codebook_id=f"sha256:{'0' * 64}")), "the manifest says"),
    "settings that are a text": (told(lambda m: m.update(settings="toy")), "settings or fit is no object"),
    "no settings": (told(lambda m: m.pop("settings")), "settings or fit is no object"),
    "a fit that is a list": (told(lambda m: m.update(fit=[])), "settings or fit is no object"),
    "no shapes": (told(lambda m: m["fit"].pop("shapes")), "records no shapes"),
    "a file less": (told(lambda m: m["files"].pop(f"{NAME}.glossary.json")), "files are not"),
    "a file of others": (told(lambda m: m["files"].update({"../../etc/passwd": row(b"")})), "files are not"),
    "a negative size": (told(lambda m: m["files"][f"{NAME}.safetensors"].update(bytes=-1)), "bytes of .* is -1"),
    "a size that is true": (told(lambda m: m["files"][f"{NAME}.safetensors"].update(bytes=True)), "is True"),
    "a size without end": (told(lambda m: m["files"][f"{NAME}.safetensors"].update(bytes=1 << 80)), "bytes of"),
    "a hash that is none": (told(lambda m: m["files"][f"{NAME}.safetensors"].update(sha256="x")), "sha256 of"),
    "a header of 2^60 bytes": (header(1 << 60), "cannot be read"),
    "a header of no bytes": (header(0), "cannot be read"),
    "a header that is cut": (header(30), "cannot be read"),
    "an unknown type": (mapped(lambda h: h["S0.codes"].update(dtype="X9")), "cannot be read"),
    "offsets that overlap": (mapped(lambda h: h["S0.codes"].update(data_offsets=[0, 2048])), "cannot be read"),
    "offsets that are negative": (mapped(lambda h: h["S0.codes"].update(data_offsets=[-4, 2044])), "cannot be read"),
    "a shape that is not filled": (mapped(lambda h: h["S0.codes"].update(shape=[32, 17])), "cannot be read"),
    "another shape of as many": (mapped(lambda h: h["S0.codes"].update(shape=[16, 32])), "the manifest says"),
    "half precision": (held(lambda t: t.update({"S0.codes": t["S0.codes"].half()})), "is torch.float16"),
    "bfloat16": (held(lambda t: t.update({"S0.codes": t["S0.codes"].bfloat16()})), "is torch.bfloat16"),
    "whole numbers": (held(lambda t: t.update({"S0.codes": t["S0.codes"].int()})), "is torch.int32"),
    "codes too wide": (held(lambda t: t.update({"S0.codes": drawn(32, 24)})), "has the shape"),
    "a code too few": (held(lambda t: t.update({"S0.codes": drawn(31, 16)})), "has the shape"),
    "a level too few": (held(lambda t: t.update({"A.codes": drawn(3, 8, 16)})), "has the shape"),
    "an axis too few": (held(lambda t: t.update({"A.codes": drawn(32, 16)})), "has the shape"),
    "no codes": (held(lambda t: t.update({"S0.codes": drawn(0, 16)})), "has the shape"),
    "a tensor less": (held(lambda t: t.pop("A.codes")), "lacks the codebook A.codes"),
    "a tensor more": (held(lambda t: t.update({"S1.codes": drawn(4, 16)})), "S1.codes, which is not recorded"),
    "another name": (held(lambda t: t.update({"S9.codes": t.pop("S0.codes")})), "lacks the codebook S0.codes"),
    "a NaN": (held(put_nan), "not finite"),
    "an infinity": (held(put_inf), "not finite"),
    "a code twice": (held(put_twin), "code 9 lies on an earlier one"),
    "a code almost twice": (held(put_near_twin), "level 2: code 5 lies on an earlier one"),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_what_is_not_as_it_was_stored_is_refused(folder: Path, what: str) -> None:
    harm, reason = CORRUPTIONS[what]
    harm(folder)
    with pytest.raises(ModelError, match=reason):
        store.load(folder, NAME, SETTINGS)
    with pytest.raises(ModelError, match=reason):
        store.verify(folder, NAME)


def test_without_harm_it_is_loaded(folder: Path) -> None:
    found, _, identity = store.load(folder, NAME, SETTINGS)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors().items())
    assert store.verify(folder, NAME) == identity


def test_other_settings_are_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"other encoder settings \(extra, width\): make it again with `nat x`"):
        store.load(folder, NAME, {**SETTINGS, "width": 8, "extra": 1}, cure="nat x")


def test_a_legend_that_is_no_object_is_refused(folder: Path) -> None:
    store.save(folder, NAME, SETTINGS, tensors(), [1, 2], {"key": ""})
    with pytest.raises(ModelError, match="legend of .* is no JSON object"):
        store.load(folder, NAME, SETTINGS)


def test_the_name_follows_the_settings() -> None:
    name = store.fitted_name("toy", SETTINGS)
    assert name == store.fitted_name("toy", dict(reversed(SETTINGS.items()))) and len(name) == len("toy-") + 16
    assert name != store.fitted_name("toy", {**SETTINGS, "sr": 16_000})


def test_a_write_that_fails_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights(folder).read_bytes()
    with pytest.raises(TypeError):
        store.replace(weights(folder), "no bytes")  # type: ignore[arg-type]
    assert weights(folder).read_bytes() == before and len(list(folder.iterdir())) == 3
    assert safetensors.torch.load(before).keys() == {"S0.codes", "A.codes"}
