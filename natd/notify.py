"""What systemd is told (sd_notify), and a watchdog that is fed by progress, not by a timer."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from natd.clock import Clock, SystemClock

log = logging.getLogger(__name__)


class Notifier:
    """Sends to the datagram socket in NOTIFY_SOCKET; without one every call does nothing.

    It never waits: a message that cannot be sent is counted and logged, since the daemon must outlive its supervisor.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Clock | None = None) -> None:
        self.counters = {"notify_failed": 0}
        self._clock: Clock = clock or SystemClock()
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace
            self._address = "\0" + self._address[1:]

    def ready(self, status: str) -> None:
        """Start-up or a reload is complete."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={self._clock.mono_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon drains and ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """A line that `systemctl status` shows."""
        self._send(f"STATUS={_one_line(text)}")

    def alive(self) -> None:
        """Feed the watchdog once."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as to:
                to.sendto(message.encode(), self._address)
        except OSError as error:
            self.counters["notify_failed"] += 1
            log.warning("systemd cannot be notified: %s", error)


@dataclass(slots=True)
class _Probe:
    fn: Callable[[], int | None]
    last: int | None = None


class Watchdog:
    """Feeds systemd's watchdog only while every probe moves or is idle for a good reason.

    A probe returns a number that grows with the work done, or None when there is nothing to do (a file has ended, a
    device is absent). A stalled event loop cannot feed it either, as it runs there.
    """

    def __init__(self, notifier: Notifier, environ: Mapping[str, str] = os.environ) -> None:
        self._notifier = notifier
        self._probes: dict[str, _Probe] = {}
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.interval_s = int(usec) / 2e6 if for_us and usec.isdecimal() and int(usec) > 0 else None

    def add(self, name: str, probe: Callable[[], int | None]) -> None:
        """Watch one more worker; a probe of the same name is replaced."""
        self._probes[name] = _Probe(probe)

    def remove(self, name: str) -> None:
        """Watch it no longer, if it was watched: its work is over."""
        self._probes.pop(name, None)

    def stuck(self) -> list[str]:
        """Names of the probes that have not moved since the last call and are not idle."""
        names = []
        for name, probe in self._probes.items():
            now = probe.fn()
            if now is not None and now == probe.last:
                names.append(name)
            probe.last = now
        return names

    def beat(self) -> bool:
        """Feed the watchdog if nothing is stuck; returns whether it was fed."""
        names = self.stuck()
        if names:
            log.error("no progress in %s for %.1f s: the watchdog goes unfed", ", ".join(names), self.interval_s or 0.0)
            return False
        self._notifier.alive()
        return True

    async def run(self) -> None:
        """Beat at half the interval that systemd asks for, until cancelled; returns at once if it asks for none."""
        if self.interval_s is None:
            return
        while True:
            self.beat()
            await asyncio.sleep(self.interval_s)


def _one_line(text: str) -> str:
    return " ".join(text.split())
