"""The card of `ears`: what it hears and cannot, its figures, what it was fitted on, and whose work that is."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from natd.training.recordings import Clip

HEARS = (
    (
        "S0",
        "spectral shape without the level, and how shape, noisiness, pitch and onsets moved over 0.08 to 3.2 s",
        "name a source: cells are not classes; the first seconds of a stream have less past behind them",
    ),
    (
        "S1",
        "which pitch classes stand out of the spectrum, how tonal it is, the f0 of a single voice (40 to 2000 Hz)",
        "two bass notes below 55 Hz; inversions, sevenths; when a note begins (the windows are 0.17 to 0.7 s long)",
    ),
    (
        "S2",
        "onset strength, onsets per second, the period of the onsets of 6 s (40 to 240 a minute), flutter",
        "which beat is the first; the octave of a tempo; a pulse in the first seconds",
    ),
    (
        "S3",
        "level in dBFS, rising or falling, brightness, bandwidth, noisiness, f0 register",
        "loudness as an ear weighs it: the level has no frequency weighting",
    ),
    (
        "A0-A3",
        "the log-mel of the frame (8 x 128 bands over 80 ms), each layer what the ones before left",
        "phase; anything below -80 dB in its band",
    ),
)
SILENCE = """
Code 0 of every layer is silence and nothing else: digital zero, or a frame whose RMS without its mean is below
-75 dBFS.
A phrase of the legend is made of the means over the training frames that chose the code; these stand in
ears.glossary.json. There is no decoder to sound in this version; codes of the A layers give back the log-mel.
"""


def write(
    figures: Mapping[str, Any],
    clips: Sequence[Clip],
    audio_dir: Path,
    manifest: Mapping[str, Any],
    seed: int,
    threads: int,
) -> str:
    """The card as Markdown."""
    files = [f"| {name} | {f['bytes']} | {f['sha256']} |" for name, f in sorted(manifest["files"].items())]
    parts = [
        "# ears 0: the embedded tokenizer\n",
        f"24 kHz mono, 12.5 frames a second, causal, no look-ahead, float32, argmin. `{manifest['codebook_id']}`\n",
        f"Made by `nat train ears-0 --audio DIR --out DIR` (seed {seed}, {threads} threads, {figures['seconds']} s).\n",
        "| file | bytes | sha256 |\n|---|---|---|\n" + "\n".join(files) + "\n",
        "## What each layer hears\n\n| layer | hears | cannot |\n|---|---|---|",
        *(f"| {layer} | {hears} | {cannot} |" for layer, hears, cannot in HEARS),
        SILENCE,
        "## Figures on held-out recordings\n\n" + _figures(figures),
        "## Data\n\n" + _data(clips, figures),
        "## Credits\n\n" + credits_of([c for c in clips if c.part == "fit"], audio_dir),
    ]
    return "\n".join(parts)


def _figures(figures: Mapping[str, Any]) -> str:
    energy, error = figures["residual_energy_db2"], figures["log_mel_l1_db"]
    lines = [
        "Mean squared log-mel error in dB^2 (and mean absolute error in dB) with no layer, then after each A layer:\n"
    ]
    lines += ["| kind | none | A0 | A1 | A2 | A3 |", "|---|---|---|---|---|---|"]
    for kind, values in energy.items():
        lines.append(
            f"| {kind} | " + " | ".join(f"{v:.1f} ({e:.2f})" for v, e in zip(values, error[kind], strict=True)) + " |"
        )
    lines += ["\n| layer | codes used | perplexity | bits a frame | changes a second |", "|---|---|---|---|---|"]
    for name, u in figures["usage"].items():
        change = figures["changes_per_s"][name]
        lines.append(
            f"| {name} | {u['used']} of {u['size']} | {u['perplexity']:.0f} | {u['bits']:.2f} | {change:.1f} |"
        )
    lines.append(f"\nDigital silence, 12 s: {figures['silence_bits']:.2f} bits over all layers.\n")
    if figures["probe"]:
        lines.append(
            "ESC-10, linear probe on code histograms, folds 1-2 against fold 3 (null: codes shuffled over all clips):\n"
        )
        lines += ["| layers | accuracy | shuffled | clips |", "|---|---|---|---|"]
        lines += [
            f"| {n} | {p['accuracy']:.3f} | {p['shuffled']:.3f} | {p['clips']} |" for n, p in figures["probe"].items()
        ]
    lines.append(
        "\nShare of a descriptor's held-out variance that the legend's means give back (null: shuffled codes):\n"
    )
    lines += ["| descriptor | layer | R2 | shuffled |", "|---|---|---|---|"]
    lines += [
        f"| {n} | {r['layer']} | {r['r2']:.3f} | {r['shuffled']:.3f} |" for n, r in figures["recovery_r2"].items()
    ]
    return "\n".join(lines) + "\n"


def _data(clips: Sequence[Clip], figures: Mapping[str, Any]) -> str:
    frames = figures["frames"]
    lines = [
        f"Fitted on {frames['fit']} frames of 80 ms, measured on {frames['held']} others, "
        f"{frames['held_silent']} of them silent. Authors, and the sources of the ESC-10 clips, are never in both. "
        "The A layers are fitted on every frame a second time at a level 15 dB lower to 6 dB higher.\n",
        "| folder | recordings fitted on | held out |",
        "|---|---|---|",
    ]
    count: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip in clips:
        count[clip.folder][clip.part == "held"] += 1
    lines += [f"| {folder} | {fitted} | {held} |" for folder, (fitted, held) in sorted(count.items())]
    lines.append(
        "\nHeld out: fold 3 of ESC-10, the dev parts, and of recordings/ the names in natd/training/recordings.py.\n"
    )
    return "\n".join(lines)


def credits_of(clips: Sequence[Clip], audio_dir: Path) -> str:
    """Who made what the weights were fitted on, under which licence, grouped by author; changes made are named."""
    intro = (
        "The weights hold statistics of the recordings below, which were mixed to mono and resampled; no recording is "
        "part of this package. CC BY 2.0, 3.0 and 4.0: https://creativecommons.org/licenses/by/2.0/ , /3.0/ , /4.0/ .\n"
    )
    fitted = {str(clip.path.relative_to(audio_dir)) for clip in clips}
    lines = [intro]
    lines += _esc10(audio_dir / "esc10" / "CREDITS.txt", fitted)
    lines += _recordings(audio_dir / "recordings" / "CREDITS.md", fitted)
    for folder in ("music", "sounds"):
        lines += _manifest(audio_dir / folder / "manifest.csv", folder, fitted)
    if any(name.startswith("sonic-pi/") for name in fitted):
        lines.append("\n### sonic-pi\n\nSamples of Sonic Pi, CC0 1.0, from freesound.org and Uwe Zahn (Arovane).")
    if any(name.startswith("drums/") for name in fitted):
        lines.append(
            "\n### drums\n\nuzu-drumkit (tidalcycles/uzu-drumkit), Unlicense: Switch Angel, mot4i, Ludens, pprocessed."
        )
    return "\n".join(lines) + "\n"


def _esc10(path: Path, fitted: set[str]) -> list[str]:
    if not path.is_file():
        return []
    pattern = re.compile(r"\[([^\]]+\.ogg)\]:\s+clip derived from (.*) \((http\S+)\) by (.*) \[([^\]]+)\]")
    names = {Path(name).name for name in fitted if name.startswith("esc10/")}
    found = [
        m.groups() for line in path.read_text().splitlines() if (m := pattern.search(line)) and m.group(1) in names
    ]
    works = [(author, f"{licence} (ESC-10)", title, url) for _, title, url, author, licence in found]
    head = (
        "\n### esc10\n\nESC-10 of K. J. Piczak, ESC: Dataset for Environmental Sound Classification, "
        "https://dx.doi.org/10.7910/DVN/YDEPUT , CC BY 3.0; folds 1 and 2. The clips come from freesound.org:\n"
    )
    return [head, *_grouped(works)]


def _recordings(path: Path, fitted: set[str]) -> list[str]:
    if not path.is_file():
        return []
    lines = ["\n### recordings\n"]
    for section in path.read_text().split("\n## ")[1:]:
        name, *text = [line.strip() for line in section.splitlines() if line.strip()]
        if f"recordings/{name}" in fitted:
            lines.append(f"- {name}: " + " ".join(text))
    return lines


def _manifest(path: Path, folder: str, fitted: set[str]) -> list[str]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if f"{folder}/{row['part']}/{row['file']}" in fitted]
    works = [(r["author"], r["licence"], r["title"], r.get("original_url") or r["source"]) for r in rows]
    return [f"\n### {folder}\n", *_grouped(works)]


def _grouped(works: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """(author, licence, title, address) -> a line per author and licence; titles from one address stand together."""
    by_author: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for author, licence, title, address in works:
        titles = by_author[author, licence][address]
        if title not in titles:
            titles.append(title)
    lines = []
    for (author, licence), addresses in sorted(by_author.items()):
        lines.append(f"- {author}, {licence}: " + "; ".join(f"{', '.join(t)} <{a}>" for a, t in addresses.items()))
    return lines
