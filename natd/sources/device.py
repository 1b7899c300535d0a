"""A sound card: blocks from the capture process, its losses found by counting, its returns awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from natd.audio.chunks import Block, Format, FormatChange, Loss, SourceEvent
from natd.audio.ring import XRUN, Announcement, Shape
from natd.clock import DriftEstimator
from natd.errors import SourceError
from natd.sources.child import CaptureChild, list_devices
from natd.sources.lag import LagWatch
from natd.sources.names import DeviceInfo, Selector

__all__ = ["DeviceInfo", "DeviceSource", "list_devices"]

OPEN_S = 5.0  # PortAudio hangs in opening while a sound server does
WATCHDOG_S = 1.0
WATCHDOG_BLOCKS = 20
SETTLE_NS = 250_000_000  # the first callbacks come late by chance; a gap's length is fixed by the earliest of these
BACKOFF_S, BACKOFF_MOST_S = 0.25, 5.0
_TICK_S = 0.25
_FATAL = ("no_portaudio", "ambiguous", "bad_format")  # at the start; later even these are waited out

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """One capture process from its first block on; it counts its samples from 0."""

    lag: LagWatch
    base: int = 0  # source sample number of its sample 0
    next: int = 0  # its sample expected next
    begun: bool = False  # its place on the source's axis is fixed
    held: list[tuple[Announcement, int]] = field(
        default_factory=list
    )  # blocks until then, and what was lost before each
    end_ns: int = 0  # when its latest sample was there


class DeviceSource:
    """Captures `selector` (see `names.resolve`) at `rate` Hz and `channels` in blocks of `block_ms`.

    A device that goes away, hangs or is not there yet makes the source `starved`, never ends it: the capture process is
    killed and started again after 0.25 s, doubling up to 5 s, and what was missed is a Loss "device_lost". Samples that
    never came although blocks flow are a Loss "overrun" ("xrun" where the driver said so), found within 3 s. A device
    that comes back unable to deliver the format is opened in its own, declared by a FormatChange. A reader more than
    16 s late loses the oldest audio to a Loss "overrun". Nothing is queued beside the shared ring.

    Errors on entering: SourceError if PortAudio is missing, the selector is ambiguous or the format impossible.
    """

    kind = "device"
    live = True
    timed = True

    def __init__(self, selector: Selector, rate: int, channels: int, block_ms: float = 10.0) -> None:
        self.name = "default" if selector is None else str(selector)
        self.format = Format(rate, channels)
        self.state = "starved"
        self.counters = {
            "overruns": 0,
            "overrun_samples": 0,
            "xruns": 0,
            "device_lost": 0,
            "device_lost_samples": 0,
            "device_restarts": 0,
        }
        self._selector, self._block_ms = selector, block_ms
        self._attempt = self.format  # what the next child asks for
        self._next = 0  # source sample number expected next
        self._ended_ns: int | None = None  # when the last delivered sample was there; None before the first
        self._backoff_s = BACKOFF_S
        self._drift = DriftEstimator(rate)
        self._child: CaptureChild | None = None

    @property
    def drift_ppm(self) -> float | None:
        """The card's clock against the monotonic clock; None in the first half minute."""
        return self._drift.ppm

    @property
    def child_pid(self) -> int | None:
        """Of the capture process now running."""
        return None if self._child is None else self._child.pid

    async def __aenter__(self) -> Self:
        child = self._start()
        try:
            async with asyncio.timeout(OPEN_S):
                await child.changed.wait()
        except TimeoutError:
            log.warning("capture of %s: opening hangs", self.name)
        except asyncio.CancelledError:
            await self._drop()
            raise
        if child.error in _FATAL:
            await self._drop()
            raise SourceError(child.message["message"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Blocks, losses and format changes; it never ends by itself."""
        while True:
            child = self._child or self._start()
            async with aclosing(self._follow(child)) as events:
                async for event in events:
                    yield event
            self.state = "starved"
            await self._drop()
            self._after(child)
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_MOST_S)

    # -- the child

    def _start(self) -> CaptureChild:
        form = self._attempt
        block = max(1, round(form.rate * self._block_ms / 1000))
        shape = Shape.of(form.rate, form.channels, block)
        self._child = CaptureChild(self._selector, form.rate, shape, asyncio.get_running_loop())
        return self._child

    async def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.close()

    def _after(self, child: CaptureChild) -> None:
        """Note why it ended; decide what to ask for next."""
        self.counters["device_restarts"] += 1
        why = child.message.get("message", "no audio arrives")
        log.warning("capture of %s: %s; trying again in %.2f s", self.name, why, self._backoff_s)
        if child.error != "bad_format":
            return
        own = child.message["device"]
        other = Format(round(own["rate"]), min(self.format.channels, own["channels"]))
        self._attempt = self.format if self._attempt == other else other

    # -- from announcements to events

    async def _follow(self, child: CaptureChild) -> AsyncGenerator[SourceEvent, None]:
        """What one child delivers, until it ends or falls silent."""
        form = self._attempt
        run = _Run(LagWatch(form.rate))
        watchdog_s = max(WATCHDOG_S, WATCHDOG_BLOCKS * child.ring.shape.block / form.rate)
        quiet_s = 0.0
        while (notes := child.ring.announcements()) is not None:
            if notes:
                quiet_s = 0.0
                for event in self._events(child, run, notes):
                    yield event
            elif quiet_s >= (watchdog_s if "opened" in child.message else OPEN_S):
                return
            elif not await child.readable(_TICK_S):
                # Time is counted in ticks that were waited for: if this process was stopped, the child was not silent.
                quiet_s += _TICK_S
        await child.last_word()

    def _events(self, child: CaptureChild, run: _Run, notes: list[Announcement]) -> Iterator[SourceEvent]:
        for note in notes:
            flagged = bool(note.flags & XRUN)
            self.counters["xruns"] += flagged
            lost = run.lag.feed(note.first + note.count - run.next, note.mono_ns, flagged)
            hole, run.next = note.first - run.next, note.first + note.count
            run.held.append((note, hole))
            if lost:
                yield self._overrun(lost, "xrun" if run.lag.flagged else "overrun")
            first = run.held[0][0].mono_ns
            if not run.begun and self._ended_ns is not None and note.mono_ns - first < SETTLE_NS:
                continue
            if not run.begun:
                yield from self._begin(run)
            for held in run.held:
                yield from self._deliver(child, *held)
            run.held.clear()
            self._ended_ns = run.lag.latest_ns()
            if lost:
                self._drift.restart()
            self._drift.feed(run.next, note.mono_ns)

    def _begin(self, run: _Run) -> Iterator[SourceEvent]:
        """Audio flows (again): declare what was missed since it stopped."""
        run.begun = True
        self.state = "live"
        self._backoff_s = BACKOFF_S
        form = self._attempt
        missed_ns = 0 if self._ended_ns is None else max(0, run.lag.origin_ns() - self._ended_ns)
        if form != self.format:
            self.format, self._next = form, 0
            self._drift = DriftEstimator(form.rate)
            yield FormatChange(form, missed_ns / 1e9)
            return
        self._drift.restart()
        count = missed_ns * form.rate // 1_000_000_000
        if self._ended_ns is not None:
            self.counters["device_lost"] += 1
            self.counters["device_lost_samples"] += count
            yield self._lost(count, "device_lost")

    def _deliver(self, child: CaptureChild, note: Announcement, hole: int) -> Iterator[SourceEvent]:
        """The block that `note` announces; `hole` samples before it were never announced."""
        if hole:
            yield self._overrun(hole, "overrun")
        samples = child.ring.read(note.first, note.count)
        if samples is None:
            yield self._overrun(note.count, "overrun")
            return
        self._next += note.count
        yield Block(self._next - note.count, samples, note.mono_ns)

    def _overrun(self, count: int, cause: str) -> Loss:
        self.counters["overruns"] += 1
        self.counters["overrun_samples"] += count
        return self._lost(count, cause)

    def _lost(self, count: int, cause: str) -> Loss:
        self._next += count
        return Loss(self._next - count, count, cause)
