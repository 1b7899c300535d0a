"""A process for each tokenizer: it gives its memory back, and is ended with the command."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tests.benchmarks.parity import cases
from tests.benchmarks.parity.run import Result


def apart(name: str, paths: Sequence[Path], seconds: float) -> list[Result]:
    """The lines of one tokenizer; none if it could not be compared."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(name, paths, seconds, its), daemon=True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the process inherits: it is ended here
    process.start()
    signal.signal(signal.SIGINT, before)
    its.close()
    try:
        found: list[Result] = ours.recv()
        return found
    except EOFError:
        return []
    finally:
        process.terminate()
        process.join()


def _measure(name: str, paths: Sequence[Path], seconds: float, out: Connection) -> None:
    out.send(cases.measure(name, paths, seconds))
