"""`nat train ears-0` on made-up recordings: the same command gives the same weights, and the card tells all."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from natd.codec import ears
from natd.errors import ModelError, SourceError
from natd.training.ears0 import train
from natd.training.recordings import clips_of, samples_of

SIZES = {"S0": 9, "S1": 9, "S2": 9, "S3": 9, "A0": 17, "A1": 17, "A2": 17, "A3": 17}
RATE = 16_000


def sound(seed: int, seconds: float = 3.0) -> np.ndarray:
    """A tone that beats, over noise: its pitch, rate and noisiness drawn from `seed`."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    hz, rate, hiss = 110 * 2 ** rng.uniform(0, 3), rng.uniform(1, 6), 10 ** rng.uniform(-3, -1)
    tone = np.sin(2 * np.pi * hz * t) + 0.5 * np.sin(2 * np.pi * 2 * hz * t)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rate * t) ** 3
    out = rng.uniform(0.05, 0.4) * tone * swell + hiss * rng.standard_normal(len(t))
    out[: RATE // 4] = 0.0
    return out.astype(np.float32)


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([sound(seed)] * 2, axis=1), RATE)


def manifest(folder: Path, rows: list[tuple[str, str, str, str, str]]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["part", "file", "title", "author", "licence", "source"])
        out.writerows([*row, "https://example.org/1"] for row in rows)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audio")
    for fold in (1, 2, 3, 4):
        for i, label in enumerate(("dog", "rain")):
            write(root / "esc10" / label / f"{fold}-{i}00-A.wav", 10 * fold + i)
    line = "- [1-000-A.wav]: clip derived from bark.wav (http://example.org/bark) by rex [CC-BY]\n"
    (root / "esc10" / "CREDITS.txt").write_text(line.replace(".wav]", ".ogg]"))
    for name, seed in (("speech_198", 50), ("speech_5703", 51)):
        write(root / "recordings" / f"{name}.wav", seed)
    (root / "recordings" / "CREDITS.md").write_text("# Credits\n\n## speech_198.wav\nRead by H. B.\nCC-BY 4.0\n")
    for part, seed in (("train", 60), ("dev", 70)):
        for i in range(4 if part == "train" else 2):
            write(root / "music" / part / f"piece{i}.wav", seed + i)
            write(root / "sounds" / part / f"door__{i}.wav", seed + 5 + i)
    manifest(
        root / "music", [("train", "piece0.wav", "Song", "Ada", "CC-BY-4.0"), ("dev", "piece0.wav", "X", "Bob", "CC")]
    )
    manifest(root / "sounds", [("train", "door__0.wav", "Door", "Cy", "CC0 1.0")])
    return root


@pytest.fixture(scope="module")
def trained(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, list[str]]:
    out, said = tmp_path_factory.mktemp("out"), []
    figures = train(audio, out, seed=1, threads=1, progress=said.append, sizes=SIZES)
    return out, figures, said


def test_the_same_command_gives_the_same_files_and_another_seed_others(audio: Path, trained, tmp_path: Path) -> None:
    out, figures, _ = trained
    again = train(audio, tmp_path / "again", seed=1, threads=1, progress=str, sizes=SIZES)
    assert again["manifest"] == figures["manifest"]
    for name in ("ears.safetensors", "ears.glossary.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    other = train(audio, tmp_path / "other", seed=2, threads=1, progress=str, sizes=SIZES)
    assert other["manifest"]["codebook_id"] != figures["manifest"]["codebook_id"]


def test_the_thread_count_is_given_back(trained) -> None:
    assert torch.get_num_threads() >= 1
    before = torch.get_num_threads()
    with pytest.raises(SourceError):
        train(Path("/nowhere"), Path("/nowhere"), threads=before + 1, progress=str)
    assert torch.get_num_threads() == before


def test_residual_energy_falls_and_every_figure_has_its_null(trained) -> None:
    _, figures, said = trained
    assert set(figures["residual_energy_db2"]) == {"music", "speech", "environment"}
    for values in figures["residual_energy_db2"].values():
        assert len(values) == 5 and all(b < a for a, b in zip(values, values[1:], strict=False))
    assert figures["silence_bits"] == 0.0
    assert all({"accuracy", "shuffled", "clips"} <= set(p) for p in figures["probe"].values()) and figures["probe"]
    assert figures["recovery_r2"]["level"]["r2"] > 0.3 > figures["recovery_r2"]["level"]["shuffled"]
    assert any(line.startswith("probe") for line in said) and any("codebook_id" in line for line in said)


def test_the_legend_holds_measured_means_of_every_code(trained) -> None:
    out, _, _ = trained
    legend = json.loads((out / "ears.glossary.json").read_text())
    assert {layer: len(codes) for layer, codes in legend["codes"].items()} == SIZES
    for layer, codes in legend["codes"].items():
        assert all(row["count"] > 0 for row in codes.values()), layer
        assert all(len(row["means"]) == len(legend["descriptors"]) for row in codes.values())
        assert codes["0"]["means"][0] < -75.0  # level of silence
        assert ("phrase" in codes["1"]) == layer.startswith("S")


def test_the_card_credits_what_was_fitted_on_and_nothing_else(trained) -> None:
    out, figures, _ = trained
    card = (out / "ears.md").read_text()
    assert figures["manifest"]["codebook_id"] in card
    assert "- Ada, CC-BY-4.0: Song <https://example.org/1>" in card and "Bob" not in card
    assert "- speech_198.wav: Read by H. B. CC-BY 4.0" in card and "speech_5703.wav:" not in card
    assert "| esc10 | 4 | 2 |" in card and "| music | 4 | 2 |" in card


def test_weights_of_other_sizes_are_not_taken_for_the_shipped_ones(trained) -> None:
    with pytest.raises(ModelError, match="other encoder settings"):
        ears.open_tokenizer(folder=trained[0])


def test_which_recordings_are_held_out(audio: Path) -> None:
    parts = {str(c.path.relative_to(audio)): c.part for c in clips_of(audio)}
    assert parts["esc10/dog/2-000-A.wav"] == "fit" and parts["esc10/dog/3-000-A.wav"] == "held"
    assert not any("/4-" in name for name in parts)
    assert parts["recordings/speech_198.wav"] == "fit" and parts["recordings/speech_5703.wav"] == "held"
    assert parts["music/dev/piece0.wav"] == "held" and parts["sounds/train/door__1.wav"] == "fit"
    assert len(samples_of(audio / "music/dev/piece0.wav")) == 3 * 24_000


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recording"):
        clips_of(tmp_path)
