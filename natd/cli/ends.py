"""How the programs end: interrupted, or with standard output full, closed or no longer read."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading

from natd.errors import OutputError

INTERRUPTED = 130


class _Output(io.FileIO):
    """Standard output, whose failure is told apart from that of any other file."""

    def write(self, data: object, /) -> int:
        """OutputError for all but a reader who has gone."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def open_standard_files(output: int = os.O_RDWR) -> None:
    """A descriptor below 3 that is closed would become that of the next file, which lines would go into.

    `output`: how the one of standard output is opened then; with os.O_RDONLY writing there fails.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, output if number == 1 else os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115 - Python has none where it was closed
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def guard_output() -> None:
    """From now on standard output that cannot be written is an OutputError."""
    if sys.stdout is not sys.__stdout__:
        return  # somebody listens within this process
    raw = _Output(1, "w", closefd=False)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    # What a terminal cannot show is no reason to say nothing.
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "replace", line_buffering=raw.isatty())


def settle_output() -> None:
    """What could not be written is given up: Python's own flush at exit must not fail on it again."""
    try:
        sys.stdout.flush()
    except (OSError, OutputError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def interrupted() -> int:
    """The status of a program that was interrupted.

    Where a model's thread is still at work (weights that load take seconds) the process ends here: it would be inside
    a library when Python ends, which aborts the process.
    """
    if any(thread.name.startswith("engine:") for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED
