"""Rows for a question with known answers: by the words of the codes, and by the majority label of each code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from natd.codec import Tokenizer
from natd.evaluation import synthetic, words
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, groups_of, rate_of, sizes_of

PROBED = "majority label per code, of other seeds"
UNNAMED = "the words of its codes do not name them"
TOO_FEW = "too few frames to learn from"
Scores = Sequence[Any]  # per clip, what truly sounds: of whatever kind the question reads
Labels = Callable[[Coded, str, float, Scores], Tensor]
TempoRight = Callable[[Tensor, Coded, str, float, Scores, Tensor | None], Floats]


@dataclass(frozen=True, slots=True)
class Played:
    """Clips as codes, and the score of each."""

    coded: Coded
    scores: Scores


@dataclass(frozen=True, slots=True)
class Question:
    """`labels` gives the right answer for each code, -1 where none is asked; `reader` what a phrase says.

    A layer that gives fewer than `least` different answers is taken not to name them.
    """

    name: str
    reader: Callable[[str], int | None]
    least: int
    labels: Labels


@dataclass(frozen=True, slots=True)
class TempoQuestion:
    """Rows of `figures`; the label of a code stands for `bpm_of(label)` beats per minute."""

    figures: Mapping[str, TempoRight]
    labels: Labels
    bpm_of: Callable[[Tensor], Tensor]

    def rows(self, tokenizer: Tokenizer, learned: Played, scored: Played, seed: int) -> list[Row]:
        """Each figure in words and by majority."""
        named = words.read(tokenizer, words.tempo)
        ways: list[tuple[str, str, tuple[str, Tensor] | None]] = []
        layer = max(named, key=lambda name: len(named[name]), default="")
        said = (layer, _table(named[layer], sizes_of(tokenizer.spec)[layer])) if named else None
        ways.append(("in words", "" if said else UNNAMED, said))
        found = _chosen(tokenizer, learned, self.labels)
        probed = None if found is None else (found[0], self.bpm_of(found[1]))
        ways.append(("probe", PROBED if probed else TOO_FEW, probed))
        rows = []
        for figure, right in self.figures.items():
            for how, note, way in ways:
                name = f"{figure}, {how}"
                if way is None:
                    rows.append(missing(name, "S", "share", note))
                else:
                    rows.append(_tempo(tokenizer, scored, right, way, name, seed, note))
        return rows

    def without(self, why: str) -> list[Row]:
        """The same rows where there is nothing to ask."""
        return _without(list(self.figures), why)


def readable(tokenizer: Tokenizer) -> list[str]:
    """The layers that may have a legend: the semantic ones, or all where there are none."""
    groups = groups_of(tokenizer.spec)
    return groups.get("S") or groups["A"]


def rows(tokenizer: Tokenizer, learned: Played, scored: Played, questions: Sequence[Question], seed: int) -> list[Row]:
    """Two rows a question."""
    return [
        one
        for question in questions
        for one in (
            _by_words(tokenizer, scored, question, seed),
            _by_majority(tokenizer, learned, scored, question, seed),
        )
    ]


def without(questions: Sequence[Question], why: str) -> list[Row]:
    """The same rows where there is nothing to ask."""
    return _without([question.name for question in questions], why)


def _without(figures: Sequence[str], why: str) -> list[Row]:
    return [missing(f"{figure}, {how}", "S", "share", why) for figure in figures for how in ("in words", "probe")]


def _by_words(tokenizer: Tokenizer, scored: Played, question: Question, seed: int) -> Row:
    figure = f"{question.name}, in words"
    named = words.read(tokenizer, question.reader, question.least)
    if not named:
        return missing(figure, "S", "share", UNNAMED)
    layer = max(named, key=lambda name: len(named[name]))
    table = synthetic.said(named[layer], sizes_of(tokenizer.spec)[layer])
    return _scored(tokenizer, scored, question, (layer, table), figure, seed, "a code without a name is wrong")


def _by_majority(tokenizer: Tokenizer, learned: Played, scored: Played, question: Question, seed: int) -> Row:
    figure = f"{question.name}, probe"
    found = _chosen(tokenizer, learned, question.labels)
    if found is None:
        return missing(figure, "S", "share", TOO_FEW)
    return _scored(tokenizer, scored, question, found, figure, seed, PROBED)


def _chosen(tokenizer: Tokenizer, learned: Played, labels_of: Labels) -> tuple[str, Tensor] | None:
    """The layer whose majority labels of one half of the clips are right most often on the other; its labels."""
    coded, best = learned.coded, None
    for layer in readable(tokenizer):
        size = sizes_of(tokenizer.spec)[layer]
        labels = labels_of(coded, layer, rate_of(tokenizer.spec, layer), learned.scores)
        codes, clip = coded.codes[layer], coded.clip[layer]
        odd = clip % 2 == 1
        if not bool((labels[odd] >= 0).any()) or not bool((labels[~odd] >= 0).any()):
            continue
        table = synthetic.majority(codes[~odd], labels[~odd], size)
        sums = synthetic.right(table, codes[odd], labels[odd], clip[odd], coded.clips).sum(0)
        if best is None or sums[0] / sums[1] > best[0]:
            best = (sums[0] / sums[1], layer, synthetic.majority(codes, labels, size))
    return None if best is None else (best[1], best[2])


def _scored(
    tokenizer: Tokenizer,
    scored: Played,
    question: Question,
    way: tuple[str, Tensor],
    figure: str,
    seed: int,
    note: str,
) -> Row:
    (layer, table), coded = way, scored.coded
    labels = question.labels(coded, layer, rate_of(tokenizer.spec, layer), scored.scores)
    asked = labels >= 0
    labels, codes, clip = labels[asked], coded.codes[layer][asked], coded.clip[layer][asked]
    mixed = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))]
    found, chance = (
        estimate(synthetic.right(table, c, labels, clip, coded.clips), ratio, seed) for c in (codes, mixed)
    )
    return row(figure, layer, "share", found, {"shuffled": chance.value}, note)


def _table(said: Mapping[int, float], size: int) -> Tensor:
    table = torch.full((size,), torch.nan, dtype=torch.float64)
    for code, value in said.items():
        table[code] = value
    return table


def _tempo(
    tokenizer: Tokenizer,
    scored: Played,
    right: TempoRight,
    way: tuple[str, Tensor],
    figure: str,
    seed: int,
    note: str,
) -> Row:
    (layer, bpm), coded = way, scored.coded
    order = torch.randperm(len(coded.codes[layer]), generator=torch.Generator().manual_seed(seed))
    rate = rate_of(tokenizer.spec, layer)
    found, chance = (
        estimate(right(bpm, coded, layer, rate, scored.scores, shuffle), ratio, seed) for shuffle in (None, order)
    )
    return row(figure, layer, "share", found, {"shuffled": chance.value}, note)
