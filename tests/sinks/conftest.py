"""A sink and its peers, for the tests of the ZeroMQ sockets."""

import pytest

from tests.running import Peers, running_sink


@pytest.fixture
def context():
    peers = Peers()
    yield peers
    peers.close()


@pytest.fixture
def running():
    with running_sink() as live:
        yield live
