"""One stream end to end: source -> intake -> backlog -> engine -> packer -> sinks. The only place the parts meet."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from natd import wire
from natd.audio.chunks import End, Format, FormatChunk, FrameAssembler, FrameChunk, GapChunk
from natd.backlog import Backlog
from natd.clock import Clock, SystemClock
from natd.codebooks import naming
from natd.encoding import Coded, Encoding
from natd.engine import Engine
from natd.intake import Intake
from natd.metrics import Metrics
from natd.packer import Packer
from natd.settings import StatsSettings, StreamSettings
from natd.sinks import Sink
from natd.sources import Source
from natd.vitals import Vitals

log = logging.getLogger(__name__)
DRAIN_S = 1.0  # what may still be encoded after a stop


class Stream:
    """Runs from the first sample to the `end` event; `stop` drains it."""

    def __init__(
        self,
        settings: StreamSettings,
        source: Source,
        engine: Engine,
        sinks: Sequence[Sink],
        metrics: Metrics,
        stats: StatsSettings,
        backlog_s: float = 0.5,
        clock: Clock | None = None,
    ) -> None:
        self.settings, self.name = settings, settings.name
        self.counters = {"frames": 0, "gaps": 0, "gap_frames": 0}
        self._source, self._engine, self._sinks, self._metrics = source, engine, sinks, metrics
        self._stats_settings = stats
        self._clock: Clock = clock or SystemClock()
        spec = engine.spec
        self._frame_ms = spec.frame_samples * 1000 / spec.sr
        self._layers = tuple(replace(layer, encoding=settings.encoding(layer.name)) for layer in spec.layers)
        self._legend = naming.legend(getattr(engine.tokenizer, "names", {}), spec.layers)
        glossary = engine.tokenizer.glossary
        self._packer = Packer(self._layers, spec.sr, spec.frame_samples, settings.keyframe_interval_s, glossary)
        self._backlog = Backlog(backlog_s, source.live, self._frame_ms, self._clock)
        # A hair more than the quotient: 16.08 s of 80 ms frames are 201 of them, whatever floating point says.
        self._limit = None if settings.seconds is None else math.floor(settings.seconds * 1000 / self._frame_ms + 1e-6)
        self._task: asyncio.Task[None] | None = None
        self._intake_task: asyncio.Task[None] | None = None
        self._drain_by_ns: int | None = None
        self._announced = False
        self.epoch = new_epoch(self._clock.unix_ns())
        self.vitals = Vitals(
            self.name, self.epoch, source, self._backlog, self._packer, metrics, self.counters, stats.window_s,
            self._frame_ms, self._clock,
        )  # fmt: skip

    async def run(self) -> None:
        """Encode until the source ends or `stop`; an error becomes an `error` and an `end` event and is raised."""
        if self._drain_by_ns is not None:
            return  # stopped while it waited for its turn
        self._task = asyncio.current_task()
        try:
            async with self._source:
                await self._run_open()
        except asyncio.CancelledError:
            if self._drain_by_ns is None or self._intake_task is not None:
                raise  # else stopped before the source had opened: there is nothing to end

    async def _run_open(self) -> None:
        mix = self.settings.mix  # counted from 1 in the config, from 0 in arrays
        picked = mix if isinstance(mix, str) else tuple(channel - 1 for channel in mix)
        spec = self._engine.spec
        self._assembler = FrameAssembler(self._source.format, spec.sr, spec.frame_samples, picked)
        self.vitals.assembler = self._assembler
        self._intake = Intake(
            self._source, self._assembler, self._backlog, self._limit, self._frame_ms, lambda: self.vitals.draining
        )
        slot = self._engine.open()
        try:
            async with self._watched():
                await self._encode(slot)
        except* Exception as group:  # whatever it is, readers are told that nothing more will come
            error = _first(group)
            self._announce(self._clock.mono_ns())
            self._publish(wire.ErrorEvent(type(error).__name__, str(error)))
            self._end("error")
            raise error from None
        finally:
            self._engine.close(slot)

    def stop(self) -> None:
        """Take in no more audio, encode what waits (for at most a second), and end."""
        if self._drain_by_ns is not None:
            return
        self._drain_by_ns = self._clock.mono_ns() + round(DRAIN_S * 1e9)
        self.vitals.draining = True
        if self._intake_task is not None:
            # Not at once: a task that is cancelled before its first step would not hand over the end.
            asyncio.get_running_loop().call_soon(self._intake_task.cancel)
        elif self._task is not None:
            self._task.cancel()

    def request_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        self._packer.request_keyframe()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Intake and heartbeat run beside the body; the heartbeat ends with it."""
        labels = {"stream": self.name}
        self._metrics.watch(labels, lambda: self._source.counters)
        for counters in (self.counters, self._assembler.counters, self._backlog.counters):
            self._metrics.watch(labels, counters)
        async with asyncio.TaskGroup() as group:
            self._intake_task = group.create_task(self._intake.run(), name=f"intake:{self.name}")
            beat = group.create_task(self._beat(), name=f"heartbeat:{self.name}")
            yield
            beat.cancel()

    # ---- encoding: backlog -> events

    async def _encode(self, slot: int) -> None:
        coding = Encoding(self._engine, slot)
        while True:
            match await self._backlog.get():
                case FrameChunk() as chunk if self._too_late_to_drain():
                    self._lose(coding, GapChunk(chunk.fi, 1, "encoder_late", self._frame_ms))
                case FrameChunk() as chunk:
                    await self._give(await coding.frame(chunk))
                case GapChunk(cause="encoder_late") as gap:
                    self._lose(coding, gap)  # who is late has no time for what was before
                case GapChunk() as gap:
                    await self._rest(coding)
                    self._gap(gap)
                case FormatChunk(form):
                    await self._rest(coding)
                    self._announce(self._clock.mono_ns())
                    self._publish_all(self._packer.format(self._input(form)))
                case End(reason):
                    await self._rest(coding)
                    if self._intake.failure is not None:
                        raise self._intake.failure
                    self._announce(self._clock.mono_ns())
                    self._end(reason)
                    return

    async def _rest(self, coding: Encoding) -> None:
        """The sound ends here: give the codes that a tokenizer which looks ahead still holds."""
        while coding.waiting:
            if self._too_late_to_drain():
                self._lose(coding, GapChunk(self._packer.fi + 1 + coding.waiting, 0, "encoder_late", 0.0))
                return
            await self._give(await coding.rest())
        coding.restart()

    def _lose(self, coding: Encoding, gap: GapChunk) -> None:
        """Declare the frames of `gap`, and those before it whose codes will not come."""
        more = coding.restart()
        lost_ms = gap.lost_ms + more * self._frame_ms
        self._gap(replace(gap, fi=gap.fi - more, frames=gap.frames + more, lost_ms=lost_ms))

    async def _give(self, coded: Coded | None) -> None:
        """Publish a frame; None is a step that gave no codes."""
        if coded is None:
            return
        chunk, encoded = coded.chunk, coded.encoded
        self._announce(chunk.captured_ns)
        now = self._clock.mono_ns()
        lat_ms = (now - chunk.captured_ns) / 1e6 if self._source.timed else None
        self._publish_all(self._packer.frame(chunk.fi, encoded.codes, lat_ms))
        published = self._clock.mono_ns()
        record = self._metrics.record
        if self._source.timed:
            record(self.name, "resample", chunk.resampled_ns - chunk.captured_ns)
            record(self.name, "end_to_end", published - chunk.captured_ns)
        record(self.name, "encode", encoded.done_ns - chunk.resampled_ns)
        record(self.name, "publish", published - encoded.done_ns)
        self.vitals.encoded(encoded.busy_ns)
        self.counters["frames"] += 1
        if not self._source.live:
            for sink in self._sinks:
                await sink.drain()

    def _gap(self, gap: GapChunk) -> None:
        self._announce(self._clock.mono_ns())
        self._publish_all(self._packer.gap(gap.fi, gap.frames, gap.cause, gap.lost_ms))
        self.counters["gaps"] += 1
        self.counters["gap_frames"] += gap.frames
        log.warning(f"{self.name}: %d frames lost ({gap.cause})", gap.frames)  # limited for each stream and cause

    def _too_late_to_drain(self) -> bool:
        return self._drain_by_ns is not None and self._clock.mono_ns() > self._drain_by_ns

    # ---- events

    def _announce(self, fallback_ns: int) -> None:
        """Publish the header once; time zero is that of the first sample, or now if nothing has arrived."""
        if self._announced:
            return
        self._announced = True
        t0 = self._intake.t0_mono_ns if self._intake.t0_mono_ns is not None else fallback_ns
        unix = self._clock.unix_ns() - self._clock.mono_ns() + t0
        spec = self._engine.spec
        self._publish(
            wire.Header(
                stream=self.name,
                epoch=self.epoch,
                tokenizer=spec.info,
                sr=spec.sr,
                frame_samples=spec.frame_samples,
                input=self._input(self._assembler.format),
                clock=wire.ClockInfo(t0_unix_ns=unix, t0_mono_ns=t0),
                layers=self._layers,
                keyframe_interval_s=self.settings.keyframe_interval_s,
                legend=self._legend,
            )
        )

    def _input(self, form: Format) -> wire.InputInfo:
        part = self._assembler
        return wire.InputInfo(
            self._source.kind, self._source.name, form.rate, form.channels, part.resampler, round(part.delay_ms, 3)
        )

    async def _beat(self) -> None:
        """A heartbeat every interval and the figures of every window, on a grid that does not drift."""
        loop = asyncio.get_running_loop()
        due, stats_due = loop.time(), loop.time() + self._stats_settings.window_s
        while True:
            due += self._stats_settings.heartbeat_s
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due, loop.time() - self._stats_settings.heartbeat_s)
            self._announce(self._clock.mono_ns())
            self._publish(self.vitals.heartbeat())
            if loop.time() >= stats_due:
                stats_due = loop.time() + self._stats_settings.window_s
                self._publish(self.vitals.stats(self._layers))

    def _end(self, reason: str) -> None:
        self._publish_all(self._packer.end(reason, self.vitals.summary()))

    def _publish_all(self, events: Sequence[wire.Event]) -> None:
        for event in events:
            self._publish(event)

    def _publish(self, event: wire.Event) -> None:
        line = wire.encode(event)
        for sink in self._sinks:
            sink.publish(self.name, event, line)


def new_epoch(unix_ns: int) -> str:
    """An id that no other run of the stream has: 48 bits of time in ms, then 64 random bits, in hex."""
    return f"{unix_ns // 1_000_000:012x}{secrets.token_hex(8)}"


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first error of a group, however deep."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
