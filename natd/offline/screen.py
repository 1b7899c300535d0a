"""How a `Following` looks: one picture for a terminal, one line a change for everything else."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from natd.llm.follow import Change, Codes, Following

STATE_STYLES = {"live": "bold green", "starved": "bold yellow", "degraded": "bold yellow", "draining": "bold blue"}
CHANGE_STYLES = {"words": "default", "gap": "bold red", "loss": "bold red", "error": "bold red"}
QUIETEST_DBFS = -60.0  # left end of the meter
LOUD_DBFS, CLIP_DBFS = -12.0, -1.0  # where the meter turns yellow, and red
NAME_COLUMNS = 10
GOLDEN = 0.618034  # neighbouring codes get hues far apart


class Screen:
    """The picture of a view as wide and as high as the console that draws it."""

    def __init__(self, view: Following) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, layers with their past, meter, figures, and what happened last."""
        view, width = self._view, options.max_width
        above: list[RenderableType] = [
            _title(view, width),
            Text(),
            *_layers(view, width),
            _level(view, width),
            *_figures(view),
            Text(),
        ]
        room = max(3, (options.height or console.height) - len(above) - 1)
        below = [describe(view, change, width) for change in list(view.changes)[-room:]]
        yield Group(*above, *reversed(below))


def describe(view: Following, change: Change, width: int | None = None) -> Text:
    """One line: wall time, stream time, what happened."""
    style = CHANGE_STYLES.get(change.kind, "cyan")
    line = Text(no_wrap=True, overflow="ellipsis" if width else "ignore")
    line.append(f"{_wall(view, change.ts)} {_length(change.ts):>11}  ", "dim")
    if change.kind in ("gap", "loss", "end", "error", "format"):
        line.append(f"{change.kind.upper()} ", style)
    line.append(change.text, style)
    return line


def summary(view: Following) -> str:
    """State, level, latency and losses in one plain line."""
    latency, level = view.latency_ms(), view.level
    parts = [
        f"{_wall(view, view.ts)} {_length(view.ts):>11}  [{view.state}]",
        f"level {level['rms']:.1f} dBFS, peak {level['peak']:.1f}" if level else "level -",
        f"latency p50 {latency[0]:.1f} ms, p99 {latency[1]:.1f} ms" if latency else "latency -",
        f"gaps {view.gaps} ({view.gap_frames} frames)",
        f"lost {view.lost_events}",
    ]
    if view.drift_ppm is not None:
        parts.append(f"drift {view.drift_ppm:+.1f} ppm")
    return ", ".join(parts)


def _title(view: Following, width: int) -> Table:
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(justify="right", no_wrap=True)
    left = Text.assemble((f"● {view.state}", STATE_STYLES.get(view.state, "bold red")), "  ")
    if view.header:
        heard = view.header["input"]
        left.append(view.header["stream"], "bold")
        left.append(f"  {heard['source']} {heard['name']} · {heard['rate']} Hz × {heard['channels']}", "dim")
        left.append(f" · {view.header['tokenizer']['name']}", "dim")
    row.add_row(left, Text.assemble((_length(view.ts), "bold"), (f"  {_wall(view, view.ts)}", "dim")))
    return row


def _layers(view: Following, width: int) -> list[Text]:
    """Two lines a layer: what it says now, and the colours of its past."""
    lines: list[Text] = []
    for i, layer in enumerate(view.layers):
        word = view.words.get(layer.name)
        held_s = 0.0 if word is None else max(0.0, view.ts - word.since_ms) / 1000
        said, held = (word.text, f"{held_s:6.1f} s") if word else ("-", "")
        room = max(8, width - NAME_COLUMNS - len(held) - 1)
        line = Text(no_wrap=True, overflow="crop")
        line.append(f"{layer.about[: NAME_COLUMNS - 1]:<{NAME_COLUMNS}}", "bold cyan")
        text = Text(said, _colour(word.codes) if word else "dim", no_wrap=True)
        text.truncate(room, overflow="ellipsis", pad=True)
        lines.append(line.append_text(text).append(f" {held}", "dim"))
        past = [codes[i] for codes in view.ribbon if i < len(codes)]
        lines.append(Text(" " * NAME_COLUMNS).append_text(_ribbon(past[-max(1, width - NAME_COLUMNS) :])))
    return [*lines, Text()]


def _ribbon(past: Sequence[Codes | None]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for codes, run in groupby(past):
        cell, style = ("×", "bold red") if codes is None else ("▄", _colour(codes))
        text.append(cell * len(list(run)), style)
    return text


def _colour(codes: Codes) -> str:
    """One colour for the same codes, wherever they come again."""
    mixed = sum(code * 31**i for i, code in enumerate(codes))
    red, green, blue = colorsys.hls_to_rgb(mixed * GOLDEN % 1.0, 0.62, 0.6)
    return f"rgb({round(red * 255)},{round(green * 255)},{round(blue * 255)})"


def _level(view: Following, width: int) -> Text:
    line = Text(no_wrap=True, overflow="crop").append(f"{'level':<{NAME_COLUMNS}}", "bold cyan")
    if view.level is None:
        return line.append("not heard yet", "dim")
    rms, peak = view.level["rms"], view.level["peak"]
    cells = max(10, min(60, width - NAME_COLUMNS - 36))
    filled, mark = _cell(rms, cells), min(cells - 1, _cell(peak, cells))
    for i in range(cells):
        dbfs = QUIETEST_DBFS * (1 - i / cells)
        style = "red" if dbfs >= CLIP_DBFS else "yellow" if dbfs >= LOUD_DBFS else "green"
        line.append("┃" if i == mark else "━" if i < filled else "─", style if i <= max(filled - 1, mark) else "dim")
    line.append(f"  {rms:6.1f} dBFS")
    return line.append(f"  peak {peak:6.1f}", "bold red" if peak >= CLIP_DBFS else "dim")


def _cell(dbfs: float, cells: int) -> int:
    return round(cells * min(1.0, max(0.0, 1 - dbfs / QUIETEST_DBFS)))


def _figures(view: Following) -> list[Text]:
    latency = view.latency_ms()
    times = Text(no_wrap=True, overflow="ellipsis").append(f"{'latency':<{NAME_COLUMNS}}", "bold cyan")
    times.append(f"p50 {latency[0]:.1f} ms  p99 {latency[1]:.1f} ms" if latency else "not measured")
    if view.drift_ppm is not None:
        times.append(f"    drift {view.drift_ppm:+.1f} ppm", "dim")
    if view.stats.get("rtf") is not None:
        times.append(f"    encoder busy {view.stats['rtf'] * 100:.1f} %", "dim")
    counts = Text(no_wrap=True, overflow="ellipsis").append(f"{'frames':<{NAME_COLUMNS}}", "bold cyan")
    counts.append(f"{view.frames:,}".replace(",", " "))
    for name, count in (("gaps", view.gaps), ("frames in gaps", view.gap_frames), ("lost", view.lost_events)):
        counts.append(f"    {name} {count}", "bold red" if count else "dim")
    return [times, counts]


def _length(ts: float) -> str:
    seconds, ms = divmod(round(ts), 1000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms // 100}"


def _wall(view: Following, ts: float) -> str:
    ns = view.unix_ns(ts)
    return "--:--:--.-" if ns is None else f"{datetime.fromtimestamp(ns / 1e9):%H:%M:%S.%f}"[:10]
