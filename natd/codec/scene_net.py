"""S0: from pooled features to what the scene is called, how surely, and which texture of it this is.

A code is a call (a kind of sound, a wider kind or unknown), a tier of confidence and a texture. Shares of the kinds are
smoothed over some 0.3 s; a call, a tier and a texture are kept until another is clearly better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER
from natd.codec import rows
from natd.codec.rvq import SILENCE

HIDDEN = (320, 256)
Z = 32
OUTPUTS = len(KINDS) + 1  # the last is unknown
WIDE = rows.padded(OUTPUTS)
CALLS = (*KINDS, *WIDER, UNKNOWN)  # what a code may be called
TIER_EDGES = (0.5, 0.8)  # of the smoothed share of what is called
TIERS = len(TIER_EDGES) + 1
TEXTURES = 2  # of a kind and tier
WIDER_TEXTURES = 6  # of a wider kind and tier: these part what it is closest to
UNKNOWN_TEXTURES = 16
NOT_YET = 1  # the code of a stream that was not heard long enough
FIRST = 2
SIZE = FIRST + TIERS * (len(KINDS) * TEXTURES + len(WIDER) * WIDER_TEXTURES) + UNKNOWN_TEXTURES
HEARD_FRAMES = 8  # 0.64 s that must have been heard before anything is named
SMOOTH = 0.3  # how much of the new frame goes into the shares
MOST = 6.0  # deviations from the mean at which a feature is cut off
STAY = 0.06  # by how much the score of another call must be higher
STAY_TIER = 0.16  # by how much the share must pass the edge of a tier
STAY_TEXTURE = 1.0  # by what part of the mean squared distance another texture must be nearer


@dataclass(slots=True)
class SceneNetState:
    """Smoothed shares and z [B, 96]; call, tier and code in force [B, 3] int64; sounding frames heard [B] (float32)."""

    smooth: Tensor
    said: Tensor
    heard: Tensor


class SceneNet:
    """The net and its codes over tensors named `S0.*` (as `natd.training.scene` fits them)."""

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        t = {name[3:]: tensor.float().to(device) for name, tensor in tensors.items() if name.startswith("S0.")}
        self.device = device
        # Features are scaled by the first layer's weights; what is cut off is in the features' own units.
        self.shift, self.most = t["shift"], MOST / t["scale"]
        self.least = -self.most
        layers = [(t[f"weight{i}"], t[f"bias{i}"]) for i in range(4)]
        layers[0] = (t["scale"][:, None] * layers[0][0], layers[0][1])
        self.hidden, (self.to_z, self.out) = layers[:2], layers[2:]
        self.widths = [t["score"].shape[1], t["score"].shape[1], rows.padded(SIZE)]
        self.judge, self.offset = _judge(t, self.widths)
        # By the call in force, the last row is for none.
        self.calls = torch.eye(self.widths[0] + 1, self.widths[0], device=device) * STAY
        self.edges, self.outside = _edges().to(device), _outside(self.widths).to(device)
        self.near = t["near"]  # [1]: how much nearer another texture must be
        self.not_kept = torch.tensor(TIERS, device=device)
        self.slow, self.at_once = torch.tensor(SMOOTH, device=device), torch.ones((), device=device)

    def initial_state(self, batch: int) -> SceneNetState:
        """Nothing heard, nothing called."""
        return SceneNetState(
            smooth=torch.zeros(batch, WIDE + Z, device=self.device),
            said=torch.tensor([[self.widths[0], 0, NOT_YET]] * batch, device=self.device),
            heard=torch.zeros(batch, device=self.device),
        )

    def shares(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features [B, 1008] -> share of each kind and of unknown [B, 64], z [B, 32]; this frame alone."""
        x = (vector - self.shift).clamp_(self.least, self.most).unsqueeze(1)
        for weight, bias in self.hidden:
            x = rows.affine(x, weight, bias).relu_()
        z = rows.affine(x, *self.to_z)
        return rows.each(lambda row: torch.softmax(row, -1), rows.affine(z, *self.out)).squeeze(1), z.squeeze(1)

    def __call__(self, vector: Tensor, silent: Tensor, state: SceneNetState) -> Tensor:
        """Pooled features [B, 1008], silence [B] -> codes [B]; `state` moves on where it is not silent."""
        sounding = (~silent).float()
        pace = torch.where(state.heard > 0.0, self.slow, self.at_once) * sounding
        state.smooth.add_((torch.cat(self.shares(vector), dim=1) - state.smooth).mul_(pace.unsqueeze(1)))
        state.heard.add_(sounding)
        before, tier_before, code_before = state.said.unbind(1)
        judged = rows.affine(state.smooth.unsqueeze(1), self.judge, self.offset).squeeze(1)
        score, weighed, near = torch.split(judged, self.widths, dim=1)
        call = (weighed + self.calls.index_select(0, before)).argmax(1)
        # Which edges hold depends on the tier in force, if the call stays.
        edges = self.edges.index_select(0, torch.where(call == before, tier_before, self.not_kept))
        tier = (score.gather(1, call.unsqueeze(1)) >= edges).sum(1)
        near.scatter_add_(1, code_before.unsqueeze(1), self.near.expand(near.shape[0], 1))
        code = near.add_(self.outside.index_select(0, call * TIERS + tier)).argmax(1)
        # What is not named yet is not held on to: the first frames know least.
        held = call.masked_fill(state.heard < HEARD_FRAMES, self.widths[0])
        said = torch.stack([held, tier, code], dim=1)
        state.said.copy_(torch.where(silent.unsqueeze(1), state.said, said))
        return code.masked_fill_(state.heard < HEARD_FRAMES, NOT_YET).masked_fill_(silent, SILENCE)


def _judge(t: Mapping[str, Tensor], widths: list[int]) -> tuple[Tensor, Tensor]:
    """Smoothed shares and z -> share of each call, what speaks for it, for each code by its distance: [96, 512]."""
    cells = t["cells"].T
    judge, offset = torch.zeros(WIDE + Z, sum(widths)), torch.zeros(sum(widths))
    of_share, of_call, of_code = (
        slice(at, at + width) for at, width in zip((0, widths[0], 2 * widths[0]), (*widths[:2], SIZE), strict=True)
    )
    judge[:WIDE, of_share], judge[:WIDE, of_call] = t["score"], t["score"] * t["score_bias"][0]
    judge[WIDE:, of_code] = cells
    offset[of_call], offset[of_code] = t["score_bias"][1], -0.5 * (cells * cells).sum(0)
    return judge.to(cells.device), offset.to(cells.device)


def _edges() -> Tensor:
    """Edges of the shares by the tier in force; the last row is for another call: [4, 2]."""
    edges = torch.tensor(TIER_EDGES)
    below = torch.arange(len(TIER_EDGES)) < torch.arange(TIERS)[:, None]
    return torch.cat([edges + torch.where(below, -STAY_TIER, STAY_TIER), edges[None]])


def _outside(widths: list[int]) -> Tensor:
    """0 for the codes of a call and tier, minus infinity for others: [64 * 3, 384]; unknown has one tier."""
    call, tier = (torch.nn.functional.pad(x, (0, widths[2] - SIZE), value=-1) for x in cells())
    places = torch.arange(widths[0] * TIERS)[:, None]
    of_call = places // TIERS
    of_tier = torch.where(of_call == CALLS.index(UNKNOWN), 0, places % TIERS)
    return torch.where((call == of_call) & (tier == of_tier), 0.0, -torch.inf)


def cells() -> tuple[Tensor, Tensor]:
    """Of each code: the index in `CALLS` and the tier [SIZE]; -1 for silence and what was not heard long enough."""
    calls, tiers = [-1] * FIRST, [-1] * FIRST
    for call in range(len(CALLS) - 1):
        textures = TEXTURES if call < len(KINDS) else WIDER_TEXTURES
        for tier in range(TIERS):
            calls += [call] * textures
            tiers += [tier] * textures
    calls += [len(CALLS) - 1] * UNKNOWN_TEXTURES
    tiers += [0] * UNKNOWN_TEXTURES
    return torch.tensor(calls), torch.tensor(tiers)
