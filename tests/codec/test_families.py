"""Whose checkpoint it is: told by config.json and by the tensors, before any other word."""

import json
from pathlib import Path

import pytest

from natd.cli.nat import main
from natd.codec import open_tokenizer
from natd.codec.families import check_config, check_tensors
from natd.errors import ModelError
from natd.offline import models
from tests.codec.checkpoints import checkpoint_of, save


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small checkpoint of each kind on disk."""
    found = {}
    for name in ("mimi", "encodec", "snac", "dac", "hubert", "mert"):
        held = checkpoint_of(name)
        found[name] = save(tmp_path_factory.mktemp(name), held.config, held.tensors)
    return found


WRONG = [
    ("mimi", "encodec", "config.json is of an encodec, not of a mimi"),
    ("encodec", "mimi", "config.json is of a mimi, not of an encodec"),
    ("snac:model=24khz", "mimi", "config.json is of a mimi, not of a snac"),
    ("snac:model=24khz", "dac", "config.json is of a dac, not of a snac"),
    ("dac:model=16khz", "snac", "config.json is of a snac, not of a dac"),
    ("snac:model=32khz", "snac", "config.json is of a snac of 24000 Hz, not of 32000 Hz"),
    ("hubert", "mimi", "config.json is of a mimi, not of a hubert"),
    ("wavlm", "hubert", "config.json is of a hubert, not of a wavlm"),
    ("hubert", "mert", "config.json is of a mert, not of a hubert"),
]


@pytest.mark.parametrize(("asked", "given", "said"), WRONG)
def test_another_model_in_the_folder_is_named(folders: dict[str, Path], asked: str, given: str, said: str) -> None:
    with pytest.raises(
        ModelError, match=f"^{asked.partition(':')[0]}.*: {folders[given]}: {said}; run `nat models fetch "
    ):
        open_tokenizer(f"{asked}:from={folders[given]}")


@pytest.mark.parametrize(("asked", "given", "said"), WRONG)
def test_convert_does_not_install_it(
    folders: dict[str, Path], asked: str, given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    name = asked.replace(":model=", "_")
    assert main(["models", "convert", name, "--from", str(folders[given])]) == 65
    assert capsys.readouterr().err == f"nat: {folders[given]}: {said}\n" and not any(tmp_path.iterdir())


def test_weights_of_another_model_beside_the_right_config_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folders["mimi"] / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((folders["encodec"] / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="^mimi: .*: the weights are not of a mimi: they are of an encodec; run"):
        open_tokenizer(f"mimi:from={tmp_path}")


WRONG_CONFIG = [
    ("mimi", {"num_quantizers": "x"}, "do not fit the tokenizer: '<=' not supported"),
    ("mimi", {"num_residual_layers": None}, "do not fit the tokenizer: unsupported"),
    ("encodec", {"upsampling_ratios": [8, 5, 4, 2, 3]}, "lacks what the tokenizer needs: "),
    ("snac:model=24khz", {"vq_strides": []}, "lacks what the tokenizer needs: list index out of range"),
    ("snac:model=24khz", {"encoder_rates": 7}, "do not fit the tokenizer: "),
    ("dac:model=16khz", {"downsampling_ratios": [0, 4, 5, 8]}, "do not fit the tokenizer: "),
]


@pytest.mark.parametrize(("name", "change", "said"), WRONG_CONFIG)
def test_a_config_that_cannot_be_is_no_failure_inside(
    folders: dict[str, Path], tmp_path: Path, name: str, change: dict[str, object], said: str
) -> None:
    base = name.partition(":")[0]
    config = json.loads((folders[base] / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folders[base] / "model.safetensors")
    with pytest.raises(ModelError, match=f"^{base}: .*{said}"):
        open_tokenizer(f"{name}:from={tmp_path}")


def test_verify_tells_another_model_that_was_put_there(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    (tmp_path / "encodec").symlink_to(folders["mimi"])
    assert main(["models", "verify", "encodec"]) == 65
    assert capsys.readouterr().err == f"nat: {tmp_path / 'encodec'}: config.json is of a mimi, not of an encodec\n"


def test_what_does_not_say_its_model_is_told_by_its_tensors() -> None:
    check_config("mimi", {"num_quantizers": 8}, "")
    check_config("toy", {"model_type": "mimi"}, "")  # of an unknown one nothing is said
    with pytest.raises(ModelError, match="config.json is of a bert, not of a mimi"):
        check_config("mimi", {"model_type": "bert"}, "")
    with pytest.raises(ModelError, match="the weights are not of a wavlm: they lack feature_extractor"):
        check_tensors("wavlm", ["a.weight"], "")


def test_every_model_that_can_be_fetched_is_known() -> None:
    for name in models.HUB:
        with pytest.raises(ModelError, match="is of a bert"):
            check_config(name, {"model_type": "bert"}, "")
