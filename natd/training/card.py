"""The card of `ears`: what it was fitted on and by whose leave, how large it is, what it hears and what it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from natd.training.recordings import Clip


def write(figures: dict[str, Any], clips: list[Clip], audio_dir: Path) -> str:
    """The card as Markdown."""
    return f"# ears\n\n{len(clips)} recordings\n\n```\n{figures}\n```\n"
