"""A model hub on this machine: files by path, ranges, redirects to where large files lie, connections that break."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """What it serves: "repo/revision/file" -> bytes; it writes down what was asked: (path, first byte)."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    large: int = 4096  # a file from this size on lies elsewhere, and its sha256 is told
    breaks: list[int] = field(default_factory=list)  # bytes after which the next bodies break off
    errors: list[int] = field(default_factory=list)  # statuses of the next answers
    lie: str = ""  # a sha256 that is told in place of the right one
    elsewhere: str = ""  # where large files are said to lie; itself, if empty
    ranges: bool = True
    url: str = ""

    def bodies(self, name: str) -> list[int]:
        """First bytes of the answers with a body that a file was asked for."""
        return [first for path, first in self.asked if path.endswith(name) and not path.startswith("/store/")]


class Handler(BaseHTTPRequestHandler):
    """GET alone."""

    hub: Hub

    def do_GET(self) -> None:
        """A file, a part of it, the way to it, or 404."""
        hub = self.hub
        found = re.fullmatch(r"(?:/store)?/(.+?)/resolve/([^/]+)/(.+)", self.path)
        first = int((re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
        hub.asked.append((self.path, first))
        data = hub.files.get(f"{found[1]}/{found[2]}/{found[3]}") if found else None
        if hub.errors:
            return self.answer(hub.errors.pop(0), {})
        if data is None:
            return self.answer(404, {})
        digest = hub.lie or hashlib.sha256(data).hexdigest()
        if len(data) >= hub.large and not self.path.startswith("/store/"):
            place = f"{hub.elsewhere or hub.url}/store{self.path}"
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": "c0ffee"}
            return self.answer(302, {"Location": place, **linked})
        etag = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "X-Repo-Commit": "c0ffee"}
        if first >= len(data) > 0 and first:
            return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        if first and hub.ranges:
            span = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            return self.answer(206, etag | span, data[first:])
        return self.answer(200, etag, data)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Status, headers, and the body or its beginning."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.hub.breaks and len(body) >= self.hub.large // 2:
            body = body[: self.hub.breaks.pop(0)]
            self.close_connection = True
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # who only looks goes away

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
