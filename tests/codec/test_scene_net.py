"""S0 over given shares of the kinds: what is called, how surely, how long it is kept."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor

from natd.codebooks.kinds import KINDS
from natd.codec.scene import WIDTH
from natd.codec.scene_net import (
    CALLS,
    FIRST,
    HEARD_FRAMES,
    HIDDEN,
    NOT_YET,
    OUTPUTS,
    SIZE,
    STAY,
    STAY_TIER,
    TEXTURES,
    TIER_EDGES,
    TIERS,
    UNKNOWN_TEXTURES,
    WIDE,
    WIDER_TEXTURES,
    SceneNet,
    Z,
    cells,
)
from natd.training.scene_codes import bias, score_matrix

SHARED = 30  # kinds whose shares a test may choose: one number of z each
TEXTURE = 30  # a number of z that moves no share
STEEP = 3.0  # inputs are cut off at 6: shares down to e^-18


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """A net that passes its first inputs on: the first 30 as logits of the kinds, the last of z as that of unknown."""
    sizes = (WIDTH, *HIDDEN, Z, WIDE)
    out = {"S0.shift": torch.zeros(WIDTH), "S0.scale": torch.ones(WIDTH)}
    for i, (into, to) in enumerate(zip(sizes, sizes[1:], strict=False)):
        out[f"S0.weight{i}"], out[f"S0.bias{i}"] = torch.eye(into, to), torch.zeros(to)
    last = torch.zeros(Z, WIDE)
    last[torch.arange(SHARED), torch.arange(SHARED)] = STEEP
    last[Z - 1, OUTPUTS - 1] = STEEP
    out["S0.weight3"] = last
    out["S0.bias3"][OUTPUTS:] = -torch.inf
    draw = torch.Generator().manual_seed(seed)
    out |= {"S0.score": score_matrix(), "S0.score_bias": bias(0.0), "S0.near": torch.zeros(1)}
    return out | {"S0.cells": torch.randn(SIZE, Z, generator=draw)}


def vector(unknown: float = 0.0, texture: float = 0.0, **shares: float) -> Tensor:
    """Features [1, 1008] that the net above hears as these shares (together 1)."""
    out = torch.zeros(1, WIDTH)
    top = max(unknown, *shares.values()) if shares else unknown
    places = {KINDS.index(name.replace("_", " ")): share for name, share in shares.items()} | {Z - 1: unknown}
    for place, share in places.items():
        out[0, place] = max(0.0, 6.0 + math.log(max(share, 1e-9) / top) / STEEP)
    out[0, TEXTURE] = texture
    return out


class Stream:
    """One stream through the net."""

    def __init__(self, given: dict[str, Tensor] | None = None) -> None:
        self.net = SceneNet(given or tensors())
        self.state = self.net.initial_state(1)

    def code(self, frames: int = 1, silent: bool = False, **shares: float) -> int:
        """The code after so many frames of these shares."""
        for _ in range(frames):
            code = self.net(vector(**shares), torch.tensor([silent]), self.state)
        return int(code)

    def said(self, **shares: float) -> tuple[str, int]:
        """What is called and in which tier, once the shares have settled."""
        code = self.code(60, **shares)
        call, tier = cells()
        return CALLS[int(call[code])], int(tier[code])


def test_the_shares_of_the_net_are_as_the_tests_say() -> None:
    net = SceneNet(tensors())
    share, z = net.shares(vector(piano=0.6, dog=0.3, unknown=0.1))
    for kind, expected in (("piano", 0.6), ("dog", 0.3)):
        assert float(share[0, KINDS.index(kind)]) == pytest.approx(expected, abs=1e-4)
    assert float(share[0, len(KINDS)]) == pytest.approx(0.1, abs=1e-4) and float(share.sum()) == pytest.approx(1.0)
    assert not share[0, OUTPUTS:].any() and z.shape == (1, Z)


def test_silence_is_0_and_nothing_is_named_before_eight_sounding_frames() -> None:
    stream = Stream()
    assert stream.code(20, silent=True, piano=1.0) == 0
    said = [stream.code(piano=1.0) for _ in range(5)]
    assert stream.code(3, silent=True, piano=1.0) == 0
    said += [stream.code(piano=1.0) for _ in range(4)]
    assert said[: HEARD_FRAMES - 1] == [NOT_YET] * (HEARD_FRAMES - 1)
    assert all(code >= FIRST for code in said[HEARD_FRAMES - 1 :])
    assert stream.code(silent=True, dog=1.0) == 0 and stream.code(piano=1.0) == said[-1]


def test_another_call_needs_a_clear_lead() -> None:
    """Two shares of 0.5 - x and 0.5 + x lie 2 x apart."""
    stream, near, far = Stream(), STAY / 2 - 0.01, STAY / 2 + 0.01
    assert stream.said(piano=0.6, dog=0.4)[0] == "piano"
    assert stream.said(piano=0.5 - near, dog=0.5 + near)[0] == "piano"
    assert stream.said(piano=0.5 - far, dog=0.5 + far)[0] == "dog"
    assert stream.said(piano=0.5 + near, dog=0.5 - near)[0] == "dog"
    assert Stream().said(piano=0.5 - near, dog=0.5 + near)[0] == "dog"


def test_a_tier_is_left_only_where_its_edge_is_passed_clearly() -> None:
    stream, edge = Stream(), TIER_EDGES[-1]
    for share, tier in (
        (0.99, 2), (edge - STAY_TIER + 0.01, 2), (edge - STAY_TIER - 0.01, 1), (edge + STAY_TIER - 0.01, 1),
        (edge + STAY_TIER + 0.01, 2),
    ):  # fmt: skip
        assert stream.said(piano=share, dog=1.0 - share) == ("piano", tier), share
    assert Stream().said(piano=edge - 0.01, dog=1.01 - edge) == ("piano", 1)
    assert Stream().said(piano=0.46, dog=0.3, rain=0.24) == ("piano", 0)


def test_a_wider_kind_is_named_where_no_kind_of_it_stands_out() -> None:
    assert Stream().said(piano=0.42, organ=0.42, dog=0.16) == ("music", 2)
    assert Stream().said(piano=0.55, organ=0.25, dog=0.2) == ("piano", 1)
    assert Stream().said(piano=0.25, organ=0.25, brass=0.2, dog=0.3) == ("music", 1)


def test_unknown_is_named_where_the_doubt_exceeds_what_is_known() -> None:
    assert Stream().said(piano=0.3, unknown=0.7) == ("unknown", 0)
    assert Stream().said(piano=0.4, unknown=0.6) == ("piano", 0)
    doubting = tensors() | {"S0.score_bias": bias(0.3)}
    assert Stream(doubting).said(piano=0.4, unknown=0.6) == ("unknown", 0)
    assert Stream(doubting).said(piano=0.28, dog=0.26, rain=0.24, engine=0.0, speech=0.22) == ("unknown", 0)


def test_the_texture_is_the_nearest_inside_the_call_and_tier() -> None:
    call, tier = cells()
    given = tensors()
    inside = torch.nonzero((call == KINDS.index("piano")) & (tier == 2))[:, 0].tolist()
    assert len(inside) == TEXTURES
    given["S0.cells"][:] = 0.0
    given["S0.cells"][inside, TEXTURE] = torch.tensor([1.0, 3.0])
    elsewhere = torch.nonzero(call == KINDS.index("dog"))[:, 0]
    given["S0.cells"][elsewhere, TEXTURE] = 2.6  # the nearest of all, but of another call
    assert Stream(given).code(20, piano=1.0, texture=0.5) == inside[0]
    assert Stream(given).code(20, piano=1.0, texture=2.5) == inside[1]


def test_a_texture_is_kept_until_another_is_nearer_by_the_margin() -> None:
    call, tier = cells()
    given = tensors()
    low, high = torch.nonzero((call == KINDS.index("piano")) & (tier == 2))[:, 0].tolist()
    given["S0.cells"][:] = 0.0
    given["S0.cells"][[low, high], TEXTURE] = torch.tensor([1.0, 3.0])
    given["S0.near"] = torch.tensor([1.0])  # half squared distances: 2 (x - 2) = 1 at x = 2.5
    stream = Stream(given)
    assert stream.code(40, piano=1.0, texture=1.0) == low
    assert stream.code(40, piano=1.0, texture=2.4) == low
    assert stream.code(40, piano=1.0, texture=2.6) == high
    assert stream.code(40, piano=1.0, texture=1.6) == high
    assert stream.code(40, piano=1.0, texture=1.4) == low


def test_silent_frames_leave_the_state_as_it_is() -> None:
    stream = Stream()
    stream.code(12, piano=0.7, dog=0.3)
    before = copy.deepcopy(stream.state)
    stream.code(5, silent=True, rain=1.0)
    for field in dataclasses.fields(before):
        assert torch.equal(getattr(before, field.name), getattr(stream.state, field.name)), field.name


def test_a_stream_alone_gives_what_it_gives_in_a_batch() -> None:
    draw = torch.Generator().manual_seed(4)
    given = tensors(4)
    for i in range(4):
        plain = given[f"S0.weight{i}"]
        given[f"S0.weight{i}"] = plain + 0.05 * torch.randn(plain.shape, generator=draw)
    net = SceneNet(given)
    together = net.initial_state(8)
    alone = [net.initial_state(1) for _ in range(8)]
    said = set()
    for _ in range(30):
        x, silent = 3.0 * torch.randn(8, WIDTH, generator=draw), torch.rand(8, generator=draw) < 0.2
        codes = net(x, silent, together)
        said |= set(codes.tolist())
        for b in range(8):
            assert int(net(x[b : b + 1].clone(), silent[b : b + 1], alone[b])) == int(codes[b])
            for field in dataclasses.fields(together):
                assert torch.equal(getattr(alone[b], field.name)[0], getattr(together, field.name)[b]), field.name
    assert len(said) > 10


def test_every_call_and_tier_has_its_codes_and_every_code_one_place() -> None:
    call, tier = cells()
    assert len(call) == len(tier) == SIZE
    assert call[:FIRST].tolist() == tier[:FIRST].tolist() == [-1] * FIRST
    places = torch.stack([call[FIRST:], tier[FIRST:]])
    found, counts = torch.unique(places, dim=1, return_counts=True)
    expected = {
        (c, t): TEXTURES if CALLS[c] in KINDS else WIDER_TEXTURES for c in range(len(CALLS) - 1) for t in range(TIERS)
    }
    expected[len(CALLS) - 1, 0] = UNKNOWN_TEXTURES
    assert {(c, t): n for (c, t), n in zip(found.T.tolist(), counts.tolist(), strict=True)} == expected
