"""Files that are written beside what they replace, so that a failure takes nothing away."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from natd.errors import OutputError


@contextmanager
def beside(output: Path) -> Iterator[Path]:
    """Where to write what is to become `output`: a file in its folder, which takes its place if all goes well.

    Else `output` stays as it is, and nothing is left beside it. What is no regular file (a device, a pipe) is written
    itself. OutputError where it cannot be written.
    """
    if output.exists() and not output.is_file():
        yield output
        return
    target = output.resolve()  # a link stays a link
    place = target.with_name(f".nat-{secrets.token_hex(8)}.part")
    with _told(output):
        if target.exists():
            target.open("ab").close()  # what may not be written is not replaced either
        place.touch(exist_ok=False)
    try:
        with _told(output):
            if target.exists():
                shutil.copymode(target, place)
        yield place
        with _told(output):
            os.replace(place, target)
    finally:
        place.unlink(missing_ok=True)


@contextmanager
def _told(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}") from error
