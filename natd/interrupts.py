"""When an interrupt is heard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[None]:
    """An interrupt that comes meanwhile is heard afterwards: a library in the middle of its start loses it or breaks.

    Processes and threads that are started meanwhile never hear one.
    """
    with _remembered():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _remembered() -> Iterator[None]:
    """An interrupt is raised once, afterwards, also if a thread of a library, which masks none, takes it meanwhile."""
    heard_by = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(heard_by):
        yield  # Python runs handlers in its main thread alone; without one there is nothing to raise
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard_by)
        if heard:
            signal.raise_signal(signal.SIGINT)
