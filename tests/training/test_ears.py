"""A training on few and short sounds: its stages are kept, its files are those of a tokenizer that opens."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from natd.codec import ears, harmony_net
from natd.codec.mel import FRAME
from natd.errors import ConfigError, SourceError
from natd.training import scene
from natd.training.corpus import Amounts
from natd.training.ears import shipped, train, weights
from natd.training.stages import Plan, Run
from tests.codec import test_rhythm_net
from tests.training import toy_recordings

SEED = 5
PLAN = Plan(
    amounts=Amounts(copies=1, made=0, pieces=0, spoken=0, crowds=0, odd=2),
    fold_steps=4, scene_steps=6, acoustic_frames=300, acoustic_size=16, decoder_steps=2, decoder_width=32,
)  # fmt: skip
STAGES = ("corpus", "scene", "dynamics", "acoustic", "decoder", "legend")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_recordings.folder(tmp_path_factory.mktemp("audio"), seconds=6.0)


def run_of(audio: Path, out: Path, said: list[str]) -> Run:
    return Run(audio, out / "work", SEED, 1, said.append, PLAN)


@pytest.fixture(scope="module")
def trained(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """Weights, manifest and figures; S1 and S2 are as an earlier run left them, here by chance."""
    out = tmp_path_factory.mktemp("out")
    (out / "work").mkdir()
    tensors = harmony_net.initial_tensors(0)
    tensors["S1.cells"] = torch.rand(tensors["S1.cells"].shape, generator=torch.Generator().manual_seed(1))
    said: list[str] = []
    key = run_of(audio, out, said).key
    save_file(tensors, out / "work" / f"harmony-{key}.safetensors")
    save_file(test_rhythm_net.tensors(), out / "work" / f"rhythm-{key}.safetensors")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "BATCH", 64)
        manifest, figures = weights(run_of(audio, out, said), out)
    torch.set_num_threads(before)
    return out, {"manifest": manifest} | figures, said


def test_the_weights_are_those_of_a_tokenizer(trained: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, figures, said = trained
    tokenizer = ears.open_tokenizer(folder=out)
    assert tokenizer.spec.info.codebook_id == figures["manifest"]["codebook_id"] in said[-1]
    state = tokenizer.initial_state(2)
    for _ in range(3):
        codes = tokenizer.encode(torch.randn(2, FRAME, generator=torch.Generator().manual_seed(1)) * 0.1, state)
    assert len(codes) == len(tokenizer.spec.layers) and all(code.shape == (2, 1) for code in codes)
    log_mel = tokenizer.decode_mel(codes[len(ears.SEMANTIC) :], tokenizer.initial_mel_state(2))
    assert log_mel.shape == (2, 8, 128) and bool(torch.isfinite(log_mel).all())
    assert all(len(tokenizer.glossary[layer]) == size for layer, (size, _) in ears.SEMANTIC.items())


def test_the_figures_are_of_every_net(trained: tuple[Path, dict[str, Any], list[str]]) -> None:
    figures = trained[1]["scene"]
    assert figures["known"]["takes"] > 0 and figures["left out"]["takes"] > 0 and len(figures["coverage"]) == 10


def test_every_stage_is_kept_and_its_seconds_are_added_up(
    audio: Path, trained: tuple[Path, dict[str, Any], list[str]]
) -> None:
    work, run = trained[0] / "work", run_of(audio, trained[0], [])
    path = work / f"seconds-{run.key}.json"
    seconds = json.loads(path.read_text())
    assert tuple(seconds) == STAGES and all(value >= 0.0 for value in seconds.values())
    assert not list(work.rglob("*.part"))
    total = sum(seconds.values())
    assert run.took("scene", 2.0) == pytest.approx(total + 2.0) and run.took("more", 1.0) == pytest.approx(total + 3.0)
    assert json.loads(path.read_text())["scene"] == pytest.approx(seconds["scene"] + 2.0)


def test_a_second_run_goes_on_behind_the_last_stage(
    audio: Path, trained: tuple[Path, dict[str, Any], list[str]], tmp_path: Path
) -> None:
    """Nothing is fitted again but the decoder, whose result was lost; the weights are the same."""
    out, figures, _ = trained
    kept = out / "work" / f"decoder-{run_of(audio, out, []).key}.safetensors"
    before = load_file(kept)
    kept.unlink()
    said: list[str] = []
    manifest, again = weights(run_of(audio, out, said), out)
    for name in ("harmony", "rhythm", "scene", "dynamics", "acoustic"):
        assert f"{name}: kept from before" in said
    assert "corpus: 4 of 4 parts are there" in said and not any("heard" in line for line in said)
    after = load_file(kept)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert manifest["codebook_id"] == figures["manifest"]["codebook_id"] and again["scene"] == figures["scene"]


def test_a_stage_that_fails_leaves_nothing(audio: Path, tmp_path: Path) -> None:
    run = Run(audio, tmp_path, 0, 1, str)

    def fails() -> dict[str, torch.Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stage("nets", fails)
    assert not list(tmp_path.iterdir())
    made = run.stage("nets", lambda: {"a": torch.arange(6).view(2, 3).T})
    again = run.stage("nets", fails)
    assert torch.equal(again["a"], made["a"]) and [p.name for p in tmp_path.glob("*.safetensors")] == [
        f"nets-{run.key}.safetensors"
    ]


def test_only_large_matrices_are_shipped_in_half() -> None:
    tensors = {"S0.weight0": torch.ones(100, 100), "S0.score": torch.ones(64, 64), "S0.bias0": torch.ones(9000),
               "S1.note.0": torch.ones(100, 100), "A.codes": torch.ones(4, 64, 128).half()}  # fmt: skip
    types = {name: tensor.dtype for name, tensor in shipped(tensors).items()}
    assert [name for name, dtype in types.items() if dtype == torch.float16] == ["S0.weight0", "A.codes"]


def test_what_is_missing_is_said_before_anything_is_made(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="there is no folder"):
        train(tmp_path / "nowhere", tmp_path / "out", SEED, 1, str)
    monkeypatch.setenv("PATH", str(tmp_path))
    before = torch.get_num_threads()
    with pytest.raises(ConfigError, match="fluidsynth"):
        train(audio, tmp_path / "out", SEED, before + 1, str)
    assert not (tmp_path / "out").exists() and torch.get_num_threads() == before


def test_what_is_kept_belongs_to_a_plan_and_to_recordings(audio: Path, tmp_path: Path) -> None:
    run = Run(audio, tmp_path, 0, 1, str, PLAN)
    others = [replace(run, plan=PLAN.scaled(2)), replace(run, seed=1)]
    other_folder = toy_recordings.folder(tmp_path / "other", seconds=5.0)
    others.append(replace(run, audio_dir=other_folder))
    assert len({run.key, *(other.key for other in others)}) == 4
    assert replace(run, device="cuda", threads=2).key == run.key == Run(audio, tmp_path, 0, 1, str, PLAN).key


def test_a_scaled_plan_has_more_of_everything_but_the_same_nets() -> None:
    plan = Plan().scaled(3)
    assert plan.harmony_pieces == 3 * Plan().harmony_pieces and plan.scene_steps == 3 * Plan().scene_steps
    assert plan.amounts.made == 3 * Plan().amounts.made and plan.amounts.odd == 3 * Plan().amounts.odd
    assert (plan.acoustic_size, plan.decoder_width) == (Plan().acoustic_size, Plan().decoder_width)
    assert Plan().scaled(1) == Plan()
