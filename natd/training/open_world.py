"""What the scene layer makes of what it was not taught: nets without some authors and kinds, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER, WIDER_OF
from natd.codec.scene_net import CALLS
from natd.training import scene, scene_codes
from natd.training.scene import FOLDS, SceneNet, fold_of
from natd.training.scene_codes import Judged
from natd.training.shards import Shard

Progress = Callable[[str], None]
# Kinds that one of the nets never hears, neither recorded nor made. All have recordings of several people.
LEFT_OUT = (
    ("thunder", "train", "farm animal", "laughter", "glass", "singing"),
    ("helicopter", "insects", "knock", "alarm", "clock tick", "plucked strings"),
    ("fire", "dog", "engine", "scream", "footsteps", "drums"),
    ("gun", "sea waves", "birds", "creak", "baby cry", "ensemble"),
)
COVERAGES = tuple(round(0.1 * i, 1) for i in range(1, 11))
JUDGED = ("recorded", "changed")  # what the nets are judged on: recordings, never made sounds


@dataclass(slots=True)
class Unseen:
    """What each net makes of authors it never heard: kinds it knows, and kinds it was never taught."""

    nets: list[SceneNet]
    temperature: float
    known: Judged
    left_out: Judged


def train_nets(
    shards: Sequence[Shard], steps: int, seed: int, progress: Progress, device: str = "cpu"
) -> list[SceneNet]:
    """A net a fold: without the authors of the fold, and without the fold's kinds."""
    nets = []
    for fold, left in enumerate(LEFT_OUT):
        lesson = lesson_without(shards, fold, left)
        progress(f"scene net {fold + 1} of {FOLDS}, without {', '.join(left)}: {len(lesson.vectors)} frames")
        nets.append(scene.fit(lesson, steps, seed + 1 + fold, progress, device))
    return nets


def lesson_without(shards: Sequence[Shard], fold: int, left: Sequence[str]) -> scene.Lesson:
    """What the net of a fold learns from: nothing of its authors, nothing that may be of the kinds `left` out."""

    def keep(shard: Shard, i: int) -> bool:
        # A mixture holds a second author and, where that is softer, a kind that is not among its own.
        if shard.name.startswith("mixed") or fold_of(shard.group[i]) == fold:
            return False
        return not (len(shard.kinds[i]) == 1 and shard.kinds[i][0] in left)

    lesson = scene.lesson(shards, keep)
    # A take of which only the wider kind is known stays, but is not taught as a kind that is left out.
    lesson.allowed[:, [KINDS.index(kind) for kind in left]] = False
    lesson.allowed[:, -1] |= ~lesson.allowed.any(1)
    return lesson


def judge(nets: Sequence[SceneNet], shards: Sequence[Shard]) -> Unseen:
    """Each net on the authors of its own fold, recordings only."""
    shards = [s for s in shards if s.name.split("-")[0] in JUDGED]
    masks = [[_masks(s, fold, left, True) for s in shards] for fold, left in enumerate(LEFT_OUT)]
    temperature = min(
        scene_codes.TEMPERATURES,
        key=lambda t: sum(scene_codes.cost(net, shards, mask, t) for net, mask in zip(nets, masks, strict=True)),
    )
    known = [scene_codes.judge(net, shards, mask, temperature) for net, mask in zip(nets, masks, strict=True)]
    recorded = [s for s in shards if s.name.startswith("recorded")]
    left_out = [
        scene_codes.judge(net, recorded, [_masks(s, None, left, False) for s in recorded], temperature)
        for net, left in zip(nets, LEFT_OUT, strict=True)
    ]
    return Unseen(list(nets), temperature, _joined(known), _joined(left_out))


def _masks(shard: Shard, fold: int | None, left: Sequence[str], taught: bool) -> Tensor:
    """Takes of one fold (None: of any) whose kind the net was, or was not, taught; those without a kind are out."""
    return torch.tensor(
        [
            (fold is None or fold_of(group) == fold)
            and (len(kinds) == 1 and kinds[0] != UNKNOWN or kinds == WIDER["music"])
            and (kinds[0] not in left or len(kinds) > 1) == taught
            for kinds, group in zip(shard.kinds, shard.group, strict=True)
        ]
    )


def _joined(parts: Sequence[Judged]) -> Judged:
    out = Judged([], [], [], [], [], [])
    for part in parts:
        for name in Judged.__slots__:
            getattr(out, name).extend(getattr(part, name))
    return out


def as_recorded(judged: Judged) -> Judged:
    """Without the changed copies: what a confidence says is about recordings as they are."""
    chosen = [i for i, name in enumerate(judged.shard) if name.startswith("recorded")]
    return Judged(*([getattr(judged, field)[i] for i in chosen] for field in Judged.__slots__))


def figures(unseen: Unseen, doubt: float) -> dict[str, Any]:
    """Shares of the time of takes (each counts once) called right, wider, wrong or unknown; and coverage curves."""
    out: dict[str, Any] = {"temperature": unseen.temperature, "doubt": round(doubt, 4)}
    for name, judged in (("known", unseen.known), ("left out", unseen.left_out)):
        by_kind: dict[str, list[Tensor]] = {}
        for (call, tier), kinds in zip(scene_codes.place(judged, doubt), judged.kinds, strict=True):
            by_kind.setdefault(kinds[0] if len(kinds) == 1 else "music", []).append(_said(call, tier, kinds))
        rows = {kind: torch.stack(v).mean(0) for kind, v in sorted(by_kind.items())}
        takes = torch.cat([torch.stack(v) for v in by_kind.values()])
        out[name] = _row(takes.mean(0), len(takes)) | {
            "by kind": {kind: _row(row, len(by_kind[kind])) for kind, row in rows.items()}
        }
    out["coverage"] = _coverage(unseen.known)
    return out


SAID = ("right kind", "right wider kind", "other wider kind", "other kind", UNKNOWN)


def _row(shares: Tensor, takes: int) -> dict[str, Any]:
    row: dict[str, Any] = {name: round(float(v), 3) for name, v in zip(SAID, shares, strict=True)}
    return row | {"takes": takes}


def _said(call: Tensor, tier: Tensor, kinds: Sequence[str]) -> Tensor:
    """Shares of frames by what was said [5]; a kind in the lowest tier is said as its wider kind."""
    said = [_right(CALLS[c] if t else WIDER_OF.get(CALLS[c], CALLS[c]), kinds) for c, t in _pairs(call, tier)]
    return torch.bincount(torch.tensor(said), minlength=len(SAID)).float() / len(call)


def _pairs(call: Tensor, tier: Tensor) -> zip[tuple[int, int]]:
    return zip(call.tolist(), tier.tolist(), strict=True)


def _right(name: str, kinds: Sequence[str]) -> int:
    """Place in `SAID` of what a name is to a take of these kinds."""
    if name == UNKNOWN:
        return SAID.index(UNKNOWN)
    if name in WIDER:
        return SAID.index("right wider kind" if name == WIDER_OF[kinds[0]] else "other wider kind")
    return SAID.index("right kind" if name in kinds else "other kind")


def _coverage(judged: Judged) -> list[dict[str, float]]:
    """Accuracy of the likeliest kind where only the surest part of the frames is answered; takes count alike."""
    sure, right, weight = [], [], []
    for share, kinds in zip(judged.share, judged.kinds, strict=True):
        top, at = share[:, : len(KINDS)].max(1)
        sure.append(top)
        right.append(torch.tensor([KINDS.index(k) for k in kinds]).eq(at[:, None]).any(1).float())
        weight.append(torch.full((len(share),), 1.0 / len(share)))
    order = torch.cat(sure).argsort(descending=True)
    w, r = torch.cat(weight)[order].double(), torch.cat(right)[order].double()
    part = w.cumsum(0) / w.sum()
    hits = (w * r).cumsum(0) / w.cumsum(0)
    ends = [min(int((part < c).sum()), len(part) - 1) for c in COVERAGES]
    return [{"coverage": c, "accuracy": round(float(hits[i]), 3)} for c, i in zip(COVERAGES, ends, strict=True)]
