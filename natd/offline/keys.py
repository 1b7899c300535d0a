"""The CURVE keys with which a tool talks to a daemon that asks for them."""

from __future__ import annotations

import re
from pathlib import Path

from natd.endpoints import check_private
from natd.errors import ConfigError

Keys = tuple[str, str, str]  # the server's public key, our public key, our secret key: Z85


def client_keys(server_key: Path | None, key: Path | None) -> Keys | None:
    """From the server's public certificate and our secret one, as `zmq.auth.create_certificates` writes them.

    None where neither is given; ConfigError where one is missing, malformed, or ours is open to other users.
    """
    if server_key is None and key is None:
        return None
    if server_key is None or key is None:
        raise ConfigError("--server-key and --key belong together: the daemon's public key and your secret one")
    check_private(key)
    return _read(server_key, "public-key"), _read(key, "public-key"), _read(key, "secret-key")


def _read(path: Path, name: str) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    found = re.search(rf"^\s*{name}\s*=\s*[\"'](\S{{40}})[\"']\s*$", text, re.MULTILINE)
    if found is None:
        raise ConfigError(f"{path} holds no {name} (zmq.auth.create_certificates makes one)")
    return found[1]
