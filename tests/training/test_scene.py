"""Fitting the scene net: what is right, what a take weighs, and that a net learns it, the same each time."""

import math

import pytest
import torch

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER
from natd.codec.scene_net import OUTPUTS
from natd.training import scene
from natd.training.scene import WIDER_SHARE, _error, allowed_of, fold_of
from tests.training.toy_shards import shard

TAUGHT = ("dog", "rain", "piano")


def logits(**shares: float) -> torch.Tensor:
    """Logits [1, 53] of these shares; the others have next to nothing."""
    out = torch.full((1, OUTPUTS), -30.0)
    for name, share in shares.items():
        out[0, (*KINDS, UNKNOWN).index(name.replace("_", " "))] = math.log(share)
    return out


def error(names: tuple[str, ...], **shares: float) -> float:
    return float(_error(logits(**shares), allowed_of(names)[None]))


def test_any_of_the_allowed_kinds_is_right() -> None:
    assert error(("dog",), dog=1.0) == pytest.approx(0.0, abs=1e-5)
    assert error(("dog", "rain"), dog=0.5, rain=0.5) == pytest.approx(0.0, abs=1e-5)
    assert error(("dog", "rain"), dog=0.25, rain=0.25, gun=0.5) == pytest.approx(math.log(2.0), abs=1e-5)
    assert error((UNKNOWN,), unknown=0.5, dog=0.5) == pytest.approx(math.log(2.0), abs=1e-5)


def test_a_kind_of_the_same_wider_kind_is_a_little_right() -> None:
    near, far = error(("dog",), dog=0.5, cat=0.5), error(("dog",), dog=0.5, gun=0.5)
    assert far == pytest.approx(math.log(2.0), abs=1e-5)
    assert near == pytest.approx((1.0 - WIDER_SHARE) * math.log(2.0), abs=1e-5)
    assert error((UNKNOWN,), unknown=0.5, tone=0.5) == pytest.approx(math.log(2.0), abs=1e-5)


def test_what_no_kind_is_allowed_for_gives_no_gradient() -> None:
    x = torch.randn(4, OUTPUTS, requires_grad=True)
    allowed = torch.stack([allowed_of(names) for names in (("dog",), WIDER["music"], (UNKNOWN,), TAUGHT)])
    _error(x, allowed).sum().backward()
    assert x.grad is not None and bool(torch.isfinite(x.grad).all()) and x.grad.sum().abs() < 1e-4


def everything(shard: scene.Shard, take: int) -> bool:
    return True


def test_a_lesson_holds_the_sounding_frames_of_the_takes_that_are_wanted() -> None:
    takes = [(("dog",), "a", 30), (("rain",), "b", 20), (WIDER["music"], "c", 10)]
    one = shard("recorded-000-x", takes)
    found = scene.lesson([one], lambda s, i: s.group[i] != "b")
    mask = ~one.silent & (one.take != 1)
    assert torch.equal(found.vectors, one.scene[mask]) and float(found.vectors.max()) < 1000.0
    of_dog = int((~one.silent & (one.take == 0)).sum())
    assert torch.equal(found.allowed[0], allowed_of(("dog",)))
    assert torch.equal(found.allowed[-1], allowed_of(WIDER["music"]))
    assert int(found.allowed[:, KINDS.index("dog")].sum()) == of_dog


def weight_of(found: scene.Lesson, kind: str) -> float:
    return float(found.weight[found.allowed[:, KINDS.index(kind)]].sum())


def test_a_take_weighs_by_its_recipe_and_the_root_of_its_length_up_to_a_limit() -> None:
    """The weight of a kind that one take alone is of is the root of the take's, for it is the rarer."""
    lengths = {"dog": 40, "rain": 160, "gun": 10, "wind": 400, "piano": 500}
    takes = [((kind,), kind, frames) for kind, frames in lengths.items()]
    found = scene.lesson([shard("recorded-0", takes, silent=0.0)], everything)
    for kind, frames in lengths.items():
        assert weight_of(found, kind) == pytest.approx((min(frames, scene.MOST_FRAMES) / scene.WHOLE_FRAMES) ** 0.25)
    made = scene.lesson([shard("made-0", takes, silent=0.0)], everything)
    assert weight_of(made, "dog") == pytest.approx(scene.WEIGHTS["made"] ** 0.5)
    assert found.weight[0] == pytest.approx(1.0 / 40)  # its frames share what the take has


def test_a_kind_four_times_as_frequent_weighs_twice_as_much() -> None:
    takes = [(("dog",), str(i), 40) for i in range(4)] + [(("rain",), "r", 40)]
    found = scene.lesson([shard("recorded-0", takes, silent=0.0)], everything)
    assert weight_of(found, "dog") == pytest.approx(2.0 * weight_of(found, "rain"))


def test_a_mixture_is_no_rare_kind() -> None:
    """One that was met once weighs about what a take of its kinds does."""
    many = [(("dog",), str(i), 40) for i in range(50)] + [(("rain",), str(i), 40) for i in range(50)]
    weights = scene.balanced([kinds for kinds, *_ in many] + [("dog", "rain")], [1.0] * 101)
    assert float(weights[-1]) == pytest.approx(float(weights[0]), rel=1e-5)
    assert float(scene.balanced([("dog",)] * 4 + [WIDER["music"]], [1.0] * 5)[-1]) == pytest.approx((1 / 12) ** -0.5)


def test_a_net_learns_what_can_be_told_apart_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "BATCH", 64)
    monkeypatch.setattr(scene, "REPORT", 20)
    takes = [((kind,), f"{kind} {i}", 20) for kind in TAUGHT for i in range(4)]
    lesson = scene.lesson([shard("recorded-0", takes, spread=1.5)], everything)
    said: list[str] = []
    nets = [scene.fit(lesson, 40, seed, said.append) for seed in (1, 1, 2)]
    for name, tensor in nets[0].state_dict().items():
        assert torch.equal(tensor, nets[1].state_dict()[name]), name
    assert not torch.equal(nets[0].one.weight, nets[2].one.weight)
    assert len(said) == 6 and said[0].startswith("scene net: step 20 of 40, loss ")
    unheard = shard("recorded-1", takes, seed=9, spread=1.5, silent=0.0)
    with torch.no_grad():
        found = nets[0](nets[0].standard(unheard.scene))[1].argmax(1)
    right = torch.tensor([KINDS.index(unheard.kinds[t][0]) for t in unheard.take.tolist()])
    assert float((found == right).float().mean()) > 0.95


def test_a_feature_that_never_moves_says_nothing() -> None:
    one = shard("recorded-0", [(("dog",), "a", 40)], silent=0.0)
    one.scene[:, 5] = 3.0
    net = scene.fit(scene.lesson([one], everything), 4, 0, str)
    assert float(net.scale[5]) == 0.0 and float(net.scale[6]) > 0.0
    assert float(net.standard(torch.full((1, one.scene.shape[1]), 1e4))[0, 6]) == 6.0


def test_folds_are_by_author_and_about_equal() -> None:
    folds = [fold_of(f"sounds author{i}") for i in range(400)]
    assert folds == [fold_of(f"sounds author{i}") for i in range(400)]
    assert set(folds) == set(range(scene.FOLDS)) and min(folds.count(f) for f in range(scene.FOLDS)) > 60
