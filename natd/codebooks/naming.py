"""Short names of codes for the header: runs of codes that share a name, and products of lists; read in any language.

On the wire `legend.names` maps a layer to runs in the order of their first code:

- `[first, "name"]`: that name from code `first` to the next run (or the layer's end); "" means no name.
- `{"first": n, "form": "{}, {}", "axes": [axis, axis]}`: one code for each choice of one word an axis, the last axis
  turning fastest; the words stand in the places of the form. An axis is a list of words, or `{"lowest": 21,
  "count": 88}` for the names of so many notes from that MIDI number (A0, A#0, B0, C1, ...).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from typing import Any

from natd.errors import ModelError
from natd.wire import Layer

MAX_BYTES = 4096  # of a header's legend, as JSON
MAX_NAMES = 65_536  # that a reader expands of one layer
PLACE = "{}"
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

A4_LOG2_HZ, A4_MIDI = 8.781360, 69  # log2 of 440 Hz


@dataclass(frozen=True, slots=True)
class Notes:
    """An axis of `count` note names from MIDI number `lowest` (0 is C-1) upwards."""

    lowest: int
    count: int


@dataclass(frozen=True, slots=True)
class Name:
    """All codes from `first` to the next run have this name; "" for codes without one."""

    first: int
    name: str


@dataclass(frozen=True, slots=True)
class Product:
    """The codes from `first` on are the choices of one word an axis, the last axis fastest, put into `form`."""

    first: int
    form: str
    axes: tuple[tuple[str, ...] | Notes, ...]

    @property
    def count(self) -> int:
        """How many codes it names."""
        return prod(axis.count if isinstance(axis, Notes) else len(axis) for axis in self.axes)


Run = Name | Product


def note(midi: int) -> str:
    """69 -> A4."""
    return f"{PITCH_CLASSES[midi % 12]}{midi // 12 - 1}"


def note_near(log2_hz: float) -> str:
    """The note nearest to a frequency: log2 of 446 -> A4."""
    return note(round(A4_MIDI + 12 * (log2_hz - A4_LOG2_HZ)))


def expand(runs: Sequence[Run], size: int) -> dict[int, str]:
    """Code -> name of the first `MAX_NAMES` codes of a layer of `size`; ModelError where `check` finds a fault."""
    check(runs, size)
    ends = [run.first for run in runs[1:]] + [size]
    named: dict[int, str] = {}
    for run, end in zip(runs, ends, strict=False):
        named.update((code, name) for code, name in _names(run, min(end, MAX_NAMES)) if name)
    return named


def check(runs: Sequence[Run], size: int) -> None:
    """ModelError where runs overlap, leave a layer of `size` codes, or have a form that is not theirs."""
    ends = [run.first for run in runs[1:]] + [size]
    for run, end in zip(runs, ends, strict=False):
        if not 0 <= run.first < end <= size:
            raise ModelError(f"a run of names from code {run.first} to {end} in a layer of {size} codes")
        if isinstance(run, Product) and (
            run.form.count(PLACE) != len(run.axes) or not 0 < run.count <= end - run.first
        ):
            raise ModelError(
                f"{run.form!r} with {len(run.axes)} axes names {run.count} codes from {run.first} on; "
                f"there is place for {end - run.first}"
            )


def fold(names: Mapping[int, str], size: int) -> list[Run]:
    """The runs that say `names` of a layer of `size` codes, one for each stretch of one name."""
    runs: list[Run] = []
    before = ""
    for code in range(size):
        name = names.get(code, "")
        if name != before:
            runs.append(Name(code, name))
        before = name
    return runs


def legend(names: Mapping[str, Sequence[Run]], layers: Sequence[Layer]) -> dict[str, Any]:
    """The header's legend; {} without names. ModelError if they do not fit the layers, or in `MAX_BYTES`."""
    sizes = {layer.name: layer.vocab for layer in layers}
    if unknown := sorted(set(names) - set(sizes)):
        raise ModelError(f"names of layers that there are not: {', '.join(unknown)}")
    for layer, runs in names.items():
        check(runs, sizes[layer])
    body = {"names": {layer: [_written(run) for run in runs] for layer, runs in names.items() if runs}}
    if not body["names"]:
        return {}
    size = names_bytes(body)
    if size > MAX_BYTES:
        raise ModelError(f"the names of the codes take {size} bytes in the header; at most {MAX_BYTES} may be used")
    return body


def names_bytes(body: Mapping[str, Any]) -> int:
    """Bytes of a legend as it stands in the header."""
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def read(header: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Layer -> code -> name as a header event says; kinds of run that this version does not know name nothing."""
    sizes = {layer["name"]: layer["vocab"] for layer in header.get("layers", [])}
    found = header.get("legend", {}).get("names", {})
    return {layer: _read(runs, min(sizes[layer], MAX_NAMES)) for layer, runs in found.items() if layer in sizes}


def _read(written: Sequence[Any], size: int) -> dict[int, str]:
    named: dict[int, str] = {}
    firsts = [run["first"] if isinstance(run, dict) else run[0] for run in written]
    for raw, first, end in zip(written, firsts, [*firsts[1:], size], strict=True):
        run = Name(first, raw[1]) if isinstance(raw, list) else _product(raw)
        if run is not None:
            named.update((code, name) for code, name in _names(run, min(end, size)) if name)
    return named


def _product(raw: Mapping[str, Any]) -> Product | None:
    axes: list[tuple[str, ...] | Notes] = []
    for axis in raw.get("axes", [None]):
        if isinstance(axis, list):
            axes.append(tuple(axis))
        elif isinstance(axis, dict) and axis.keys() == {"lowest", "count"}:
            axes.append(Notes(axis["lowest"], min(axis["count"], MAX_NAMES)))
        else:
            return None
    return Product(raw["first"], raw["form"], tuple(axes)) if "form" in raw else None


def _names(run: Run, end: int) -> Iterator[tuple[int, str]]:
    """Code and name, for the codes from the run's first to before `end`."""
    if isinstance(run, Name):
        return ((code, run.name) for code in range(run.first, end))
    head, *parts = run.form.split(PLACE)
    words = [tuple(map(note, range(a.lowest, a.lowest + a.count))) if isinstance(a, Notes) else a for a in run.axes]
    # product() holds its axes; islice ends what a false header would make endless.
    chosen = islice(product(*words), max(0, end - run.first))
    said = (head + "".join(word + part for word, part in zip(choice, parts, strict=False)) for choice in chosen)
    return zip(range(run.first, end), said, strict=False)


def _written(run: Run) -> list[Any] | dict[str, Any]:
    if isinstance(run, Name):
        return [run.first, run.name]
    axes = [{"lowest": a.lowest, "count": a.count} if isinstance(a, Notes) else list(a) for a in run.axes]
    return {"first": run.first, "form": run.form, "axes": axes}
