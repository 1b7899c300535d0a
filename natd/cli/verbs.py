"""How a verb of `nat` is declared: its words, its help with an example, what runs it, and numbers as arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from natd.endpoints import check_endpoint

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # what add_subparsers returns has no public name
else:
    Verbs = argparse._SubParsersAction
MOST, MOST_THREADS = 2**31 - 1, 1024
Verb = Callable[[argparse.Namespace], int]
Adds = tuple[Callable[[Verbs], None], ...]


def verb(
    verbs: Verbs, name: str, run: Verb, about: str, example: str, with_torch: bool = True
) -> argparse.ArgumentParser:
    """A verb that calls `run`, which needs torch or does not; its help ends with the example."""
    p = verbs.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.set_defaults(run=run, with_torch=with_torch)
    return p


def add_tokenizer(p: argparse.ArgumentParser, about: str = "tokenizer", default: str | None = None) -> None:
    """`--tokenizer`, or `--semantic` and `--acoustic` for a hybrid of two."""
    p.add_argument("--tokenizer", metavar="NAME", help=f"{about} (default: ears)")
    p.set_defaults(tokenizer_unless_given=default)
    p.add_argument("--semantic", metavar="NAME", help="take the semantic layers from this tokenizer, e.g. hubert ...")
    p.add_argument("--acoustic", metavar="NAME", help="... and the acoustic ones from this, e.g. soundstream")


def join_tokenizers(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Of `--semantic A --acoustic B` make `--tokenizer A+B`; an error of usage if one of the two is missing."""
    pair = (vars(args).pop("semantic", None), vars(args).pop("acoustic", None))
    default = vars(args).pop("tokenizer_unless_given", None)
    if any(pair) and args.tokenizer is not None:
        p.error("--tokenizer is one tokenizer, --semantic and --acoustic are two: give one or the other")
    if all(pair):
        args.tokenizer = "+".join(pair)
    elif any(pair):
        p.error("--semantic and --acoustic belong together")
    elif default is not None and args.tokenizer is None:
        args.tokenizer = default


def count(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, MOST)


def threads(text: str) -> int:
    """A number of threads."""
    return _whole(text, 1, MOST_THREADS)


def seed(text: str) -> int:
    """What random numbers are drawn from."""
    return _whole(text, 0, MOST)


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from {least} to {most}")
    return int(text)


def endpoint(text: str) -> str:
    """A ZeroMQ address to connect to."""
    try:
        return check_endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
