"""Audio from elsewhere: one PULL socket in a thread of its own feeds any number of streams by name."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import ChainMap
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import zmq

from natd.audio.chunks import End, Format, FormatChange, SourceEvent
from natd.clock import Clock, SystemClock
from natd.endpoints import CurveServer, check_bind
from natd.errors import BindError, SourceError
from natd.sources.ingest import MAX_MESSAGE_BYTES, REASONS, STRAY_REASONS, Refused, check
from natd.sources.recent import Recent
from natd.sources.sequence import Sequence
from natd.wire import STREAM_NAME

log = logging.getLogger(__name__)
DEFAULT_FORMAT = Format(48_000, 2)
RETRIES_S = (0.2, 0.4, 0.8)  # an address may be in use for a moment after a restart
LOG_EVERY_NS = 10_000_000_000  # of one reason
MESSAGES_PER_TURN = 256
_STREAM = re.compile(STREAM_NAME.encode())
_SETTINGS = {
    zmq.RCVHWM: 64, zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES, zmq.HANDSHAKE_IVL: 2000, zmq.HEARTBEAT_IVL: 1000,
    zmq.HEARTBEAT_TIMEOUT: 3000, zmq.BACKLOG: 128, zmq.LINGER: 0,
}  # fmt: skip


class Ingest:
    """Binds `endpoint` and hands each good message to the `ZeromqSource` of its stream; the rest is counted by reason.

    messages == refused of no known stream (here) + refused, repeated and accepted of each stream (in its source).
    Messages larger than 1 MiB are cut off by libzmq with their connection and are not seen. `context` may be shared
    (with CURVE it must be: its ZAP handler lets peers in); it outlives the ingest. BindError if the address stays in
    use, ConfigError for an address beyond this machine without CURVE.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:5555",
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        curve: CurveServer | None = None,
        *,
        retries_s: tuple[float, ...] = RETRIES_S,
        clock: Clock | None = None,
    ) -> None:
        check_bind(endpoint, curve=curve is not None)
        self.endpoint = endpoint  # once entered: with its real port
        self.counters = {"ingest_messages": 0, **{f"ingest_refused_{reason}": 0 for reason in STRAY_REASONS}}
        self.failure: str | None = None  # why the thread ended before it was asked to
        self._given_context = context
        self._curve, self._retries_s, self._clock = curve, retries_s, clock or SystemClock()
        self._sources: dict[bytes, ZeromqSource] = {}
        self._quiet: dict[str, tuple[int, int]] = {}  # reason -> (until ns, held back)

    def source(self, stream: str, format: Format = DEFAULT_FORMAT, channels: int = 1) -> ZeromqSource:
        """The source of `stream`, fed once it is entered; `format` is what it says until a producer says otherwise.

        Messages of fewer than `channels` channels are refused.
        """
        return ZeromqSource(self, stream, format, channels, self._clock)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        bound: asyncio.Future[str] = loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(loop, bound), name="natd-ingest", daemon=True)
        self._context = self._given_context or zmq.Context()
        self._stopper = self._context.socket(zmq.PAIR)
        self._stopper.bind(f"inproc://natd-ingest-{id(self)}")
        self._thread.start()
        try:
            self.endpoint = await asyncio.shield(bound)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        for source in self._sources.values():
            source.end()

    async def _close(self) -> None:
        with suppress(zmq.ZMQError):  # the thread has ended by itself, or the context was taken away
            self._stopper.send(b"", zmq.NOBLOCK)
        await asyncio.to_thread(self._thread.join)
        self._stopper.close(linger=0)
        if self._given_context is None:
            self._context.term()

    def attach(self, name: bytes, source: ZeromqSource) -> None:
        """Let the messages of stream `name` go to `source`; SourceError if another source has them."""
        if name in self._sources:
            raise SourceError(f"stream {name.decode()!r} has an ingest source already; give each stream its own name")
        self._sources[name] = source

    def detach(self, name: bytes) -> None:
        """Treat the messages of stream `name` as unknown from now on."""
        del self._sources[name]

    # ---- in the thread

    def _run(self, loop: asyncio.AbstractEventLoop, bound: asyncio.Future[str]) -> None:
        stop = self._context.socket(zmq.PAIR)
        stop.connect(f"inproc://natd-ingest-{id(self)}")
        try:
            socket = self._bind(stop)
            loop.call_soon_threadsafe(
                _answer, bound, bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
            )
            try:
                self._serve(socket, stop)
            finally:
                socket.close(linger=0)
        except BindError as error:
            loop.call_soon_threadsafe(_answer, bound, error)
        except Exception as error:  # whatever it is, the streams must hear that nothing will come any more
            log.exception("the ingest at %s failed", self.endpoint)
            self.failure = f"{type(error).__name__}: {error}"
            for source in tuple(self._sources.values()):
                source.wake_from_thread()
        finally:
            stop.close(linger=0)

    def _bind(self, stop: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PULL)
        for option, value in {**_SETTINGS, zmq.IPV6: int("[" in self.endpoint)}.items():
            socket.setsockopt(option, value)
        if self._curve is not None:
            socket.zap_domain = self._curve.zap_domain.encode()
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # no handler: nobody comes in
            socket.curve_server, socket.curve_secretkey = True, self._curve.secret
        for wait_s in (*self._retries_s, None):
            try:
                socket.bind(self.endpoint)
                return socket
            except zmq.ZMQError as error:
                if wait_s is None or error.errno != zmq.EADDRINUSE or stop.poll(round(wait_s * 1000)):
                    socket.close(linger=0)
                    cure = "stop the program that holds it, or choose another endpoint"
                    raise BindError(f"cannot bind {self.endpoint}: {error.strerror}; {cure}") from error
        raise AssertionError("unreachable")

    def _serve(self, socket: zmq.Socket[bytes], stop: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(stop, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if stop in ready:
                return
            for _ in range(MESSAGES_PER_TURN):
                try:
                    first: Any = socket.recv(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    break
                frames = [first.bytes]
                while socket.rcvmore:
                    part = socket.recv(zmq.NOBLOCK)
                    if len(frames) < 4:  # a fourth says that there are too many; the others are not kept
                        frames.append(part)
                self._sort(frames, first)

    def _sort(self, frames: list[bytes], first: Any) -> None:
        """Count one message, to its stream or by the reason why not."""
        self.counters["ingest_messages"] += 1
        source = self._sources.get(frames[0])
        try:
            if len(frames) != 3:
                raise Refused("frames")
            if source is None:
                raise Refused("unknown_stream" if _STREAM.fullmatch(frames[0]) else "stream")
            source.receive(frames[1], frames[2])
        except Refused as refused:
            if refused.reason in STRAY_REASONS:
                self.counters[f"ingest_refused_{refused.reason}"] += 1
            self._say(refused.reason, frames[0], first)

    def _say(self, reason: str, name: bytes, first: Any) -> None:
        """One line for a reason in `LOG_EVERY_NS`, with the number held back before."""
        now = self._clock.mono_ns()
        until, held = self._quiet.get(reason, (0, 0))
        if now < until:
            self._quiet[reason] = (until, held + 1)
            return
        self._quiet[reason] = (now + LOG_EVERY_NS, 0)
        log.warning(
            f"ingest refuses a message ({reason}) for stream %r from %s; %d like it since the last such line",
            name[:64], _peer(first), held,
        )  # fmt: skip


class ZeromqSource:
    """One stream of an `Ingest`; it runs before any producer is there, and whether one is or not.

    The sample axis is the producer's: `natd.sources.sequence` has its law. Live: at most 2 s wait for the reader, the
    oldest are dropped and declared. A silent producer makes it `starved`; sample time stands still meanwhile.
    """

    kind = "zeromq"
    live = True
    timed = True
    drift_ppm: float | None = None

    def __init__(self, ingest: Ingest, stream: str, format: Format, channels: int, clock: Clock) -> None:
        self._ingest, self._key, self._clock = ingest, stream.encode(), clock
        self._least_channels = channels
        self._format = format
        self._sequence = Sequence(format)
        self._recent = Recent(format)
        self._arrived = asyncio.Event()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refusals = {f"ingest_refused_{reason}": 0 for reason in REASONS}
        self.counters: Mapping[str, int] = ChainMap(self._sequence.counters, self._refusals, self._recent.counters)

    @property
    def name(self) -> str:
        """Where producers send to."""
        return self._ingest.endpoint

    @property
    def format(self) -> Format:
        """Of the samples the reader got last; until then as configured."""
        return self._format

    @property
    def state(self) -> str:
        """`live`, or `starved` if no good message came for 2 s."""
        return "starved" if self._sequence.starved(self._clock.mono_ns()) else "live"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ingest.attach(self._key, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ingest.detach(self._key)
        self.end()

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Blocks, losses, changes; `End("shutdown")` once this or the ingest is left; SourceError if that fails."""
        while True:
            self._arrived.clear()
            while (event := self._recent.take()) is not None:
                if isinstance(event, FormatChange):
                    self._format = event.format
                yield event
            if self._ingest.failure is not None:
                raise SourceError(f"the ingest at {self.name} failed ({self._ingest.failure}); restart it")
            if self._ended:
                yield End("shutdown")
                return
            await self._arrived.wait()

    def end(self) -> None:
        """Let the reader finish what waits, then meet the `End`. In the loop."""
        self._ended = True
        self._arrived.set()

    # ---- in the thread

    def receive(self, header: bytes, pcm: bytes) -> None:
        """Take one message of this stream; Refused, and counted here, if it cannot be taken."""
        try:
            message = check(header, pcm)
            if message.raw.channels < self._least_channels:
                raise Refused("channels")
            events = self._sequence.accept(message, self._clock.mono_ns())
        except Refused as refused:
            self._refusals[f"ingest_refused_{refused.reason}"] += 1
            if refused.reason != "producer":  # another's samples are no hole in these
                self._sequence.refuse()
            raise
        for event in events:
            self._recent.put(event)
        if events:
            self.wake_from_thread()

    def wake_from_thread(self) -> None:
        """Have the reader look again, from another thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there is no reader any more
                self._loop.call_soon_threadsafe(self._arrived.set)


def _answer(bound: asyncio.Future[str], result: str | BindError) -> None:
    if bound.done():  # whoever waited was cancelled
        return
    if isinstance(result, BindError):
        bound.set_exception(result)
    else:
        bound.set_result(result)


def _peer(frame: Any) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:  # not every transport knows one
        return "an unknown address"
