"""A folder of made-up recordings as the training expects it: some to fit on, some held out, with their credits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
FITTED = 16  # recordings of `folder` to fit on, and of them the short one
SHORT = "sonic-pi/bd_808.wav"


def sound(seed: int, seconds: float = 3.0) -> np.ndarray:
    """A tone that beats, over noise: its pitch, rate and noisiness drawn from `seed`; it begins with silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    hz, rate, hiss = 110 * 2 ** rng.uniform(0, 3), rng.uniform(1, 6), 10 ** rng.uniform(-3, -1)
    tone = np.sin(2 * np.pi * hz * t) + 0.5 * np.sin(2 * np.pi * 2 * hz * t)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rate * t) ** 3
    out = rng.uniform(0.05, 0.4) * tone * swell + hiss * rng.standard_normal(len(t))
    out[: RATE // 4] = 0.0
    return out.astype(np.float32)


def write(path: Path, seed: int, seconds: float = 3.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([sound(seed, seconds)] * 2, axis=1), RATE)


def manifest(folder: Path, rows: list[tuple[str, str, str, str, str]]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["part", "file", "title", "author", "licence", "source"])
        out.writerows([*row, "https://example.org/1"] for row in rows)


def folder(root: Path, seconds: float = 3.0) -> Path:
    """Six folders, `FITTED` recordings to fit on, eight held out, two that are left alone."""
    for fold in (1, 2, 3, 4):
        for i, label in enumerate(("dog", "rain")):
            write(root / "esc10" / label / f"{fold}-{i}00-A.wav", 10 * fold + i, seconds)
    line = "- [1-000-A.wav]: clip derived from bark.wav (http://example.org/bark) by rex [CC-BY]\n"
    (root / "esc10" / "CREDITS.txt").write_text(line.replace(".wav]", ".ogg]"))
    for name, seed in (("speech_198", 50), ("speech_5703", 51)):
        write(root / "recordings" / f"{name}.wav", seed, seconds)
    (root / "recordings" / "CREDITS.md").write_text("# Credits\n\n## speech_198.wav\nRead by H. B.\nCC-BY 4.0\n")
    for part, seed in (("train", 60), ("dev", 70)):
        for i in range(4 if part == "train" else 2):
            write(root / "music" / part / f"rock_{i}__ada.wav", seed + i, seconds)
            write(root / "sounds" / part / f"wind__Cy{i}_howl.wav", seed + 5 + i, seconds)
    write(root / SHORT, 80, 0.3)
    for i in range(2):
        write(root / "drums" / f"hat__{i}.wav", 90 + i, 1.0)
    manifest(
        root / "music",
        [("train", "rock_0__ada.wav", "Song", "Ada", "CC-BY-4.0"), ("dev", "rock_0__ada.wav", "X", "Bob", "CC")],
    )
    manifest(root / "sounds", [("train", "wind__Cy0_howl.wav", "Wind", "Cy", "CC0 1.0")])
    return root
