"""What codes mean beside a class: descriptors given back by their means; notes, chords and tempi with a known score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from natd.codec import Tokenizer
from natd.codec.descriptors import CHROMA, COLUMN, DESCRIPTORS, GATED
from natd.evaluation import recovery, synthetic, words
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, encode, groups_of, rate_of, sizes_of
from natd.evaluation.material import Material, described
from natd.evaluation.recovery import Measured
from natd.evaluation.synthetic import TASKS, Task

STEADY = ("rain", "sea_waves")  # classes that have neither a beat nor a note
READERS: dict[str, Callable[[str], int | None]] = {
    "note, exact": words.note,
    "note, pitch class": words.pitch_class,
    "chord root, chords alone": lambda p: None if (c := words.chord(p)) is None else c[0],
    "chord root, full band": lambda p: None if (c := words.chord(p)) is None else c[0],
    "chord, root and quality": lambda p: None if (c := words.chord(p)) is None else synthetic.chord_label(c),
}
PROBED = "majority label per code, of other seeds"


def readable(tokenizer: Tokenizer) -> list[str]:
    """The layers that may have a legend: the semantic ones, or all where there are none."""
    groups = groups_of(tokenizer.spec)
    return groups.get("S") or groups["A"]


# ---- descriptors


def recoveries(tokenizer: Tokenizer, fit: Material, held: Material, seed: int) -> list[Row]:
    """R2 of each descriptor and the cosine of the chroma, by the layer that says most of it on the training part."""
    names = [name for name in DESCRIPTORS if not name.startswith("chroma_")]
    rows = [_recovered(tokenizer, fit, held, seed, name) for name in names]
    return [*rows, _recovered(tokenizer, fit, held, seed, "chroma")]


def _recovered(tokenizer: Tokenizer, fit: Material, held: Material, seed: int, name: str) -> Row:
    columns = CHROMA if name == "chroma" else slice(COLUMN[name], COLUMN[name] + 1)
    figure, unit = ("legend only, chroma", "cosine") if name == "chroma" else (f"legend only, {name}", "R2")
    score, of_sums = (recovery.cosines, ratio) if name == "chroma" else (recovery.errors, recovery.variance_share)
    sizes, best = sizes_of(tokenizer.spec), None
    for layer in readable(tokenizer):
        known = _measured(tokenizer, fit, layer, name, columns)
        if len(known.codes) < 2:
            continue
        one, other = recovery.halves(known)
        if not len(one.codes) or not len(other.codes):
            continue
        value = estimate(score(recovery.legend(one, sizes[layer]), other), of_sums, seed).value
        if value is not None and (best is None or value > best[0]):
            best = (value, layer, known)
    if best is None:
        return missing(figure, "S", unit, "too few frames of the training part have it")
    _, layer, known = best
    means = recovery.legend(known, sizes[layer])
    scored = _measured(tokenizer, held, layer, name, columns)
    found, chance = (estimate(score(means, m), of_sums, seed) for m in (scored, scored.shuffled(seed)))
    return row(figure, layer, unit, found, {"shuffled": chance.value})


def _measured(tokenizer: Tokenizer, material: Material, layer: str, name: str, columns: slice) -> Measured:
    """Codes of frames that sound, where the descriptor means something."""
    heard = material.heard
    known = ~heard.silent
    if name in GATED:
        gate, least = GATED[name]
        known = known & (heard.descriptors[:, COLUMN[gate]] >= least)
    at = described(material, tokenizer.spec, layer)
    keep = at >= 0
    keep[keep.clone()] = known[at[keep]]
    values = heard.descriptors[at[keep], columns].double()
    coded = material.coded
    return Measured(coded.codes[layer][keep], values, coded.clip[layer][keep], coded.clips)


# ---- a known score


def scores(tokenizer: Tokenizer, seed: int) -> list[Row]:
    """Notes, chords and tempi: from the words where they name them, and by majority label of a code."""
    spec = tokenizer.spec
    learn_seeds, score_seeds = synthetic.seeds(seed)
    parts = []
    for which in (learn_seeds, score_seeds):
        audio, score = synthetic.pieces(which, spec.sr)
        parts.append((encode(tokenizer, audio), score))
    learned, scored = parts
    rows: list[Row] = []
    for task in TASKS:
        rows.append(_by_words(tokenizer, scored, task, seed))
        rows.append(_by_majority(tokenizer, learned, scored, task, seed))
    return [*rows, *_tempi(tokenizer, learned, scored, seed)]


Played = tuple[Coded, list[list[Any]]]


def _by_words(tokenizer: Tokenizer, scored: Played, task: Task, seed: int) -> Row:
    figure = f"{task.name}, in words"
    least = words.LEAST_NOTES if task.name == "note, exact" else words.LEAST_CLASSES
    named = words.read(tokenizer, READERS[task.name], least)
    if not named:
        return missing(figure, "S", "share", "the words of its codes do not name them")
    layer = max(named, key=lambda name: len(named[name]))
    table = synthetic.said(named[layer], sizes_of(tokenizer.spec)[layer])
    return _scored(tokenizer, scored, task, layer, table, figure, seed, "a code without a name is wrong")


def _by_majority(tokenizer: Tokenizer, learned: Played, scored: Played, task: Task, seed: int) -> Row:
    figure = f"{task.name}, probe"
    found = _chosen(tokenizer, learned, lambda layer: _truth(tokenizer, learned, layer, task))
    if found is None:
        return missing(figure, "S", "share", "too few frames to learn from")
    layer, table = found
    return _scored(tokenizer, scored, task, layer, table, figure, seed, PROBED)


def _truth(tokenizer: Tokenizer, played: Played, layer: str, task: Task) -> Tensor:
    return synthetic.truth(played[0], layer, rate_of(tokenizer.spec, layer), played[1], task)


def _chosen(tokenizer: Tokenizer, learned: Played, labels_of: Callable[[str], Tensor]) -> tuple[str, Tensor] | None:
    """The layer whose majority labels of one half of the pieces are right most often on the other; its labels."""
    coded, best = learned[0], None
    for layer in readable(tokenizer):
        size, labels = sizes_of(tokenizer.spec)[layer], labels_of(layer)
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
    tokenizer: Tokenizer, scored: Played, task: Task, layer: str, table: Tensor, figure: str, seed: int, note: str
) -> Row:
    coded = scored[0]
    labels = _truth(tokenizer, scored, layer, task)
    asked = labels >= 0
    labels, codes, clip = labels[asked], coded.codes[layer][asked], coded.clip[layer][asked]
    mixed = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))]
    found, chance = (
        estimate(synthetic.right(table, c, labels, clip, coded.clips), ratio, seed) for c in (codes, mixed)
    )
    return row(figure, layer, "share", found, {"shuffled": chance.value}, note)


def _tempi(tokenizer: Tokenizer, learned: Played, scored: Played, seed: int) -> list[Row]:
    """Tempo of a section within 8 %, by the median of what its codes say."""
    named = words.read(tokenizer, words.tempo)
    rows = []
    if named:
        layer = max(named, key=lambda name: len(named[name]))
        rows.append(_tempo(tokenizer, scored, layer, _bpm(named[layer], tokenizer, layer), "in words", seed, ""))
    else:
        rows.append(missing("tempo within 8 %, in words", "S", "share", "the words of its codes do not name them"))
    found = _chosen(
        tokenizer,
        learned,
        lambda layer: synthetic.tempo_truth(learned[0], layer, rate_of(tokenizer.spec, layer), learned[1]),
    )
    if found is None:
        return [*rows, missing("tempo within 8 %, probe", "S", "share", "too few frames to learn from")]
    return [*rows, _tempo(tokenizer, scored, found[0], found[1].double(), "probe", seed, PROBED)]


def _bpm(said: Mapping[int, float], tokenizer: Tokenizer, layer: str) -> Tensor:
    table = torch.full((sizes_of(tokenizer.spec)[layer],), torch.nan, dtype=torch.float64)
    for code, value in said.items():
        table[code] = value
    return table


def _tempo(tokenizer: Tokenizer, scored: Played, layer: str, bpm: Tensor, how: str, seed: int, note: str) -> Row:
    coded, score = scored
    order = torch.randperm(len(coded.codes[layer]), generator=torch.Generator().manual_seed(seed))
    found, chance = (
        estimate(synthetic.tempo_right(bpm, coded, layer, rate_of(tokenizer.spec, layer), score, shuffle), ratio, seed)
        for shuffle in (None, order)
    )
    return row(f"tempo within 8 %, {how}", layer, "share", found, {"shuffled": chance.value}, note)


def false_names(tokenizer: Tokenizer, held: Material, noise: Coded, silence: Coded, seed: int) -> list[Row]:
    """Share of sounding frames of rain and sea whose words name a tempo or a note; noise and silence beside it."""
    steady = [i for i, c in enumerate(held.clips) if c.label in STEADY]
    rows = []
    readers: tuple[tuple[str, Any, int], ...] = (
        ("tempo", words.tempo, 1),
        ("note", words.pitch_class, words.LEAST_CLASSES),
    )
    for what, reader, least in readers:
        figure = f"false {what} on rain and sea, in words"
        named = words.read(tokenizer, reader, least)
        if not named or not steady:
            rows.append(missing(figure, "S", "share", "no such clips" if named else "its words do not name any"))
            continue
        layer = max(named, key=lambda name: len(named[name]))
        said = torch.zeros(sizes_of(tokenizer.spec)[layer], dtype=torch.bool)
        said[list(named[layer])] = True
        sounding = held.coded.sounding()
        masks = {name: torch.isin(clip, torch.tensor(steady)) for name, clip in sounding.clip.items()}
        of_steady = sounding.only(masks.__getitem__)
        values = [estimate(_named(coded, layer, said), ratio, seed) for coded in (of_steady, noise, silence)]
        rows.append(row(figure, layer, "share", values[0], {"noise": values[1].value, "silence": values[2].value}))
    return rows


def _named(coded: Coded, layer: str, said: Tensor) -> Floats:
    """Per clip: codes that name something, codes [C, 2]."""
    labels = torch.ones(len(coded.codes[layer]), dtype=torch.int64)
    return synthetic.right(said.long(), coded.codes[layer], labels, coded.clip[layer], coded.clips)
