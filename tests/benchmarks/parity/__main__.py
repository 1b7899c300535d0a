"""Parity with the authors' programs: `python -m tests.benchmarks.parity [NAMES ...] [--seconds 65] [--audio DIR]`.

Every tokenizer of others, at its published shape over seeded random weights, beside the program of its authors (or
transformers) on the same sound: how many codes are equal, and where one is not, whether float32 can tell the two
candidates apart. The sound that both decode is compared too. Then what a stream must not depend on. Takes about two
hours on one core; NAMES take less. The status is 1 if anything differs by more than rounding.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.benchmarks.parity import audio, cases, report
from tests.benchmarks.parity.apart import apart
from tests.benchmarks.parity.run import Result

LEAST_S = 5.0  # below which there is too little to draw codebooks from
PAPER = 200  # columns where there is no terminal


def main(arguments: Sequence[str]) -> int:
    asked = _parser().parse_args(arguments)
    names = cases.chosen(asked.names)
    paths = audio.found(asked.audio)
    if asked.audio is not None and not paths:
        raise SystemExit(f"there are no recordings in {asked.audio}")
    if asked.seconds < LEAST_S:
        raise SystemExit(f"--seconds {asked.seconds:g}: {LEAST_S:g} are the least")
    if not paths:
        told = "no recordings (set NATD_SHARED, or give --audio DIR)"
        print(f"{told}: sound made here, which is no proof for real sound", file=sys.stderr)
    results: list[Result] = []
    failed = []
    try:
        for name in names:
            found = apart(name, paths, asked.seconds)
            failed += [] if found else [name]
            results += found
    except KeyboardInterrupt:
        failed.append("interrupted")
    if sys.stderr.isatty():
        print(file=sys.stderr)  # below the line of progress
    if asked.json:
        print(json.dumps([asdict(one) | {"ok": one.ok} for one in results], indent=1))
    elif results:
        Console(width=None if sys.stdout.isatty() else PAPER).print(report.table(results))
    if "interrupted" in failed:
        print("interrupted: what is above is not all", file=sys.stderr)
        return 130
    for name in failed:
        print(f"{name} could not be compared", file=sys.stderr)
    return 0 if not failed and all(one.ok for one in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.parity", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(cases.NAMES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=65.0, help="of sound (default 65)")
    parser.add_argument("--audio", type=Path, help="folder of recordings (default: those under $NATD_SHARED/audio)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON, not a table")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
