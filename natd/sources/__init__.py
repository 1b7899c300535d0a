"""Where samples come from: one file per source, all of them an async context manager that iterates `SourceEvent`s."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Protocol, Self

from natd.audio.chunks import Format, SourceEvent


class Source(Protocol):
    """One origin of samples.

    `live` sources cannot wait (a slow reader loses the oldest audio, declared); others are read at the reader's pace.
    `format` is valid after `__aenter__`. `counters` are monotonic; each key is declared in `natd.metrics`.
    """

    @property
    def kind(self) -> str:
        """`device`, `zeromq`, `file`, `stdin` or `demo`."""

    @property
    def name(self) -> str:
        """Which of its kind: a card, a path, an endpoint."""

    @property
    def live(self) -> bool:
        """Whether audio is lost when nobody reads."""

    @property
    def timed(self) -> bool:
        """Whether samples come when they would be heard, so that a time since their capture means something."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was lost, refused and repeated so far."""

    @property
    def format(self) -> Format:
        """Rate and channels now delivered."""

    @property
    def state(self) -> str:
        """`live` while audio arrives, `starved` while the origin is absent."""

    @property
    def drift_ppm(self) -> float | None:
        """The source's clock against this machine's monotonic clock, parts per million; None until measured."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Events in order, without holes: every missing sample is inside a `Loss`; the last event is an `End`."""
