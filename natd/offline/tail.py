"""`nat tail`: follow a running stream, as a picture in a terminal, as plain lines elsewhere, or as it comes."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live

from natd.errors import SourceError
from natd.llm.follow import Following
from natd.offline.keys import Keys
from natd.offline.screen import Screen, describe, summary
from natd_client import Listener, ask

Event = dict[str, Any]
Events = Generator[Event | None, None, None]  # None: nothing has come for a while
REFRESH_S = 0.1
SUMMARY_S = 10.0
ANSWER_S = 2.0
SILENCE_S = 30.0  # over HTTP: natd beats once a second
FIRST_EVENT_S = 10.0  # a listener tries for this long before it says that nobody is there


@dataclass(frozen=True, slots=True)
class Address:
    """Where the daemon is: its publish and control sockets, or (if given) its HTTP server; CURVE keys if it asks."""

    endpoint: str
    control: str
    http: str | None = None
    keys: Keys | None = None


def follow(address: Address, stream: str | None, *, raw: bool, seconds: float | None) -> int:
    """Show `stream` (None: the only one) until it is interrupted, `seconds` are over, or the HTTP stream ends."""
    with closing(live(address, stream, seconds)) as events:
        if raw:
            _print_raw(events)
        elif sys.stdout.isatty():
            _draw(events)
        else:
            _print_lines(events)
    return 0


# ---- where events come from


def live(address: Address, stream: str | None, seconds: float | None) -> Events:
    """The events of `stream` (None: the only one), for so many seconds; close it when done."""
    name = stream or _only_stream(address)
    with closing(_by_http(address.http, name) if address.http else _by_zeromq(address, name)) as events:
        stop, heard = None if seconds is None else time.monotonic() + seconds, False
        for event in events:
            heard = heard or event is not None
            yield event
            if stop is not None and time.monotonic() >= stop:
                if not heard:
                    raise SourceError(
                        f"nothing came from a stream {name} in {seconds:g} s; `nat tail` names what is there"
                    )
                return


def _only_stream(address: Address) -> str:
    """The stream's name where there is but one; SourceError names them all."""
    if address.http:
        with get(address.http, "/streams", ANSWER_S) as reply:
            streams = [row["stream"] for row in json.load(reply)["streams"]]
    else:
        try:
            answer = ask(address.control, {"op": "streams"}, curve=address.keys, timeout=ANSWER_S)
        except TimeoutError as error:
            raise SourceError(f"{error}: is natd running? (--control says where)") from error
        streams = [row["stream"] for row in answer[0].get("streams", [])]
    if len(streams) != 1:
        found = ", ".join(streams) or "none"
        raise SourceError(f"name the stream to follow; at {address.http or address.control} there are: {found}")
    return str(streams[0])


def _by_zeromq(address: Address, stream: str) -> Events:
    with Listener(address.endpoint, stream, address.control, curve=address.keys, timeout=REFRESH_S) as listener:
        heard, give_up = False, time.monotonic() + FIRST_EVENT_S
        while True:
            try:
                yield next(listener)
                heard = True
            except TimeoutError as error:
                if not heard and time.monotonic() > give_up:
                    raise SourceError(f"no stream {stream} at {address.endpoint}: is natd running?") from error
                yield None


def _by_http(http: str, stream: str) -> Events:
    with get(http, f"/streams/{stream}.ndjson", SILENCE_S) as reply:
        for line in reply:
            yield json.loads(line)


def get(http: str, path: str, timeout: float | None) -> Any:
    """The answer of natd's HTTP server, to be read; SourceError where there is none."""
    url = (http if "://" in http else f"http://{http}").rstrip("/") + path
    try:
        return urllib.request.urlopen(url, timeout=timeout)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise SourceError(f"{url}: {reason}") from error


# ---- how they are shown


def _print_raw(events: Events) -> None:
    for event in events:
        if event is not None:
            print(json.dumps(event, ensure_ascii=False, separators=(",", ":")), flush=True)


def _print_lines(events: Events) -> None:
    """A line a change, and every `SUMMARY_S` of stream time one on how it goes."""
    view = Following()
    due_ms: float | None = None
    for event in events:
        if event is None:
            continue
        for change in view.feed(event):
            print(describe(view, change).plain, flush=True)
        if due_ms is None or view.ts < due_ms - SUMMARY_S * 1000:  # the first event, or a new epoch
            due_ms = view.ts + SUMMARY_S * 1000
        elif view.ts >= due_ms:
            due_ms += SUMMARY_S * 1000
            print(summary(view), flush=True)


def _draw(events: Events) -> None:
    """The picture, at most once in `REFRESH_S`."""
    view = Following()
    console = Console()
    drawn = 0.0
    try:
        with Live(Screen(view), console=console, screen=True, auto_refresh=False) as live:
            for event in events:
                if event is not None:
                    view.feed(event)
                now = time.monotonic()
                if now >= drawn + REFRESH_S:
                    drawn = now
                    live.refresh()
    finally:
        console.print(Screen(view))  # the last picture stays when the screen is given back
