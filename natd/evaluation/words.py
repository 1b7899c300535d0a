"""What the words of a code say that can be checked: a class of sound, a note, a chord, a tempo."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from natd.codec import Tokenizer

PITCH = {name: i for i, name in enumerate(("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"))}
QUALITIES = {"major": "", "maj": "", "minor": "m", "min": "m"}
LEAST_NOTES, LEAST_CLASSES = 12, 6  # different ones, or the layer does not name them
_NOTE = re.compile(r"(?<![\w#])([A-G]#?)(-?\d)(?!\w)")
_CHORD = re.compile(
    r"(?<![\w#])([A-G]#?)(?:[ ](major|minor|maj|min|dim|sus4)\b|(m7b5|maj7|m7|dim|sus4|min|maj|m|7|5)?(?![\w#]))"
)
_PITCH = re.compile(r"\bpitch ([A-G]#?)(?![\w#])")
_BPM = re.compile(r"(\d+(?:\.\d+)?) ?bpm\b")


def note(phrase: str) -> int | None:
    """The MIDI number that a phrase names; None if it names none, several, or a chord."""
    if "chord" in phrase:
        return None
    found = {(int(octave) + 1) * 12 + PITCH[name] for name, octave in _NOTE.findall(phrase)}
    return found.pop() if len(found) == 1 else None


def pitch_class(phrase: str) -> int | None:
    """0 (C) to 11 of the note that a phrase names, with its octave or as "pitch G#"."""
    if (midi := note(phrase)) is not None:
        return midi % 12
    found = _PITCH.findall(phrase)
    return PITCH[found[0]] if len(found) == 1 else None


def chord(phrase: str) -> tuple[int, str] | None:
    """Root (0 is C) and quality ("" is major) of the chord that a phrase names: "G#m7", "chord of C", "F# minor-like".

    A bare letter is a chord only beside the word chord; a phrase that names several chords names none.
    """
    found = set()
    for name, word, sign in _CHORD.findall(phrase):
        quality = word or sign
        if "chord" in phrase or (quality and quality not in ("5", "7")):  # "D7" alone is a note
            found.add((PITCH[name], QUALITIES.get(quality, quality)))
    return found.pop() if len(found) == 1 else None


def tempo(phrase: str) -> float | None:
    """Beats per minute that a phrase names."""
    found = _BPM.findall(phrase)
    return float(found[0]) if len(found) == 1 else None


def names_class(phrase: str, label: str) -> bool:
    """True if every word of a class (`sea_waves`) stands in the phrase, also as "waving", "waves"."""
    words = [word for word in re.split(r"[_\W]+", label.lower()) if word]
    return all(re.search(rf"\b{re.escape(word)}(s|es|ing)?\b", phrase.lower()) for word in words)


def class_votes(tokenizer: Tokenizer, classes: Sequence[str]) -> dict[str, Tensor]:
    """Layer -> [codes, classes]: how far a code stands for each class, by its record of kinds, else by its phrase.

    Empty unless at least half of the classes are named by some code.
    """
    sizes = {layer.name: layer.vocab for layer in tokenizer.spec.layers}
    kinds: Mapping[str, Mapping[int, Mapping[str, float]]] = getattr(tokenizer, "kinds", {})
    votes = {}
    for layer, phrases in tokenizer.glossary.items():
        table = torch.zeros(sizes[layer], len(classes))
        known = kinds.get(layer) or {code: {phrase: 1.0} for code, phrase in phrases.items()}
        for code, shares in known.items():
            for name, share in shares.items():
                named = [i for i, label in enumerate(classes) if names_class(name.replace("_", " "), label)]
                for i in named:
                    table[code, i] += share / len(named)
        if bool(table.any()):
            votes[layer] = table
    named_classes = sum(int(any(bool(t[:, i].any()) for t in votes.values())) for i in range(len(classes)))
    return votes if classes and 2 * named_classes >= len(classes) else {}


def read(tokenizer: Tokenizer, reader: Any, least: int = 1) -> dict[str, dict[int, Any]]:
    """Layer -> code -> what `reader` (`note`, `chord`, `tempo`) finds in its phrase; layers with `least` answers."""
    found = {}
    for layer, phrases in tokenizer.glossary.items():
        said = {code: answer for code, phrase in phrases.items() if (answer := reader(phrase)) is not None}
        if len(set(said.values())) >= least:
            found[layer] = said
    return found
