"""From shares to codes: smoothing, calls and tiers as in the codec, the doubt, textures, and how often it is right."""

import math

import pytest
import torch

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER
from natd.codec import scene_net
from natd.codec.scene import WIDTH
from natd.codec.scene_net import CALLS, HEARD_FRAMES, OUTPUTS, SIZE, WIDE, Z
from natd.training import scene, scene_codes
from natd.training.scene_codes import Judged
from tests.training.toy_shards import shard

PIANO, DOG, MUSIC, NOTHING = (CALLS.index(name) for name in ("piano", "dog", "music", UNKNOWN))


def shares(rows: int = 1, **given: float) -> torch.Tensor:
    out = torch.zeros(rows, WIDE)
    for name, share in given.items():
        out[:, (*KINDS, UNKNOWN).index(name.replace("_", " "))] = share
    return out


def judged(*takes: tuple[tuple[str, ...], torch.Tensor]) -> Judged:
    """Takes of true kinds and smoothed shares; z is random."""
    draw = torch.Generator().manual_seed(0)
    z = [torch.randn(len(share), Z, generator=draw) for _, share in takes]
    names = [str(i) for i in range(len(takes))]
    return Judged([share for _, share in takes], z, [kinds for kinds, _ in takes], names, names, names)


def random_shares(rows: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    out = torch.zeros(rows, WIDE)
    out[:, :OUTPUTS] = (4.0 * torch.randn(rows, OUTPUTS, generator=draw)).softmax(1)
    return out


def test_smoothing_is_that_of_the_codec_whatever_stands_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_codes, "TOGETHER", 3)
    parts = [random_shares(n, n) for n in (7, 1, 30, 4, 12)]
    found = scene_codes.smoothed(parts)
    for given, out in zip(parts, found, strict=True):
        past = given[0]
        for frame, expected in zip(given, out, strict=True):
            past = past + scene_net.SMOOTH * (frame - past)
            torch.testing.assert_close(expected, past)
    assert scene_codes.smoothed([]) == []


def test_calls_are_kinds_wider_kinds_and_unknown() -> None:
    share = torch.cat([
        shares(piano=0.6, dog=0.4), shares(piano=0.4, organ=0.4, dog=0.2), shares(piano=0.3, unknown=0.7),
        shares(piano=0.4, unknown=0.6),
    ])  # fmt: skip
    assert scene_codes.called(share, 0.0).tolist() == [PIANO, MUSIC, NOTHING, PIANO]
    assert scene_codes.called(share, 0.2).tolist() == [PIANO, MUSIC, NOTHING, NOTHING]
    assert scene_codes.called(torch.zeros(1, WIDE), 0.01).tolist() == [NOTHING]  # never one of the padding


def test_what_is_called_begins_when_something_may_be_named() -> None:
    late = torch.cat([shares(HEARD_FRAMES - 1, dog=1.0), shares(5, piano=0.9, dog=0.1)])
    short = torch.cat([shares(2, dog=1.0), shares(1, piano=0.6, dog=0.4)])
    unknown = shares(9, unknown=0.9, dog=0.1)
    takes = judged((("piano",), late), (("piano",), short), (("dog",), unknown))
    (a, b), (c, d), (e, f) = scene_codes.place(takes, 0.0)
    assert a.tolist() == [PIANO] * 5 and b.tolist() == [2] * 5
    assert c.tolist() == [PIANO] and d.tolist() == [1]
    assert e.tolist() == [NOTHING] * 2 and f.tolist() == [0] * 2  # unknown has one tier, however sure


@pytest.mark.parametrize("seed", [1, 2])
def test_known_kinds_are_called_unknown_for_five_percent_of_their_time(seed: int) -> None:
    """Each take counts the same, and those that are unknown do not count."""
    known = [(("dog",), random_shares(n, seed + n)) for n in (40, 80, 160, 200, 30, 90)]
    odd = [((UNKNOWN,), shares(500, unknown=1.0))]
    doubt = scene_codes.doubt_of(judged(*known, *odd))
    part = [float((scene_codes.called(share, doubt) == NOTHING).float().mean()) for _, share in known]
    assert sum(part) / len(part) == pytest.approx(0.05, abs=0.006)
    more = [float((scene_codes.called(share, doubt + 0.05) == NOTHING).float().mean()) for _, share in known]
    assert sum(more) > sum(part)


def test_a_call_is_as_likely_right_as_it_was_on_takes_that_count_the_same() -> None:
    sure = shares(HEARD_FRAMES + 99, piano=0.9, dog=0.1)
    takes = [(("piano",), sure)] * 30 + [(("dog",), sure[: HEARD_FRAMES + 9])] * 10
    found = scene_codes.closest(judged(*takes), 0.0)
    assert found[PIANO, 2]["piano"] == pytest.approx((30 + 0.75 * 6) / 46, abs=0.01)
    assert found[PIANO, 2]["dog"] == pytest.approx(10 / 46, abs=0.01)


def test_what_was_hardly_met_leans_on_its_tier() -> None:
    sure = shares(HEARD_FRAMES, piano=0.9, dog=0.1)
    found = scene_codes.closest(judged(*[(("piano",), sure)] * 20, *[(("dog",), sure)] * 20), 0.0)
    assert found[DOG, 2]["dog"] == pytest.approx(0.5, abs=0.02)
    assert found[MUSIC, 2]["organ"] == pytest.approx(0.5 / 12 + 0.5 / 53, abs=0.002)
    assert set(found) == {(call, tier) for call in range(len(CALLS)) for tier in range(3)}


def test_the_closest_kinds_are_shares() -> None:
    names = [*((kind,) for kind in KINDS), WIDER["music"]]
    takes = [(kinds, random_shares(20, i)) for i, kinds in enumerate(names)]
    for shares_of in scene_codes.closest(judged(*takes), 0.05).values():
        assert all(0.01 <= share <= 1.0 for share in shares_of.values())
        assert sum(shares_of.values()) <= 1.0 + 1e-9


def two_groups() -> Judged:
    """Piano, surely, in two textures; nothing else."""
    draw = torch.Generator().manual_seed(2)
    share = shares(60, piano=0.9, dog=0.1)
    out = judged(*[(("piano",), share)] * 2)
    for sign, z in zip((-1.0, 1.0), out.z, strict=True):
        z[:] = 0.1 * torch.randn(z.shape, generator=draw)
        z[:, 0] += sign
    return out


def test_textures_are_where_what_was_called_so_lies() -> None:
    centres, near = scene_codes.fit_cells(two_groups(), 0.0, 0)
    call, tier = scene_net.cells()
    found = centres[(call == PIANO) & (tier == 2)]
    assert sorted(found[:, 0].tolist()) == [pytest.approx(-1.0, abs=0.1), pytest.approx(1.0, abs=0.1)]
    assert centres.shape == (SIZE, Z) and bool(torch.isfinite(centres).all()) and not centres[: scene_net.FIRST].any()
    assert 0.0 < float(near) < 1.0
    again, _ = scene_codes.fit_cells(two_groups(), 0.0, 0)
    assert torch.equal(again, centres)


def test_judged_takes_are_those_of_the_mask_without_their_silence() -> None:
    net = scene.SceneNet(WIDTH).eval()
    one = shard("recorded-0", [(("dog",), "a", 20), (("rain",), "b", 30), (("gun",), "c", 10)], spread=0.1)
    none = shard("recorded-1", [(("dog",), "d", 10)], silent=1.1)
    out = scene_codes.judge(net, [one, none], [torch.tensor([True, False, True]), torch.tensor([True])], 1.0)
    assert out.kinds == [("dog",), ("gun",)] and out.group == ["a", "c"] and out.shard == ["recorded-0"] * 2
    assert [len(s) for s in out.share] == [int((~one.silent & (one.take == i)).sum()) for i in (0, 2)]
    assert all(torch.allclose(s.sum(1), torch.ones(len(s))) for s in out.share)


def test_the_cost_is_the_share_of_the_true_kinds() -> None:
    net = scene.SceneNet(WIDTH).eval()
    with torch.no_grad():
        net.out.weight.zero_()
        net.out.bias.zero_()
    one = shard("recorded-0", [(("dog",), "a", 20), (WIDER["music"], "b", 5)], silent=0.0)
    cost = scene_codes.cost(net, [one], [torch.tensor([True, True])], 2.0)
    assert cost == pytest.approx((math.log(OUTPUTS) + math.log(OUTPUTS / 12)) / 2, abs=1e-4)


def test_the_codec_hears_over_the_tensors_what_the_trained_net_does() -> None:
    torch.manual_seed(5)
    net = scene.SceneNet(WIDTH).eval()
    net.shift.normal_()
    net.scale.uniform_(0.5, 2.0)
    with torch.no_grad():
        net.out.weight.mul_(20.0)
    made = scene_codes.tensors(net, 1.7, 0.03, torch.randn(SIZE, Z), torch.tensor([0.1]))
    codec = scene_net.SceneNet(made)
    x = 2.0 * torch.randn(6, WIDTH)
    share, z = codec.shares(x)
    with torch.no_grad():
        expected_z, logits = net(net.standard(x))
    torch.testing.assert_close(z, expected_z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(share[:, :OUTPUTS], (logits / 1.7).softmax(1), atol=1e-5, rtol=1e-3)
    assert not share[:, OUTPUTS:].any() and float(share.max()) > 0.1
    calls = scene_codes.called(torch.nn.functional.pad(share, (0, WIDE - share.shape[1])), 0.03)
    state = codec.initial_state(6)
    for _ in range(HEARD_FRAMES):
        code = codec(x, torch.zeros(6, dtype=torch.bool), state)
    assert torch.equal(scene_net.cells()[0][code], calls)
