"""How the programs end when they are interrupted."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

INTERRUPTED = 130


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
