"""The picture of `nat eval tokenizer`: is a confidence how often it is right, and what is right of the surest."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from natd.errors import ConfigError, OutputError

SIDE_IN, DPI = 4.6, 150
CURE = "the picture needs matplotlib: pip install 'natd[plot]'"


def check(path: Path) -> None:
    """ConfigError if no picture can be drawn here, OutputError if there is no folder for it."""
    _figures()
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: the picture is a PNG, so its name ends in .png")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.absolute().parent}")


def draw(result: dict[str, Any], path: Path) -> None:
    """Two panels a layer from the `curves` of an evaluation; ConfigError where its codes are not called kinds."""
    curves = result["curves"]
    if not curves:
        raise ConfigError(f"{path} was not drawn: the codes of {result['tokenizer']['name']} are not called kinds")
    figure = _figures().Figure(figsize=(2 * SIDE_IN, SIDE_IN * len(curves)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(curves), 2, squeeze=False)
    for (left, right), (layer, parts) in zip(panels, curves.items(), strict=True):
        _reliability(left, layer, parts["reliability"])
        _coverage(right, layer, parts["coverage"])
    about = result["tokenizer"]
    figure.suptitle(f"{about['name']} {about['version']}, {result['clips']['scored']} recordings not learned from")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _reliability(panel: Any, layer: str, points: list[list[float]]) -> None:
    """Share right over confidence, each bin as large as its share of the frames."""
    panel.plot((0, 1), (0, 1), color="0.6", linewidth=1, label="as sure as right")
    confidence, right, share = zip(*points, strict=True) if points else ((), (), ())
    panel.plot(confidence, right, color="C0", linewidth=1)
    panel.scatter(confidence, right, s=[400 * part for part in share], color="C0", label="tenths of the frames")
    panel.set(xlabel="share of the name among what chose the code", ylabel="share of frames of which it is right")
    _finish(panel, f"{layer}: confidence and truth")


def _coverage(panel: Any, layer: str, points: list[list[float]]) -> None:
    """Share right over the share of frames that are answered, the surest first."""
    if points:
        panel.plot(*zip(*points, strict=True), color="C1")
    panel.set(
        xlabel="share of frames answered, the most confident first", ylabel="share of answers whose kind is right"
    )
    _finish(panel, f"{layer}: accuracy by coverage")


def _finish(panel: Any, title: str) -> None:
    panel.set(xlim=(0, 1), ylim=(0, 1.02), title=title, aspect="equal")
    panel.grid(alpha=0.3)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc="upper left")


def _figures() -> Any:
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ConfigError(CURE) from error
