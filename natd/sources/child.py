"""The parent's side of a capture process: start it, read its status and its log, kill it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from typing import Any

from natd.audio.ring import RingReader, Shape
from natd.errors import SourceError
from natd.sources.names import DeviceInfo, Selector

LIST_DEADLINE_S = 10.0
KILL_S = 2.0
_LINE_BYTES = 1 << 16

log = logging.getLogger(__name__)


def list_devices(deadline_s: float = LIST_DEADLINE_S) -> list[DeviceInfo]:
    """What PortAudio can capture from now; blocks up to `deadline_s`. SourceError if it is missing, or hangs."""
    status, child_status = os.pipe()
    with os.fdopen(status, "rb") as answers:
        process = _spawn({"do": "list"}, child_status, (), subprocess.DEVNULL)
        try:
            process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise SourceError(
                f"PortAudio did not list its devices within {deadline_s:g} s: a sound server hangs"
            ) from None
        line = answers.readline()
    message: dict[str, Any] = (
        json.loads(line) if line else {"message": f"the capture process ended with {process.returncode}"}
    )
    if "devices" not in message:
        raise SourceError(message["message"])
    return [DeviceInfo(**device) for device in message["devices"]]


class CaptureChild:
    """A running capture process and the ring it fills. `close` it before letting go.

    `message` is its latest word: {} at first, then {"opened": name}, or {"error": kind, "message": text}.
    """

    def __init__(self, selector: Selector, rate: int, shape: Shape, loop: asyncio.AbstractEventLoop) -> None:
        self.message: dict[str, Any] = {}
        self.changed = asyncio.Event()  # set with each new message
        self._loop = loop
        self.ring = RingReader(shape)
        self._status, child_status = os.pipe()
        request = {
            "do": "capture",
            "selector": selector,
            "rate": rate,
            "shape": [shape.frames, shape.channels, shape.block],
            "ring_fds": self.ring.writer_fds,
        }
        self._process = _spawn(request, child_status, self.ring.writer_fds, subprocess.PIPE)
        self.ring.attached()
        assert self._process.stderr is not None
        self._stderr = self._process.stderr.fileno()
        for fd, read in ((self._status, self._read_status), (self._stderr, self._read_log)):
            os.set_blocking(fd, False)
            loop.add_reader(fd, read)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def error(self) -> str | None:
        """Kind of the error it ended with."""
        return self.message.get("error")

    async def readable(self, timeout_s: float) -> bool:
        """Wait until the ring has an announcement or an end; False after `timeout_s`."""
        ready: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, _settle, ready, False)
        self._loop.add_reader(self.ring.fd, _settle, ready, True)
        try:
            return await ready
        finally:
            timer.cancel()
            self._loop.remove_reader(self.ring.fd)

    async def last_word(self) -> None:
        """Once the ring has ended: wait until `message` says why."""
        while self.error is None:
            self.changed.clear()
            await self.changed.wait()

    def _read_status(self) -> None:
        lines = os.read(self._status, _LINE_BYTES).splitlines()
        if lines:
            self.message = json.loads(lines[-1])
        else:  # its end without a word is an error too
            self._loop.remove_reader(self._status)
            if self.error is None:
                self.message = {"error": "died", "message": "the capture process died"}
        self.changed.set()

    def _read_log(self) -> None:
        text = os.read(self._stderr, _LINE_BYTES)
        if not text:
            self._loop.remove_reader(self._stderr)
        for line in text.decode(errors="replace").splitlines():
            log.info("capture process: %s", line)

    async def close(self) -> None:
        """Kill it, and give everything back once it is gone."""
        for fd in (self._status, self._stderr):
            self._loop.remove_reader(fd)
        self._process.kill()
        os.close(self._status)
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self.ring.close()
        try:
            await self._loop.run_in_executor(None, self._process.wait, KILL_S)
        except subprocess.TimeoutExpired:
            log.warning("capture process %d cannot be killed: it waits inside a driver", self.pid)


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _spawn(request: dict[str, Any], status: int, fds: tuple[int, ...], stderr: int) -> subprocess.Popen[bytes]:
    """Start the process with its end of the status pipe, which is closed here."""
    request |= {"parent": os.getpid(), "status_fd": status}
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "natd.sources.capture", json.dumps(request)],
            pass_fds=(status, *fds),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | {"JACK_NO_START_SERVER": "1"},  # listing devices must not start a server
            process_group=0,  # an interrupt typed at the terminal is for natd, which stops this process in its turn
        )
    finally:
        os.close(status)
