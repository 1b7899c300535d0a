"""`nat eval tokenizer`: the figures as one table, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from natd.errors import OutputError
from natd.evaluation.evaluate import evaluate
from natd.offline import picture

NULLS = ("shuffled", "noise", "silence")


def evaluate_tokenizer(name: str, audio_dir: Path, seed: int, out: Path | None, plot: Path | None = None) -> int:
    """Table on standard output, how it goes on standard error, the same figures in `out`, a picture in `plot`."""
    if plot is not None:
        picture.check(plot)  # minutes before it is drawn
    if out is not None and not out.absolute().parent.is_dir():
        raise OutputError(f"{out}: there is no folder {out.absolute().parent}")
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    result = evaluate(name, audio_dir, seed, progress)
    if out is not None:
        try:
            out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}") from error
    show(result)
    if plot is not None:
        picture.draw(result, plot)
    progress("done")
    return 0


def show(result: dict[str, Any]) -> None:
    """One table; a dash is what was not measured, and the remark says why."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 170  # a pipe has no width; lines must not be folded at 80
    about = result["tokenizer"]
    clips = result["clips"]
    table = Table(
        title=f"{about['name']} {about['version']}, {about['codebook_id'][:19]}; learned from {clips['learned']} "
        f"clips, scored on {clips['scored']} others, seed {result['seed']}"
    )
    table.add_column("figure", no_wrap=True)
    table.add_column("of", no_wrap=True)
    for column in ("value", "95 % interval", *NULLS, "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("remark")
    before: dict[str, Any] | None = None
    for line in result["rows"]:
        if before is not None and line["part"] != before["part"]:
            table.add_section()
        table.add_row(*_cells(line, before["figure"] if before else None))
        before = line
    console.print(table)


def _cells(line: dict[str, Any], before: str | None) -> list[str]:
    interval = "-" if line["low"] is None else f"{_number(line['low'])} .. {_number(line['high'])}"
    nulls = [_number(line["nulls"].get(name)) for name in NULLS]
    figure = "" if line["figure"] == before else line["figure"]
    return [
        figure, line["of"], _number(line["value"]), interval, *nulls, str(line["n"] or "-"), line["unit"], line["note"],
    ]  # fmt: skip


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
