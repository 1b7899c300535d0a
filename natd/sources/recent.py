"""The latest audio of a live source between its thread and the loop: full, it drops the oldest and declares it."""

from __future__ import annotations

import threading
from collections import deque

from natd.audio.chunks import Block, Format, FormatChange, Loss, SourceEvent

LIMIT_NS = 2_000_000_000
LIMIT_EVENTS = 4096  # a producer of very short messages reaches this first


class Recent:
    """Source events in order, at most 2 s (`LIMIT_NS`) of audio and `LIMIT_EVENTS` of them; begins in `format`.

    The oldest blocks make room: they become one Loss "overrun", merged with the losses beside them. A format that has
    lost all its samples disappears into the `lost_s` of the next.
    """

    def __init__(self, format: Format) -> None:
        self.counters = {"overruns": 0, "overrun_samples": 0}
        self._events: deque[SourceEvent] = deque()
        self._lock = threading.Lock()
        self._put_rate = self._taken_rate = format.rate  # of the newest and of the oldest event
        self._waiting_ns = 0

    def put(self, event: SourceEvent) -> None:
        """Append one event; never waits for the reader. In the thread."""
        with self._lock:
            if isinstance(event, FormatChange):
                self._put_rate = event.format.rate
            elif isinstance(event, Block):
                self._waiting_ns += _ns(event, self._put_rate)
            self._events.append(event)
            while self._waiting_ns > LIMIT_NS or len(self._events) > LIMIT_EVENTS:
                self._drop_oldest()

    def take(self) -> SourceEvent | None:
        """The oldest event; None if there is none. In the loop."""
        with self._lock:
            if not self._events:
                return None
            event = self._events.popleft()
            if isinstance(event, FormatChange):
                self._taken_rate = event.format.rate
            elif isinstance(event, Block):
                self._waiting_ns -= _ns(event, self._taken_rate)
            return event

    def _drop_oldest(self) -> None:
        head: list[SourceEvent] = []
        rate = self._taken_rate
        while not isinstance(event := self._events.popleft(), Block):
            rate = event.format.rate if isinstance(event, FormatChange) else rate
            _fold(head, event)
        count = len(event.samples)
        if not (head and isinstance(head[-1], Loss) and head[-1].cause == "overrun"):
            self.counters["overruns"] += 1
        self.counters["overrun_samples"] += count
        self._waiting_ns -= _ns(event, rate)
        _fold(head, Loss(event.first, count, "overrun"))
        while self._events and not isinstance(self._events[0], Block):
            _fold(head, self._events.popleft())
        self._events.extendleft(reversed(head))


def _ns(block: Block, rate: int) -> int:
    return len(block.samples) * 1_000_000_000 // rate


def _fold(head: list[SourceEvent], event: SourceEvent) -> None:
    """Append to a head without blocks; it never holds more than a loss, a format change and a loss."""
    before = head[-1] if head else None
    if isinstance(event, Loss) and isinstance(before, Loss):
        cause = "overrun" if "overrun" in (before.cause, event.cause) else before.cause
        head[-1] = Loss(before.first, before.count + event.count, cause)
        return
    change = head[-2] if isinstance(before, Loss) and len(head) > 1 else before
    if isinstance(event, FormatChange) and isinstance(change, FormatChange):
        lost_s = change.lost_s + (before.count / change.format.rate if isinstance(before, Loss) else 0.0)
        del head[head.index(change) :]
        event = FormatChange(event.format, event.lost_s + lost_s)
    head.append(event)
