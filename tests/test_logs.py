"""Log lines: whole, escaped, limited by cause, and never in the way of the daemon."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from natd import logs
from natd.logs import LIMIT_CAUSES, QUEUE_LINES, Limiter, Logs, escaped, to_journal

log = logging.getLogger("natd.test")


class Pipe:
    """Standard error of a daemon: `read` gives all lines once the writer is done."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def read(self) -> list[str]:
        os.close(self.write_end)
        return self.read_all()

    def read_all(self) -> list[str]:
        with os.fdopen(self.read_end, encoding="utf-8") as lines:
            return lines.read().splitlines()


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@contextmanager
def journal(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found = os.fstat(pipe.write_end)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    yield
    monkeypatch.delenv("JOURNAL_STREAM")


def test_a_line_has_time_level_name_and_message(pipe):
    with Logs("info", pipe.write_end):
        log.warning("%s: %d frames lost", "stage", 3)
        log.debug("unseen")
    (line,) = pipe.read()
    assert line[12:] == " warning natd.test: stage: 3 frames lost"
    assert [line[2], line[5], line[8]] == [":", ":", "."]


def test_the_journal_gets_priorities_and_no_time(pipe, monkeypatch):
    with journal(pipe, monkeypatch), Logs("debug", pipe.write_end):
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")
        log.critical("c")
    assert pipe.read() == [
        "<7>debug natd.test: d", "<6>info natd.test: i", "<4>warning natd.test: w",
        "<3>error natd.test: e", "<2>critical natd.test: c",
    ]  # fmt: skip


def test_the_journal_is_recognised_by_device_and_inode(pipe, monkeypatch):
    assert not to_journal(pipe.write_end)
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")  # inherited: that of a parent whose standard error went elsewhere
    assert not to_journal(pipe.write_end)
    with journal(pipe, monkeypatch):
        assert to_journal(pipe.write_end)
    pipe.read()


def test_a_traceback_has_the_priority_on_each_line(pipe, monkeypatch):
    with journal(pipe, monkeypatch), Logs("info", pipe.write_end):
        try:
            raise ValueError("bad\nthing")
        except ValueError:
            log.exception("it failed")
    lines = pipe.read()
    assert lines[0] == "<3>error natd.test: it failed"
    assert lines[1] == "<3>  Traceback (most recent call last):"
    assert all(line.startswith("<3>  ") for line in lines[1:]) and lines[-1] == "<3>  thing"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 音", "plain é 音"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x00\x7f", "\\x1b[2J\\x00\\x7f"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_is_not_printable_is_escaped(pipe, text, shown):
    assert escaped(text) == shown
    with Logs("info", pipe.write_end):
        log.info("name %s", text)
    (line,) = pipe.read()
    assert line.endswith(f"name {shown}")


def test_of_one_cause_the_first_is_written_and_the_rest_counted(pipe):
    now = [100.0]
    with Logs("info", pipe.write_end, lambda: now[0]) as handler:
        for i in range(5000):
            log.warning("bad message %d", i)
        log.warning("something else")
        logging.getLogger("natd.other").warning("bad message %d", 7)
    lines = [line[13:] for line in pipe.read()]
    assert lines == [
        "warning natd.test: bad message 0",
        "warning natd.test: something else",
        "warning natd.other: bad message 7",
        "warning natd.test: 4999 more like this, the latest: bad message 4999",
    ]
    assert handler.counters == {"log_dropped": 0, "log_suppressed": 4999}


def record(message: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("natd.test", level, "", 0, message, args, None)


def test_a_cause_is_heard_again_after_its_time():
    now, counters = [0.0], {"log_suppressed": 0}
    limiter = Limiter(counters, lambda: now[0])
    assert limiter.filter(record("x %d", 1)) and not limiter.filter(record("x %d", 2))
    now[0] = 9.9
    assert not limiter.filter(record("x %d", 3)) and limiter.due() == []
    now[0] = 10.0
    (told,) = limiter.due()
    assert told.getMessage().startswith("2 more like this, the latest: x ") and told.levelno == logging.WARNING
    assert limiter.due() == []
    assert limiter.filter(record("x %d", 4))
    assert counters == {"log_suppressed": 2}


def test_debugging_is_not_limited():
    limiter = Limiter({"log_suppressed": 0})
    assert all(limiter.filter(record("x", level=logging.DEBUG)) for _ in range(3))


def test_memory_is_bounded_whatever_the_causes_are():
    limiter = Limiter({"log_suppressed": 0})
    for i in range(3 * LIMIT_CAUSES):
        limiter.filter(record(f"cause {i}"))
    assert len(limiter._causes) == LIMIT_CAUSES


def test_a_blocked_reader_costs_lines_and_nothing_else(pipe):
    total = 3 * QUEUE_LINES
    long = "x" * 200
    lines: list[str] = []
    with Logs("info", pipe.write_end) as handler:
        for i in range(total):  # far more than pipe and queue hold; nobody reads until all are logged
            log.info(f"line {i} {long}")
        dropped = handler.counters["log_dropped"]
        assert dropped > 0
        reader = threading.Thread(target=lambda: lines.extend(pipe.read_all()))
        reader.start()
        deadline = time.monotonic() + 10.0
        while not handler._queue.empty() and time.monotonic() < deadline:
            time.sleep(0.001)
    os.close(pipe.write_end)
    reader.join()
    written = [line for line in lines if " natd.test: line " in line]
    said = sum(int(line.split()[-3]) for line in lines if line.endswith(" lines dropped"))
    assert len(written) + handler.counters["log_dropped"] == total
    assert said == handler.counters["log_dropped"] == dropped
    assert all(line.endswith(long) for line in written)


def test_a_reader_that_is_gone_is_counted(pipe):
    os.close(pipe.read_end)
    with Logs("info", pipe.write_end) as handler:
        for i in range(5):
            log.info(f"line {i}")
    os.close(pipe.write_end)
    assert handler.counters["log_dropped"] == 5


BLOCKED = """
import logging
from natd.logs import Logs
with Logs("info"):
    for i in range(20_000):
        logging.getLogger("natd").info(f"line {i} " + "x" * 100)
print("over", flush=True)
"""


def test_a_process_whose_standard_error_is_blocked_still_ends():
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(30) == 0  # its standard error is full, and unread until here
        assert process.stdout.read() == "over\n"


def test_the_root_logger_is_given_back(pipe):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with Logs("error", pipe.write_end) as handler:
        assert root.handlers == [handler] and root.level == logging.ERROR
        handler.set_level("debug")
        assert root.level == logging.DEBUG
    assert (root.handlers[:], root.level) == before
    assert pipe.read() == []
    assert not [t for t in threading.enumerate() if t.name == "logs"]


def test_every_setting_has_a_priority():
    assert {getattr(logging, level.upper()) for level in ("debug", "info", "warning", "error")} <= logs._PRIORITY.keys()
