"""A recorded stream, opened and read: its lines, of bounded length, and its events with the lines they stand in."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from natd.errors import SourceError, WireError
from natd.wire import MAX_LINE, Event, Header, decode


@contextmanager
def opened(file: str) -> Iterator[io.BufferedReader]:
    """The bytes of `file` (- is standard input); SourceError if it cannot be opened."""
    if file == "-":
        yield cast(io.BufferedReader, sys.stdin.buffer)
        return
    try:
        found = open(file, "rb")
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror}") from error
    with found:
        yield found


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their LF; one that is too long comes in pieces, so that a file without any LF is never read whole."""
    while line := file.readline(MAX_LINE + 2):
        yield line


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and its event (None: unknown to this version) or why it is none.

    `cut`: the recording was cut off within this line: power was lost, or it is still being written. A writer that
    goes on in such a file ends the line, and begins an epoch of its own.
    """

    number: int
    data: bytes
    event: Event | None
    fault: WireError | None = None
    cut: bool = False


def read(file: BinaryIO) -> Iterator[Line]:
    """Every line of a recording, each as soon as it is there unless it is wrong."""
    numbered = enumerate(lines(file), 1)
    this = next(numbered, None)
    while this is not None:
        number, data = this
        event, fault = _decoded(data)
        if fault is None:
            yield Line(number, data, event)
            this = next(numbered, None)
            continue
        this = next(numbered, None)
        if this is None:
            cut = not data.endswith(b"\n") and len(data) <= MAX_LINE
        else:
            cut = isinstance(_decoded(this[1])[0], Header)
        yield Line(number, data, None, fault, cut and number > 1)


def _decoded(line: bytes) -> tuple[Event | None, WireError | None]:
    try:
        return decode(line), None
    except WireError as error:
        return None, error


def events(name: str, file: BinaryIO) -> Iterator[tuple[int, bytes, Event | None]]:
    """(line number, line, its event or None if unknown) of the recording `name`; WireError says which line is wrong.

    A line within which it was cut off is left out; standard error says so.
    """
    for line in read(file):
        if line.cut:
            print(f"nat: {name}: cut off within line {line.number}, which is left out", file=sys.stderr)
        elif line.fault is not None:
            raise WireError(f"{name}: line {line.number}: {line.fault}") from line.fault
        yield line.number, line.data, line.event
