"""HTTP on the loopback: streams as chunked NDJSON (`curl -N` listens), a list of them, /legend, /metrics, /health."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import orjson
from aiohttp import web

from natd.endpoints import is_loopback
from natd.errors import BindError, ConfigError, NatdError
from natd.sinks.replay import StreamLog
from natd.wire import ErrorEvent, Event, Header, StreamEnd, encode

log = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
_KEPT_S = 1.0  # of each stream's log: only its snapshot is used
_CHUNK_BYTES = 16 * 1024
_LEGEND = ("/legend", r"/legend/{layer:[SA]\d{1,2}}", r"/legend/{layer:[SA]\d{1,2}}/{code:[0-9]{1,10}}")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_INDEX = """<!doctype html><meta charset="utf-8"><title>natd</title><h1>natd</h1><ul>
<li><a href="/streams">/streams</a>: what is being published
{streams}<li><a href="/legend">/legend</a>: what the codes mean; /legend/S1 one layer, /legend/S1/37 one code
<li><a href="/metrics">/metrics</a>: figures for Prometheus
<li><a href="/health">/health</a>
</ul>
"""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds: clients following streams, connections of any kind, lines waiting for one client; times in s."""

    clients: int = 64
    connections: int = 128
    lines: int = 256
    silent_s: float = 10.0  # a connection that has not asked for anything in this time is cut
    write_s: float = 30.0  # a client that takes nothing for this long is cut


class HttpSink:
    """Serves every stream to any number of readers; a slow one loses whole lines, never more than its own.

    `metrics_text` gives the text of /metrics; `health` a dict whose `ok` decides between 200 and 503; `legend` what a
    layer (None: all) and a code (None: all) mean, or ConfigError where there are none such. Only loopback addresses,
    unless `remote` says otherwise: there are no keys here.
    """

    def __init__(
        self,
        addr: str,
        port: int,
        metrics_text: Callable[[], bytes],
        health: Callable[[], Mapping[str, Any]],
        legend: Callable[[str | None, int | None], Mapping[str, Any]] | None = None,
        *,
        remote: bool = False,
        limits: HttpLimits | None = None,
    ) -> None:
        self._local = is_loopback(addr)
        if not (self._local or remote):
            raise ConfigError(f"http: {addr} can be reached from other machines and HTTP has no keys: bind 127.0.0.1")
        self.counters = dict.fromkeys(("http_requests", "http_refused", "http_clients", "http_dropped", "http_cut"), 0)
        self.port = port
        self._addr, self._metrics_text, self._health, self._legend_of = addr, metrics_text, health, legend
        self._limits = limits or HttpLimits()
        self._logs: dict[str, StreamLog] = {}
        self._clients: dict[str, set[_Client]] = {}
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._closing = False

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/streams", self._streams),
                web.get("/streams/{name}.ndjson", self._follow, allow_head=False),
                *(web.get(path, self._legend) for path in _LEGEND),
                web.get("/metrics", self._metrics),
                web.get("/health", self._healthy),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=self._limits.silent_s,
            handler_cancellation=True,  # a reader that goes away ends its handler at once
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        self._loop = asyncio.get_running_loop()
        try:
            self._server = await self._loop.create_server(self._connection, self._addr, self.port, backlog=64)
        except OSError as error:
            await self._runner.cleanup()
            raise BindError(
                f"cannot bind http {self._addr}:{self.port}: {error.strerror}; "
                "stop the program that holds it, or choose another address with --http"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for client in [c for clients in self._clients.values() for c in clients]:
            client.end()
        self._server.close()
        await self._runner.cleanup()
        for timer in self._silent.values():
            timer.cancel()

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Hand one event to every reader of the stream; a reader whose queue is full loses what waits in it."""
        if stream not in self._logs:
            self._logs[stream] = StreamLog(_KEPT_S)
        self._logs[stream].append(event, line)
        for client in self._clients.get(stream, ()):
            self.counters["http_dropped"] += client.put(line, isinstance(event, Header))
            if isinstance(event, StreamEnd):
                client.end()

    async def drain(self) -> None:
        """Return at once: live audio never waits for a reader."""

    # ---- requests

    def _connection(self) -> asyncio.BaseProtocol:
        """A connection: cut at once if there are too many, and after a while if it has asked for nothing."""
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= self._limits.connections:
            self.counters["http_refused"] += 1
            return _Refusal()
        handler = server()
        self._silent[handler] = self._loop.call_later(self._limits.silent_s, self._cut_if_silent, handler)
        return handler

    def _cut_if_silent(self, handler: web.RequestHandler) -> None:
        del self._silent[handler]
        if handler.transport is not None:
            self.counters["http_refused"] += 1
            handler.transport.abort()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        self.counters["http_requests"] += 1
        if (timer := self._silent.pop(request.protocol, None)) is not None:
            timer.cancel()
        # A page in a browser can point its own host name at 127.0.0.1; such requests carry that name.
        if self._local and not is_loopback(_host_of(request.headers.get("Host", "localhost"))):
            return self._error(403, "forbidden", "the Host header names another machine")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return self._error(error.status, "bad_request", f"{error.reason}: {request.path}")

    def _error(self, status: int, code: str, message: str) -> web.Response:
        self.counters["http_refused"] += 1
        return web.Response(status=status, body=encode(ErrorEvent(code, message)), content_type="application/json")

    async def _index(self, request: web.Request) -> web.Response:
        rows = "".join(f'<li><a href="/streams/{n}.ndjson">/streams/{n}.ndjson</a>\n' for n in sorted(self._logs))
        return web.Response(text=_INDEX.format(streams=rows), content_type="text/html")

    async def _streams(self, request: web.Request) -> web.Response:
        rows = [
            {"stream": name, "epoch": kept.epoch, "last_seq": kept.last_seq, "last_fi": kept.last_fi}
            for name, kept in sorted(self._logs.items())
        ]
        return _json({"event": "streams", "streams": rows})

    async def _legend(self, request: web.Request) -> web.Response:
        if self._legend_of is None:
            return self._error(404, "unknown_code", "there is no legend here")
        layer, code = request.match_info.get("layer"), request.match_info.get("code")
        try:
            said = self._legend_of(layer, None if code is None else int(code))
        except ConfigError as error:
            return self._error(404, "unknown_code", str(error))
        except NatdError as error:
            return self._error(503, "busy", str(error))
        return _json({"event": "answer", "op": "legend", **said})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics_text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _healthy(self, request: web.Request) -> web.Response:
        health = self._health()
        return _json(health, 200 if health["ok"] else 503)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        kept = self._logs.get(name)
        if kept is None:
            return self._error(404, "unknown_stream", "no such stream is being published: see /streams")
        if self._closing or sum(map(len, self._clients.values())) >= self._limits.clients:
            return self._error(503, "busy", "too many clients follow streams")
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        _bound_buffers(cast(asyncio.Transport, request.transport))
        await response.prepare(request)
        client = _Client(kept, self._limits.lines)
        if kept.ended:
            client.end()
        self._clients.setdefault(name, set()).add(client)
        self.counters["http_clients"] += 1
        try:
            while lines := await client.take():
                async with asyncio.timeout(self._limits.write_s):
                    await response.write(b"".join(lines))
                    await request.writer.drain()
            await response.write_eof()
        except ConnectionError:
            return response  # the reader has gone, as readers do
        except TimeoutError:
            self.counters["http_cut"] += 1
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._clients[name].discard(client)
        return response


class _Client:
    """What waits for one reader. When it is full it is emptied, and the reader goes on from a fresh `state`."""

    def __init__(self, kept: StreamLog, most: int) -> None:
        self._log, self._most = kept, most
        self._lines: deque[bytes] = deque(kept.snapshot())
        self._epoch = kept.epoch
        self._lost = False
        self._ending = False
        self._ready = asyncio.Event()
        self._ready.set()

    def put(self, line: bytes, begins_epoch: bool) -> int:
        """Queue one line; how many were dropped."""
        self._ready.set()
        if self._ending:
            return 0
        if self._lost:  # the snapshot, taken when the reader is back, will cover this one
            return 1
        if len(self._lines) >= self._most:
            dropped = len(self._lines) + 1
            self._lines.clear()
            self._lost = True
            return dropped
        if begins_epoch:
            self._epoch = self._log.epoch
        self._lines.append(line)
        return 0

    def end(self) -> None:
        """Nothing comes after what waits."""
        self._ending = True
        self._ready.set()

    async def take(self) -> list[bytes]:
        """The lines to send next; [] at the end."""
        while not (self._lines or self._lost or self._ending):
            self._ready.clear()
            await self._ready.wait()
        if self._lost:
            snapshot = self._log.snapshot()
            self._lines.extend(snapshot[1:] if self._log.epoch == self._epoch else snapshot)
            self._epoch, self._lost = self._log.epoch, False
        lines, size = list[bytes](), 0
        while self._lines and size < _CHUNK_BYTES:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return lines


class _Refusal(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


def _bound_buffers(transport: asyncio.Transport) -> None:
    """Little may wait in the kernel and in the transport: what waits there is stale before it is read."""
    transport.set_write_buffer_limits(high=_CHUNK_BYTES)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK_BYTES)


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body) + b"\n", content_type="application/json")


def _host_of(header: str) -> str:
    host = header.rpartition(":")[0] if header[-1:].isdigit() and ":" in header else header
    return host.strip("[]")
