"""What codes mean beside a class: descriptors given back by their means; notes, chords and tempi with a known score."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from natd.codec import Tokenizer
from natd.codec.descriptors import CHROMA, COLUMN, DESCRIPTORS, GATED
from natd.errors import ConfigError
from natd.evaluation import answers, recovery, rendered, synthetic, words
from natd.evaluation.answers import Labels, Played, Question, TempoQuestion, readable
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, encode, sizes_of
from natd.evaluation.material import Material, described
from natd.evaluation.recovery import Measured

STEADY = ("rain", "sea_waves")  # classes that have neither a beat nor a note


def _root(phrase: str) -> int | None:
    return None if (named := words.chord(phrase)) is None else named[0]


def _chord(phrase: str) -> int | None:
    return None if (named := words.chord(phrase)) is None else synthetic.chord_label(named)


def _question(name: str, labels: Labels) -> Question:
    """What a task is called says what is read: an exact note, its class, a root, or root and quality."""
    if name.startswith("note, exact"):
        return Question(name, words.note, words.LEAST_NOTES, labels)
    reader = words.pitch_class if name.startswith("note") else _root if name.startswith("chord root") else _chord
    return Question(name, reader, words.LEAST_CLASSES, labels)


DEMO = [_question(task.name, functools.partial(synthetic.truth, task=task)) for task in synthetic.TASKS]
DEMO_TEMPO = TempoQuestion(
    {"tempo within 8 %": synthetic.tempo_right}, synthetic.tempo_truth, lambda labels: labels.double()
)
PIECES = [_question(asked.name, functools.partial(rendered.truth, asked=asked)) for asked in rendered.ASKED]
PIECES_TEMPO = TempoQuestion(
    {
        "tempo within 8 %, pieces": rendered.tempo_right,
        "tempo within 4 %, its double or its half, pieces": rendered.octave_right,
    },
    rendered.tempo_truth,
    rendered.bpm_of,
)


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
    means = _told(tokenizer, layer, columns, recovery.legend(known, sizes[layer]))
    scored = _measured(tokenizer, held, layer, name, columns)
    found, chance = (estimate(score(means, m), of_sums, seed) for m in (scored, scored.shuffled(seed)))
    return row(figure, layer, unit, found, {"shuffled": chance.value})


def _told(tokenizer: Tokenizer, layer: str, columns: slice, learned: Tensor) -> Tensor:
    """The means that the tokenizer's own legend gives [size, D]; `learned` where it gives none."""
    legend: Mapping[str, Any] = getattr(tokenizer, "legend", {})
    if list(legend.get("descriptors", ())) != list(DESCRIPTORS):
        return learned
    means = learned.clone()
    for code, entry in legend["codes"].get(layer, {}).items():
        for column, value in enumerate(entry.get("means", [None] * len(DESCRIPTORS))[columns]):
            if value is not None:
                means[int(code), column] = value
    return means


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
    """Notes, chords and tempi of the demo band and of rendered pieces, in words and by majority label of a code."""
    return scores_of_demo(tokenizer, seed) + scores_of_pieces(tokenizer, seed)


def scores_of_demo(tokenizer: Tokenizer, seed: int) -> list[Row]:
    """The demo band: one timbre and three tempi, but nothing needs to be installed."""
    learned, scored = (
        Played(encode(tokenizer, audio), score)
        for audio, score in (synthetic.pieces(seeds, tokenizer.spec.sr) for seeds in synthetic.seeds(seed))
    )
    return [*answers.rows(tokenizer, learned, scored, DEMO, seed), *DEMO_TEMPO.rows(tokenizer, learned, scored, seed)]


def scores_of_pieces(tokenizer: Tokenizer, seed: int) -> list[Row]:
    """Rendered pieces: many timbres and tempi; rows without a value where FluidSynth is not installed."""
    learned, scored = rendered.pieces(seed)
    try:
        sounds = [rendered.audio(part, tokenizer.spec.sr) for part in (learned, scored)]
    except ConfigError as error:
        return [*answers.without(PIECES, str(error)), *PIECES_TEMPO.without(str(error))]
    one, two = (Played(encode(tokenizer, sound), part) for sound, part in zip(sounds, (learned, scored), strict=True))
    return [*answers.rows(tokenizer, one, two, PIECES, seed), *PIECES_TEMPO.rows(tokenizer, one, two, seed)]


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
