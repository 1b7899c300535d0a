"""When an interrupt is heard."""

import os
import signal
from collections.abc import Iterator

import pytest

from natd.interrupts import interrupts_held


@pytest.fixture
def heard() -> Iterator[None]:
    """As in a terminal, where a shell in the background lets interrupts be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupt_is_heard_once_what_must_not_break_is_over():
    begun = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            begun.append("all of it")
        begun.append("what follows")
    assert begun == ["all of it"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
