"""Who may connect: answers to ZAP requests (rfc.zeromq.org/spec/27). No socket here; what is not allowed is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from natd.endpoints import CurveServer
from natd.errors import ConfigError

BAN_S = 600.0
_MAX_BANS = 256
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_DIGIT = {character: value for value, character in enumerate(_ALPHABET)}


class Doorman:
    """Lets in the client keys of each ZAP domain, and nobody else.

    `allow` may be called from any thread (one assignment); the rest belongs to the thread that owns the ZAP socket.
    """

    def __init__(self, counters: dict[str, int], now: Callable[[], float]) -> None:
        self.counters = counters
        self._now = now
        self._allowed: dict[bytes, frozenset[bytes]] = {}
        self._bans: dict[bytes, float] = {}

    def allow(self, curve: CurveServer) -> bool:
        """Take the keys of `curve` as its domain's whole list; whether a key that was allowed before no longer is."""
        keys = frozenset(raw_key(key) for key in curve.clients)
        domain = curve.zap_domain.encode()
        revoked = bool(self._allowed.get(domain, frozenset()) - keys)
        self._allowed = {**self._allowed, domain: keys}
        return revoked

    def ban(self, key: bytes) -> None:
        """Refuse the raw public key for ten minutes; the oldest ban makes room."""
        self._bans.pop(key, None)
        while len(self._bans) >= _MAX_BANS:
            del self._bans[next(iter(self._bans))]
        self._bans[key] = self._now() + BAN_S

    def answer(self, request: Sequence[bytes]) -> list[bytes]:
        """The reply frames to the frames of one request: [version, id, domain, address, identity, mechanism, key]."""
        version, request_id = (*request, b"", b"")[:2]
        if version != b"1.0" or len(request) < 6:
            status, text, user = b"500", b"bad request", b""
        elif self._lets_in(request):
            status, text, user = b"200", b"OK", request[6].hex().encode()
        else:
            self.counters["peers_refused"] += 1
            status, text, user = b"400", b"not allowed", b""
        return [b"1.0", request_id, status, text, user, b""]

    def _lets_in(self, request: Sequence[bytes]) -> bool:
        domain, mechanism = request[2], request[5]
        if mechanism != b"CURVE" or len(request) != 7 or len(request[6]) != 32:
            return False
        key = request[6]
        return key in self._allowed.get(domain, frozenset()) and self._bans.get(key, 0.0) <= self._now()


def raw_key(z85: bytes) -> bytes:
    """The 32 bytes of a key written as 40 characters of Z85; ConfigError if they are not one."""
    raw = bytearray()
    try:
        for at in range(0, 40, 5):
            value = 0
            for character in z85[at : at + 5].decode("ascii"):
                value = value * 85 + _DIGIT[character]
            raw += value.to_bytes(4, "big")
    except (KeyError, OverflowError, UnicodeDecodeError) as error:
        raise ConfigError("a client key is not Z85") from error
    if len(z85) != 40:
        raise ConfigError(f"a client key has {len(z85)} characters; Z85 keys have 40")
    return bytes(raw)
