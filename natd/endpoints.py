"""Where sockets may be bound, and the CURVE keys that a bind beyond this machine needs. Plain strings: no zmq here."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from natd.errors import ConfigError

OFF = "off"
_TCP = re.compile(r"tcp://(?P<host>\[[^\]]*\]|[^:\[\]/]*):(?P<port>\d{1,5}|\*)")
_HTTP = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]/]*):(?P<port>\d{1,5})")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_CERTIFICATE_LINE = re.compile(r"""(?P<name>public-key|secret-key)\s*=\s*["'](?P<key>.*)["']""")
_MAX_IPC_BYTES = 107  # sun_path of unix(7), without its end
_MAX_KEY_FILE_BYTES = 1 << 20
_MAX_CLIENTS = 4096


@dataclass(frozen=True, slots=True)
class CurveServer:
    """Keys (Z85, 40 bytes each) of a CURVE server and the public keys of the clients it lets in."""

    public: bytes
    secret: bytes = field(repr=False)
    zap_domain: str
    clients: frozenset[bytes]


def check_endpoint(endpoint: str) -> str:
    """`endpoint` itself if ZeroMQ can bind to it (tcp:// with a port, or ipc://); ValueError says why not."""
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        if not path or not path.isprintable() or len(path.encode()) > _MAX_IPC_BYTES:
            raise ValueError(f"ipc:// needs a path of 1 to {_MAX_IPC_BYTES} bytes, as in ipc:///run/natd/publish")
        return endpoint
    match = _TCP.fullmatch(endpoint)
    if match is None:
        raise ValueError(f"{endpoint!r} is not an address such as tcp://127.0.0.1:5556 or ipc:///run/natd/publish")
    _check_host_port(match["host"], match["port"])
    return endpoint


def check_http(address: str) -> str:
    """`address` itself if it is HOST:PORT on the loopback; ValueError says why not: HTTP has no keys."""
    host, port = split_http(address)
    _check_host_port(host, str(port))
    if not is_loopback(host):
        raise ValueError(f"{address!r} is not on the loopback and HTTP has no keys: bind 127.0.0.1 behind a proxy")
    return address


def split_http(address: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of HOST:PORT; ValueError if it is not that."""
    match = _HTTP.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is not HOST:PORT such as 127.0.0.1:8088")
    return match["host"].strip("[]"), int(match["port"])


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach a socket bound to `endpoint` (ipc, or tcp on a loopback address)."""
    match = _TCP.fullmatch(endpoint)
    return endpoint.startswith(("ipc://", "inproc://")) or (match is not None and is_loopback(match["host"]))


def check_bind(endpoint: str, *, curve: bool) -> None:
    """ConfigError unless `endpoint` is local or CURVE keys protect it."""
    if not curve and not is_local(endpoint):
        raise ConfigError(
            f"{endpoint} can be reached from other machines: give [security] server_key and clients (CURVE), "
            "or bind tcp://127.0.0.1"
        )


def load_curve(server_key: Path, clients: Path, zap_domain: str) -> CurveServer:
    """The keys in two places; ConfigError if one is missing, malformed, or the secret is open to other users.

    `server_key` is a secret certificate as `zmq.auth.create_certificates` writes it. `clients` is a folder of public
    certificates (*.key), one such file, or a list with one Z85 public key a line (# begins a comment).
    """
    check_private(server_key)
    keys = dict(_certificate(_read(server_key)))
    if "secret-key" not in keys or "public-key" not in keys:
        raise ConfigError(
            f"{server_key} holds no CURVE public-key and secret-key (zmq.auth.create_certificates makes one)"
        )
    for name, key in keys.items():
        _check_key(key, f"{name} in {server_key}")
    return CurveServer(keys["public-key"].encode(), keys["secret-key"].encode(), zap_domain, load_clients(clients))


def load_clients(path: Path) -> frozenset[bytes]:
    """The public keys listed at `path` (see `load_curve`); ConfigError if there are none: nobody could connect."""
    try:
        files = sorted(path.glob("*.key")) if path.is_dir() else [path]
    except OSError as error:
        raise ConfigError(f"cannot list {path}: {error.strerror}") from error
    keys: set[bytes] = set()
    for file in files:
        text = _read(file)
        found = [key for name, key in _certificate(text) if name == "public-key"] or list(_plain_lines(text))
        for key in found:
            _check_key(key, f"a line of {file}")
            keys.add(key.encode())
    if not keys:
        raise ConfigError(f"{path} lists no client key, so nobody could connect")
    if len(keys) > _MAX_CLIENTS:
        raise ConfigError(f"{path} lists {len(keys)} client keys; at most {_MAX_CLIENTS} are taken")
    return frozenset(keys)


def check_private(path: Path) -> None:
    """ConfigError if users other than the owner can read or change `path`.

    systemd hands credentials over as 0440 with an access list that names the unit's user only: the group bit is the
    mask of that list, so it is let through in that folder.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    allowed = 0o740 if credentials and path.parent == Path(credentials) else 0o700
    if mode & ~allowed:
        raise ConfigError(f"{path} is open to other users (mode {mode:04o}): chmod 600 {path}")


def _check_host_port(host: str, port: str) -> None:
    if not host or host == "[]":
        raise ValueError("the address has no host: use 127.0.0.1 for this machine only")
    if port != "*" and int(port) > 65535:
        raise ValueError(f"port {port} is not in 0 to 65535")


def is_loopback(host: str) -> bool:
    """Whether `host` (name or address) is this machine for certain."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name or an interface: it may resolve to anything, so it does not count as local
        return False


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES + 1)
        if len(data) > _MAX_KEY_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_KEY_FILE_BYTES} bytes: not a file of keys")
        return data.decode()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file of Z85 keys") from error


def _certificate(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if match := _CERTIFICATE_LINE.fullmatch(line.strip()):
            yield match["name"], match["key"]


def _plain_lines(text: str) -> Iterator[str]:
    # Z85 has '#' in its alphabet, so a comment needs a line of its own.
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("# ") and line.strip() != "#":
            yield line.strip()


def _check_key(key: str, where: str) -> None:
    if not _Z85.fullmatch(key):
        raise ConfigError(f"{where} is not a CURVE key: 40 characters of Z85 are needed")  # the key itself stays unsaid
