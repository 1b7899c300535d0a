"""Work in a process of its own, that ends with the wait for it, and with the process that waits."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar, cast

from natd.errors import NatdError
from natd.interrupts import interrupts_held
from natd.procfs import die_with

P = ParamSpec("P")
T = TypeVar("T")


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives in a process of its own, or its NatdError; any other error it prints itself.

    That process hears no interrupts. An exception here ends it, and what it left in its temporary folder goes.
    """
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # which would let signals through
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(os.getpid(), theirs, folder, work, args, kwargs), daemon=True)
        try:
            with interrupts_held():  # as they are in the process that begins here
                process.start()
                theirs.close()
            result, error = ours.recv()
        except EOFError:
            process.join()
            raise NatdError(f"a process of its own ended with status {process.exitcode} and said nothing") from None
        finally:
            ours.close()
            if process.pid is not None:
                process.kill()
                process.join()
    if error is not None:
        raise error
    return cast(T, result)


def _run(
    parent: int, out: Connection, folder: str, work: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    die_with(parent)
    tempfile.tempdir = folder
    try:
        out.send((work(*args, **kwargs), None))
    except NatdError as error:
        out.send((None, error))
