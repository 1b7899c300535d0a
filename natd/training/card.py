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
        "which of 52 kinds of sound this is, from 0.08 to 3.2 s of spectral shape and motion, in three steps of "
        "confidence. Where no kind has half of the weight only the wider kind (music, people, animal, nature, machine, "
        "object, signal, blast, noise) is named, and what it is closest to; where that is not clear either: unknown",
        "hear two sources apart (it names the one that stands out, or the wider kind); tell a recording of a sound "
        "from the sound; name anything in the first 0.6 s of a stream; know a speaker, a language, a word or a tune",
    ),
    (
        "S1",
        "the note of a single voice or instrument (A0 to C8), the chord of several (12 roots, 8 qualities), or which "
        "pitch classes stand out where neither is clear",
        "several notes one by one, inversions, extensions beyond the seventh, quarter tones; notes shorter than 0.2 s",
    ),
    (
        "S2",
        "the beat and its tempo (41 to 240 a minute, 8 % apart), regular ticks and their period, slow and fast "
        "flutter, syllables, irregular events; and how strong the onset in this frame is",
        "which beat is the first; a tempo in the first 3 s; free or slowly changing time",
    ),
    (
        "S3",
        "level in dBFS with a musician's letter (ppp to ff), brightness in Hz, and how tonal or noisy the frame is",
        "loudness as an ear weighs it: the level has no frequency weighting",
    ),
    (
        "A0-A3",
        "the log-mel of the frame (8 x 128 bands over 80 ms), each layer what the ones before left; a causal net makes "
        "log-mel of them again, and a vocoder sound",
        "phase; anything below -80 dB in its band; timbre as fine as a codec's: 500 bits a second are few",
    ),
)
SILENCE = """
Code 0 of every layer is silence and nothing else: digital zero, or a frame whose RMS without its mean is below
-75 dBFS. Code 1 of S0, S1 and S2 says that the stream was not heard long enough.
The legend (`nat codebook show ears S0:37`) gives for every code how often it was chosen, the means of the descriptors
over the frames that chose it, and sounds that chose it. The confidence of an S0 code is how often what was called so
was right, among authors that the net which was asked had never heard.
"""


def write(
    figures: Mapping[str, Any],
    clips: Sequence[Clip],
    audio_dir: Path,
    manifest: Mapping[str, Any],
    seed: int,
    threads: int,
) -> str:
    """The card as Markdown; `figures` as `natd.training.ears` gathers them, those of `evaluation` included."""
    files = [f"| {name} | {f['bytes']} | {f['sha256']} |" for name, f in sorted(manifest["files"].items())]
    took = f"seed {seed}, {threads} threads, {figures['seconds'] / 60:.0f} min"
    parts = [
        "# ears 1: the embedded tokenizer\n",
        f"24 kHz mono, 12.5 frames a second, causal, no look-ahead, float32, argmin. `{manifest['codebook_id']}`\n",
        f"Made by `nat train ears --audio DIR --out DIR` ({took}).\n",
        "| file | bytes | sha256 |\n|---|---|---|\n" + "\n".join(files) + "\n",
        "## What each layer hears\n\n| layer | hears | cannot |\n|---|---|---|",
        *(f"| {layer} | {hears} | {cannot} |" for layer, hears, cannot in HEARS),
        SILENCE,
        "## Sounds it was not taught\n\n" + _unseen(figures["scene"]),
        "## Figures on held-out recordings\n\n" + _figures(figures["evaluation"]),
        "## Data\n\n" + _data(clips) + MADE,
        "## Credits\n\n" + credits_of([c for c in clips if c.part == "fit"], audio_dir),
    ]
    return "\n".join(parts)


MADE = """
Beside these the scene layer learned from changed and mixed copies of the recordings (rooms, microphones, codecs, noise,
gain, speed), the harmony and rhythm layers mostly from made music, and all from synthesis whose recipes are
natd/training/procedural*.py, compose.py and pulses.py. Made sounds are made anew by the training and not shipped.

- Music: General MIDI scores of our own through FluidSynth with the soundfont FluidR3_GM by Frank Wen and others
  (MIT licence, as its README and the Debian package fluid-soundfont-gm state).
- Voices: espeak-ng (GPL-3.0-or-later; its licence covers the program, not the sound that it makes of a text), reading
  sentences of our own. No recording of a person is part of it beyond the phoneme samples of the program.
- Left out because their licence is unclear: two ESC-10 clips whose sources are under CC Sampling Plus.
"""


def _unseen(scene: Mapping[str, Any]) -> str:
    """What nets say of authors, and of kinds, that they were never given."""
    lines = [
        "Four nets were trained, each without the authors of one fold and without six kinds altogether. Shares of the "
        "time of the recordings of those authors (kinds it knows) and of those kinds (left out); every take counts "
        "once. A kind named with less than half of the weight is said as its wider kind.\n",
        "| | right kind | right wider kind | other wider kind | other kind | unknown | takes |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = ("right kind", "right wider kind", "other wider kind", "other kind", "unknown", "takes")
    for name in ("known", "left out"):
        row = scene[name]
        lines.append(f"| **{name}** | " + " | ".join(str(row[c]) for c in columns) + " |")
        lines += [
            f"| {kind} | " + " | ".join(str(r[c]) for c in columns) + " |"
            for kind, r in row["by kind"].items()
            if name == "left out"
        ]
    lines += [
        "\nCoverage and accuracy: of the time of known kinds by unheard authors, the surest part is answered with the "
        "likeliest kind.\n",
        "| coverage | " + " | ".join(f"{c['coverage']:.0%}" for c in scene["coverage"]) + " |",
        "|---" * (len(scene["coverage"]) + 1) + "|",
        "| accuracy | " + " | ".join(f"{c['accuracy']:.2f}" for c in scene["coverage"]) + " |",
    ]
    return "\n".join(lines) + "\n"


def _figures(evaluation: Mapping[str, Any]) -> str:
    """Every row of `nat eval tokenizer ears`, with its interval and its nulls."""
    lines = [
        "`nat eval tokenizer ears --audio DIR` on what was never fitted on (fold 3 of ESC-10, the dev parts, and of "
        "recordings/ the names in natd/training/recordings.py); intervals by drawing clips again.\n",
        "| figure | of | value | 95 % interval | null | unit | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in evaluation["rows"]:
        value = "-" if row["value"] is None else _number(row["value"])
        interval = "-" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"
        nulls = ", ".join(f"{name} {_number(v)}" for name, v in row["nulls"].items() if v is not None) or "-"
        note = f" ({row['note']})" if row["value"] is None and row["note"] else ""
        cells = (f"{row['figure']}{note}", row["of"], value, interval, nulls, row["unit"], row["n"] or "-")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _data(clips: Sequence[Clip]) -> str:
    lines = [
        "Authors, and the sources of the ESC-10 clips, are never both fitted on and held out.\n",
        "| folder | recordings fitted on | held out |",
        "|---|---|---|",
    ]
    count: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip in clips:
        count[clip.folder][clip.part == "held"] += 1
    lines += [f"| {folder} | {fitted} | {held} |" for folder, (fitted, held) in sorted(count.items())]
    return "\n".join(lines) + "\n"


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
    pattern = re.compile(r"\[([^\]]+)\.ogg\]:\s+clip derived from (.*) \((http\S+)\) by (.*) \[([^\]]+)\]")
    names = {Path(name).stem for name in fitted if name.startswith("esc10/")}
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
