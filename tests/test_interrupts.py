"""When an interrupt is heard."""

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from natd.interrupts import interrupts_held


@pytest.fixture
def heard() -> Iterator[None]:
    """As in a terminal, where a shell in the background lets interrupts be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def a_thread() -> Iterator[None]:
    """Libraries that were loaded before have some, and the kernel gives a signal to any that does not mask it."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("heard")
def test_an_interrupt_is_heard_once_what_must_not_break_is_over():
    begun = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # which no other thread can take
            begun.append("all of it")
        begun.append("what follows")
    assert begun == ["all of it"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("heard", "a_thread")
def test_an_interrupt_that_another_thread_takes_is_held_too():
    begun = []
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(KeyboardInterrupt):
        ours.setblocking(False)
        theirs.settimeout(10)
        before = signal.set_wakeup_fd(ours.fileno())
        try:
            with interrupts_held():
                os.kill(os.getpid(), signal.SIGINT)
                assert theirs.recv(1) == bytes([signal.SIGINT])  # taken
                begun.append("all of it")
            begun.append("what follows")
        finally:
            signal.set_wakeup_fd(before)
    assert begun == ["all of it"]


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_a_thread_may_hold_interrupts_and_the_program_hears_them_all_the_same():
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with interrupts_held():
            held.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            go_on.wait(10)  # until it comes
    finally:
        go_on.set()
        thread.join()
