"""From the scene net's shares to codes: when a kind is named, how sure a name is, and the textures of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codebooks import fit
from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER, WIDER_OF
from natd.codec import rows, scene_net
from natd.codec.scene_net import CALLS, HEARD_FRAMES, OUTPUTS, SIZE, SMOOTH, STAY_TEXTURE, TIER_EDGES, WIDE, Z
from natd.training.scene import SceneNet, allowed_of
from natd.training.shards import Shard

# A wider kind is named where no kind of it has this part of its share.
DOMINANT = 0.6
FALSE_UNKNOWN = 0.05  # share of the time of known kinds that may be called unknown
DOUBT = 0.5  # how far the net's own share of unknown counts beside what the kinds lack
TEMPERATURES = (0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
CELL_FRAMES = 6000  # that the textures of a call and tier are fitted on
TOGETHER = 256  # takes
LEAST_SHARE = 0.01  # so that a share of nothing does not lean without bound
PRIOR_CLIPS = 6.0  # how many clips' worth the mean of a tier counts in the confidence of a code


@dataclass(slots=True)
class Judged:
    """Takes as the net hears them, sounding frames only: smoothed shares [T, 64] and z [T, 32] of each take."""

    share: list[Tensor]
    z: list[Tensor]
    kinds: list[tuple[str, ...]]
    group: list[str]
    origin: list[str]
    shard: list[str]


@torch.no_grad()
def judge(net: SceneNet, shards: Sequence[Shard], keep: Sequence[Tensor], temperature: float) -> Judged:
    """What `net` makes of the takes of each shard that its mask keeps."""
    out = Judged([], [], [], [], [], [])
    for shard, wanted in zip(shards, keep, strict=True):
        mask = wanted[shard.take] & ~shard.silent
        counts = torch.bincount(shard.take[mask], minlength=len(wanted)).tolist()
        x = shard.scene[mask]
        # One part even where there is no frame: its results are empty, but of the right width.
        heard = [net(net.standard(block)) for block in torch.split(x, 8192)]
        z, logits = (torch.cat(parts) for parts in zip(*heard, strict=True))
        share = torch.nn.functional.pad((logits / temperature).softmax(1), (0, WIDE - OUTPUTS))
        for i, (s, v) in enumerate(zip(torch.split(share, counts), torch.split(z, counts), strict=True)):
            if len(s):
                out.share.append(s)
                out.z.append(v)
                out.kinds.append(shard.kinds[i])
                out.group.append(shard.group[i])
                out.origin.append(shard.origin[i])
                out.shard.append(shard.name)
    out.share, out.z = smoothed(out.share), smoothed(out.z)
    return out


def smoothed(parts: Sequence[Tensor]) -> list[Tensor]:
    """Each [T, D] as the running mean that the codec keeps."""
    out = list(parts)
    by_length = sorted(range(len(out)), key=lambda i: len(out[i]))
    for at in range(0, len(out), TOGETHER):  # those of like length side by side: little is padded
        group = by_length[at : at + TOGETHER]
        padded = torch.nn.utils.rnn.pad_sequence([parts[i] for i in group], batch_first=True)
        for t in range(1, padded.shape[1]):
            padded[:, t] = padded[:, t - 1] + SMOOTH * (padded[:, t] - padded[:, t - 1])
        for row, i in enumerate(group):
            out[i] = padded[row, : len(parts[i])].clone()
    return out


def cost(net: SceneNet, shards: Sequence[Shard], keep: Sequence[Tensor], temperature: float) -> float:
    """Mean minus log share of the true kinds of takes, smoothed as the codec does; takes count alike."""
    judged = judge(net, shards, keep, temperature)
    per_take = [
        -(share[:, :OUTPUTS] * allowed_of(kinds)).sum(1).clamp(min=1e-4).log().mean()
        for share, kinds in zip(judged.share, judged.kinds, strict=True)
    ]
    return float(torch.stack(per_take).mean())


def score_matrix() -> Tensor:
    """Shares [., 64] -> share of each call [., 64]."""
    out = torch.zeros(WIDE, rows.padded(len(CALLS)))
    for i in range(OUTPUTS - 1):
        out[i, i] = 1.0
    for i, (_, kinds) in enumerate(WIDER.items()):
        for kind in kinds:
            out[KINDS.index(kind), len(KINDS) + i] = 1.0
    out[OUTPUTS - 1, len(CALLS) - 1] = 1.0
    return out


def bias(doubt: float) -> Tensor:
    """What a share of a call is multiplied by, and what is added, before the highest is taken [2, 64]."""
    out = torch.zeros(2, rows.padded(len(CALLS)))
    out[0, : len(KINDS)] = 1.0
    out[0, len(KINDS) : len(CALLS) - 1] = DOMINANT
    out[0, len(CALLS) - 1], out[1, len(CALLS) - 1] = DOUBT, doubt
    out[1, len(CALLS) :] = -10.0
    return out


def called(share: Tensor, doubt: float) -> Tensor:
    """Smoothed shares [T, 64] -> index in `CALLS` [T], without what the codec holds on to."""
    score, add = share @ score_matrix(), bias(doubt)
    return (score * add[0] + add[1]).argmax(1)


def doubt_of(judged: Judged) -> float:
    """What unknown gets as an advance, so that known kinds are called unknown for 5 % of their time."""
    known = [i for i, kinds in enumerate(judged.kinds) if UNKNOWN not in kinds]
    margins = []
    for i in known:
        score = judged.share[i] @ score_matrix()
        add = bias(0.0)
        full = score * add[0] + add[1]
        margins.append((full[:, : len(CALLS) - 1].amax(1) - full[:, len(CALLS) - 1], 1.0 / len(full)))
    values = torch.cat([m for m, _ in margins])
    weight = torch.cat([torch.full((len(m),), w) for m, w in margins])
    order = values.argsort()
    at = int((weight[order].cumsum(0) < FALSE_UNKNOWN * weight.sum()).sum())
    return float(values[order[at]])


def tier_of(share: Tensor) -> Tensor:
    """Share of what is called [T] -> its tier [T]."""
    return (share[:, None] >= torch.tensor(TIER_EDGES)).sum(1)


def place(judged: Judged, doubt: float) -> list[tuple[Tensor, Tensor]]:
    """Call and tier of every frame, take by take, from the moment that something may be named."""
    out = []
    for share in judged.share:
        part = share[min(HEARD_FRAMES - 1, len(share) - 1) :]
        call = called(part, doubt)
        of_call = (part @ score_matrix()).gather(1, call[:, None])[:, 0]
        # Unknown has one tier only: how surely something is unknown is not told.
        out.append((call, torch.where(call == len(CALLS) - 1, 0, tier_of(of_call))))
    return out


def fit_cells(judged: Judged, doubt: float, seed: int) -> tuple[Tensor, Tensor]:
    """Centre of every code's texture in z [SIZE, 32], and how much nearer another must be to be taken [1]."""
    z = torch.cat([v[min(HEARD_FRAMES - 1, len(v) - 1) :] for v in judged.z])
    places = place(judged, doubt)
    call, tier = torch.cat([c for c, _ in places]), torch.cat([t for _, t in places])
    code_call, code_tier = scene_net.cells()
    centres = torch.zeros(SIZE, Z)
    spread = []
    generator = torch.Generator().manual_seed(seed)
    for index in range(len(CALLS)):
        for level in range(3 if CALLS[index] != UNKNOWN else 1):
            codes = torch.nonzero((code_call == index) & (code_tier == level))[:, 0]
            here = (call == index) & (tier == level)
            found = z[here]
            if len(found) < 4 * len(codes):
                # Nothing to part: both textures of what was hardly met lie about what the call has as a whole.
                found = z[call == index] if int((call == index).sum()) >= 4 * len(codes) else z
            found = found[torch.randperm(len(found), generator=generator)[:CELL_FRAMES]]
            parts = fit.kmeans(found, found, len(codes), seed + index, starts=1)
            centres[codes] = parts.centres
            spread.append(parts.distortion)
    return centres, torch.tensor([STAY_TEXTURE * sum(spread) / len(spread)])


def closest(judged: Judged, doubt: float) -> dict[tuple[int, int], dict[str, float]]:
    """(call, tier) -> share of the true kinds among unseen takes that were called so; each take counts once.

    A code of few takes leans on what its tier has in the mean: the kind (or the kinds of the wider kind) called.
    """
    count: dict[tuple[int, int], Tensor] = {}
    for (call, tier), kinds in zip(place(judged, doubt), judged.kinds, strict=True):
        truth = allowed_of(kinds).float()
        truth = truth / truth.sum()
        pairs, frames = torch.unique(torch.stack([call, tier]), dim=1, return_counts=True)
        for (c, t), n in zip(pairs.T.tolist(), frames.tolist(), strict=True):
            count[c, t] = count.get((c, t), torch.zeros(OUTPUTS)) + truth * (n / len(call))
    members = score_matrix()[:OUTPUTS, : len(CALLS)].T  # [62, 53]
    out = {}
    for level in range(3):
        kept = [(c, v) for (c, t), v in count.items() if t == level and CALLS[c] != UNKNOWN]
        right = sum(float((v * members[c]).sum()) for c, v in kept) / max(1e-6, sum(float(v.sum()) for _, v in kept))
        for c in range(len(CALLS)):
            seen = count.get((c, level), torch.zeros(OUTPUTS))
            inside = members[c] / members[c].sum()
            prior = right * inside + (1.0 - right) / OUTPUTS
            share = (seen + PRIOR_CLIPS * prior) / (seen.sum() + PRIOR_CLIPS)
            # Rounded down: together never more than 1.
            shares = (share.double() * 1000.0 + 1e-3).floor() / 1000.0
            out[c, level] = {k: float(s) for k, s in zip((*KINDS, UNKNOWN), shares, strict=True) if s >= 0.01}
    return out


def tensors(net: SceneNet, temperature: float, doubt: float, cells: Tensor, near: Tensor) -> dict[str, Tensor]:
    """What `natd.codec.scene_net` reads; the temperature goes into the last weights."""
    out = {"S0.shift": net.shift.clone(), "S0.scale": net.scale.clone()}
    for i, layer in enumerate((net.one, net.two, net.three, net.out)):
        weight, offset = layer.weight.detach().T, layer.bias.detach()
        if i == 3:
            pad = WIDE - OUTPUTS
            weight = torch.nn.functional.pad(weight / temperature, (0, pad))
            offset = torch.nn.functional.pad(offset / temperature, (0, pad), value=-torch.inf)
        out |= {f"S0.weight{i}": weight.contiguous().clone(), f"S0.bias{i}": offset.clone()}
    return out | {"S0.score": score_matrix(), "S0.score_bias": bias(doubt), "S0.cells": cells, "S0.near": near}


def confident(
    every: Mapping[tuple[int, int], Mapping[str, float]], recorded: Mapping[tuple[int, int], Mapping[str, float]]
) -> dict[tuple[int, int], dict[str, float]]:
    """Shares of kinds as in `every`, which rests on more takes, as sure of what is called as in `recorded`."""
    members = score_matrix()[:OUTPUTS, : len(CALLS)].T > 0.0  # [62, 53]
    names = (*KINDS, UNKNOWN)
    out = {}
    for (c, t), shares in every.items():
        said, sure = (torch.tensor([s.get(kind, 0.0) for kind in names]) for s in (shares, recorded[c, t]))
        for part in (members[c], ~members[c]):
            said = torch.where(part, said * sure[part].sum() / said[part].sum().clamp(min=1e-9), said)
        out[c, t] = dict(zip(names, said.tolist(), strict=True))
    return out


def _parts(call: int, members: Tensor) -> list[Tensor]:
    """Kinds whose share together was measured [53] each: what is called, the rest of its wider kind, all others."""
    if CALLS[call] not in WIDER_OF:
        return [members[call], ~members[call]]
    wider = members[CALLS.index(WIDER_OF[CALLS[call]])]
    return [members[call], wider & ~members[call], ~wider]


def by_code(
    closest: Mapping[tuple[int, int], Mapping[str, float]], judged: Judged, doubt: float, centres: Tensor
) -> dict[int, dict[str, float]]:
    """Code -> shares of kinds: those of its call and tier, leaning to what the net's own shares say of its texture.

    What was called keeps its confidence, which was measured; what else it may be, or which kind of a wider one, leans.
    """
    share = torch.cat([s[min(HEARD_FRAMES - 1, len(s) - 1) :] for s in judged.share])[:, :OUTPUTS]
    z = torch.cat([v[min(HEARD_FRAMES - 1, len(v) - 1) :] for v in judged.z])
    places = place(judged, doubt)
    call, tier = torch.cat([c for c, _ in places]), torch.cat([t for _, t in places])
    code_call, code_tier = scene_net.cells()
    members = score_matrix()[:OUTPUTS, : len(CALLS)].T > 0.0  # [62, 53]
    out: dict[int, dict[str, float]] = {}
    for (c, t), shares in closest.items():
        codes = torch.nonzero((code_call == c) & (code_tier == t))[:, 0]
        here = (call == c) & (tier == t)
        base = torch.tensor([shares.get(kind, 0.0) for kind in (*KINDS, UNKNOWN)])
        nearest = torch.cdist(z[here], centres[codes]).argmin(1) if bool(here.any()) else torch.zeros(0)
        for i, code in enumerate(codes.tolist()):
            inside = share[here][nearest == i]
            said = base
            if len(inside):
                said = base * (inside.mean(0) + LEAST_SHARE) / (share[here].mean(0) + LEAST_SHARE)
                for part in _parts(c, members):
                    said = torch.where(part, said * base[part].sum() / said[part].sum().clamp(min=1e-9), said)
            out[code] = {k: round(float(s), 3) for k, s in zip((*KINDS, UNKNOWN), said, strict=True) if s >= 0.01}
    return out
