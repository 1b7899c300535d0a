"""Pickled weights become safetensors in a process of their own; a file that is more than weights does nothing."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from natd.errors import ModelError
from natd.offline import installs
from natd.offline.pickled import convert, tensors_of


@pytest.mark.parametrize("zipped", [True, False])
def test_the_tensors_are_the_same(tmp_path: Path, zipped: bool) -> None:
    weight = torch.arange(12.0).view(3, 4)
    given = {
        "a.weight": weight,
        "a.half": weight.half(),
        "a.turned": weight.T,
        "a.tied": weight,
        "a.n": torch.tensor(3),
    }
    torch.save(given, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "w.bin", tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == given.keys()
    assert all(found[name].dtype == t.dtype and torch.equal(found[name], t) for name, t in given.items())


def test_tensors_may_lie_one_level_down() -> None:
    inner = {"a": torch.ones(2)}
    for key in ("state_dict", "model", "model_state_dict"):
        assert tensors_of({key: inner, "epoch": 3}, Path("w.bin")).keys() == {"a"}


@pytest.mark.parametrize(
    "held", [{}, [], torch.ones(2), {"a": 1.0}, {"a": {"b": torch.ones(2)}}, {3: torch.ones(2)}, {"a": None}]
)
def test_anything_but_named_tensors_is_refused(held: Any) -> None:
    with pytest.raises(ModelError, match=r"w.bin(:| holds no)"):
        tensors_of(held, Path("w.bin"))


class Hostile:
    """Unpickling it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def hostile(path: Path, mark: Path) -> None:
    """A file as torch writes it, its pickle replaced."""
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, pickle.dumps(Hostile(mark)) if name.endswith("data.pkl") else data)


def test_a_file_that_would_do_something_does_nothing(tmp_path: Path) -> None:
    hostile(tmp_path / "w.bin", tmp_path / "mark")
    with pytest.raises(ModelError, match="is not a file of weights alone"):
        installs.unpickle(tmp_path / "w.bin", tmp_path / "w.safetensors")
    assert not (tmp_path / "mark").exists() and not (tmp_path / "w.safetensors").exists()


def test_the_process_converts_and_says_what_is_wrong(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.bin")
    installs.unpickle(tmp_path / "w.bin", tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors")["a"].tolist() == [1.0, 1.0]
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[:100])
    with pytest.raises(ModelError, match="w.bin is not a file of weights alone"):
        installs.unpickle(tmp_path / "w.bin", tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="none.bin cannot be read"):
        installs.unpickle(tmp_path / "none.bin", tmp_path / "w.safetensors")


def test_a_file_of_5_gb_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"")
    os.truncate(tmp_path / "w.bin", 5 << 30)
    with pytest.raises(ModelError, match="are the most"):
        convert(tmp_path / "w.bin", tmp_path / "w.safetensors")
