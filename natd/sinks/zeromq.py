"""The ZeroMQ sockets of the daemon: XPUB with snapshot-first joins, ROUTER for control and replay, ZAP.

One plain thread owns all of them. What the settings are for stands in clients/PROTOCOL.md and beside each of them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import orjson
import zmq

from natd.endpoints import OFF, CurveServer, check_bind
from natd.errors import ConfigError
from natd.sinks.control import Call, printable
from natd.sinks.zeromq_io import ZeromqLimits, ZeromqThread
from natd.wire import ErrorEvent, Event, encode

log = logging.getLogger(__name__)

Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | Awaitable[dict[str, Any] | bytes]]

_MAX_CALLS = 64


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
             "control_refused", "control_failed", "control_dropped", "replays", "replayed_events", "peers_refused",
             "handshakes_failed", "accepts_failed"), 0)  # fmt: skip
        self._answers = dict(answers)
        self._io = ZeromqThread(
            self.context, publish, control, self._answers, curve, limits or ZeromqLimits(), self.counters
        )
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
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
            self._io.reply(route, self._failure("busy", "too many requests are waiting"))
            return
        task = self._loop.create_task(self._answer(call, route), name=f"control:{call.op}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, route: list[bytes]) -> None:
        try:
            answer = self._answers[call.op](call.request)
            if inspect.isawaitable(answer):
                answer = await answer
            if not isinstance(answer, bytes):
                answer = orjson.dumps({"event": "answer", "op": call.op, **answer}) + b"\n"
            reply = answer
        except ConfigError as error:  # what was asked for is not there
            reply = self._failure("unknown_code", str(error))
        except Exception as error:  # a fault in one answer is told to its asker and logged; the daemon goes on
            log.exception("control op %s failed", call.op)
            reply = self._failure("failed", f"{type(error).__name__}: {error}")
        self._io.reply(route, reply)

    def _failure(self, code: str, message: str) -> bytes:
        self.counters["control_failed"] += 1
        return encode(ErrorEvent(code, printable(message)))


def _resolve(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # told: it may be that nobody waits for this one
