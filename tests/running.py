"""A ZeromqSink that runs on an event loop of its own, so that tests and soak runs may block."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import zmq

from natd.endpoints import CurveServer
from natd.sinks.zeromq import ZeromqSink
from natd.sinks.zeromq_io import ZeromqLimits
from natd.wire import Event, encode

ANY_PORT = "tcp://127.0.0.1:*"

# The header of a recording of unknown length: 24 kHz, mono, 16 bits.
ENDLESS_WAV = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0data\xff\xff\xff\xff"


class RunningSink:
    """The sink, its loop, and ways to hand it events from another thread."""

    def __init__(self, sink: ZeromqSink, loop: asyncio.AbstractEventLoop) -> None:
        self.sink, self.loop = sink, loop

    def publish(self, *events: Event, stream: str = "stage") -> None:
        """Publish events on the loop, as the daemon does; returns once the sink has taken them."""
        done = threading.Event()

        def go() -> None:
            for event in events:
                self.sink.publish(stream, event, encode(event))
            done.set()

        self.loop.call_soon_threadsafe(go)
        assert done.wait(5)

    def paced(self, events: Iterable[Event], per_second: float, stream: str = "stage") -> None:
        """Publish events at a pace; a late one is not waited for twice."""
        started = time.monotonic()
        for i, event in enumerate(events):
            time.sleep(max(0.0, started + i / per_second - time.monotonic()))
            self.loop.call_soon_threadsafe(self.sink.publish, stream, event, encode(event))


@contextmanager
def running_sink(
    publish: str = ANY_PORT,
    control: str = ANY_PORT,
    answers: Mapping[str, Any] | None = None,
    curve: CurveServer | None = None,
    limits: ZeromqLimits | None = None,
) -> Iterator[RunningSink]:
    """A sink bound and serving."""
    ready: list[RunningSink | BaseException] = []
    started, stop = threading.Event(), asyncio.Event()

    async def live() -> None:
        try:
            async with ZeromqSink(publish, control, answers or {}, curve, limits) as sink:
                ready.append(RunningSink(sink, asyncio.get_running_loop()))
                started.set()
                await stop.wait()
        except BaseException as error:
            ready.append(error)
            raise
        finally:
            started.set()

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="sink")
    thread.start()
    started.wait()
    try:
        if not isinstance(ready[0], RunningSink):
            raise ready[0]
        yield ready[0]
    finally:
        if isinstance(ready[0], RunningSink) and thread.is_alive():
            ready[0].loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failures:
        raise failures[0]


def until(condition: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The first true value of `condition`, polled; AssertionError if none comes in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.002)
    return value


class Peers:
    """Sockets of peers, closed when the test is over."""

    def __init__(self):
        self._context, self._made = zmq.Context(), []

    def socket(self, kind):
        made = self._context.socket(kind)
        made.linger = 0
        self._made.append(made)
        return made

    def leave(self, socket):
        """Close one of them now."""
        self._made.remove(socket)
        socket.close()

    def close(self):
        for made in self._made:
            made.close()
        self._context.term()


def subscriber(context, endpoint, stream="stage", **options):
    sub = context.socket(zmq.SUB)
    for name, value in options.items():
        setattr(sub, name, value)
    sub.subscribe(f"{stream}/")
    sub.connect(endpoint)
    return sub


def lines_of(sub, count, within_ms=5000):
    """At least `count` lines, with the topic each came on."""
    lines = []
    while len(lines) < count:
        assert sub.poll(within_ms), f"{len(lines)} of {count} lines came"
        topic, body = sub.recv_multipart()
        lines += [(topic.decode(), line) for line in body.splitlines(keepends=True)]
    return lines


def asker(context, endpoint, kind=zmq.DEALER):
    made = context.socket(kind)
    made.connect(endpoint)
    return made


def ask(dealer, request):
    dealer.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    assert dealer.poll(5000), f"no answer to {request!r}"
    return dealer.recv().splitlines(keepends=True)
