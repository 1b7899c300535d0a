"""`nat models`: what is installed and whole, what is not and how to get it, files that are refused."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from natd.cli.nat import main
from natd.codebooks import store
from natd.codec import dac, encodec, mimi, open_tokenizer, snac, soundstream
from natd.codec.families import FAMILIES
from natd.errors import ModelError
from natd.offline import models

SHARED = Path(os.environ.get("NATD_SHARED", "")) / "models" / "soundstream"


@pytest.fixture
def installed(folder: Path) -> str:
    manifest = store.save(folder, "soundstream", soundstream.SETTINGS, {"a": torch.arange(5.0)}, {})
    return str(manifest["codebook_id"])


def test_the_folder_is_in_the_home_unless_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATD_MODELS", "/somewhere")
    assert store.models_folder() == Path("/somewhere")
    monkeypatch.delenv("NATD_MODELS")
    assert store.models_folder() == Path.home() / ".local" / "share" / "natd" / "models"


def test_list_says_how_to_get_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert (
        "soundstream  soundstream       not installed: nat models convert soundstream --from FOLDER"
        in capsys.readouterr().out
    )


def test_list_and_verify_what_is_there(installed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert f"{installed[:19]}…, hashes right" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert capsys.readouterr().out == f"soundstream: {installed}, right\n"
    assert main(["models", "verify", "soundstream"]) == 0


@pytest.mark.parametrize("harm", ["byte", "cut", "gone", "manifest"])
def test_verify_refuses_what_is_damaged(
    installed: str, folder: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, manifest = folder / "soundstream.safetensors", folder / "soundstream.json"
    data = bytearray(weights.read_bytes())
    if harm == "byte":
        data[-1] ^= 1
        weights.write_bytes(data)
    elif harm == "cut":
        weights.write_bytes(data[:-1])
    elif harm == "gone":
        weights.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-30])
    assert main(["models", "verify"]) == 65
    said = {"byte": "sha256", "cut": "truncated", "gone": "No such file", "manifest": "not a manifest"}[harm]
    assert said in capsys.readouterr().err
    assert main(["models", "list"]) == 65
    lines = capsys.readouterr().out.splitlines()
    assert said in lines[-1] and len(lines) == 2 + len(MODELS)  # the others are told all the same


def test_verify_where_nothing_is_installed_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and f"there are no models in {folder}: nat models list" in told.err


def test_verify_of_what_is_not_installed_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "soundstream"]) == 65
    assert "nat models convert soundstream --from FOLDER" in capsys.readouterr().err


def test_what_is_listed_as_a_tokenizer_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    for line in capsys.readouterr().out.splitlines()[2:]:
        with pytest.raises(ModelError, match="not installed|not in"):
            open_tokenizer(line.split()[1])


@pytest.mark.parametrize("verb", [["verify"], ["fetch"], ["convert", "--from", "."]])
def test_unknown_names_are_answered_by_those_there_are(
    folder: Path, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nope", "snac", "snac:model=8khz", "mimi:codebooks=4", ""):
        assert main(["models", *verb, name]) == 78
        said = capsys.readouterr()
        assert said.err == f"nat: no model is called {name!r}: there is {', '.join(MODELS)}\n" and said.out == ""


def test_the_name_of_a_tokenizer_is_taken_for_its_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("snac-24khz", "snac_24khz", "snac:model=24khz"):
        assert main(["models", "verify", name]) == 65
        said = f"nat: snac_24khz is not in {folder}; run `nat models fetch snac_24khz`, or give a folder: "
        assert capsys.readouterr().err == f"{said}snac:model=24khz:from=FOLDER\n"


def test_convert_refuses_an_unknown_name_and_other_files(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "convert", "wavenet", "--from", str(tmp_path)]) == 78
    assert "snac_24khz, snac_32khz" in capfd.readouterr().err
    assert main(["models", "convert", "soundstream", "--from", str(tmp_path)]) == 65
    assert "soundstream_encoder.tflite cannot be read" in capfd.readouterr().err
    for name in ("soundstream_encoder", "quantizer", "lyragan"):
        (tmp_path / f"{name}.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    assert main(["models", "convert", "soundstream", "--from", str(tmp_path)]) == 65
    assert "that of Lyra 1.3.2 has" in capfd.readouterr().err
    assert not folder.exists()


def test_the_names_and_repositories_are_those_that_the_tokenizers_ask_for() -> None:
    assert models.HUB["mimi"].repo == mimi.REPO and models.HUB["encodec"].repo == encodec.REPO
    assert {f"snac_{rate}" for rate in snac.RATES} | {f"dac_{rate}" for rate in dac.RATES} < models.HUB.keys()
    assert {*models.HUB, "soundstream"} == {*MODELS}


MODELS = (
    "mimi", "encodec", "snac_24khz", "snac_32khz", "snac_44khz", "dac_16khz", "dac_24khz", "dac_44khz", "hubert",
    "wavlm", "wav2vec2", "mert", "soundstream",
)  # fmt: skip


def test_list_has_a_line_for_every_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert tuple(line[0] for line in lines) == MODELS
    assert [line[1] for line in lines[:6:5]] == ["mimi", "dac:model=16khz"]
    assert all(line[2:4] == ["not", "installed:"] for line in lines)
    assert lines[8][4:] == ["nat", "models", "fetch", "hubert,", "facebook/hubert-base-ls960"]


def test_a_model_that_was_put_there_by_hand_is_told_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wavlm").mkdir(parents=True)
    (folder / "wavlm" / "config.json").write_text("{}")
    safetensors.torch.save_file({FAMILIES["wavlm"].tensor: torch.ones(4)}, folder / "wavlm" / "model.safetensors")
    assert main(["models", "verify"]) == 0
    assert "put there by hand" in capsys.readouterr().out


if "NATD_SHARED" in os.environ:  # where the real files are

    def test_convert_gives_the_same_weights_twice(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        said = []
        for _ in range(2):
            assert main(["models", "convert", "soundstream", "--from", str(SHARED)]) == 0
            said.append((capfd.readouterr().out, (folder / "soundstream.safetensors").read_bytes()))
        assert said[0] == said[1]
        assert main(["models", "verify"]) == 0
        tokenizer = soundstream.open_tokenizer()
        assert tokenizer.spec.info.codebook_id in said[0][0]
        assert tokenizer.quantizer.books.shape == (16, 16, 64)

    def test_a_models_folder_that_cannot_be_made_is_told(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("NATD_MODELS", str(tmp_path / "file"))
        assert main(["models", "convert", "soundstream", "--from", str(SHARED)]) == 73
        assert capfd.readouterr().err == f"nat: {tmp_path / 'file'}: File exists\n"
