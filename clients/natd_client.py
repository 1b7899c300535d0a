"""Listen to natd's token streams, and feed it audio: pyzmq, msgpack and the standard library.

for event in Listener("tcp://127.0.0.1:5556", "stage", control="tcp://127.0.0.1:5557"):
    print(event)

`python -m natd_client tcp://127.0.0.1:5556 stage` prints the events of a stream, one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

import msgpack
import zmq

__all__ = ["AsyncListener", "Feeder", "Follower", "Listener", "ask", "names"]

Event = dict[str, Any]
Curve = tuple[str, str, str]  # the server's public key, our public key, our secret key: Z85

SILENCE_S = 2.5  # natd beats once a second; after this long without a word we connect anew
REPLY_S = 1.0
_TRIES = 3
_MAX_HELD = 20_000  # live events kept while a replay is under way
_MESSAGES_AT_ONCE = 64
_MAX_NAMES = 65_536  # of a layer
_PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SAMPLE_BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_ARRAY_FORMATS = {"s16le": "h", "s32le": "i", "f32le": "f"}


class Follower:
    """One subscriber's view of one stream, without sockets or clocks: bytes in, events out, requests wanted.

    Every sequenced event of an epoch comes out at most once and in order. A hole in `seq` is asked for (`request`);
    what cannot be had comes out as `{"event": "lost", "from_seq": n, "to_seq": m}`, and a `state` from which to go on.
    `rejoin` says that a new subscription, with its snapshot, is needed. With `fill` every frame has all codes.
    """

    def __init__(self, stream: str, replays: bool = True, fill: bool = False) -> None:
        self.out: deque[tuple[Event, int]] = deque()  # event, monotonic time (ns) of its receipt
        self.header: Event | None = None
        self.rejoin = self.ended = False
        self.garbage = 0  # messages that were not lines of JSON; their events show as a hole
        self._stream, self._replays, self._fill = stream, replays, fill
        self._next = 0  # the `seq` to come
        self._first = True  # until the first snapshot or event: what was before it is not lost, we were not there
        self._hole: int | None = None  # the last `seq` known to be missing
        self._filling = self._asked = False
        self._adrift = False  # gave up a hole: nothing counts until the next snapshot
        self._tries = 0
        self._held: list[tuple[Event, int]] = []
        self._codes: dict[str, list[Any]] = {}

    def request(self) -> Event | None:
        """The request to send on control now; None if there is none, or its answer is awaited."""
        if not self._filling or self._asked or self.header is None:
            return None
        self._asked = True
        span = {"epoch": self.header["epoch"], "from_seq": self._next, "to_seq": self._hole}
        return {"op": "replay", "stream": self._stream, **span}

    def no_answer(self) -> None:
        """The answer did not come, or was of no use: ask again, or give up after the third time."""
        self._asked = False
        self._tries += 1
        if self._tries >= _TRIES:
            self._give_up()

    def rejoined(self) -> None:
        """A new subscription was made: its snapshot will show what is missing."""
        self.rejoin = False
        self._stop_filling()

    def published(self, body: bytes, now_ns: int) -> None:
        """Take the lines of one message from the publish socket."""
        for event in self._parse(body):
            if event["event"] == "header":
                self._take_header(event, now_ns)
            elif self._filling:
                self._hold(event, now_ns)
            else:
                self._take(event, now_ns)

    def answered(self, body: bytes, now_ns: int) -> None:
        """Take the answer to `request`; an error or an empty one is as good as none."""
        events = self._parse(body)
        if not self._asked or not events or events[0]["event"] == "error":
            return
        self._asked, self._tries = False, 0
        if events[0]["event"] == "reset":
            self._take_reset(events[1:], now_ns)
            return
        for event in events:
            if event["seq"] > self._next:  # the daemon itself lost some
                self._give_up()
                return
            self._take(event, now_ns)
        if self._hole is not None and self._next > self._hole:
            self._resume()

    def _parse(self, body: bytes) -> list[Event]:
        try:
            return [event for event in map(json.loads, body.splitlines()) if "event" in event]
        except (ValueError, TypeError):
            self.garbage += 1
            return []

    def _take(self, event: Event, now_ns: int) -> None:
        """One event in its place: out it goes, or it shows a hole, or it is a repeat."""
        if self.header is None:
            return
        if event["event"] == "state":
            self._take_state(event, now_ns)
        elif self._adrift:
            return
        elif "seq" in event:
            if event["seq"] > self._next:
                self._open_hole(event["seq"] - 1, event, now_ns)
            elif event["seq"] == self._next:
                self._next, self._first = self._next + 1, False
                self._emit(event, now_ns)
        elif event["event"] == "hb" and event["last_seq"] >= self._next and event["epoch"] == self.header["epoch"]:
            self._open_hole(event["last_seq"], event, now_ns)
        else:
            self._emit(event, now_ns)

    def _take_header(self, event: Event, now_ns: int) -> None:
        if self.header is not None and event["epoch"] == self.header["epoch"]:
            return  # joined again
        if self._hole is not None:
            self._lose(max([self._hole, *(e["seq"] for e, _ in self._held if "seq" in e)]), now_ns)
        self._stop_filling()
        self.header, self._next, self._adrift, self.ended = event, 0, False, False
        self._codes.clear()
        self._emit(event, now_ns)

    def _take_state(self, event: Event, now_ns: int) -> None:
        """A snapshot: nothing is missing, or events before it are, or we begin here."""
        if event["seq"] < self._next and not self._first:
            self._adrift = False
        elif self._first or self._adrift or not self._replays:
            if not self._first:
                self._lose(event["seq"], now_ns)
            self._next, self._first, self._adrift, self._hole = event["seq"] + 1, False, False, None
            self._emit(event, now_ns)
        else:
            self._open_hole(event["seq"], event, now_ns)

    def _take_reset(self, snapshot: list[Event], now_ns: int) -> None:
        """The hole is older than the daemon remembers: go on from the state that came with the answer."""
        same = self.header is not None and snapshot and snapshot[0].get("epoch") == self.header["epoch"]
        if not same or snapshot[1]["seq"] < self._next:
            self._give_up()
            return
        self._lose(snapshot[1]["seq"], now_ns)
        self._emit(snapshot[1], now_ns)
        for event in snapshot[2:]:
            self._take(event, now_ns)
        self._resume()

    def _lose(self, to_seq: int, now_ns: int) -> None:
        self.out.append(({"event": "lost", "from_seq": self._next, "to_seq": to_seq}, now_ns))
        self._next, self._hole = to_seq + 1, None

    def _open_hole(self, to_seq: int, event: Event, now_ns: int) -> None:
        self._hole = to_seq
        if self._replays:
            self._filling = True
            self._hold(event, now_ns)
        else:
            self._give_up()

    def _hold(self, event: Event, now_ns: int) -> None:
        self._held.append((event, now_ns))
        if len(self._held) > _MAX_HELD:
            self._give_up()

    def _resume(self) -> None:
        held, self._hole = self._held, None
        self._stop_filling()
        for event, now_ns in held:
            self._hold(event, now_ns) if self._filling else self._take(event, now_ns)

    def _stop_filling(self) -> None:
        self._filling, self._asked, self._tries, self._held = False, False, 0, []

    def _give_up(self) -> None:
        """No replay is to be had: the snapshot of a new subscription says how much is lost."""
        self._stop_filling()
        self.rejoin = self._adrift = True

    def _emit(self, event: Event, now_ns: int) -> None:
        if event["event"] in ("frame", "state") and self._fill:
            for group in ("S", "A"):
                known, given = self._codes.get(group, []), event.get(group)
                if given is not None:
                    known = [known[i] if code is None else code for i, code in enumerate(given)]
                if known:
                    self._codes[group] = event[group] = known
        self.ended = self.ended or event["event"] == "end"
        self.out.append((event, now_ns))


class _Link:
    """The two sockets under a `Follower`; `pump` moves what is there and never waits."""

    def __init__(self, endpoint: str, control: str | None, curve: Curve | None, follower: Follower) -> None:
        self.follower = follower
        self._endpoint, self._control_endpoint, self._curve, self._stream = endpoint, control, curve, follower._stream
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control: zmq.Socket[bytes] | None = None
        self._asked_at = 0.0
        self._join()

    def _socket(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.linger, made.ipv6 = 0, "[" in endpoint
        made.reconnect_ivl, made.reconnect_ivl_max = 100, 2000
        # No ZMTP heartbeats here: libzmq 4.3.5 aborts on a connecting SUB that has them and reads slowly.
        if self._curve is not None:
            made.curve_serverkey, made.curve_publickey, made.curve_secretkey = (key.encode() for key in self._curve)
        return made

    def _join(self) -> None:
        self._sub = self._socket(zmq.SUB, self._endpoint)
        self._sub.subscribe(f"{self._stream}/")
        self._sub.connect(self._endpoint)
        self._heard = time.monotonic()

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Those to wait for."""
        return [self._sub] if self._control is None else [self._sub, self._control]

    def pump(self) -> bool:
        """Send what is wanted, take what has come, mind the deadlines; whether anything came."""
        now, moved = time.monotonic(), False
        if self._control is not None:
            with contextlib.suppress(zmq.Again):
                body = self._control.recv(zmq.NOBLOCK)
                self._drop_control()
                self.follower.answered(body, time.monotonic_ns())
                moved = True
        with contextlib.suppress(zmq.Again):
            for _ in range(_MESSAGES_AT_ONCE):
                message = self._sub.recv_multipart(zmq.NOBLOCK)
                self._heard, moved = now, True
                self.follower.published(message[-1], time.monotonic_ns())
        # Only now: what came while our owner was busy elsewhere is neither silence nor an answer that did not come.
        if self._control is not None and now > self._asked_at + REPLY_S:
            self._drop_control()
            self.follower.no_answer()
        if self.follower.rejoin or now > self._heard + self._patience_s:
            self._sub.close()
            self._join()
            self.follower.rejoined()
        self._ask(now)
        return moved

    def _ask(self, now: float) -> None:
        request = self.follower.request()
        if request is not None and self._control_endpoint is not None:
            self._control = self._socket(zmq.DEALER, self._control_endpoint)
            self._control.connect(self._control_endpoint)
            self._control.send(json.dumps(request).encode())
            self._asked_at = now

    def _drop_control(self) -> None:
        assert self._control is not None
        self._control.close()
        self._control = None

    @property
    def _patience_s(self) -> float:
        return 4 * SILENCE_S if self.follower.ended else SILENCE_S  # an ended stream does not beat

    def wait_s(self) -> float:
        """How long nothing needs to be done unless something comes."""
        due = [self._heard + self._patience_s] + ([self._asked_at + REPLY_S] if self._control is not None else [])
        return max(0.0, min(due) - time.monotonic()) + 0.001

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()
        self._context.term()


class _Listening:
    """What both listeners share."""

    def __init__(
        self,
        endpoint: str,
        stream: str,
        control: str | None = None,
        *,
        curve: Curve | None = None,
        fill: bool = False,
        timeout: float | None = None,
        until_end: bool = False,
    ) -> None:
        """`timeout` (s) without an event raises TimeoutError; `until_end` stops after an `end` event."""
        self.recv_mono_ns = 0  # when the latest event was received, CLOCK_MONOTONIC
        self._follower = Follower(stream, replays=control is not None, fill=fill)
        self._link: _Link | None = _Link(endpoint, control, curve, self._follower)
        self._timeout, self._until_end, self._over = timeout, until_end, False

    def _pop(self) -> Event:
        event, self.recv_mono_ns = self._follower.out.popleft()
        self._over = self._until_end and event["event"] == "end"
        return event

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class Listener(_Listening):
    """Events of one stream as dicts, for as long as you iterate: snapshot first, then all, across daemon restarts.

    With `control` a loss on the way is replayed; without, it comes out as `lost` and a new `state`. One thread only.
    """

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while self._link is not None and not self._over:
            if self._follower.out:
                return self._pop()
            if self._link.pump():
                continue
            wait_s = self._link.wait_s()
            if deadline is not None:
                wait_s = min(wait_s, deadline - time.monotonic())
                if wait_s <= 0:
                    raise TimeoutError(f"no event in {self._timeout} s")
            poller = zmq.Poller()
            for socket in self._link.sockets:
                poller.register(socket, zmq.POLLIN)
            poller.poll(int(wait_s * 1000) + 1)
        raise StopIteration

    def close(self) -> None:
        """End the iteration and free the sockets."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncListener(_Listening):
    """`Listener` for `async for`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while self._link is not None and not self._over:
            if self._follower.out:
                return self._pop()
            if self._link.pump():
                continue
            wait_s = self._link.wait_s()
            if deadline is not None:
                wait_s = min(wait_s, deadline - time.monotonic())
                if wait_s <= 0:
                    raise TimeoutError(f"no event in {self._timeout} s")
            await _readable([int(socket.fd) for socket in self._link.sockets], wait_s)
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the iteration and free the sockets."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


async def _readable(descriptors: list[int], timeout_s: float) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    for descriptor in descriptors:
        loop.add_reader(descriptor, ready.set)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), timeout_s)
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


class Feeder:
    """Sends audio into a stream of natd whose source is `zeromq:`; counts samples so that every loss is declared."""

    def __init__(
        self, endpoint: str, stream: str, rate: int, channels: int, fmt: str = "s16le", *, curve: Curve | None = None
    ) -> None:
        """`rate` in Hz; `fmt` is one of s16le s24le s32le f32le, samples of the channels interleaved."""
        if fmt not in _SAMPLE_BYTES:
            raise ValueError(f"fmt {fmt!r} is not one of {', '.join(_SAMPLE_BYTES)}")
        self.first_sample = self.seq = 0
        self._stream, self._rate, self._channels, self._fmt = stream.encode(), rate, channels, fmt
        self._producer = secrets.token_hex(8)  # natd tells producers apart by it: each counts from 0
        self._frame_bytes = _SAMPLE_BYTES[fmt] * channels
        self._most = max(1, min(rate // 10, 500_000 // self._frame_bytes))  # a message: 0.1 s and half a MiB at most
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.sndhwm, self._socket.immediate, self._socket.linger = 16, 1, 1000
        self._socket.reconnect_ivl, self._socket.reconnect_ivl_max = 100, 2000
        if curve is not None:
            server, public, secret = (key.encode() for key in curve)
            self._socket.curve_serverkey, self._socket.curve_publickey, self._socket.curve_secretkey = (
                server, public, secret)  # fmt: skip
        self._socket.connect(endpoint)

    def send(self, samples: Any, timeout: float = 1.0, t_ns: int | None = None) -> int:
        """Send bytes, or an array `[n, channels]` of the format's type; how many samples (per channel) were taken.

        Blocks while natd is absent or slow, at most `timeout` s in all. Fewer than given were taken only then: the rest
        was not sent, and is yours to send again or to `skip`. `t_ns` is the CLOCK_MONOTONIC time of the first sample.
        """
        view = self._as_bytes(samples)
        count = len(view) // self._frame_bytes
        deadline = time.monotonic() + timeout
        for at in range(0, count, self._most):
            n = min(self._most, count - at)
            when = time.monotonic_ns() if t_ns is None else t_ns + at * 1_000_000_000 // self._rate
            head = {"v": 1, "seq": self.seq, "first_sample": self.first_sample, "rate": self._rate,
                    "channels": self._channels, "fmt": self._fmt, "t_ns": when, "producer": self._producer}  # fmt: skip
            pcm = bytes(view[at * self._frame_bytes : (at + n) * self._frame_bytes])
            if not self._socket.poll(max(0, round((deadline - time.monotonic()) * 1000)), zmq.POLLOUT):
                return at
            self._socket.send_multipart([self._stream, msgpack.packb(head), pcm], zmq.NOBLOCK)
            self.seq, self.first_sample = self.seq + 1, self.first_sample + n
        return count

    def skip(self, samples: int) -> None:
        """Declare that `samples` (per channel) are lost: natd publishes a gap of that length."""
        self.first_sample += samples

    def _as_bytes(self, samples: Any) -> memoryview:
        view = memoryview(samples)
        if view.format not in ("B", "b", "c", _ARRAY_FORMATS.get(self._fmt)):
            raise ValueError(f"an array of type {view.format!r} is not {self._fmt}")
        view = view.cast("B")
        if len(view) % self._frame_bytes:
            raise ValueError(f"{len(view)} bytes are no whole number of {self._channels}-channel {self._fmt} samples")
        return view

    def close(self) -> None:
        """Send what is queued within a second, then free the socket."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def ask(control: str, request: Event, *, curve: Curve | None = None, timeout: float = 2.0) -> list[Event]:
    """What the control socket answers to such as `{"op": "streams"}`; TimeoutError if nothing within `timeout` s."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.linger, socket.ipv6 = 0, "[" in control
        if curve is not None:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = (key.encode() for key in curve)
        socket.connect(control)
        socket.send(json.dumps(request).encode())
        if not socket.poll(round(timeout * 1000)):
            raise TimeoutError(f"no answer from {control} in {timeout} s")
        return [json.loads(line) for line in socket.recv().splitlines()]
    finally:
        socket.close()
        context.term()


def names(header: Event) -> dict[str, dict[int, str]]:
    """Layer -> code -> short name, as the legend of a header event says (PROTOCOL.md, "Names"); {} if it has none."""
    sizes = {layer["name"]: min(layer["vocab"], _MAX_NAMES) for layer in header["layers"]}
    found = header["legend"].get("names", {})
    return {layer: _expand(runs, sizes[layer]) for layer, runs in found.items() if layer in sizes}


def _expand(runs: list[Any], size: int) -> dict[int, str]:
    named: dict[int, str] = {}
    firsts = [run["first"] if isinstance(run, dict) else run[0] for run in runs]
    for run, first, end in zip(runs, firsts, [*firsts[1:], size], strict=True):
        said: Iterator[str] = iter(())  # a kind of run that this version does not know
        if isinstance(run, list):
            said = itertools.repeat(run[1])
        elif "form" in run and "axes" in run:
            head, *parts = run["form"].split("{}")
            chosen = itertools.product(*map(_axis, run["axes"]))
            said = (head + "".join(word + part for word, part in zip(words, parts, strict=False)) for words in chosen)
        codes = range(first, min(end, size))
        named.update((code, name) for code, name in zip(codes, said, strict=False) if name)
    return named


def _axis(axis: Any) -> list[str]:
    if isinstance(axis, list):
        return axis
    notes = range(axis["lowest"], axis["lowest"] + min(axis["count"], _MAX_NAMES)) if "lowest" in axis else ()
    return [f"{_PITCH_CLASSES[midi % 12]}{midi // 12 - 1}" for midi in notes]


def main() -> None:
    """Print the events of a stream."""
    parser = argparse.ArgumentParser(prog="python -m natd_client", description="Print the events of a natd stream.")
    parser.add_argument("endpoint", help="where natd publishes, such as tcp://127.0.0.1:5556")
    parser.add_argument("stream")
    parser.add_argument("--control", help="natd's control endpoint: losses are then replayed")
    parser.add_argument("--fill", action="store_true", help="fill in held codes")
    given = parser.parse_args()
    with Listener(given.endpoint, given.stream, given.control, fill=given.fill) as events:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            for event in events:
                print(json.dumps(event, ensure_ascii=False, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
