"""The composition root: parts from the config, streams as tasks, signals, systemd; closed in the reverse order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from natd import __version__, settings
from natd.audio.chunks import Format
from natd.audio.pcm import RawFormat
from natd.codebooks import legend
from natd.codec import Tokenizer
from natd.endpoints import OFF, split_http
from natd.engine import Engine
from natd.errors import ConfigError, NatdError, OutputError
from natd.logs import Logs
from natd.metrics import Metrics
from natd.notify import Notifier, Watchdog
from natd.settings import Config
from natd.sinks import Sink
from natd.sinks.http import HttpSink
from natd.sinks.ndjson import FileSink, StdoutSink
from natd.sinks.zeromq import ZeromqSink
from natd.sources import Source
from natd.sources.demo import DemoSource
from natd.sources.device import DeviceInfo, DeviceSource, list_devices
from natd.sources.file import FileSource
from natd.sources.stdin import StdinSource
from natd.sources.tap import Tap
from natd.sources.zeromq import Ingest
from natd.stream import Stream

log = logging.getLogger(__name__)
MIB = 1 << 20
STOP_S = 5.0  # from a stop to the end of the last stream


class StoppedLate(NatdError):
    """A stream had to be cut off; its last frames and its `end` may be missing."""


def run(config: Config, load: Callable[[], Config]) -> int:
    """Serve until every stream has ended or a signal comes; the exit status. `load` reads the config anew (SIGHUP)."""
    with Logs(config.log.level) as logs:
        try:
            return uvloop.run(Daemon(config, load, logs).run())
        except NatdError as error:
            log.error("%s", error)
            return error.exit_code


class Daemon:
    """One process: sockets and the model are shared, each stream is a task of its own."""

    def __init__(self, config: Config, load: Callable[[], Config], logs: Logs) -> None:
        self._config, self._load, self._logs = config, load, logs
        self._metrics = Metrics(config.stats.window_s)
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier)
        self._streams: dict[str, Stream] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._changed = asyncio.Event()
        self._listing: asyncio.Task[list[DeviceInfo]] | None = None
        self._tokenizer: Tokenizer | None = None  # until the model is warm
        self._stopping = self._signalled = False
        self._exit = 0

    async def run(self) -> int:
        """The exit status: 0, or that of the first stream that failed."""
        async with AsyncExitStack() as parts:
            await self._open(parts)
            self._handle_signals()
            for chosen in self._config.stream:
                self._start(chosen)
            self._notifier.ready(self._summary())
            log.info("natd %s: %s", __version__, self._summary())
            await self._supervise()
        self._look_at_recording()
        return self._exit

    # ---- parts

    async def _open(self, parts: AsyncExitStack) -> None:
        """Sockets first, so that a taken address is known at once; then the model, so that ready means ready."""
        config, security = self._config, self._config.security
        listen = security.listen_curve() if security else None
        self._zeromq = ZeromqSink(config.publish.endpoint, config.control.endpoint, self._answers(), listen)
        self._sinks: list[Sink] = [self._zeromq]
        if config.http.endpoint != OFF:
            host, port = split_http(config.http.endpoint)
            self._sinks.append(HttpSink(host, port, self._metrics.prometheus_text, self._health, self._legend))
        if config.output.path == "-":
            self._sinks.append(StdoutSink(on_closed=self._stop))
        elif config.output.path is not None:
            self._sinks.append(_recording(config.output))
        for sink in self._sinks:
            await parts.enter_async_context(sink)
            self._metrics.watch({"sink": type(sink).__name__.removesuffix("Sink").lower()}, _counters_of(sink))
        self._ingest: Ingest | None = None
        if config.has_ingest:
            feed = security.feed_curve() if security else None
            if feed is not None:
                self._zeromq.allow(feed)
            self._ingest = Ingest(config.ingest.endpoint, self._zeromq.context, feed)
            await parts.enter_async_context(self._ingest)
            self._metrics.watch({}, self._ingest.counters)
        engine = Engine(
            config.engine.tokenizer, config.engine.device, config.engine.threads, streams=len(config.stream)
        )
        self._engine = await parts.enter_async_context(engine)
        self._tokenizer = engine.tokenizer
        for counters in (engine.counters, self._logs.counters, self._notifier.counters):
            self._metrics.watch({}, counters)
        self._metrics.gauge("subscribers", lambda: float(self._zeromq.subscribers))

    def _source(self, chosen: settings.StreamSettings) -> Source:
        source: Source
        match chosen:
            case settings.DeviceStream():
                source = DeviceSource(chosen.device, chosen.rate, chosen.channels)
            case settings.DemoStream():
                source = DemoSource(paced=chosen.paced, seed=chosen.seed)
            case settings.FileStream():
                source = FileSource(chosen.path, paced=chosen.paced, loop=chosen.loop)
            case settings.StdinStream():
                raw = chosen.raw
                form = None if raw is None else RawFormat(raw.fmt, raw.rate, raw.channels)
                source = StdinSource(sys.stdin.buffer, form)
            case _:
                if self._ingest is None:
                    raise ConfigError(f"{chosen.name}: the ingest socket is bound at the start only; restart natd")
                # A producer that has not the channels of the mix is refused; it must not end the stream.
                most = max(chosen.mix) if isinstance(chosen.mix, tuple) else 1
                source = self._ingest.source(chosen.name, Format(48_000, max(2, most)), most)
        return source if chosen.tap is None else Tap(source, chosen.tap)

    # ---- streams

    def _start(self, chosen: settings.StreamSettings, after: Sequence[asyncio.Task[None]] = ()) -> None:
        """Run a stream as a task, once those that it replaces have ended."""
        config = self._config
        source = self._source(chosen)
        stream = Stream(
            chosen, source, self._engine, self._sinks, self._metrics, config.stats, backlog_s=config.engine.backlog_s
        )
        self._streams[chosen.name] = stream

        async def life() -> None:
            if after:
                await asyncio.wait(after)
                self._metrics.settle(chosen.name)
            self._measure(stream)
            await stream.run()

        self._tasks[asyncio.create_task(life(), name=f"stream:{chosen.name}")] = chosen.name
        self._changed.set()

    def _look_at_recording(self) -> None:
        """What ended by itself and is not whole is an error; who stops natd has seen the log."""
        missing = sum(sink.counters["recording_dropped"] for sink in self._sinks if isinstance(sink, FileSink))
        if missing and not self._signalled:
            log.error("the recording is not whole: %d lines are not in it", missing)
            self._exit = self._exit or OutputError.exit_code

    def _measure(self, stream: Stream) -> None:
        labels = {"stream": stream.name}
        for gauge, fn in stream.vitals.gauges().items():
            self._metrics.gauge(gauge, fn, labels)
        self._watchdog.add(stream.name, lambda: stream.vitals.progress)

    async def _supervise(self) -> None:
        """Until every stream has ended. One that fails ends alone; the exit status remembers the first."""
        watchdog = asyncio.create_task(self._watchdog.run(), name="watchdog")
        broken = asyncio.create_task(self._zeromq.failed(), name="zeromq")
        try:
            while self._tasks:
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait([*self._tasks, changed, broken], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if broken.done():
                    broken.result()
                for task in [task for task in self._tasks if task.done()]:
                    self._ended(task)
        finally:
            left = (watchdog, broken, *self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = self._tasks.pop(task)
        if name not in self._tasks.values():  # not replaced by a reload
            self._watchdog.remove(name)
            self._metrics.forget(name)
            del self._streams[name]
        error = StoppedLate(f"did not end within {STOP_S:g} s") if task.cancelled() else task.exception()
        if error is not None:
            code = error.exit_code if isinstance(error, NatdError) else NatdError.exit_code
            self._exit = self._exit or code
            # The name stands in the template: of each stream's failures one is logged, not one of all.
            log.error(f"{name}: %s", error, exc_info=None if isinstance(error, NatdError) else error)

    # ---- signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop_or_force, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop_or_force(self, number: int) -> None:
        if self._signalled:
            os._exit(128 + number)  # asked twice: something hangs, and the asker knows
        self._signalled = True
        self._stop()

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._notifier.stopping()
        asyncio.get_running_loop().call_later(STOP_S, self._give_up)
        for stream in self._streams.values():
            stream.stop()

    def _give_up(self) -> None:
        """A stream that still waits, say for a disk that hangs, is cut off: the daemon ends in any case."""
        for task in self._tasks:
            task.cancel()

    def _reload(self) -> None:
        """Take the new config, or keep the old one whole and say why."""
        if self._stopping:
            return
        self._notifier.reloading()
        try:
            new = self._load()
            self._apply(new)
        except NatdError as error:
            log.error("not reloaded, the old configuration stays: %s", error)
        self._notifier.ready(self._summary())

    def _apply(self, new: Config) -> None:
        """Streams and log level change now, keys are read anew; other sections wait for a restart."""
        old = self._config
        before, after = ({s.name: s for s in config.stream} for config in (old, new))
        self._refuse_reload(old, new)
        curves = [new.security.listen_curve()] if new.security else []
        if new.security and self._ingest is not None:
            curves.append(new.security.feed_curve())
        for curve in curves:  # all of them are right
            self._zeromq.allow(curve)
        fixed = ("engine", "publish", "control", "ingest", "http", "security", "output", "stats")
        for section in [name for name in fixed if getattr(old, name) != getattr(new, name)]:
            log.warning("[%s] changed: it takes effect at the next start", section)
        self._logs.set_level(new.log.level)
        kept = {name: getattr(old, name) for name in fixed}
        self._config = new.model_copy(update=kept)
        running = {name: task for task, name in self._tasks.items()}
        gone = [name for name in running if before.get(name) != after.get(name) or name not in after]
        for name in gone:
            self._streams[name].stop()
        for name, chosen in after.items():
            if before.get(name) != chosen:
                # Whatever goes may hold what this one needs: a card, a tap, the output.
                self._start(chosen, [running[name] for name in gone])
        log.info("reloaded: %s", self._summary())

    def _refuse_reload(self, old: Config, new: Config) -> None:
        """ConfigError for what cannot be had while running, before anything is changed."""
        if new.has_ingest and self._ingest is None:
            raise ConfigError("the ingest socket, which zeromq: needs, is bound at the start only; restart natd")
        piped = [s for config in (old, new) for s in config.stream if isinstance(s, settings.StdinStream)]
        if len(piped) == 2 and piped[0] != piped[1]:
            raise ConfigError("standard input can be read once only; restart natd to change its stream")

    # ---- answers

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "status": lambda request: self._health(),
            "stats": lambda request: {"streams": {name: self._metrics.window(name) for name in self._chosen(request)}},
            "keyframe": self._keyframe,
            "legend": lambda request: self._legend(request.get("layer"), request.get("code")),
            "devices": self._devices,
        }

    def _legend(self, layer: str | None, code: int | None) -> dict[str, Any]:
        if self._tokenizer is None:
            raise NatdError("the model is being loaded: ask again")
        return legend.answer(self._tokenizer, layer, code)

    def _chosen(self, request: dict[str, Any]) -> list[str]:
        name = request.get("stream")
        if name is None:
            return list(self._streams)
        if name not in self._streams:
            raise NatdError(f"no stream is called {name!r}; there are: {', '.join(self._streams)}")
        return [name]

    def _keyframe(self, request: dict[str, Any]) -> dict[str, Any]:
        names = self._chosen(request)
        for name in names:
            self._streams[name].request_keyframe()
        return {"requested": names}

    async def _devices(self, request: dict[str, Any]) -> dict[str, Any]:
        # One listing for all who ask meanwhile: it may take 10 s, and its threads are also those that read files.
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(asyncio.to_thread(list_devices), name="devices")
        found = await asyncio.shield(self._listing)
        return {"devices": [{"name": d.name, "index": d.index, "channels": d.channels} for d in found]}

    def _health(self) -> dict[str, Any]:
        """`ok` unless a stream has failed; a source that is absent is `starved`, which is no fault of the daemon."""
        streams = {name: stream.vitals.status() for name, stream in self._streams.items()}
        return {"ok": self._exit == 0 and not self._stopping, "version": __version__, "streams": streams}

    def _summary(self) -> str:
        names = ", ".join(f"{s.name} ({_words(s)})" for s in self._config.stream)
        endpoint = self._zeromq.publish_endpoint
        return f"{names} by {self._config.engine.tokenizer}{'' if endpoint == OFF else f' on {endpoint}'}"


def _words(chosen: settings.StreamSettings) -> str:
    if isinstance(chosen, settings.DeviceStream):
        return "the default sound card" if chosen.device is None else f"sound card {chosen.device}"
    return str(getattr(chosen, "source", ""))


def _counters_of(sink: Sink) -> Callable[[], Mapping[str, int]]:
    return lambda: sink.counters


def _recording(output: settings.OutputSettings) -> FileSink:
    assert output.path is not None
    folder = output.path.rpartition("/")[0]
    if folder and "{stream}" not in folder and not Path(folder).is_dir():
        raise OutputError(f"the folder {folder} for the recording does not exist: make it first")
    return FileSink(
        output.path,
        rotate_bytes=round(output.rotate_mb * MIB),
        rotate_s=output.rotate_s,
        keep=output.keep,
        min_free_bytes=round(output.free_mb * MIB),
    )
