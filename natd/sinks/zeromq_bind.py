"""How the daemon's ZeroMQ sockets are made: limits, heartbeats, keys, and a clear word when an address is taken."""

from __future__ import annotations

import time
from itertools import count

import zmq

from natd.endpoints import CurveServer
from natd.errors import BindError

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

_monitored = count()
BIND_RETRIES_S = (0.25, 0.5, 1.0)
_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_ACCEPT_FAILED
)
# Heartbeats are safe on sockets that bind; no HEARTBEAT_TTL. A peer that does not answer is cut off after 3 s.
_COMMON: dict[int, int] = {
    zmq.HANDSHAKE_IVL: 2000, zmq.HEARTBEAT_IVL: 1000, zmq.HEARTBEAT_TIMEOUT: 3000, zmq.LINGER: 500, zmq.BACKLOG: 128,
}  # fmt: skip
# SNDHWM and SNDBUF bound how stale a slow subscriber's next event can be; the rest bounds what peers can make us hold.
PUBLISH: dict[int, int] = {
    zmq.XPUB_MANUAL: 1, zmq.XPUB_NODROP: 1, zmq.SNDHWM: 128, zmq.SNDBUF: 32768, zmq.RCVHWM: 1000, zmq.MAXMSGSIZE: 256,
}  # fmt: skip
CONTROL: dict[int, int] = {zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: 256, zmq.RCVHWM: 256, zmq.MAXMSGSIZE: 4096}


def bind(
    context: Context,
    kind: int,
    endpoint: str,
    options: dict[int, int],
    curve: CurveServer | None,
    retries_s: tuple[float, ...],
) -> Socket:
    """A bound socket; BindError, after waiting `retries_s` between tries, if the address cannot be had."""
    socket = context.socket(kind)
    for option, value in {**_COMMON, **options, zmq.IPV6: int("[" in endpoint)}.items():
        socket.setsockopt(option, value)
    if curve is not None:
        socket.zap_domain = curve.zap_domain.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without this, no answer from ZAP would let everybody in
        socket.curve_server, socket.curve_secretkey = True, curve.secret
        # The longest message of the handshake itself has some 290 bytes.
        socket.maxmsgsize = max(options[zmq.MAXMSGSIZE], 512)
    try:
        _bind_with_retries(socket, endpoint, retries_s)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise BindError(
            f"cannot bind {endpoint}: {zmq.strerror(error.errno or 0)}; "
            "stop the program that holds it, or choose another endpoint"
        ) from error
    return socket


def _bind_with_retries(socket: Socket, endpoint: str, retries_s: tuple[float, ...]) -> None:
    for wait_s in retries_s:
        try:
            socket.bind(endpoint)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            time.sleep(wait_s)
    socket.bind(endpoint)


def endpoint_of(socket: Socket) -> str:
    """Where it is bound, with the real port."""
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def watch_failures(socket: Socket) -> Socket:
    """A socket that tells of peers that could not be accepted or did not finish the handshake."""
    monitor: Socket = socket.context.socket(zmq.PAIR)
    monitor.linger = 0
    monitor.rcvhwm = 0  # bounded, it would stop libzmq's own thread in a flood, and that thread holds a lock we need
    # Never the address of one before: libzmq gives that up in its own time, and a new socket may lie where the old lay.
    address = f"inproc://natd.monitor.{next(_monitored)}"
    socket.monitor(address, _FAILURES)
    monitor.connect(address)
    return monitor


def is_accept_failure(frames: list[bytes]) -> bool:
    """Whether a message of `watch_failures` says that the process is out of file descriptors."""
    return int.from_bytes(frames[0][:2], "little") == zmq.EVENT_ACCEPT_FAILED


def receive(socket: Socket, most: int = 4) -> list[bytes]:
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
