"""The keys of a client."""

import pytest
import zmq.auth

from natd.errors import ConfigError
from natd.offline.keys import client_keys


@pytest.fixture
def keys(tmp_path):
    for name in ("server", "hall"):
        zmq.auth.create_certificates(tmp_path, name)
    (tmp_path / "hall.key_secret").chmod(0o600)
    return tmp_path


def test_certificates_as_zeromq_writes_them(keys):
    server, public, secret = client_keys(keys / "server.key", keys / "hall.key_secret")
    assert (public.encode(), secret.encode()) == zmq.auth.load_certificate(keys / "hall.key_secret")
    assert server.encode() == zmq.auth.load_certificate(keys / "server.key")[0]


def test_none_are_needed_on_the_loopback():
    assert client_keys(None, None) is None


def test_both_or_none(keys):
    with pytest.raises(ConfigError, match="belong together"):
        client_keys(keys / "server.key", None)
    with pytest.raises(ConfigError, match="belong together"):
        client_keys(None, keys / "hall.key_secret")


def test_a_secret_that_others_can_read_is_refused(keys):
    (keys / "hall.key_secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        client_keys(keys / "server.key", keys / "hall.key_secret")


def test_files_that_hold_no_key(keys, tmp_path):
    with pytest.raises(ConfigError, match="no such|No such"):
        client_keys(tmp_path / "none", keys / "hall.key_secret")
    (keys / "server.key").write_text('public-key = "short"\n')
    with pytest.raises(ConfigError, match="holds no public-key"):
        client_keys(keys / "server.key", keys / "hall.key_secret")
