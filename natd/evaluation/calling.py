"""What codes are called against what the recordings are: kinds of sound by time, music, the start of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from natd.codebooks.kinds import KINDS, WIDER, WIDER_OF
from natd.codec import Kinds, Tokenizer
from natd.evaluation.bootstrap import Floats, Row, estimate, missing, ratio, row
from natd.evaluation.coding import Coded, encode, per_clip, rate_of, sizes_of
from natd.evaluation.material import Material, places
from natd.training.labels import kind_of, wider_of
from natd.training.recordings import Clip, samples_of

NONE = -1
WIDERS = tuple(WIDER)
MUSIC = WIDERS.index("music")
ANSWERS = ("the right kind", "the right wider kind", "another kind", "unknown")
WHOLE_S = 180.0  # of a recording of music
START_S = 0.56  # too short to say what is heard
UNNAMED = "its codes name no kinds"


@dataclass(frozen=True, slots=True)
class Names:
    """What the codes of a layer are called: number in KINDS [V], in WIDERS [V] (also that of a kind), -1: neither.

    `shares` [V, K]: of each kind among what chose a code; `wider_shares` [V, W] are their sums.
    """

    layer: str
    kind: Tensor
    wider: Tensor
    shares: Tensor
    wider_shares: Tensor


@dataclass(frozen=True, slots=True)
class Told:
    """Codes [N] of sounding frames with the kind and wider kind [N] of their clips (-1: cannot be said); clip [N]."""

    codes: Tensor
    kind: Tensor
    wider: Tensor
    clip: Tensor
    clips: int

    def only(self, keep: Tensor) -> Told:
        """Those where `keep` [N] is true; clips keep their numbers."""
        return Told(self.codes[keep], self.kind[keep], self.wider[keep], self.clip[keep], self.clips)

    def shuffled(self, seed: int) -> Told:
        """The same codes at random places: what chance gives."""
        order = torch.randperm(len(self.codes), generator=torch.Generator().manual_seed(seed))
        return replace(self, codes=self.codes[order])


def names_of(tokenizer: Tokenizer) -> list[Names]:
    """The names of each layer that has any; empty for a tokenizer whose codes stand for no kinds."""
    if not (hasattr(tokenizer, "kinds") and hasattr(tokenizer, "called")):
        return []
    naming, sizes, found = cast(Kinds, tokenizer), sizes_of(tokenizer.spec), []
    member = torch.zeros(len(KINDS), len(WIDERS), dtype=torch.float64)
    for i, kind in enumerate(KINDS):
        member[i, WIDERS.index(WIDER_OF[kind])] = 1.0
    for layer, called in naming.called.items():
        kinds, wider = (torch.full((sizes[layer],), NONE, dtype=torch.int64) for _ in range(2))
        shares = torch.zeros(sizes[layer], len(KINDS), dtype=torch.float64)
        for code, name in called.items():
            kinds[code] = _number(KINDS, name)
            wider[code] = _number(WIDERS, WIDER_OF.get(name, name))
        for code, parts in naming.kinds.get(layer, {}).items():
            for kind, share in parts.items():
                if kind in KINDS:  # what has no name here is unknown
                    shares[code, KINDS.index(kind)] = share
        found.append(Names(layer, kinds, wider, shares, shares @ member))
    return found


def told(coded: Coded, clips: Sequence[Clip], layer: str) -> Told:
    """The sounding codes of a layer beside what their clips are."""
    kinds = torch.tensor([_number(KINDS, kind_of(c)) for c in clips], dtype=torch.int64)
    wider = torch.tensor([_number(WIDERS, wider_of(c)) for c in clips], dtype=torch.int64)
    keep = ~coded.silent[layer]
    clip = coded.clip[layer][keep]
    return Told(coded.codes[layer][keep], kinds[clip], wider[clip], clip, coded.clips)


def with_kind(coded: Coded, clips: Sequence[Clip], layer: str) -> Told:
    """Those of clips of which one kind can be said."""
    found = told(coded, clips, layer)
    return found.only(found.kind != NONE)


def _number(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else NONE


# ---- kinds by time


def by_time(tokenizer: Tokenizer, held: Material, seed: int) -> list[Row]:
    """How often a code of a clip with a true kind is called that kind, its wider kind, another kind, or unknown."""
    layers = names_of(tokenizer)
    if not layers:
        return [missing(f"called {answer}, by time", "S", "share", UNNAMED) for answer in ANSWERS]
    rows = []
    for names in layers:
        scored = with_kind(held.coded, held.clips, names.layer)
        mixed = scored.shuffled(seed)
        for answer in ANSWERS:
            rows.append(_answered(f"called {answer}, by time", names, scored, mixed, answer, "", seed))
        for number, wider in enumerate(WIDERS):
            group, chance = (part.only(part.wider == number) for part in (scored, mixed))
            if len(group.codes):
                rows.append(_answered("called the right kind, by time", names, group, chance, ANSWERS[0], wider, seed))
    figures = [line.figure for line in rows]
    return sorted(rows, key=lambda line: figures.index(line.figure))


def _answered(figure: str, names: Names, scored: Told, mixed: Told, answer: str, group: str, seed: int) -> Row:
    found, chance = (
        estimate(_counted(answers(names, part) == ANSWERS.index(answer), part), ratio, seed) for part in (scored, mixed)
    )
    of = f"{names.layer}, {group}" if group else names.layer
    return row(figure, of, "share", found, {"shuffled": chance.value}, "" if found.n else "no clips with a true kind")


def answers(names: Names, part: Told) -> Tensor:
    """The number in ANSWERS of each code [N]: a name with neither kind nor wider kind is unknown."""
    kind, wider = names.kind[part.codes], names.wider[part.codes]
    out = torch.full_like(kind, ANSWERS.index("another kind"))
    out[wider == NONE] = ANSWERS.index("unknown")
    out[(kind == NONE) & (wider != NONE) & (wider == part.wider)] = ANSWERS.index("the right wider kind")
    out[(kind != NONE) & (kind == part.kind)] = ANSWERS.index("the right kind")
    return out


def _counted(hits: Tensor, part: Told) -> Floats:
    return per_clip([hits, torch.ones(len(hits))], part.clip, part.clips)


# ---- music


def music(tokenizer: Tokenizer, held: Material, seed: int) -> list[Row]:
    """How often codes of recorded music are called music or one of its kinds, and how often those of other sounds."""
    figures = "recorded music called music, by time", "other sounds called music, by time"
    layers = names_of(tokenizer)
    if not layers:
        return [missing(figure, "S", "share", UNNAMED) for figure in figures]
    tunes = [c for c in held.clips if wider_of(c) == "music"]
    whole = encode(tokenizer, [samples_of(c.path, tokenizer.spec.sr, WHOLE_S) for c in tunes]) if tunes else None
    rows = []
    for names in layers:
        others = told(held.coded, held.clips, names.layer)
        others = others.only(others.wider != MUSIC)
        played = told(whole, tunes, names.layer) if whole else others.only(torch.zeros_like(others.codes).bool())
        # Shuffled among themselves the codes of music would be the same codes: they are shuffled with all others.
        mixed = _joined(played, others).shuffled(seed)
        real = mixed.wider == MUSIC
        notes = f"whole recordings, at most {WHOLE_S:.0f} s of each", "first 20 s of each clip"
        for figure, part, chance, note in zip(figures, (played, others), (real, ~real), notes, strict=True):
            found, null = (
                estimate(_counted(names.wider[p.codes] == MUSIC, p), ratio, seed) for p in (part, mixed.only(chance))
            )
            why = note if found.n else "no such clips"
            rows.append(row(figure, names.layer, "share", found, {"shuffled": null.value}, why))
    return rows


def _joined(one: Told, other: Told) -> Told:
    pairs = ((one.codes, other.codes), (one.kind, other.kind), (one.wider, other.wider))
    parts = [torch.cat(pair) for pair in pairs]
    clip = torch.cat((one.clip, other.clip + one.clips))
    return Told(parts[0], parts[1], parts[2], clip, one.clips + other.clips)


# ---- the start of a stream


def starts(tokenizer: Tokenizer, held: Material, seed: int) -> list[Row]:
    """How often a code is called a kind or a wider kind before there was time to hear what it is."""
    figure = f"first {START_S} s called a kind"
    rows = []
    for names in names_of(tokenizer):
        coded = held.coded
        early = (places(coded.clip[names.layer]) + 1) / rate_of(tokenizer.spec, names.layer) <= START_S + 1e-9
        mixed = coded.shuffled(torch.Generator().manual_seed(seed))
        found, chance = (
            estimate(_counted(names.wider[p.codes] != NONE, p), ratio, seed)
            for p in (_at(part, names.layer, early) for part in (coded, mixed))
        )
        rows.append(row(figure, names.layer, "share", found, {"shuffled": chance.value}))
    return rows or [missing(figure, "S", "share", UNNAMED)]


def _at(coded: Coded, layer: str, keep: Tensor) -> Told:
    codes = coded.codes[layer][keep]
    nothing = torch.full_like(codes, NONE)
    return Told(codes, nothing, nothing, coded.clip[layer][keep], coded.clips)
