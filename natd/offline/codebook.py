"""What the codes of a tokenizer mean, as its glossary and legend say, in units that a musician reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from natd.codebooks.legend import entry, require
from natd.codebooks.naming import note_near
from natd.codec import Tokenizer, open_tokenizer
from natd.errors import ConfigError

LABEL_COLUMNS = 14
CHROMA = "chroma_"  # descriptors of this name are told in one line
CHROMA_LEAST = 0.05  # share of a pitch class that is told


def show(name: str, which: str | None) -> int:
    """Print the phrases of all codes or of one layer (`S1`), or all about one code (`S1:37`), of tokenizer `name`."""
    tokenizer = open_tokenizer(name)
    if not tokenizer.glossary:
        raise ConfigError(f"the codes of {name} have no words")
    layer, code = _parse(which, tokenizer) if which else (None, None)
    if layer is not None and code is not None:
        _show_code(layer, code, entry(tokenizer, layer, code))
        return 0
    for row in tokenizer.spec.layers:
        if layer in (None, row.name):
            _show_layer(tokenizer, row.name, row.about, row.vocab)
    return 0


def _show_layer(tokenizer: Tokenizer, layer: str, about: str, vocab: int) -> None:
    """A head, and a line a code: how many frames of training chose it, how sure its name is, its phrase."""
    words = tokenizer.glossary.get(layer, {})
    said = f"{len(words)} of {vocab} codes have words" if words else f"{vocab} codes, none has words"
    print(f"{layer}  {about}: {said}")
    rows = {code: entry(tokenizer, layer, code) for code in sorted(words)}
    counted = any("count" in row for row in rows.values())
    sure = any("confidence" in row for row in rows.values())
    if counted or sure:
        print(f"{'code':<8}{'  frames' if counted else ''}{'  sure' if sure else ''}  phrase")
    for code, row in rows.items():
        count = f"{row.get('count', ''):>8}" if counted else ""
        confidence = f"{row['confidence']:>6.2f}" if "confidence" in row else " " * 6 * sure
        print(f"{f'{layer}:{code}':<8}{count}{confidence}  {row['phrase']}")


def _show_code(layer: str, code: int, row: Mapping[str, Any]) -> None:
    print(f"{f'{layer}:{code}':<8} {row.get('phrase', '(no words)')}")
    if "count" in row:
        leans = "" if row["count"] else ": the means are those of codes that say the like"
        _line("chosen by", f"{row['count']} frames of the training{leans}")
    if "confidence" in row:
        _line("confidence", f"{row['confidence']:.2f} that the name is right")
    if "closest" in row:
        kinds = sorted(row["closest"].items(), key=lambda pair: -pair[1])
        _line("closest", ", ".join(f"{kind} {share:.2f}" for kind, share in kinds))
    if "examples" in row:
        _line("examples", ", ".join(row["examples"]))
    means: dict[str, dict[str, Any]] = row.get("means", {})
    if chroma := {name.removeprefix(CHROMA): m["mean"] for name, m in means.items() if name.startswith(CHROMA)}:
        loudest = sorted(chroma.items(), key=lambda pair: -pair[1])
        _line("pitch classes", ", ".join(f"{name} {share:.0%}" for name, share in loudest if share >= CHROMA_LEAST))
    for name, m in means.items():
        if not name.startswith(CHROMA):
            _line(name.replace("_", " "), readable(name, m["mean"], m["unit"]))


def _line(label: str, text: str) -> None:
    print(f"  {label:<{LABEL_COLUMNS}} {text}")


def readable(name: str, mean: float, unit: str) -> str:
    """A descriptor's mean as a musician reads it: Hz and note names for pitch, bpm for tempo; else number and unit."""
    if unit.startswith("log2 Hz"):
        hz = 2.0**mean
        said = f"{hz / 1000:.2f} kHz" if hz >= 1000 else f"{hz:.0f} Hz"
        if name == "f0":
            said += f", near {note_near(mean)}"
        return said + _aside(unit.removeprefix("log2 Hz"))
    if unit.startswith("log2 beats per minute"):
        return f"{2.0**mean:.0f} bpm{_aside(unit.removeprefix('log2 beats per minute'))}"
    for short in ("dBFS", "dB", "octaves"):
        if unit.startswith(short):
            return f"{mean:.1f} {short}{_aside(unit.removeprefix(short))}"
    if unit.startswith("onsets per second"):
        return f"{mean:.1f} a second{_aside(unit.removeprefix('onsets per second'))}"
    return f"{mean:.2f}{_aside(unit)}"


def _aside(rest: str) -> str:
    """What a unit says beside its name, in brackets."""
    text = rest.strip(" ,").removeprefix("(").removesuffix(")") if rest.strip().startswith("(") else rest.strip(" ,")
    return f" ({text})" if text else ""


def _parse(which: str, tokenizer: Tokenizer) -> tuple[str, int | None]:
    layer, _, number = which.partition(":")
    require(tokenizer, layer)
    if not number:
        return layer, None
    if not (number.isascii() and number.isdigit()):
        raise ConfigError(f"{which!r}: the codes of {layer} are whole numbers, as in {layer}:0")
    require(tokenizer, layer, int(number))
    return layer, int(number)
