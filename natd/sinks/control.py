"""What the control socket answers: requests decoded with limits, replies as NDJSON. No socket here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta

from natd.sinks.replay import StreamLog
from natd.wire import Code, ErrorEvent, LayerName, StreamName, encode

MAX_REPLY_BYTES = 64 * 1024  # of replayed lines; the client asks again for the rest
_BYTES_A_TOKEN = 8 * 1024
_MAX_PEERS = 1024
_RESET = b'{"event":"reset"'


class _Request(msgspec.Struct, omit_defaults=True):
    op: Annotated[str, Meta(max_length=32)]
    stream: StreamName | None = None
    epoch: Annotated[str, Meta(max_length=64)] | None = None
    from_seq: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    to_seq: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    layer: LayerName | None = None
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the daemon itself must answer: the function's name and the checked fields."""

    op: str
    request: dict[str, Any]


class TokenBucket:
    """`burst` tokens at most, `rate` of them a second (s as float from any monotonic clock)."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._when = rate, burst, burst, now

    def ready(self, now: float) -> bool:
        """Whether a token is there."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return self._tokens >= 1.0

    def take(self, tokens: float) -> None:
        """Spend `tokens`; the bucket may go into debt by one large reply."""
        self._tokens -= tokens


class ControlDesk:
    """Answers one request at a time: `replay`, `header` and `streams` itself, the other `ops` by a `Call`.

    Every peer may spend `rate` tokens a second (one a request and one each 8 KiB of reply), `burst` at once.
    """

    def __init__(
        self,
        logs: Mapping[str, StreamLog],
        ops: Collection[str],
        counters: dict[str, int],
        rate: float = 50.0,
        burst: float = 200.0,
    ) -> None:
        self._logs, self._ops, self.counters = logs, frozenset(ops), counters
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self._decoder = msgspec.json.Decoder(_Request)

    def answer(self, peer: bytes, body: bytes, now: float) -> bytes | Call:
        """The reply to one request, or the call that will give it; never raises for what a peer sent."""
        self.counters["control_requests"] += 1
        bucket = self._bucket(peer, now)
        if not bucket.ready(now):
            bucket.take(0.0)
            return self.refuse("rate_limited", "too many requests: wait a second")
        reply = self._decode_and_answer(body)
        bucket.take(1.0 + (len(reply) // _BYTES_A_TOKEN if isinstance(reply, bytes) else 0))
        return reply

    def refuse(self, code: str, message: str) -> bytes:
        """An `error` line, counted."""
        self.counters["control_refused"] += 1
        return encode(ErrorEvent(code, message))

    def _bucket(self, peer: bytes, now: float) -> TokenBucket:
        bucket = self._buckets.pop(peer, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[peer] = bucket
        if len(self._buckets) > _MAX_PEERS:
            self._buckets.popitem(last=False)
        return bucket

    def _decode_and_answer(self, body: bytes) -> bytes | Call:
        try:
            request = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self.refuse("bad_request", printable(str(error)))
        match request.op:
            case "replay":
                return self._replay(request)
            case "header":
                return self._header(request)
            case "streams":
                return self._streams()
            case op if op in self._ops:
                return Call(op, msgspec.to_builtins(request))
        return self.refuse("unknown_op", f"no op {printable(request.op)!r}: {', '.join(self.ops)} are known")

    @property
    def ops(self) -> list[str]:
        """Every op that is answered."""
        return sorted({"replay", "header", "streams", *self._ops})

    def _log(self, request: _Request) -> StreamLog | None:
        log = self._logs.get(request.stream or "")
        return log if log is not None and log.epoch else None

    def _unknown(self, request: _Request) -> bytes:
        return self.refuse("unknown_stream", f"no stream {request.stream!r} is being published")

    def _header(self, request: _Request) -> bytes:
        log = self._log(request)
        return self._unknown(request) if log is None else log.snapshot()[0]

    def _streams(self) -> bytes:
        rows = [
            {"stream": name, "epoch": log.epoch, "last_seq": log.last_seq, "last_fi": log.last_fi}
            for name, log in sorted(self._logs.items())
        ]
        return orjson.dumps({"event": "streams", "streams": rows}) + b"\n"

    def _replay(self, request: _Request) -> bytes:
        if request.from_seq is None or request.epoch is None:
            return self.refuse("bad_request", "replay needs stream, epoch and from_seq")
        log = self._log(request)
        if log is None:
            return self._unknown(request)
        lines = log.since(request.epoch, request.from_seq)
        self.counters["replays"] += 1
        if not lines or lines[0].startswith(_RESET):
            return b"".join(lines)
        count = len(lines) if request.to_seq is None else max(0, request.to_seq - request.from_seq + 1)
        kept, size = list[bytes](), 0
        for line in lines[:count]:
            size += len(line)
            if kept and size > MAX_REPLY_BYTES:
                break
            kept.append(line)
        self.counters["replayed_events"] += len(kept)
        return b"".join(kept)


def printable(text: str) -> str:
    """At most 200 characters of what a peer sent, safe in a log line and in a reply."""
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text[:200])
