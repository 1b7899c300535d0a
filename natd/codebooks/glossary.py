"""What a code means: the mean of each descriptor over the frames that chose it, and a phrase made of those numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SILENCE = "silence"
UNHEARD = "not met in the training data"
GATE_SHARE = 0.05  # a gated descriptor is null where fewer of the frames than this pass its gate


@dataclass(frozen=True, slots=True)
class Entry:
    """Frames that chose the code, and the mean of each descriptor over them (None: not measured)."""

    count: int
    means: Mapping[str, float | None]


def measure(
    codes: Tensor, table: Tensor, size: int, names: Sequence[str], gates: Mapping[str, tuple[str, float]]
) -> list[Entry]:
    """Codes [N], descriptors [N, len(names)] -> an entry per code; `gates`: one counts only where another is high."""
    columns = {}
    total = torch.bincount(codes, minlength=size)
    for i, name in enumerate(names):
        weight = torch.ones(len(table), dtype=torch.float64)
        if name in gates:
            gate, least = gates[name]
            weight = (table[:, list(names).index(gate)] >= least).double()
        count = torch.zeros(size, dtype=torch.float64).index_add_(0, codes, weight)
        sums = torch.zeros(size, dtype=torch.float64).index_add_(0, codes, weight * table[:, i].double())
        known = count > GATE_SHARE * total
        mean = sums / count.clamp(min=1.0)
        columns[name] = [round(float(m), 3) if k else None for m, k in zip(mean, known, strict=True)]
    return [Entry(int(n), {name: columns[name][code] for name in names}) for code, n in enumerate(total)]


def phrase(layer: str, entry: Entry) -> str:
    """A few words and numbers for a code of S0..S3 (other layers have none: "")."""
    if entry.count == 0:
        return UNHEARD
    known = {name: value for name, value in entry.means.items() if value is not None}
    makers = {"S0": _scene, "S1": _harmony, "S2": _rhythm, "S3": _dynamics}
    return makers[layer](known) if layer in makers else ""


def _step(value: float, *steps: tuple[float, str]) -> str:
    """The word of the last step that `value` reaches."""
    word = steps[0][1]
    for least, name in steps:
        if value >= least:
            word = name
    return word


def _bright(m: Mapping[str, float]) -> str:
    low = float("-inf")
    return _step(m["centroid"], (low, "deep"), (8.6, "dark"), (10.0, "mid"), (11.2, "bright"), (12.2, "hissing"))


def _hz(log2_hz: float) -> str:
    hz = 2.0**log2_hz
    return f"{hz / 1000:.1f} kHz" if hz >= 1000 else f"{hz:.0f} Hz"


def _note(log2_hz: float) -> str:
    midi = round(69 + 12 * (log2_hz - 8.78136))
    return f"{NOTES[midi % 12]}{midi // 12 - 1}"


def _scene(m: Mapping[str, float]) -> str:
    low = float("-inf")
    pitched = m["salience"] >= 0.75
    source = "tone" if pitched else _step(m["flatness"], (low, "sound"), (-14.0, "noisy sound"), (-7.0, "noise"))
    motion = _step(m["wavering"], (low, "steady"), (3.0, "uneven"), (6.0, "broken"), (10.0, "bursts of"))
    extra = ""
    if m["onset_rate"] >= 2.0:
        extra = f", {m['onset_rate']:.0f} onsets/s"
    elif m["slow"] >= 0.8:
        extra = ", syllabic"
    return f"{motion} {_bright(m)} {source} about {_hz(m['centroid'])}{extra}, {m['level']:.0f} dBFS"


def _harmony(m: Mapping[str, float]) -> str:
    chroma = [m[f"chroma_{note}"] for note in NOTES]
    order = sorted(range(12), key=lambda i: -chroma[i])
    if m["salience"] < 0.5 and chroma[order[0]] < 0.2:
        return f"unpitched, tonalness {m['tonalness']:.2f}"
    strength = _step(m["salience"], (float("-inf"), "weak"), (0.6, "clear"), (0.9, "strong"))
    f0 = f", f0 about {_hz(m['f0'])}" if "f0" in m else ""
    if chroma[order[0]] >= 0.45 or chroma[order[0]] > 2.2 * chroma[order[1]]:
        # The mean f0 has a name only where the frames agree on one.
        named = "f0" in m and _note(m["f0"]).rstrip("-0123456789") == NOTES[order[0]]
        return f"{strength} single pitch {_note(m['f0']) if named else NOTES[order[0]] + f0}"
    root, kind, fit = _chord(chroma)
    if fit >= 0.6:
        return f"{NOTES[root]} {kind}-like, {strength} tone{f0}"
    return f"{strength} mix of {' '.join(NOTES[i] for i in order[:3])}{f0}"


def _chord(chroma: Sequence[float]) -> tuple[int, str, float]:
    """Root, kind and share of the chroma that the best triad or fifth holds."""
    kinds = {"major": (0, 4, 7), "minor": (0, 3, 7)}
    fits = [
        (sum(chroma[(root + i) % 12] for i in steps), root, kind) for kind, steps in kinds.items() for root in range(12)
    ]
    fit, root, kind = max(fits)
    return root, kind, fit


def _rhythm(m: Mapping[str, float]) -> str:
    low = float("-inf")
    onset = _step(m["onset"], (low, "no onset"), (1.5, "soft onset"), (4.0, "onset"), (8.0, "strong onset"))
    if m["pulse"] >= 0.3 and "tempo" in m:
        regular = _step(m["pulse"], (0.0, "loose"), (0.45, "regular"), (0.65, "strict"))
        pulse = f"{regular} pulse about {2 ** m['tempo']:.0f} bpm"
    else:
        pulse = "irregular events" if m["onset_rate"] >= 1.0 else "no pulse"
    extra = f", {m['onset_rate']:.0f}/s" if m["onset_rate"] >= 1.0 else ""
    if m["slow"] >= 0.9:
        extra += ", syllabic"
    if m["fast"] >= 0.6:
        extra += ", fluttering"
    return f"{pulse}, {onset}{extra}"


def _dynamics(m: Mapping[str, float]) -> str:
    low = float("-inf")
    loud = _step(
        m["level"], (low, "very soft"), (-52.0, "soft"), (-38.0, "medium"), (-26.0, "loud"), (-15.0, "very loud")
    )
    trend = _step(m["trend"], (low, ", falling"), (-4.0, ""), (3.0, ", rising"))
    kind = _step(m["flatness"], (low, "pure"), (-32.0, "tonal"), (-18.0, "rough"), (-9.0, "noisy"))
    f0 = f", f0 {_hz(m['f0'])}" if "f0" in m and m["salience"] >= 0.7 else ""
    return f"{loud} {m['level']:.0f} dBFS{trend}, {_bright(m)} {_hz(m['centroid'])}, {kind}{f0}"
