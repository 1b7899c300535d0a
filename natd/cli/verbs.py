"""How a verb of `nat` is declared: its words, its help with an example, what runs it, and numbers as arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # what add_subparsers returns has no public name
else:
    Verbs = argparse._SubParsersAction
Verb = Callable[[argparse.Namespace], int]
Adds = tuple[Callable[[Verbs], None], ...]


def verb(verbs: Verbs, name: str, run: Verb, about: str, example: str) -> argparse.ArgumentParser:
    """A verb that calls `run`; its help ends with the example."""
    p = verbs.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.set_defaults(run=run)
    return p


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
