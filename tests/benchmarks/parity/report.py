"""The table as people read it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from rich.table import Table

from tests.benchmarks.parity.run import Result

COLUMNS = (
    "tokenizer, against", "s", "frames", "codes equal, %", "first other code", "other codes", "latents", "0.1 % away",
    "sound", "alone == 2/7/32", "chunked == whole",
)  # fmt: skip
GROUPS = 5  # more runs of layers than that are told by the first, the last and the worst


def table(results: Sequence[Result]) -> Table:
    """A line for each."""
    out = Table(*COLUMNS, title="natd beside its authors' programs", title_justify="left", show_lines=True)
    for one in results:
        name = f"{one.name}\n{one.against}" + (f"\n{one.note}" if one.note else "")
        out.add_row(
            name, f"{one.seconds:.1f}", str(one.frames), shares(one.layers), _where(one), _others(one),
            _number(one.latent), _altered(one.moved),
            _sound(one), _all(one.company), _all(one.chunks),
        )  # fmt: skip
    return out


def shares(layers: Mapping[str, float]) -> str:
    """`S0 100, A0-A6 99.88`: layers of the same share together."""
    runs = [(share, list(names)) for share, names in itertools.groupby(layers, key=lambda name: _share(layers[name]))]
    if len(runs) > GROUPS:
        worst = min(layers, key=lambda name: layers[name])
        rest = list(layers)[len(runs[0][1]) :]
        mean = sum(layers[name] for name in rest) / len(rest)
        said = f"; {_span(rest)} {_share(mean)} on average, least {worst} {_share(layers[worst])}"
        return f"{_span(runs[0][1])} {runs[0][0]}{said}"
    return ", ".join(f"{_span(names)} {share}" for share, names in runs)


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"


def _share(value: float) -> str:
    return "100" if value == 100 else f"{min(value, 99.99):.2f}"


def _where(one: Result) -> str:
    first = one.first
    if first is None:
        return "none"
    if "said" in first:
        return str(first["said"])
    if not one.judged:
        return f"frame {first['frame']} ({first['seconds']} s), {first['layer']}"
    tie = "near tie" if first["near_tie"] else "NOT a near tie"
    return (
        f"frame {first['frame']} ({first['seconds']} s), {first['layer']}: "
        f"gap {first['gap']:.0e} of the distance, float32 tells {first['float32']:.0e}: {tie}"
    )


def _others(one: Result) -> str:
    if not one.judged:
        return f"{one.ties + one.beyond}, as defined"
    if one.worst is None or "said" in one.worst:
        return str(one.ties + one.beyond) if one.worst is None else str(one.worst["said"])
    beyond = f", {one.beyond} NOT" if one.beyond else ""
    return f"{one.ties} near ties{beyond}; widest gap {one.worst['gap']:.0e} of {one.worst['float32']:.0e}"


def _altered(moved: float | None) -> str:
    return "" if moved is None else f"{moved:.1f} % of codes other"


def _sound(one: Result) -> str:
    peak = "" if one.peak is None or one.sound == 0 else f" (peak {one.peak:.2g})"
    return _number(one.sound) + peak


def _number(value: float | None) -> str:
    return "" if value is None else "same bits" if value == 0 else f"{value:.0e}"


def _all(found: Mapping[str, bool]) -> str:
    wrong = [label for label, same in found.items() if not same]
    if not found:
        return ""
    return f"NOT {', '.join(wrong)}" if wrong else f"every bit: {', '.join(found)}"
