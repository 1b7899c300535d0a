"""Nets that never heard an author or a kind, and figures of what they say."""

import pytest
import torch

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER, WIDER_OF
from natd.codec.scene_net import OUTPUTS, WIDE, Z
from natd.training import open_world, scene
from natd.training.open_world import LEFT_OUT, SAID, Unseen
from natd.training.scene import FOLDS, SceneNet, fold_of
from natd.training.scene_codes import Judged
from tests.training.toy_shards import shard


def group_in(fold: int) -> str:
    return next(name for i in range(100) if fold_of(name := f"author{i}") == fold)


TAKES = [((kind,), group_in(fold), 4) for kind in ("thunder", "dog", "rain", "gun") for fold in range(FOLDS)] + [
    (WIDER["music"], group_in(1), 4),
    (WIDER["nature"], group_in(2), 4),
    ((UNKNOWN,), group_in(1), 4),
]


def test_every_fold_leaves_other_kinds_out() -> None:
    assert len(LEFT_OUT) == FOLDS
    left = [kind for kinds in LEFT_OUT for kind in kinds]
    assert len(set(left)) == len(left) and set(left) <= set(KINDS)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_net_hears_nothing_of_its_fold_and_nothing_that_is_left_out(fold: int) -> None:
    """Mixtures hold two authors and two kinds: none of them is heard."""
    left = LEFT_OUT[fold]
    shards = [shard("recorded-0", TAKES, silent=0.0), shard("changed-0", TAKES, seed=1, silent=0.0)]
    mixed = shard("mixed-0", TAKES, seed=2, silent=0.0)
    lesson = open_world.lesson_without([*shards, mixed], fold, left)
    expected = [
        one.scene[one.take == i]
        for one in shards
        for i, (kinds, group, _) in enumerate(TAKES)
        if fold_of(group) != fold and not (len(kinds) == 1 and kinds[0] in left)
    ]
    assert torch.equal(lesson.vectors, torch.cat(expected))
    assert not lesson.allowed[:, [KINDS.index(kind) for kind in left]].any() and bool(lesson.allowed.any(1).all())


def test_a_take_of_a_wider_kind_is_taught_as_the_kinds_that_are_not_left_out() -> None:
    lesson = open_world.lesson_without([shard("recorded-0", TAKES, silent=0.0)], 0, LEFT_OUT[0])
    nature = {tuple(row.nonzero()[:, 0].tolist()) for row in lesson.allowed if int(row.sum()) == 5}
    assert nature == {tuple(KINDS.index(kind) for kind in WIDER["nature"] if kind != "thunder")}


def test_nets_are_judged_on_authors_of_their_fold_and_on_kinds_they_never_heard() -> None:
    torch.manual_seed(0)
    nets = [SceneNet(shard("recorded-0", TAKES).scene.shape[1]).eval() for _ in range(FOLDS)]
    shards = [shard(f"{name}-0", TAKES, silent=0.0) for name in ("recorded", "changed", "mixed", "made")]
    found = open_world.judge(nets, shards)
    expected = [
        (kinds, group, name)
        for fold in range(FOLDS)
        for name in ("recorded-0", "changed-0")
        for kinds, group, _ in TAKES
        if fold_of(group) == fold and kinds not in ((UNKNOWN,), WIDER["nature"]) and kinds[0] not in LEFT_OUT[fold]
    ]
    known = found.known
    assert sorted(zip(known.kinds, known.group, known.shard, strict=True)) == sorted(expected)
    left = list(zip(found.left_out.kinds, found.left_out.shard, strict=True))
    assert sorted(left) == sorted(((kind,), "recorded-0") for kind in ("thunder", "dog", "gun") for _ in range(FOLDS))


def said(kinds: tuple[str, ...], group: str, **shares: float) -> tuple[tuple[str, ...], str, torch.Tensor]:
    out = torch.zeros(20, WIDE)
    for name, share in shares.items():
        out[:, (*KINDS, UNKNOWN).index(name)] = share
    return kinds, group, out


def judged(*takes: tuple[tuple[str, ...], str, torch.Tensor]) -> Judged:
    names = [group for _, group, _ in takes]
    z = [torch.zeros(len(share), Z) for *_, share in takes]
    return Judged([share for *_, share in takes], z, [kinds for kinds, *_ in takes], names, names, names)


def test_figures_of_takes_that_are_known_by_heart() -> None:
    known = judged(
        said(("dog",), "a", dog=0.9, gun=0.1),
        said(("dog",), "b", dog=0.35, cat=0.35, birds=0.3),
        said(("dog",), "c", rain=0.35, wind=0.35, water=0.3),
        said(("dog",), "d", gun=0.8, dog=0.2),
        said(("rain",), "e", unknown=0.9, rain=0.1),
        said(WIDER["music"], "f", organ=0.7, piano=0.3),
    )
    left = judged(said(("thunder",), "g", unknown=0.9, rain=0.1), said(("thunder",), "h", rain=0.9, gun=0.1))
    figures = open_world.figures(Unseen([], 1.5, known, left), 0.0)
    assert figures["temperature"] == 1.5 and figures["doubt"] == 0.0
    row = figures["known"]
    assert [row[name] for name in SAID] == [pytest.approx(n / 6, abs=1e-3) for n in (2, 1, 1, 1, 1)]
    assert row["takes"] == 6
    dog = row["by kind"]["dog"]
    assert [dog[name] for name in SAID] == [0.25, 0.25, 0.25, 0.25, 0.0] and dog["takes"] == 4
    assert set(row["by kind"]) == {"dog", "rain", "music"} and row["by kind"]["music"]["right kind"] == 1.0
    assert figures["left out"][UNKNOWN] == 0.5 == figures["left out"]["other kind"]
    assert WIDER_OF["thunder"] == WIDER_OF["rain"]


def test_the_surest_are_answered_first() -> None:
    known = judged(
        said(("dog",), "a", dog=0.9), said(("dog",), "b", dog=0.8), said(("dog",), "c", gun=0.7),
        said(("dog",), "d", gun=0.6), said(("rain",), "e", rain=0.5),
    )  # fmt: skip
    curve = open_world._coverage(known)
    assert [c["coverage"] for c in curve] == [round(0.1 * i, 1) for i in range(1, 11)]
    accuracy = {c["coverage"]: c["accuracy"] for c in curve}
    assert accuracy[0.4] == 1.0 and accuracy[0.6] == pytest.approx(2 / 3, abs=1e-3)
    assert accuracy[0.8] == 0.5 and accuracy[1.0] == 0.6


def test_one_net_is_trained_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "BATCH", 16)
    lines: list[str] = []
    nets = open_world.train_nets([shard("recorded-0", TAKES)], 4, 0, lines.append)
    assert len(nets) == FOLDS and [line.split(",")[0] for line in lines] == [
        f"scene net {i} of 4" for i in range(1, FOLDS + 1)
    ]
    assert not torch.equal(nets[0].out.weight, nets[1].out.weight) and nets[0].out.weight.shape == (OUTPUTS, Z)
