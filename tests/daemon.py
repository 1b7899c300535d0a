"""A natd process on free ports, for tests: started, watched, stopped, its lines read."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.schema import validate_line


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Daemon:
    """`natd` with the given arguments; events of `--output -` come out of `events()`."""

    def __init__(self, *args: str, output: bool = True, env: dict[str, str] | None = None, stdin=subprocess.DEVNULL):
        publish, control, ingest, http = free_ports(4)
        self.publish = f"tcp://127.0.0.1:{publish}"
        self.control = f"tcp://127.0.0.1:{control}"
        self.ingest = f"tcp://127.0.0.1:{ingest}"
        self.http = f"127.0.0.1:{http}"
        ends = ["--publish", self.publish, "--control", self.control, "--ingest", self.ingest, "--http", self.http]
        self.command = [sys.executable, "-m", "natd", *ends, *(["--output", "-"] if output else []), *args]
        self._env, self._stdin = {**os.environ, **(env or {})}, stdin

    def __enter__(self) -> Daemon:
        self.process = subprocess.Popen(
            self.command, stdin=self._stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._env
        )
        self._events: queue.Queue[dict | None] = queue.Queue()
        self.log: list[str] = []
        self.faults: list[str] = []  # lines that break the schema
        self._logged = threading.Condition()
        self._readers = [threading.Thread(target=f, daemon=True) for f in (self._read_events, self._read_log)]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.faults == []
        for reader in self._readers:
            reader.join(5)
        for pipe in (self.process.stdout, self.process.stderr, self.process.stdin):
            if pipe is not None:
                pipe.close()

    def event(self, kind: str | None = None, timeout: float = 30.0, **fields: object) -> dict:
        """The next event (of a kind, with these fields); AssertionError with the log if none comes in time."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} {fields} within {timeout} s; log: {self.log}") from None
            if event is None:
                raise AssertionError(f"natd ended before {kind} {fields}; log: {self.log}")
            if kind in (None, event["event"]) and all(event.get(k) == v for k, v in fields.items()):
                return event

    def events(self) -> list[dict]:
        """All further events, to the end of the process."""
        return list(iter(self._events.get, None))

    def wait_for_log(self, text: str, timeout: float = 30.0) -> str:
        """The first log line that holds `text`."""
        deadline = time.monotonic() + timeout
        with self._logged:
            while True:
                for line in self.log:
                    if text in line:
                        return line
                if not self._logged.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{text!r} was not logged within {timeout} s: {self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit status."""
        return self.process.wait(timeout)

    def rss(self) -> int:
        """Resident memory, bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            received_ns = time.monotonic_ns()
            try:
                validate_line(line)
            except AssertionError as error:
                self.faults.append(str(error))
            self._events.put({**json.loads(line), "received_ns": received_ns})
        self._events.put(None)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line.decode())
                self._logged.notify_all()


def full_codes(events: list[dict]) -> list[list]:
    """Per frame the codes of all layers, held ones filled in (by the reader's rules, not by the package)."""
    held: dict[str, list] = {}
    rows = []
    for event in events:
        if event["event"] != "frame":
            continue
        for group in ("S", "A"):
            if group in event:
                before = held.get(group, [None] * len(event[group]))
                held[group] = [b if v is None else v for v, b in zip(event[group], before, strict=True)]
        rows.append([event["fi"], *held.get("S", []), *held.get("A", [])])
    return rows
