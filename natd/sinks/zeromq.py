"""The ZeroMQ sockets of the daemon: XPUB with snapshot-first joins, ROUTER for control and replay, ZAP.

One plain thread owns all of them. What the settings are for stands in clients/PROTOCOL.md and beside each of them.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
import zmq

from natd.endpoints import OFF, CurveServer, check_bind
from natd.errors import BindError
from natd.sinks.control import Call, ControlDesk, printable
from natd.sinks.joins import Breaker, read_subscription
from natd.sinks.replay import StreamLog
from natd.sinks.zap import Doorman
from natd.wire import Event, Header, StreamEnd

log = logging.getLogger(__name__)

Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | Awaitable[dict[str, Any] | bytes]]

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_LINES_A_MESSAGE, _BYTES_A_MESSAGE = 32, 16 * 1024  # what waits together travels together
_MAX_CALLS = 64
_BIND_RETRIES_S = (0.25, 0.5, 1.0)
_REBIND_S = 5.0
_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_ACCEPT_FAILED
)


@dataclass(frozen=True, slots=True)
class ZeromqLimits:
    """Bounds: events between loop and thread (`queue`), joins, messages read in one turn (`reads`), replay."""

    queue: int = 8192
    live_subscriptions: int = 10_000
    joins_per_s: int = 1000
    reads: int = 500
    replay_s: float = 60.0
    replay_bytes: int = 16 << 20


class ZeromqSink:
    """Publishes every event to all subscribers of its stream and answers on the control socket.

    `answers` (op -> function of the request) are called on the event loop and may be coroutine functions. An endpoint
    may be `off`. `context` is for the other sockets of the process: close them before leaving this sink.
    """

    def __init__(
        self,
        publish: str,
        control: str,
        answers: Mapping[str, Answer],
        curve: CurveServer | None = None,
        limits: ZeromqLimits | None = None,
    ) -> None:
        for endpoint in (publish, control):
            if endpoint != OFF:
                check_bind(endpoint, curve=curve is not None)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.counters = dict.fromkeys(
            ("joins", "subscriptions_refused", "slow_episodes", "publish_dropped", "breaker_trips", "control_requests",
             "control_refused", "control_dropped", "replays", "replayed_events", "peers_refused", "handshakes_failed",
             "accepts_failed"), 0)  # fmt: skip
        self._answers = dict(answers)
        self._io = _Io(self.context, publish, control, self._answers, curve, limits or ZeromqLimits(), self.counters)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def publish_endpoint(self) -> str:
        """Where subscribers connect: the endpoint with its real port."""
        return self._io.publish_endpoint

    @property
    def control_endpoint(self) -> str:
        """Where control clients connect: the endpoint with its real port."""
        return self._io.control_endpoint

    @property
    def subscribers(self) -> int:
        """Subscriptions to streams now."""
        return self._io.subscribers

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run_io, args=(started,), name="natd-zeromq", daemon=True)
        self._thread.start()
        try:
            await started
        except BaseException:
            self._io.stop()
            await asyncio.to_thread(self._close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        self._io.stop()
        await asyncio.to_thread(self._close)
        if kind is None and self._ended.done():
            self._ended.result()

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Hand one event to the I/O thread; a full queue drops it, counted: subscribers see the hole in `seq`."""
        self._io.put(stream, event, line)

    async def drain(self) -> None:
        """Return at once: live audio never waits for a subscriber."""

    async def failed(self) -> None:
        """Wait until the I/O thread dies of an error and raise that; it never returns otherwise."""
        await asyncio.shield(self._ended)

    def allow(self, curve: CurveServer) -> None:
        """Take the client keys of `curve` as the whole list of its ZAP domain, now or while running.

        If a key is revoked every peer is cut off: those still allowed reconnect by themselves and replay.
        """
        self._io.allow(curve)

    def _run_io(self, started: asyncio.Future[None]) -> None:
        try:
            self._io.open()
            self._loop.call_soon_threadsafe(_resolve, started, None)
            self._io.run(lambda call, route: self._loop.call_soon_threadsafe(self._take_call, call, route))
        except BaseException as error:  # whatever ends this thread must end the daemon, not vanish with the thread
            for future in (started, self._ended):
                self._loop.call_soon_threadsafe(_resolve, future, error)
        finally:
            self._io.close()

    def _close(self) -> None:
        self._thread.join()
        # term() waits for the sockets of others that use the context; a forgotten one must not hang the exit.
        ender = threading.Thread(target=self.context.term, name="natd-zeromq-term", daemon=True)
        ender.start()
        ender.join(2.0)
        if ender.is_alive():
            log.error("a ZeroMQ socket is still open in the shared context")

    def _take_call(self, call: Call, route: list[bytes]) -> None:
        if len(self._tasks) >= _MAX_CALLS:
            self._io.reply(route, self._io.desk.refuse("busy", "too many requests are waiting"))
            return
        task = self._loop.create_task(self._answer(call, route), name=f"control:{call.op}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, route: list[bytes]) -> None:
        try:
            answer = self._answers[call.op](call.request)
            if inspect.isawaitable(answer):
                answer = await answer
            reply = answer if isinstance(answer, bytes) else orjson.dumps(answer) + b"\n"
        except Exception as error:  # a fault in one answer is told to its asker and logged; the daemon goes on
            log.exception("control op %s failed", call.op)
            reply = self._io.desk.refuse("failed", printable(f"{type(error).__name__}: {error}"))
        self._io.reply(route, reply)


class _Io:
    """The sockets and the thread's loop; `put`, `reply`, `allow` and `stop` may be called from other threads."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        publish: str,
        control: str,
        ops: Iterable[str],
        curve: CurveServer | None,
        limits: ZeromqLimits,
        counters: dict[str, int],
    ) -> None:
        self.publish_endpoint, self.control_endpoint = publish, control
        self.counters = counters
        self._context, self._curve, self._limits = context, curve, limits
        self._logs: dict[str, StreamLog] = {}
        self.desk = ControlDesk(self._logs, list(ops), counters)
        self._doorman = Doorman(counters, time.monotonic)
        if curve is not None:
            self._doorman.allow(curve)
        self._breaker = Breaker(limits.live_subscriptions, limits.joins_per_s)
        self._queue: deque[tuple[str, Event, bytes]] = deque()
        self._replies: deque[tuple[list[bytes], bytes]] = deque()
        self._wake_out, self._wake_in = os.pipe()
        self._awake = self._stopping = self._closed = self._rebind = False
        self._snapshots = 0
        self._trim_at = math.inf
        self._poller = zmq.Poller()
        self._xpub: zmq.Socket[bytes] | None = None
        self._router: zmq.Socket[bytes] | None = None
        self._monitors: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}

    # ---- from other threads

    @property
    def subscribers(self) -> int:
        return self._breaker.live

    def put(self, stream: str, event: Event, line: bytes) -> None:
        rare = isinstance(event, Header | StreamEnd)  # what a reader cannot do without gets in while frames do not
        if self._stopping or len(self._queue) >= self._limits.queue + (1024 if rare else 0):
            self.counters["publish_dropped"] += 1
            return
        self._queue.append((stream, event, line))
        self._wake()

    def reply(self, route: list[bytes], body: bytes) -> None:
        self._replies.append((route, body))  # bounded: one for each of at most _MAX_CALLS calls
        self._wake()

    def allow(self, curve: CurveServer) -> None:
        if self._doorman.allow(curve):
            self._rebind = True
        self._wake()

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        if not self._awake and not self._closed:
            self._awake = True  # cleared before the thread looks at the queues, so no item is left behind
            os.write(self._wake_in, b"\0")

    # ---- the thread

    def open(self) -> None:
        self._poller.register(self._wake_out, zmq.POLLIN)
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.linger = 0
        self._zap.bind(ZAP_ENDPOINT)
        self._poller.register(self._zap, zmq.POLLIN)
        self._bind_all(_BIND_RETRIES_S)

    def run(self, call: Callable[[Call, list[bytes]], object]) -> None:
        """Serve until `stop`, then until the queue is empty; `call` passes a request on to the event loop."""
        while not (self._stopping and not self._queue and not self._replies):
            unbound = self._xpub is None and self.publish_endpoint != OFF
            ready = dict(self._poller.poll(0 if self._queue else 50 if unbound or self._rebind else 1000))
            if self._wake_out in ready:
                os.read(self._wake_out, 4096)
            self._awake = False
            if self._zap in ready:
                self._serve_zap()
            self._publish_queued()
            if self._xpub is not None and self._xpub in ready:
                self._serve_joins(self._xpub)
            self._send_replies()
            if self._router is not None and self._router in ready:
                self._serve_control(self._router, call)
            self._count_failures(ready)
            self._mend()

    def close(self) -> None:
        """Close every socket; what was sent goes out within 500 ms of the context's end."""
        for watched, monitor in self._monitors.items():
            watched.disable_monitor()
            monitor.close(linger=0)
        for open_socket in (self._xpub, self._router):
            if open_socket is not None:
                open_socket.close(linger=500)
        self._zap.close(linger=0)
        self._closed = True
        os.close(self._wake_in)
        os.close(self._wake_out)

    # ---- publishing

    def _publish_queued(self) -> None:
        stream, lines, size = "", list[bytes](), 0
        for _ in range(min(len(self._queue), self._limits.reads)):
            name, event, line = self._queue.popleft()
            if lines and (name != stream or len(lines) == _LINES_A_MESSAGE or size + len(line) > _BYTES_A_MESSAGE):
                self._send(f"{stream}/f/", lines)
                lines, size = [], 0
            if name not in self._logs:
                self._logs[name] = StreamLog(self._limits.replay_s, self._limits.replay_bytes)
            self._logs[name].append(event, line)
            stream, size = name, size + len(line)
            lines.append(line)
        if lines:
            self._send(f"{stream}/f/", lines)

    def _send(self, topic: str, lines: list[bytes]) -> None:
        if self._xpub is None:
            return
        message = [topic.encode(), b"".join(lines)]
        try:
            self._xpub.send_multipart(message, zmq.NOBLOCK)
        except zmq.Again:
            # Some subscriber's pipe is full. NODROP told us once; without it that one misses messages (and sees it by
            # `seq`) until it reads again, and everybody else is served.
            self.counters["slow_episodes"] += 1
            self._xpub.setsockopt(zmq.XPUB_NODROP, 0)
            self._xpub.send_multipart(message, zmq.NOBLOCK)
            self._xpub.setsockopt(zmq.XPUB_NODROP, 1)

    # ---- joins

    def _serve_joins(self, xpub: zmq.Socket[bytes]) -> None:
        for _ in range(self._limits.reads):
            try:
                frame = xpub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            subscription = read_subscription(frame.bytes)
            if subscription is None or subscription.stream is None:
                self.counters["subscriptions_refused"] += 1
            elif subscription.begins:
                self._join(xpub, subscription.stream)
            else:
                xpub.setsockopt(zmq.UNSUBSCRIBE, f"{subscription.stream}/f/".encode())
            if subscription is None:
                continue
            peer = self._peer_key(frame) if subscription.begins else b""
            if self._breaker.count(subscription.begins, peer, time.monotonic()):
                self._trip()
                return

    def _join(self, xpub: zmq.Socket[bytes], stream: str) -> None:
        """Snapshot first, then contiguous: both topics are this pipe's before anything is sent.

        A send between the two could serve another peer's disconnect, after which libzmq ignores the second one.
        A stream that has not begun needs no snapshot: its header will come on the live topic.
        """
        known = self._logs.get(stream)
        lines = known.snapshot() if known is not None else []
        live, private = f"{stream}/f/".encode(), f"{stream}/s/{self._snapshots}/"
        if lines:
            xpub.setsockopt(zmq.SUBSCRIBE, private.encode())
        xpub.setsockopt(zmq.SUBSCRIBE, live)
        self.counters["joins"] += 1
        if lines:
            self._snapshots += 1
            self._send(private, lines)
            # Used up; a peer that comes and goes must not fill the tree. (No-op if this pipe has gone meanwhile.)
            xpub.setsockopt(zmq.UNSUBSCRIBE, private.encode())

    def _peer_key(self, frame: zmq.Frame) -> bytes:
        return bytes.fromhex(str(frame.get("User-Id"))) if self._curve is not None else b""

    def _trip(self) -> None:
        """Too many subscriptions: drop them all by closing the socket; true subscribers come back and replay."""
        self.counters["breaker_trips"] += 1
        log.error("%d subscriptions: all subscribers are cut off; true ones reconnect", self._breaker.live)
        if self._curve is not None:
            self._doorman.ban(self._breaker.loudest())
        self._cut_off(publish_only=True)

    # ---- control and ZAP

    def _serve_control(self, router: zmq.Socket[bytes], call: Callable[[Call, list[bytes]], object]) -> None:
        for _ in range(self._limits.reads):
            frames = _receive(router)
            if not frames:
                return
            route, body = frames[:-1], frames[-1]  # what stands before the body goes back as it came: REQ or DEALER
            if not 1 <= len(route) <= 3:
                self._reply(route[:1], self.desk.refuse("bad_request", "a request is one JSON object"))
                continue
            reply = self.desk.answer(route[0], body, time.monotonic())
            if isinstance(reply, Call):
                call(reply, route)
            else:
                self._reply(route, reply)

    def _send_replies(self) -> None:
        while self._replies:
            self._reply(*self._replies.popleft())

    def _reply(self, route: list[bytes], body: bytes) -> None:
        try:
            if self._router is not None:
                self._router.send_multipart([*route, body], zmq.NOBLOCK)
        except zmq.ZMQError:  # the asker has gone or does not read
            self.counters["control_dropped"] += 1

    def _serve_zap(self) -> None:
        for _ in range(self._limits.reads):
            frames = _receive(self._zap, 16)
            if not frames:
                return
            self._zap.send_multipart([*frames[:2], *self._doorman.answer(frames[2:])])

    def _count_failures(self, ready: Mapping[Any, int]) -> None:
        for monitor in self._monitors.values():
            while monitor in ready and (frames := _receive(monitor)):
                accept = int.from_bytes(frames[0][:2], "little") == zmq.EVENT_ACCEPT_FAILED
                self.counters["accepts_failed" if accept else "handshakes_failed"] += 1

    # ---- binding

    def _bind_all(self, retries_s: tuple[float, ...]) -> None:
        """Bind what is not bound; BindError if an address cannot be had after the retries (waits between them, s)."""
        if self._xpub is None and self.publish_endpoint != OFF:
            options: dict[int, int] = {
                zmq.XPUB_MANUAL: 1, zmq.XPUB_NODROP: 1, zmq.SNDHWM: 128, zmq.RCVHWM: 1000, zmq.SNDBUF: 32768,
                zmq.MAXMSGSIZE: 256,
            }  # fmt: skip
            self._xpub = self._bind(zmq.XPUB, self.publish_endpoint, options, retries_s)
            self.publish_endpoint = _endpoint(self._xpub)
            self._breaker.reset()
        if self._router is None and self.control_endpoint != OFF:
            options = {zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: 256, zmq.RCVHWM: 256, zmq.MAXMSGSIZE: 4096}
            self._router = self._bind(zmq.ROUTER, self.control_endpoint, options, retries_s)
            self.control_endpoint = _endpoint(self._router)

    def _bind(
        self, kind: int, endpoint: str, options: dict[int, int], retries_s: tuple[float, ...]
    ) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        common: dict[int, int] = {
            zmq.HANDSHAKE_IVL: 2000, zmq.HEARTBEAT_IVL: 1000, zmq.HEARTBEAT_TIMEOUT: 3000, zmq.LINGER: 500,
            zmq.BACKLOG: 128, zmq.IPV6: int("[" in endpoint),
        }  # fmt: skip
        for option, value in {**common, **options}.items():
            made.setsockopt(option, value)
        if self._curve is not None:
            made.zap_domain = self._curve.zap_domain.encode()
            made.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            made.curve_server, made.curve_secretkey = True, self._curve.secret
        try:
            _bind_with_retries(made, endpoint, retries_s)
        except zmq.ZMQError as error:
            made.close(linger=0)
            raise BindError(
                f"cannot bind {endpoint}: {error.strerror}; stop the program that holds it, or choose another endpoint"
            ) from error
        monitor = made.get_monitor_socket(_FAILURES)
        self._monitors[made] = monitor
        for readable in (made, monitor):
            self._poller.register(readable, zmq.POLLIN)
        return made

    def _cut_off(self, publish_only: bool) -> None:
        """Close the sockets with all their peers; `_mend` binds them again."""
        for socket in (self._xpub, None if publish_only else self._router):
            if socket is None:
                continue
            monitor = self._monitors.pop(socket)
            for readable in (socket, monitor):
                self._poller.unregister(readable)
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.unbind(_endpoint(socket))
            socket.close(linger=0)
        self._xpub, self._router = None, self._router if publish_only else None
        self._trim_at = time.monotonic() + 1.0

    def _mend(self) -> None:
        if self._rebind:
            self._rebind = False
            self._cut_off(publish_only=False)
        try:
            self._bind_all(())
        except BindError:  # libzmq closes the old listener in its own time
            if time.monotonic() > self._trim_at + _REBIND_S:
                raise
        if time.monotonic() > self._trim_at:
            self._trim_at = math.inf
            _give_back_memory()


def _bind_with_retries(socket: zmq.Socket[bytes], endpoint: str, retries_s: tuple[float, ...]) -> None:
    for wait_s in retries_s:
        try:
            socket.bind(endpoint)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            time.sleep(wait_s)
    socket.bind(endpoint)


def _endpoint(socket: zmq.Socket[bytes]) -> str:
    """Where it is bound, with the real port."""
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _receive(socket: zmq.Socket[bytes], most: int = 4) -> list[bytes]:
    """The frames of one message ([] if none waits); of a message with more than `most`, the first `most` + 1."""
    frames: list[bytes] = []
    try:
        while True:
            frame = socket.recv(zmq.NOBLOCK)
            if len(frames) <= most:
                frames.append(frame)
            if not socket.getsockopt(zmq.RCVMORE):
                return frames
    except zmq.Again:
        return []


def _resolve(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # told: it may be that nobody waits for this one


def _give_back_memory() -> None:
    """Return freed memory to the system where the C library can: a flood of subscriptions leaves hundreds of MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
