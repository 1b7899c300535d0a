"""Processes: memory and processor time, as /proc tells them, and the end of a child with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Resident memory (bytes) and processor time since the start (s, user and system)."""

    resident_bytes: int
    cpu_s: float


def usage(pid: int) -> Usage | None:
    """Of one process; None once it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After the name, which is in brackets and may hold spaces: field 3 of proc(5) comes first.
    rest = stat.rpartition(")")[2].split()
    user, system, pages = int(rest[11]), int(rest[12]), int(rest[21])
    return Usage(pages * _PAGE_BYTES, (user + system) / _TICKS_PER_S)


def children(pid: int) -> list[int]:
    """Ids of the processes that `pid` has started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except (
            FileNotFoundError,
            ProcessLookupError,
        ):  # the thread has ended meanwhile; its children have another parent
            continue
    return found


def together(pids: list[int]) -> Usage:
    """The sum over processes; those that are gone count nothing."""
    each = [u for pid in pids if (u := usage(pid)) is not None]
    return Usage(sum(u.resident_bytes for u in each), sum(u.cpu_s for u in each))


def die_with(parent: int) -> None:
    """From now on this process is killed when `parent`, which started it, ends in any way (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(0)
