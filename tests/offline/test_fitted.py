"""`nat codebook fit`, `verify` and `backups`: from a folder of recordings to codebooks that are whole, and back."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from natd.cli.nat import main
from natd.codebooks import store
from natd.codec import ears_front, open_tokenizer
from natd.errors import ModelError, SourceError
from natd.offline import fitted
from tests.codebooks.toy_encoder import samples
from tests.codec.ssl_models import reference

Said = pytest.CaptureFixture[str]
NAT = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())"]


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of 3 s, two of them in a folder below, of other rates and channels; and a text."""
    folder = tmp_path_factory.mktemp("audio")
    (folder / "below").mkdir()
    for number in range(6):
        data = samples(number, 3.0)
        path = folder / ("below" if number < 2 else ".") / f"{number}.{'flac' if number % 2 else 'wav'}"
        if number == 3:
            soundfile.write(path, np.stack([data, data], 1)[::3], 8_000)
        else:
            soundfile.write(path, data, 24_000)
    (folder / "notes.txt").write_text("no sound")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
    return tmp_path / "models" / "codebooks"


def fit(audio: Path, *more: str) -> int:
    return main(["codebook", "fit", "ears", "--audio", str(audio), "--codes", "8", *more])


def small_hubert(place: Path) -> str:
    """Its name with the folder of its checkpoint, whose weights are by lot."""
    checkpoint, folder = reference("hubert").checkpoint, place / "hubert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(checkpoint.config)))
    save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, folder / "model.safetensors")
    return f"hubert:hop=0.1:window=0.5:semantic=2,4:acoustic=1:from={folder}"


def test_the_recordings_of_a_folder_by_path_with_their_content(audio: Path) -> None:
    found = fitted.recordings_of(audio)
    assert [r.name for r in found] == ["2.wav", "3.flac", "4.wav", "5.flac", "below/0.wav", "below/1.flac"]
    assert all(r.seconds == pytest.approx(3.0) and len(r.samples(16_000)) == 48_000 for r in found)
    assert found[0].sha256 == store.file_sha256(audio / "2.wav") and found[0].bytes == 144_044


def test_fit_again_from_the_cache_then_anew_then_back(audio: Path, place: Path, capsys: Said) -> None:
    assert fit(audio) == 0
    said = capsys.readouterr()
    name = store.fitted_name("ears", ears_front.open_encoder().settings())
    first = store.load(place, name, ears_front.open_encoder().settings())[2]
    assert f"{name}: {first} in {place}" in said.out and "energy left" in said.out
    assert re.search(r"s  6 recordings, 18 s\n", said.err) and "heard 18 of 18 s" in said.err and "A3: " in said.err
    assert fit(audio) == 0
    said = capsys.readouterr()
    assert f"{name}: fitted before to the same, taken from the cache: {first}" in said.out and "heard" not in said.err
    assert fit(audio, "--seed", "5") == 0
    said = capsys.readouterr()
    stamp = re.search(rf"nat codebook backups {name} --restore (\S+)", said.out)
    assert stamp is not None and "another plan" in said.err
    other = store.verify(place, name)
    assert other != first
    assert main(["codebook", "backups", "ears", "--restore", stamp[1]]) == 0
    assert f"{name}: {first} is back" in capsys.readouterr().out and store.verify(place, name) == first
    assert main(["codebook", "backups", "ears"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{name}: 2 backups" and [
        f"{i[:19]}…, right" in lines[n + 1] for n, i in enumerate((first, other))
    ]
    assert (
        main(["codebook", "verify"]) == main(["codebook", "verify", "ears"]) == main(["codebook", "verify", name]) == 0
    )
    assert capsys.readouterr().out.count(f"{name}: {first}, right: A 4x8x128, S0 8x21") == 3


def test_damage_is_told_and_mended_by_a_fit(audio: Path, place: Path, capsys: Said) -> None:
    assert fit(audio, "--layers", "S0") == 0
    path = next(place.glob("*.safetensors"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    capsys.readouterr()
    assert main(["codebook", "verify"]) == 65
    assert "damaged or changed" in capsys.readouterr().err
    assert fit(audio, "--layers", "S0") == 0
    assert "what is stored cannot be used" in capsys.readouterr().err and path.read_bytes() == data


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["fit", "mimi", "--audio", "."], 78, "no codebooks are fitted to 'mimi': there is ears, hubert"),
        (["fit", "ears:x=1", "--audio", "."], 78, "takes no options"),
        (["fit", "ears", "--audio", "/nowhere"], 66, "there is no folder /nowhere"),
        (["fit", "ears", "--audio", "{empty}"], 66, "holds no recording"),
        (["fit", "ears", "--audio", "{bad}"], 66, "bad.wav cannot be read"),
        (["fit", "ears", "--audio", "{audio}", "--codes", "4000"], 65, "need at least 8000 frames"),
        (["fit", "ears", "--audio", "{audio}", "--codes", "8", "--layers", "S5"], 78, "no layer S5"),
        (["fit", "ears", "--audio", "/nowhere", "--layers", "Q9"], 78, "ears has no layer Q9: it has A, S0"),
        (["fit", "{hubert}", "--audio", "/nowhere", "--layers", "S0", "S7"], 78, "no layer S7: it has A, S0, S1"),
        (["fit", "{hubert}", "--audio", "/nowhere", "--layers", "S0"], 78, "also A, S1: leave --layers out; for fewer"),
        (["fit", "{hubert}", "--audio", "/nowhere", "--layers", "S0", "S1"], 78, "also A: leave --layers out\n"),
        (["fit", "{hubert}", "--audio", "/nowhere", "--layers", "A", "S0", "S1"], 66, "there is no folder /nowhere"),
        (["fit", "hubert", "--audio", "{audio}"], 65, "nat models fetch hubert"),
        (["verify", "hubert"], 65, "no codebooks of hubert"),
        (["backups", "hubert"], 65, "no codebooks of hubert"),
        (["verify", "../x"], 78, "no codebooks are fitted to '../x': there is ears, hubert, wavlm, wav2vec2, mert\n"),
        (["backups", "nose", "--restore", "x"], 78, "no codebooks are fitted to 'nose': there is ears, hubert"),
        (["fit", "hubert:hop=abc", "--audio", "{audio}"], 78, "hubert:hop=abc is not a number of seconds"),
        (["backups", "hubert", "--restore", "x"], 65, "no codebooks of hubert"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    audio: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said,
    words: list[str], status: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("empty", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "bad.wav").write_bytes(b"RIFF no sound")
    folders = {"empty": tmp_path / "empty", "bad": tmp_path / "bad", "audio": audio, "hubert": small_hubert(tmp_path)}
    assert main(["codebook", *(word.format(**folders) for word in words)]) == status
    assert said in capsys.readouterr().err and not place.exists()


def test_nothing_to_verify_is_no_fault(place: Path, capsys: Said) -> None:
    assert main(["codebook", "verify"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and f"there are no codebooks in {place}" in told.err


def test_an_interrupt_leaves_nothing_behind(audio: Path, place: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(12):
        (many / f"{number}.wav").write_bytes((audio / "2.wav").read_bytes())
    command = [*NAT, "codebook", "fit", "ears", "--audio", str(many), "--codes", "8"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "12 recordings" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    assert not place.exists()


def test_a_recording_that_is_gone_by_then_is_a_source_error(audio: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    path.write_bytes((audio / "2.wav").read_bytes())
    one = fitted.recordings_of(tmp_path)[0]
    path.unlink()
    with pytest.raises(SourceError, match="one.wav cannot be read"):
        one.samples(16_000)


def test_an_encoder_of_others_is_fitted_to_and_then_tokenizes(
    audio: Path, place: Path, tmp_path: Path, capsys: Said
) -> None:
    """A small HuBERT with weights by lot, from its checkpoint's folder to codes."""
    name = small_hubert(tmp_path)
    assert main(["codebook", "fit", name, "--audio", str(audio), "--codes", "6"]) == 0
    assert "hubert-" in capsys.readouterr().out
    tokenizer = open_tokenizer(name)
    layers = {layer.name: layer.vocab for layer in tokenizer.spec.layers}
    assert layers == {"S0": 6, "S1": 6, "A0": 6, "A1": 6, "A2": 6, "A3": 6}
    assert main(["codebook", "verify", "hubert"]) == 0
    assert tokenizer.spec.info.codebook_id in capsys.readouterr().out
    state, chunk = tokenizer.initial_state(1), torch.from_numpy(samples(9, 3.0)[: 10 * 1600].copy()).view(10, 1, 1600)
    codes = torch.stack([torch.cat(tokenizer.encode(frame, state), 1)[0] for frame in chunk])
    assert codes.shape == (10, 30) and all(len(codes[:, at : at + 5].unique()) > 1 for at in range(0, 30, 5))
    with pytest.raises(ModelError, match="no codebooks for these options"):
        open_tokenizer(name.replace("semantic=2,4", "semantic=2,3"))
