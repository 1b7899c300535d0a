"""The thread that owns the daemon's ZeroMQ sockets: publishing, joins, control, ZAP. The event loop only hands over."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from natd.endpoints import OFF, CurveServer
from natd.errors import BindError
from natd.sinks.control import Call, ControlDesk
from natd.sinks.joins import Breaker, read_subscription
from natd.sinks.replay import StreamLog
from natd.sinks.zap import Doorman
from natd.sinks.zeromq_bind import (
    BIND_RETRIES_S,
    CONTROL,
    PUBLISH,
    Context,
    Socket,
    bind,
    endpoint_of,
    is_accept_failure,
    receive,
    watch_failures,
)
from natd.wire import Event, Header, StreamEnd

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_LINES_A_MESSAGE, _BYTES_A_MESSAGE = 32, 16 * 1024  # what waits together travels together
_TOGETHER_S = 0.005
_REBIND_S = 5.0


@dataclass(frozen=True, slots=True)
class ZeromqLimits:
    """Bounds: events between loop and thread (`queue`), joins, messages read in one turn (`reads`), replay."""

    queue: int = 8192
    live_subscriptions: int = 10_000
    joins_per_s: int = 1000
    reads: int = 500
    replay_s: float = 60.0
    replay_bytes: int = 16 << 20


class ZeromqThread:
    """The sockets and the thread's loop; `put`, `reply`, `allow` and `stop` may be called from other threads."""

    def __init__(
        self,
        context: Context,
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
        self._unsent: dict[str, list[bytes]] = {}
        self._sent_at: dict[str, float] = {}
        self._replies: deque[tuple[list[bytes], bytes]] = deque()
        self._wake_out, self._wake_in = os.pipe()
        self._awake = self._stopping = self._closed = self._rebind = False
        self._pipe = threading.Lock()  # held while the pipe is written or closed
        self._snapshots = 0
        self._trim_at = math.inf
        self._poller = zmq.Poller()
        self._xpub: Socket | None = None
        self._router: Socket | None = None
        self._monitors: dict[Socket, Socket] = {}

    # ---- from other threads

    @property
    def subscribers(self) -> int:
        """Subscriptions to streams now."""
        return self._breaker.live

    def put(self, stream: str, event: Event, line: bytes) -> None:
        """Queue one event for publishing; a full queue drops it, counted."""
        rare = isinstance(event, Header | StreamEnd)  # what a reader cannot do without gets in while frames do not
        if self._stopping or len(self._queue) >= self._limits.queue + (1024 if rare else 0):
            self.counters["publish_dropped"] += 1
            return
        self._queue.append((stream, event, line))
        self._wake()

    def reply(self, route: list[bytes], body: bytes) -> None:
        """Queue the answer to a call; there are at most as many as calls under way."""
        self._replies.append((route, body))
        self._wake()

    def allow(self, curve: CurveServer) -> None:
        """Take the client keys of one ZAP domain; if it is ours, cut off everybody on a revoked or changed key."""
        revoked = self._doorman.allow(curve)
        if self._curve is not None and curve.zap_domain == self._curve.zap_domain:
            self._rebind = self._rebind or revoked or curve.secret != self._curve.secret
            self._curve = curve
        self._wake()

    def stop(self) -> None:
        """Take in no more, send what is queued, end `run`."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        if self._awake:
            return
        with self._pipe:  # a thread that sees the stop by itself may be closing the pipe at this moment
            if not self._closed:
                self._awake = True  # cleared before the thread looks at the queues, so no item is left behind
                os.write(self._wake_in, b"\0")

    # ---- the thread

    def open(self) -> None:
        """Bind every socket; BindError names the one that cannot be had."""
        self._poller.register(self._wake_out, zmq.POLLIN)
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.linger = 0
        self._zap.bind(ZAP_ENDPOINT)
        self._poller.register(self._zap, zmq.POLLIN)
        self._bind_all(BIND_RETRIES_S)

    def run(self, call: Callable[[Call, list[bytes]], object]) -> None:
        """Serve until `stop`, then until the queue is empty; `call` passes a request on to the event loop."""
        while not (self._stopping and not self._queue and not self._replies):
            unbound = self._xpub is None and self.publish_endpoint != OFF
            wait_ms = 0 if self._queue else 5 if self._unsent else 50 if unbound or self._rebind else 1000
            ready = dict(self._poller.poll(wait_ms))
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
        self._send_lines(0.0)

    def close(self) -> None:
        """Close every socket; what was sent goes out within 500 ms of the context's end."""
        for watched, monitor in self._monitors.items():
            watched.disable_monitor()
            monitor.close(linger=0)
        for open_socket in (self._xpub, self._router):
            if open_socket is not None:
                open_socket.close(linger=500)
        self._zap.close(linger=0)
        with self._pipe:
            self._closed = True
            os.close(self._wake_in)
            os.close(self._wake_out)

    # ---- publishing

    def _publish_queued(self) -> None:
        for _ in range(min(len(self._queue), self._limits.reads)):
            name, event, line = self._queue.popleft()
            if name not in self._logs:
                self._logs[name] = StreamLog(self._limits.replay_s, self._limits.replay_bytes)
            self._logs[name].append(event, line)
            self._unsent.setdefault(name, []).append(line)
        self._send_lines(_TOGETHER_S)

    def _send_lines(self, apart_s: float) -> None:
        """Send what was logged, each stream's messages at least `apart_s` apart: a fast stream's lines travel together.

        Pipes are bounded in messages, so this is what lets a healthy but busy subscriber of a fast stream keep up.
        """
        now = time.monotonic()
        for stream in [s for s in self._unsent if now - self._sent_at.get(s, 0.0) >= apart_s]:
            self._sent_at[stream] = now
            part, size = list[bytes](), 0
            for line in self._unsent.pop(stream):
                if part and (len(part) == _LINES_A_MESSAGE or size + len(line) > _BYTES_A_MESSAGE):
                    self._send(f"{stream}/f/", part)
                    part, size = [], 0
                part.append(line)
                size += len(line)
            self._send(f"{stream}/f/", part)

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

    def _serve_joins(self, xpub: Socket) -> None:
        self._send_lines(0.0)  # a snapshot holds all that was logged, so all of it must be out
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

    def _join(self, xpub: Socket, stream: str) -> None:
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

    def _serve_control(self, router: Socket, call: Callable[[Call, list[bytes]], object]) -> None:
        for _ in range(self._limits.reads):
            frames = receive(router)
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
            frames = receive(self._zap, 16)
            if not frames:
                return
            self._zap.send_multipart([*frames[:2], *self._doorman.answer(frames[2:])])

    def _count_failures(self, ready: Mapping[Any, int]) -> None:
        for monitor in self._monitors.values():
            while monitor in ready and (frames := receive(monitor)):
                self.counters["accepts_failed" if is_accept_failure(frames) else "handshakes_failed"] += 1

    # ---- binding

    def _bind_all(self, retries_s: tuple[float, ...]) -> None:
        """Bind what is not bound; BindError if an address cannot be had."""
        if self._xpub is None and self.publish_endpoint != OFF:
            self._xpub = self._bind(zmq.XPUB, self.publish_endpoint, PUBLISH, retries_s)
            self.publish_endpoint = endpoint_of(self._xpub)
            self._breaker.reset()
        if self._router is None and self.control_endpoint != OFF:
            self._router = self._bind(zmq.ROUTER, self.control_endpoint, CONTROL, retries_s)
            self.control_endpoint = endpoint_of(self._router)

    def _bind(self, kind: int, endpoint: str, options: dict[int, int], retries_s: tuple[float, ...]) -> Socket:
        socket = bind(self._context, kind, endpoint, options, self._curve, retries_s)
        self._monitors[socket] = watch_failures(socket)
        for readable in (socket, self._monitors[socket]):
            self._poller.register(readable, zmq.POLLIN)
        return socket

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
            socket.unbind(endpoint_of(socket))
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


def _give_back_memory() -> None:
    """Return freed memory to the system where the C library can: a flood of subscriptions leaves hundreds of MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
