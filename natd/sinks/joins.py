"""What subscribers ask for, and when it is too much. No socket here."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from natd.wire import STREAM_NAME

_TOPIC = re.compile(f"({STREAM_NAME})/".encode())


@dataclass(frozen=True, slots=True)
class Subscription:
    """A peer begins or ends to follow `stream`; None where the topic is no stream's."""

    begins: bool
    stream: str | None


def read_subscription(message: bytes) -> Subscription | None:
    """The subscription in a message from an XPUB socket; None if it is none (peers may send anything)."""
    if message[:1] not in (b"\x00", b"\x01"):
        return None
    match = _TOPIC.fullmatch(message, 1)
    return Subscription(message[0] == 1, match and match[1].decode())


class Breaker:
    """Says when subscriptions are an attack: more than `live` at once or `per_second` in one second."""

    def __init__(self, live: int, per_second: int) -> None:
        self._live, self._per_second = live, per_second
        self.reset()

    def reset(self) -> None:
        """Start again with no subscription: the socket is new."""
        self.live = 0
        self._second, self._in_second = -1, 0
        self._by_peer: Counter[bytes] = Counter()

    def count(self, begins: bool, peer: bytes, now: float) -> bool:
        """Count one message of `peer` (its key, or empty); whether it was one too many."""
        if not begins:
            self.live = max(0, self.live - 1)
            return False
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
            self._by_peer.clear()
        self.live += 1
        self._in_second += 1
        self._by_peer[peer] += 1
        return self.live > self._live or self._in_second > self._per_second

    def loudest(self) -> bytes:
        """The peer with the most subscriptions in the current second."""
        return self._by_peer.most_common(1)[0][0]
