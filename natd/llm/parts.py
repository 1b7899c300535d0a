"""What one layer said during a stretch of time, in as few words as asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from natd.codebooks.kinds import UNKNOWN, WIDER
from natd.llm.follow import Codes

LEAST, MOST = 0, 3  # detail
SILENCE = "silence"
TOO_EARLY = "not heard long enough"
LOUDER_DB = 6.0  # a change of level that is worth a word
ALTERNATIVE = 0.05  # the least share at which another kind is named
Entry = Callable[[Codes], Mapping[str, Any]]  # what a legend says of codes; {} where there is none

_KINDS = (1, 1, 2, 3)  # names told of a stretch, by detail
_NOTES = (1, 3, 4, 6)
_OTHERS = (0, 1, 1, 2)  # other kinds told beside a name
_SCENE = re.compile(
    r"(?P<name>.+?)(?: (?P<share>0?\.\d+|1\.0+))?(?: \(or (?P<other>[^()]*)\))?(?:, closest to:? (?P<closest>.*?))?"
    r"(?:: (?P<rest>.*))?",
    re.DOTALL,
)
_SHARED = re.compile(r"(?P<name>.+?) (?P<share>\d*\.?\d+)")
_ONSET = re.compile(r"(?P<how>no|faint|soft|clear|strong|very strong)? ?onset")
_COUNTED = {"soft": "soft", "clear": "", None: "", "strong": "strong", "very strong": "strong"}  # no and faint: none
_DBFS = re.compile(r"(-?\d+(?:\.\d+)?) dBFS")
_NUMBER = re.compile(r" [-\d][\d.]* ?\w*")


@dataclass(frozen=True, slots=True)
class Said:
    """A phrase, the codes it stood for, and how long it was held (ms)."""

    text: str
    codes: Codes
    ms: float


@dataclass(frozen=True, slots=True)
class Part:
    """A layer's share of a line. It has changed when its `gist` has, or its `level` (dBFS) by `LOUDER_DB`."""

    label: str
    text: str
    gist: str
    level: float | None = None

    def differs(self, before: Part | None) -> bool:
        """Whether it says something new after `before`."""
        if before is None or self.gist != before.gist or (self.level is None) != (before.level is None):
            return True
        return self.level is not None and before.level is not None and abs(self.level - before.level) >= LOUDER_DB


def certain(said: Sequence[Said]) -> list[Said]:
    """What was said, without the words that it was too early to say more."""
    kept = (replace(s, text=", ".join(piece for piece in s.text.split(", ") if piece != TOO_EARLY)) for s in said)
    return [s for s in kept if s.text]


def part(about: str, said: Sequence[Said], detail: int, entry: Entry) -> Part:
    """What the layer of which `about` is the first word said; `detail` from `LEAST` to `MOST`."""
    if about == "scene":
        return _scene(said, detail, entry)
    if about == "harmony":
        return _harmony(said, detail)
    if about == "rhythm":
        return _rhythm(said, detail)
    if about == "dynamics" and any(_DBFS.search(s.text) for s in said):
        return _level(said, detail)
    names = _longest(_totals((s.text, s.ms) for s in said), _KINDS[detail])
    return Part(about, _with_times(names), max(names, key=lambda name: name[1])[0])


def _scene(said: Sequence[Said], detail: int, entry: Entry) -> Part:
    """Kinds of sound, the longest with how sure its name is and what else it may be."""
    read = [(_SCENE.fullmatch(s.text), s) for s in said]
    totals = _totals((match["name"] if match else s.text, s.ms) for match, s in read)
    names = _longest(totals, _KINDS[detail])
    main = max(totals, key=lambda name: name[1])[0]
    match, held = max(((m, s) for m, s in read if m is None or m["name"] == main), key=lambda pair: pair[1].ms)
    known = entry(held.codes)
    share = float(match["share"]) if match and match["share"] else known.get("confidence")
    share = None if main == UNKNOWN else share  # that it is nothing known is no name to be sure of
    near = (match["closest"] or match["other"]) if match else None
    closest = _shares(near) if near else dict(known.get("closest", {}))
    others = [
        f"{name} {_short(part)}"
        for name, part in sorted(closest.items(), key=lambda pair: -pair[1])
        if name != main and part >= ALTERNATIVE
    ][: _OTHERS[detail]]
    doubts = [_short(share)] if share is not None and detail > LEAST else []
    # Kinds beside a wider kind are mostly its own: no alternatives to it.
    doubts += [f"{'closest to' if main in WIDER else 'also'} {', '.join(others)}"] if others else []
    doubts += [match["rest"]] if match and match["rest"] and detail == MOST else []
    aside = f" ({'; '.join(doubts)})" if doubts else ""
    return Part("scene", _with_times([(f"{name}{aside if name == main else ''}", ms) for name, ms in names]), main)


def _harmony(said: Sequence[Said], detail: int) -> Part:
    """Notes and chords in their order; the shortest are left out where there are too many."""
    steps = [(s.text.removeprefix("note "), s.ms) for s in said]
    steps = [(text, sum(ms for _, ms in run)) for text, run in groupby(steps, key=lambda step: step[0])]
    kept = _longest(steps, _NOTES[detail])
    kept = [(name, sum(ms for _, ms in run)) for name, run in groupby(kept, key=lambda step: step[0])]
    text = _with_times(kept) if detail == MOST else ", ".join(name for name, _ in kept)
    return Part("harmony", text, ", ".join(name for name, _ in _longest(steps, _NOTES[LEAST + 1])))


def _rhythm(said: Sequence[Said], detail: int) -> Part:
    """Pulse or texture in words, and the onsets counted."""
    words: list[tuple[str, float]] = []
    onsets = {"soft": 0, "": 0, "strong": 0}
    counts = False
    for s in said:
        pieces = s.text.split(", ")
        found = [match for piece in pieces if (match := _ONSET.fullmatch(piece))]
        counts = counts or bool(found)
        if found and (how := _COUNTED.get(found[0]["how"])) is not None:
            onsets[how] += len(s.codes)
        words.append((", ".join(piece for piece in pieces if not _ONSET.fullmatch(piece)), s.ms))
    totals = [(text, ms) for text, ms in _totals(words) if text and text not in ("none", SILENCE)]
    kept = _longest(totals, 1 + (detail == MOST))
    texts = [name for name, _ in kept]
    if counts and detail > LEAST:
        texts.append(_onsets(onsets))
    gist = max(totals, key=lambda name: name[1])[0] if totals else "none"
    return Part("rhythm", ", ".join(texts) or "none", gist)


def _onsets(count: Mapping[str, int]) -> str:
    total = sum(count.values())
    if not total:
        return "no onsets"
    how = next((name for name in ("soft", "strong") if count[name] == total), "")
    strong = f" ({count['strong']} strong)" if count["strong"] and not how else ""
    return f"{total} {how}{' ' if how else ''}onset{'s' if total > 1 else ''}{strong}"


def _level(said: Sequence[Said], detail: int) -> Part:
    """Range of the level, and the words that go with it most of the time."""
    read = [(float(match[1]), s) for s in said if (match := _DBFS.search(s.text))]
    levels = [level for level, _ in read]
    low, high = min(levels), max(levels)
    text = f"{high:.0f} dBFS" if high - low < 1 else f"{low:.0f} to {high:.0f} dBFS"
    mean = sum(level * s.ms for level, s in read) / sum(s.ms for _, s in read)
    words: list[tuple[str, float]] = []
    for column in zip(*(s.text.split(", ")[1:] for _, s in read), strict=False):
        bare = _totals((_NUMBER.sub("", piece), s.ms) for piece, (_, s) in zip(column, read, strict=False))
        word = max(bare, key=lambda name: name[1])[0]
        whole = _totals((p, s.ms) for p, (_, s) in zip(column, read, strict=False) if _NUMBER.sub("", p) == word)
        words.append(max(whole, key=lambda name: name[1]) if detail == MOST else (word, 0.0))
    if detail > LEAST:
        text = ", ".join([text, *(word for word, _ in words)])
    return Part("level", text, "", mean)


def _totals(names: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Each name once, in the order of the first, with the sum of its times."""
    total: dict[str, float] = {}
    for name, ms in names:
        total[name] = total.get(name, 0.0) + ms
    return list(total.items())


def _longest(names: Sequence[tuple[str, float]], most: int) -> list[tuple[str, float]]:
    """The `most` longest, in their order."""
    order = sorted(range(len(names)), key=lambda i: (-names[i][1], i))[:most]
    return [names[i] for i in sorted(order)]


def _with_times(names: Sequence[tuple[str, float]]) -> str:
    return names[0][0] if len(names) == 1 else ", ".join(f"{name} {ms / 1000:.1f}" for name, ms in names) + " s"


def _short(share: float) -> str:
    return f"{share:.2f}".rstrip("0").rstrip(".")


def _shares(text: str) -> dict[str, float]:
    """`train 0.35, wind 0.2` -> the share of each."""
    found = (_SHARED.fullmatch(piece) for piece in text.split(", "))
    return {match["name"]: float(match["share"]) for match in found if match}
