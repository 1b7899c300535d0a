"""What a code means: the mean of each descriptor over the frames that chose it, and phrases made of such numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codebooks.kinds import UNKNOWN, WIDER, WIDER_OF

SILENCE = "silence"
NOT_YET = "not heard long enough"
LEAN_FRAMES = 12.0  # how many frames the mean of like codes counts for
GATE_SHARE = 0.05  # a gated descriptor is null where fewer of the frames than this pass its gate


@dataclass(frozen=True, slots=True)
class Entry:
    """Frames that chose the code, and the mean of each descriptor over them (None: not measured)."""

    count: int
    means: Mapping[str, float | None]


def measure(
    codes: Tensor,
    table: Tensor,
    size: int,
    names: Sequence[str],
    gates: Mapping[str, tuple[str, float]],
    like: Callable[[str], Tensor] | None = None,
) -> list[Entry]:
    """Codes [N], descriptors [N, len(names)] -> an entry per code; `gates`: one counts only where another is high.

    `like(name)` [size] puts codes that should have a like mean of a descriptor into groups: a code that few frames
    chose leans on its group, and that on all.
    """
    total = torch.bincount(codes, minlength=size).double()
    columns = {}
    for i, name in enumerate(names):
        weight = torch.ones(len(table), dtype=torch.float64)
        if name in gates:
            gate, least = gates[name]
            weight = (table[:, list(names).index(gate)] >= least).double()
        count = torch.zeros(size, dtype=torch.float64).index_add_(0, codes, weight)
        sums = torch.zeros(size, dtype=torch.float64).index_add_(0, codes, weight * table[:, i].double())
        if like is None:
            mean, known = sums / count.clamp(min=1.0), count > GATE_SHARE * total
        else:
            mean, known = _leaning(sums, count, total, like(name))
        columns[name] = [round(float(m), 3) if k else None for m, k in zip(mean, known, strict=True)]
    return [Entry(int(n), {name: columns[name][code] for name in names}) for code, n in enumerate(total)]


def _leaning(sums: Tensor, count: Tensor, total: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Means of codes, each as if `LEAN_FRAMES` more frames had the mean of its group; and where it means something."""
    groups = int(group.max()) + 1
    in_group = [torch.zeros(groups, dtype=torch.float64).index_add_(0, group, x) for x in (sums, count, total)]
    whole = sums.sum() / count.sum().clamp(min=1.0)
    of_group = (in_group[0] + LEAN_FRAMES * whole) / (in_group[1] + LEAN_FRAMES)
    mean = (sums + LEAN_FRAMES * of_group[group]) / (count + LEAN_FRAMES)
    seen, seen_group = count + LEAN_FRAMES * _share(in_group[1], in_group[2])[group], total + LEAN_FRAMES
    return mean, seen > GATE_SHARE * seen_group


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=1.0)


LOUD = ((-100.0, "ppp"), (-56.0, "pp"), (-45.0, "p"), (-36.0, "mp"), (-28.0, "mf"), (-20.0, "f"), (-13.0, "ff"))
BRIGHT = ((0.0, "deep"), (8.6, "dark"), (10.0, "mid"), (11.2, "bright"), (12.2, "hissing"))
NOISY = ((-100.0, "pure"), (-32.0, "tonal"), (-18.0, "rough"), (-9.0, "noisy"))
MOTION = ((0.0, "steady"), (3.0, "uneven"), (6.0, "broken"), (10.0, "bursts of"))
NEAR = 0.12  # share from which another kind is named beside the one called
Steps = Sequence[tuple[float, str]]


def step(value: float, steps: Steps) -> str:
    """The word of the last step that `value` reaches; the first where it reaches none."""
    return [word for least, word in steps if value >= least or least == steps[0][0]][-1]


def grade(level: float, centroid: float, flatness: float) -> str:
    """Loudness in musicians' letters, brightness and noisiness, of dBFS, log2 Hz and dB: `mf bright tonal`."""
    return f"{step(level, LOUD)} {step(centroid, BRIGHT)} {step(flatness, NOISY)}"


def dynamics(level: float, centroid: float, flatness: float) -> str:
    """The same with figures: `mf -24 dBFS, bright 3.1 kHz, tonal`."""
    loud, bright, noisy = grade(level, centroid, flatness).split()
    hz = 2.0**centroid
    about = f"{hz / 1000:.1f} kHz" if hz >= 1000 else f"{hz:.0f} Hz"
    return f"{loud} {level:.0f} dBFS, {bright} {about}, {noisy}"


def texture(means: Mapping[str, float]) -> str:
    """What an unknown sound is like: `steady dark noise, 3 onsets/s`."""
    what = "tone" if means["salience"] >= 0.75 else step(means["flatness"], _NOISINESS)
    said = f"{step(means['wavering'], MOTION)} {step(means['centroid'], BRIGHT)} {what}"
    return said + (f", {means['onset_rate']:.0f} onsets/s" if means["onset_rate"] >= 1.5 else "")


_NOISINESS = ((-100.0, "sound"), (-14.0, "noisy sound"), (-7.0, "noise"))


def scene(name: str, shares: Mapping[str, float], means: Mapping[str, float]) -> str:
    """What an S0 code says: a kind with its confidence, a wider kind, or unknown, and what else it may be.

    `rain 0.82 (or sea waves 0.13)`; `animal 0.70, closest to: dog 0.40, cat 0.20`; `unknown, closest to: wind 0.31:
    steady dark noise`.
    """
    others = sorted(((share, kind) for kind, share in shares.items() if kind not in (name, UNKNOWN)), reverse=True)
    sure = sum(shares.get(kind, 0.0) for kind in WIDER.get(name, (name,)))
    if name in WIDER_OF:
        near = [f" (or {kind} {share:.2f})" for share, kind in others[:1] if share >= NEAR]
        return f"{name} {sure:.2f}{''.join(near)}"
    near = [f"{kind} {share:.2f}" for share, kind in others[:2]]
    head = name if name == UNKNOWN else f"{name} {sure:.2f}"
    like = f": {texture(means)}" if name == UNKNOWN and means else ""
    return head + (f", closest to: {', '.join(near)}" if near else "") + like
