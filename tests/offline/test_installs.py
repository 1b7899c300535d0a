"""Checkpoints from the hub and from folders: fetched whole or not at all, and never another in silence."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from natd.cli.nat import main
from natd.codec.checkpoint import open_checkpoint
from natd.codec.families import FAMILIES
from tests.offline.hub_server import Hub, serving

FILES = ["config.json", "manifest.json", "model.safetensors"]


def weights(value: float) -> dict[str, torch.Tensor]:
    """With the tensors by which each model is known."""
    known = {family.tensor: torch.zeros(1) for family in FAMILIES.values()}
    return {"a.weight": torch.full((40, 50), value), "a.bias": torch.arange(50.0), **known}


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with mimi as safetensors and snac_24khz pickled; nothing is installed or cached."""
    monkeypatch.setattr("natd.offline.hub.WAITS_S", ())
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        publish(hub, "kyutai/mimi", safetensors.torch.save(weights(1.0)))
        pickled = io.BytesIO()
        torch.save(weights(2.0), pickled)
        publish(hub, "hubertsiuzdak/snac_24khz", pickled.getvalue(), "pytorch_model.bin")
        yield hub


def publish(hub: Hub, repo: str, data: bytes, file: str = "model.safetensors", config: str = '{"a": 1}') -> None:
    hub.files |= {f"{repo}/main/{file}": data, f"{repo}/main/config.json": config.encode()}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_fetch_installs_what_the_tokenizer_opens(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "mimi"]) == 0
    assert capsys.readouterr().out == f"mimi: installed in {folder / 'mimi'}\n"
    assert sorted(path.name for path in (folder / "mimi").iterdir()) == FILES
    found = open_checkpoint("mimi", "kyutai/mimi")
    assert found.config == {"a": 1} and torch.equal(found.tensors["a.weight"], weights(1.0)["a.weight"])
    record = json.loads((folder / "mimi" / "manifest.json").read_text())
    data = hub.files["kyutai/mimi/main/model.safetensors"]
    assert record["files"]["model.safetensors"] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert (record["repo"], record["revision"], record["commit"]) == ("kyutai/mimi", "main", "c0ffee")
    assert main(["models", "verify"]) == 0 and "mimi: weights sha256:" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert "right, kyutai/mimi at c0ffee" in capsys.readouterr().out


def test_pickled_weights_are_converted_and_not_kept(hub: Hub, folder: Path) -> None:
    assert main(["models", "fetch", "snac-24khz"]) == 0
    assert sorted(path.name for path in (folder / "snac_24khz").iterdir()) == FILES
    found = open_checkpoint("snac_24khz", "hubertsiuzdak/snac_24khz").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(2.0).items())


def test_fetch_again_looks_and_downloads_nothing(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "mimi", "snac_24khz"]) == 0
    before = {name: bytes_of(folder / name) for name in ("mimi", "snac_24khz")}
    capsys.readouterr()
    assert main(["models", "fetch", "mimi", "snac_24khz"]) == 0
    assert capsys.readouterr().out.count("as it is published, whole in") == 2
    assert {name: bytes_of(folder / name) for name in before} == before


@pytest.mark.parametrize("what", ["weights", "config"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_has_changed_at_the_hub_is_refused_unless_it_is_accepted(
    hub: Hub, folder: Path, what: str, damaged: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", "mimi"]) == 0
    before = bytes_of(folder / "mimi")
    if what == "weights":
        publish(hub, "kyutai/mimi", safetensors.torch.save(weights(7.0)))
    else:
        publish(hub, "kyutai/mimi", before["model.safetensors"], config='{"a": 2}')
    if damaged:
        (folder / "mimi" / "model.safetensors").unlink()
        before.pop("model.safetensors")
    assert main(["models", "fetch", "mimi"]) == 65
    assert "has changed: it is" in (said := capsys.readouterr().err) and "--accept-new" in said
    assert bytes_of(folder / "mimi") == before
    assert main(["models", "fetch", "mimi", "--accept-new"]) == 0
    found = open_checkpoint("mimi", "kyutai/mimi")
    assert (found.config["a"], float(found.tensors["a.weight"][0, 0])) == ((1, 7.0) if what == "weights" else (2, 1.0))


def test_fetch_mends_what_is_damaged(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "mimi"]) == 0
    before = bytes_of(folder / "mimi")
    data = before["model.safetensors"]
    (folder / "mimi" / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["models", "verify", "mimi"]) == 65
    assert "damaged or changed" in capsys.readouterr().err
    assert main(["models", "fetch", "mimi"]) == 0
    assert bytes_of(folder / "mimi") == before and main(["models", "verify", "mimi"]) == 0


def test_a_download_that_breaks_off_goes_on_with_the_next_command(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.breaks = [1_000_000, 5000]  # of the look beforehand, of the download
    assert main(["models", "fetch", "mimi"]) == 65
    assert "keeps 5000 bytes" in capsys.readouterr().err
    assert main(["models", "list"]) == 0
    assert "nat models fetch mimi (goes on behind 0.0 MB), kyutai/mimi" in capsys.readouterr().out
    hub.asked.clear()
    assert main(["models", "fetch", "mimi"]) == 0
    assert 5000 in hub.bodies("model.safetensors")
    assert sorted(path.name for path in (folder / "mimi").iterdir()) == FILES


@pytest.mark.parametrize(
    ("data", "config", "said"),
    [
        (b"no weights" * 1000, "{}", "is not safetensors"),
        (safetensors.torch.save({}), "{}", "holds no tensor"),
        (b"\x80\x02." * 3000, "{}", "is not safetensors"),
        (safetensors.torch.save(weights(1.0)), "[]", "no JSON object"),
        (safetensors.torch.save(weights(1.0)), "{", "is not JSON"),
        (safetensors.torch.save(weights(1.0)), " " * 2_000_000, "1048576 are the most"),
    ],
)
def test_what_is_no_model_is_not_installed(
    hub: Hub, folder: Path, data: bytes, config: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(hub, "kyutai/mimi", data, config=config)
    assert main(["models", "fetch", "mimi"]) == 65
    assert said in capsys.readouterr().err and not (folder / "mimi").exists()


def test_one_that_fails_does_not_stop_the_next(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "encodec", "mimi"]) == 65
    said = capsys.readouterr()
    assert "nat: encodec: facebook/encodec_24khz holds neither" in said.err and "mimi: installed" in said.out


@pytest.mark.parametrize(
    ("name", "said"),
    [("wavenet", "no model is called 'wavenet': there is mimi, encodec"), ("soundstream", "nat models convert")],
)
def test_fetch_of_what_is_not_on_the_hub(
    hub: Hub, folder: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", name]) == 78
    assert said in capsys.readouterr().err and hub.asked == []


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_convert_installs_a_folder_of_files(hub: Hub, folder: Path, tmp_path: Path, file: str) -> None:
    source = tmp_path / "given"
    source.mkdir()
    (source / "config.json").write_text('{"a": 3}')
    if file.endswith("bin"):
        torch.save(weights(5.0), source / file)
    else:
        safetensors.torch.save_file(weights(5.0), source / file)
    assert main(["models", "convert", "dac_44khz", "--from", str(source)]) == 0
    found = open_checkpoint("dac_44khz", "descript/dac_44khz")
    assert found.config == {"a": 3} and float(found.tensors["a.weight"][0, 0]) == 5.0
    assert main(["models", "verify", "dac_44khz"]) == 0 and hub.asked == []
    assert sorted(path.name for path in source.iterdir()) == sorted(["config.json", file])


def test_convert_refuses_a_folder_without_a_model(
    hub: Hub, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "convert", "mimi", "--from", str(tmp_path)]) == 65
    assert "holds neither model.safetensors nor pytorch_model.bin" in capsys.readouterr().err
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02]q\x00.")
    assert main(["models", "convert", "mimi", "--from", str(tmp_path)]) == 65
    assert "there is no" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{}")
    assert main(["models", "convert", "mimi", "--from", str(tmp_path)]) == 65
    assert "is not a file of weights alone" in capsys.readouterr().err and not (folder / "mimi").exists()
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert main(["models", "convert", "mimi", "--from", str(tmp_path)]) == 65
    assert capsys.readouterr().err.startswith(f"nat: {tmp_path / 'model.safetensors'} is not safetensors: ")
