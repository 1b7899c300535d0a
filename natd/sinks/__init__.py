"""Where events go: one file per sink, all of them an async context manager fed with events and their lines."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from natd.wire import Event


class Sink(Protocol):
    """One way out of the daemon; its lifetime is `async with`, its exit sends what is still queued within a deadline.

    A stream's events come in order: header, then gloss, frame, gap, format, hb and stats, then end; a new header
    begins the next epoch. `counters` are monotonic; each key is declared in `natd.metrics`.
    """

    @property
    def counters(self) -> Mapping[str, int]:
        """What this sink sent, dropped and refused so far."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Take one event; `line` is `wire.encode(event)`. Called on the event loop; never blocks, never raises."""

    async def drain(self) -> None:
        """Return once there is room again; at once in a sink that may drop, since live audio never waits."""
