"""A recorded stream, opened and read: its lines, of bounded length, and its events with the lines they stand in."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from natd.errors import SourceError, WireError
from natd.wire import MAX_LINE, Event, decode


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


def is_cut(line: bytes) -> bool:
    """Whether a recording was cut off within this line: power was lost, or it is still being written."""
    if line.endswith(b"\n") or len(line) > MAX_LINE:
        return False
    try:
        decode(line)
    except WireError:
        return True
    return False


def events(name: str, file: BinaryIO) -> Iterator[tuple[int, bytes, Event | None]]:
    """(line number, line, its event or None if unknown) of the recording `name`; WireError says which line is wrong.

    A recording that was cut off within a line ends before that line; standard error says so.
    """
    for number, line in enumerate(lines(file), 1):
        if number > 1 and is_cut(line):
            print(f"nat: {name}: cut off within line {number}, which is left out", file=sys.stderr)
            return
        try:
            event = decode(line)
        except WireError as error:
            raise WireError(f"{name}: line {number}: {error}") from error
        yield number, line, event
