"""A stream as plain text for a language model: a line a second, or only what changes. Events in, lines out; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from natd.errors import ConfigError
from natd.llm.budget import Budget, tokens
from natd.llm.follow import Change, Codes, Following, labels
from natd.llm.parts import LEAST, MOST, SILENCE, TOO_EARLY, Part, Said, certain, part

FULL_TOKENS = 50.0  # a second, at most
BRIEF_TOKENS = 12.0
SAVED_S = 4.0  # of the brief budget: what a quiet time leaves for a change
MOST_LAYERS = 5  # told, so that the head has at most 12 lines
_SELF_EVIDENT = ("", "scene", "harmony", "level")  # labels that a brief line does without


@dataclass(frozen=True, slots=True)
class Style:
    """A line each `every_s` of stream time; `changes`: only parts that differ; `brief`: that, in few words."""

    every_s: float = 1.0
    changes: bool = False
    brief: bool = False


class View:
    """Feed it every event (a dict) of one stream and print the lines that come out; `finish` gives what is left.

    `entry` gives what a legend knows of a code of a layer ({}: nothing): `confidence` and `closest` are told.
    """

    def __init__(
        self, style: Style | None = None, entry: Callable[[str, int], Mapping[str, Any]] | None = None
    ) -> None:
        self._style, self._entry_of = style or Style(), entry
        self._following = Following()
        self._begin()

    def _begin(self) -> None:
        self._said: dict[str, list[Said]] = {}
        self._from_ms = 0.0
        self._window: int | None = None
        self._before: dict[str, Part] = {}
        self._budget = Budget(BRIEF_TOKENS, SAVED_S)

    def feed(self, event: Mapping[str, Any]) -> list[str]:
        """Take the next event; the lines it completes.

        ConfigError at the header of a stream without semantic layers, or with the first line if they have no words.
        """
        following, kind = self._following, event.get("event")
        lines: list[str] = []
        if kind == "header" and event["epoch"] != following.header.get("epoch"):
            lines += self.finish()
            self._begin()
        elif kind in ("gap", "format", "end", "error", "lost"):
            lines += self.finish()
        elif kind == "frame" and self._window not in (None, self._window_of(float(event["ts"]))):
            lines += self.finish()
        for change in following.feed(event):
            lines += self._told(change)
        if kind == "frame":
            self._hear(float(event["ts"]))
            if self._window != self._window_of(float(event["ts"]) + following.frame_ms):
                lines += self.finish()
        return lines

    def finish(self) -> list[str]:
        """The line of the time heard since the last one; ConfigError if that has no words."""
        said, self._said, self._window = self._said, {}, None
        if said and not self._following.worded:
            raise no_words(self._following.header["tokenizer"]["name"])
        return [line] if said and (line := self._line(said)) else []

    def _window_of(self, ts: float) -> int:
        return int((ts + self._following.frame_ms / 2) // (self._style.every_s * 1000))

    def _hear(self, ts: float) -> None:
        following = self._following
        if self._window is None:
            self._window = self._window_of(ts)
            self._from_ms = self._window * self._style.every_s * 1000
        for layer in following.layers[:MOST_LAYERS]:
            word = following.words.get(layer.name)
            if word is None:
                continue  # not known since a loss
            said, ms = self._said.setdefault(layer.name, []), following.frame_ms / len(word.codes)
            for phrase, code in zip(word.phrases, word.codes, strict=True):
                if said and said[-1].text == phrase:
                    last = said.pop()
                    said.append(Said(last.text, (*last.codes, code), last.ms + ms))
                else:
                    said.append(Said(phrase, (code,), ms))

    def _told(self, change: Change) -> list[str]:
        if change.kind == "words":
            return []
        if change.kind == "epoch":
            header = self._following.header
            if not self._following.layers:
                raise no_words(header["tokenizer"]["name"])
            return head(header, self._style)
        self._before.clear()  # what comes after a loss is said afresh
        text = f"{self._time(change.ts)}  {change.kind}: {change.text}"
        self._budget.left(change.ts)
        self._budget.spend(tokens(text))
        return [text]

    # ---- a line

    def _parts(self, said: Mapping[str, list[Said]], detail: Mapping[str, int]) -> dict[str, Part]:
        """Layer -> what is told of it, where that is new to the reader or all is told."""
        told = {name: certain(layer) for name, layer in said.items()} if self._style.brief else said
        parts = {
            row.name: part(row.about, told[row.name], detail[row.name], partial(self._entry, row.name))
            for row in self._following.layers
            if told.get(row.name)
        }
        if all(s.text == SILENCE for layer in said.values() for s in layer):
            parts = {"": Part("", SILENCE, SILENCE)}
        if not (self._style.changes or self._style.brief):
            return parts
        return {name: new for name, new in parts.items() if new.differs(self._before.get(name))}

    def _entry(self, layer: str, codes: Codes) -> Mapping[str, Any]:
        """What the legend says of the code that was there most of the time."""
        return {} if self._entry_of is None else self._entry_of(layer, max(codes, key=codes.count))

    def _line(self, said: Mapping[str, list[Said]]) -> str | None:
        """As much detail as the budget allows; None where nothing changed, or what did must wait for the budget."""
        style = self._style
        allowed = self._budget.left(self._from_ms) if style.brief else FULL_TOKENS * max(1.0, style.every_s)
        detail = dict.fromkeys(said, LEAST + 1 if style.brief else MOST)
        parts = self._parts(said, detail)
        while tokens(line := self._written(parts)) > allowed and any(level > LEAST for level in detail.values()):
            # Of the layers told at length the last, as its words (level, rhythm) are missed least.
            detail[max(reversed(detail), key=lambda name: detail[name])] -= 1
            parts = self._parts(said, detail)
        while parts and tokens(line) > allowed:
            parts.popitem()
            line = self._written(parts)
        if not parts:
            return None
        self._budget.spend(tokens(line))
        if "" in parts or "" in self._before:  # into silence and out of it everything is new
            self._before.clear()
        self._before.update(parts)
        return line

    def _written(self, parts: Mapping[str, Part]) -> str:
        brief = self._style.brief
        texts = []
        for told in parts.values():
            label = "" if told.label in (_SELF_EVIDENT if brief else ("",)) else told.label
            texts.append(f"{label}{'' if not label else ' ' if label == 'level' else ': '}{told.text}")
        return f"{self._time(self._from_ms)}{' ' if brief else '  '}{('; ' if brief else ' | ').join(texts)}"

    def _time(self, ts: float) -> str:
        tenths = int(ts) // 100
        minutes, seconds = divmod(tenths // 10, 60)
        clock = f"{minutes}:{seconds:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        return clock if self._style.every_s >= 1 else f"{clock}.{tenths % 10}"


def no_words(name: str) -> ConfigError:
    """What is said of the tokenizer `name` whose codes are numbers and nothing else."""
    return ConfigError(f"the codes of {name} have no words; those of ears have: --tokenizer ears")


def head(header: Mapping[str, Any], style: Style) -> list[str]:
    """At most 12 lines that tell the reader what follows and how far it can be trusted."""
    heard, by = header["input"], header["tokenizer"]
    layers = [layer for layer in header["layers"] if layer["type"] == "semantic"]
    when = "what changes is told" if style.brief or style.changes else f"one line stands for {style.every_s:g} s"
    lines = [
        f"# What is heard in {header['stream']} ({heard['source']} {heard['name']}) by natd, tokenizer {by['name']} "
        f"{by['version']}; {when}, after its time in minutes:seconds.",
        *(_about(layer, label) for layer, (_, label) in zip(layers[:MOST_LAYERS], labels(layers), strict=False)),
    ]
    if len(layers) > MOST_LAYERS:
        lines.append(f"# {len(layers) - MOST_LAYERS} more layers are not told.")
    early = "" if style.brief else f' "{TOO_EARLY}": too early to say.'
    return [
        *lines,
        "# Names are a machine's nearest guesses and may be wrong. A number from 0 to 1 says how sure one is; after",
        '# "also" or "closest to" stands what else it may be. "unknown": like nothing it knows. "silence": too soft to',
        f"# be heard.{early} dBFS: 0 is the loudest there can be.",
        '# "gap" and "loss": that much was not heard at all; nothing is known of it.',
    ]


def _about(layer: Mapping[str, Any], word: str) -> str:
    return f"# {_LABELS.get(word, word)}: {_ABOUT.get(word, layer['about'])}."


_LABELS = {"dynamics": "level"}
_ABOUT = {
    "scene": "the kind of sound, with seconds where there were several",
    "harmony": "notes (A4) and chords (chord Am7) in the order they were heard, with seconds",
    "rhythm": "tempo, ticks or texture, and how many sounds set in",
    "dynamics": "lowest to highest loudness, where the sound lies (dark, bright), tonal or noisy",
}
