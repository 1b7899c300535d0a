"""What systemd hears, over real datagram sockets, and a watchdog that only progress feeds."""

import asyncio
import os
import socket

import pytest

from natd.clock import FakeClock
from natd.notify import Notifier, Watchdog


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    """(socket, NOTIFY_SOCKET) of a supervisor."""
    said = str(tmp_path / "notify") if request.param == "path" else f"@natd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + said[1:] if said[0] == "@" else said)
        heard.settimeout(5.0)
        yield heard, said


def waiting(heard: socket.socket) -> list[str]:
    """All datagrams that lie there now."""
    heard.setblocking(False)
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode())
        except BlockingIOError:
            return found


def test_every_state_is_told(listener):
    heard, said = listener
    notifier = Notifier({"NOTIFY_SOCKET": said}, FakeClock(now_ns=123_456_789))
    notifier.status("loading the model")
    notifier.ready("2 streams")
    notifier.reloading()
    notifier.alive()
    notifier.stopping()
    assert waiting(heard) == [
        "STATUS=loading the model",
        "READY=1\nSTATUS=2 streams",
        "RELOADING=1\nMONOTONIC_USEC=123456",
        "WATCHDOG=1",
        "STOPPING=1",
    ]
    assert notifier.counters == {"notify_failed": 0}


def test_a_status_cannot_forge_another_message(listener):
    heard, said = listener
    Notifier({"NOTIFY_SOCKET": said}).status("evil\nMAINPID=1\r\nREADY=1")
    assert waiting(heard) == ["STATUS=evil MAINPID=1 READY=1"]


def test_without_a_supervisor_nothing_is_said():
    notifier = Notifier({})
    notifier.ready("x")
    notifier.stopping()
    assert notifier.counters == {"notify_failed": 0}


@pytest.mark.parametrize("said", ["/nowhere/notify", "vsock:2:1234", "x" * 200, "@absent"])
def test_a_supervisor_that_is_gone_is_counted_and_logged(said, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": said})
    notifier.ready("x")
    assert notifier.counters == {"notify_failed": 1}
    assert "cannot be notified" in caplog.text


def test_a_supervisor_that_does_not_read_never_holds_the_daemon_up(listener):
    _, said = listener
    notifier = Notifier({"NOTIFY_SOCKET": said})
    for _ in range(100_000):
        notifier.alive()
        if notifier.counters["notify_failed"]:
            return
    pytest.fail("the socket never filled")


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_is_half_of_what_systemd_waits(environ, interval_s):
    assert Watchdog(Notifier({}), environ).interval_s == interval_s


def test_only_progress_feeds_the_watchdog(listener, caplog):
    heard, said = listener
    watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": said}), {"WATCHDOG_USEC": "10000000"})
    done = {"stage": 1, "hall": 7}
    for name in done:
        watchdog.add(name, lambda name=name: done[name])
    assert watchdog.beat()  # nothing to compare with yet
    done["stage"] += 1
    assert not watchdog.beat() and "hall" in caplog.text and "stage" not in caplog.text
    done["stage"] += 1
    done["hall"] += 1
    assert watchdog.beat()
    assert not watchdog.beat()
    assert waiting(heard) == ["WATCHDOG=1"] * 2


def test_having_nothing_to_do_is_no_fault(listener):
    heard, said = listener
    watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": said}), {"WATCHDOG_USEC": "10000000"})
    probe: dict[str, int | None] = {"now": 4}
    watchdog.add("stage", lambda: probe["now"])
    assert watchdog.beat()
    probe["now"] = None
    assert watchdog.beat() and watchdog.beat()
    probe["now"] = 4  # after a rest the count starts anew
    assert watchdog.beat() and not watchdog.beat()
    watchdog.remove("stage")
    assert watchdog.beat() and watchdog.stuck() == []
    assert waiting(heard) == ["WATCHDOG=1"] * 5


async def told(heard: socket.socket) -> str:
    async with asyncio.timeout(5.0):
        return (await asyncio.get_running_loop().sock_recv(heard, 4096)).decode()


def test_it_beats_by_itself_while_work_is_done(listener):
    heard, said = listener
    heard.setblocking(False)

    async def run() -> list[str]:
        watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": said}), {"WATCHDOG_USEC": "20000"})
        steps = iter(range(10**9))
        watchdog.add("stage", lambda: next(steps))
        task = asyncio.create_task(watchdog.run())
        beats = [await told(heard) for _ in range(3)]
        task.cancel()
        await asyncio.wait([task])
        return beats

    assert asyncio.run(run()) == ["WATCHDOG=1"] * 3


def test_it_ends_at_once_where_systemd_does_not_watch():
    asyncio.run(asyncio.wait_for(Watchdog(Notifier({}), {}).run(), 5.0))
