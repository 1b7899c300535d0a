"""Files of a model hub over plain HTTPS: what is there, and a download that goes on where it broke.

$HF_ENDPOINT names another hub than https://huggingface.co.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from natd.codebooks import store
from natd.errors import ConfigError, ModelError, OutputError

HUB = "https://huggingface.co"
TIMEOUT_S = 30.0  # without a byte
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before a broken download goes on; from the first again when bytes came
BROKEN_MOST = 50  # times that a download may break
BLOCK = 1 << 20
Advance = Callable[[int, int], None]  # bytes that are there, bytes in all


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at the hub: its size, what the hub calls its content, that as sha256 where it is one, and the commit."""

    bytes: int
    etag: str
    sha256: str
    commit: str


@dataclass(slots=True)
class _Answer:
    """A response that has begun."""

    remote: Remote
    first: int  # byte that the body begins with
    body: Any


def url_of(repo: str, revision: str, file: str) -> str:
    """Where a file of a repository is; ConfigError if $HF_ENDPOINT is no place on the web."""
    hub = os.environ.get("HF_ENDPOINT") or HUB
    if not hub.startswith(("https://", "http://")):
        raise ConfigError(f"HF_ENDPOINT={hub[:80]} is not the address of a hub, as {HUB} is")
    return f"{hub.rstrip('/')}/{repo}/resolve/{revision}/{file}"


def look(url: str) -> Remote | None:
    """What is there; None if the hub says that nothing is. ModelError where it does not answer."""
    try:
        with _asked(url, 0) as answer:
            return answer.remote
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise ModelError(_refusal(url, error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url} cannot be reached: {error}") from error


def download(url: str, path: Path, most: int, advance: Advance, waits: Sequence[float] | None = None) -> Remote:
    """The file at `path`, whole and as the hub describes it; what a broken try left in PATH.part is gone on with.

    ModelError if there is no such file, it is above `most` bytes, another than its hash says, or no try comes through.
    """
    part = path.with_name(f"{path.name}.part")
    waits = WAITS_S if waits is None else waits
    left = list(waits)
    for _ in range(BROKEN_MOST):
        before = part.stat().st_size if part.exists() else 0
        try:
            remote = _go_on(url, part, most, advance)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 416, 429):
                raise ModelError(_refusal(url, error)) from error
            fault = f"HTTP {error.code}"
            if error.code == 416:  # there is nothing behind what is there: it is all, or of another file
                whole = look(url)
                if whole is not None and (whole.bytes, whole.etag) == (before, _noted(part)):
                    return _finished(url, part, path, whole)
                part.unlink(missing_ok=True)
        except (http.client.HTTPException, TimeoutError, urllib.error.URLError, ConnectionError) as error:
            fault = str(error)
        else:
            return _finished(url, part, path, remote)
        have = part.stat().st_size if part.exists() else 0
        left = list(waits) if have > before else left
        if not left:
            break
        time.sleep(left.pop(0) * random.uniform(0.5, 1.5))
    kept = f"; {part} keeps {have} bytes, and the same command goes on behind them" if have else ""
    raise ModelError(f"{url} broke off: {fault}{kept}")


def _go_on(url: str, part: Path, most: int, advance: Advance) -> Remote:
    """One try; what is there already is only added to if it is of the same file."""
    have = part.stat().st_size if part.exists() else 0
    with _asked(url, have if _noted(part) else 0) as answer:
        remote = answer.remote
        if remote.bytes > most:
            raise ModelError(f"{url} has {remote.bytes} bytes, {most} are the most")
        if answer.first > have or (answer.first and _noted(part) != remote.etag):
            part.unlink()  # the rest of another file: the next try begins anew
            raise ConnectionError("the file has changed at the hub")
        room = shutil.disk_usage(part.parent).free + answer.first
        if remote.bytes > room:
            raise OutputError(f"{part.parent} has room for {room} bytes, {url} has {remote.bytes}")
        _note(part).write_text(json.dumps({"etag": remote.etag}))
        with part.open("r+b" if answer.first else "wb") as out:
            out.seek(answer.first)
            _copy(answer, out, advance)
    return remote


def _copy(answer: _Answer, out: IO[bytes], advance: Advance) -> None:
    at, total = answer.first, answer.remote.bytes
    advance(at, total)
    while at < total:
        block = answer.body.read(min(BLOCK, total - at))
        if not block:
            raise ConnectionError(f"the connection ended after {at} of {total} bytes")
        out.write(block)
        at += len(block)
        advance(at, total)


def _finished(url: str, part: Path, path: Path, remote: Remote) -> Remote:
    digest = store.file_sha256(part)
    _note(part).unlink(missing_ok=True)
    if remote.sha256 and digest != remote.sha256:
        part.unlink()
        raise ModelError(f"{url} came as sha256 {digest[:12]}…, the hub says {remote.sha256[:12]}…: it was thrown away")
    part.replace(path)
    return Remote(remote.bytes, remote.etag, digest, remote.commit)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _noted(part: Path) -> str:
    """The etag of what a part is the beginning of; "" where that is not known."""
    try:
        return str(json.loads(_note(part).read_text())["etag"]) if part.exists() else ""
    except (OSError, KeyError, TypeError, *store.NOT_JSON):
        return ""


class _Hops(urllib.request.HTTPRedirectHandler):
    """Follows the hub to where its large files lie, and keeps what only its own answers say."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Never from https to something else."""
        if req.type == "https" and not newurl.startswith("https://"):
            raise ModelError(f"{req.full_url} leads to {newurl}, which is not encrypted")
        self.said |= {key.lower(): value for key, value in headers.items() if key.lower().startswith("x-")}
        return urllib.request.HTTPRedirectHandler.redirect_request(self, req, fp, code, msg, headers, newurl)


@contextmanager
def _asked(url: str, first: int) -> Iterator[_Answer]:
    """GET from byte `first` on; the answer may begin earlier."""
    hops = _Hops()
    headers = {"User-Agent": "natd", "Accept-Encoding": "identity"}
    if first:
        headers["Range"] = f"bytes={first}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener(hops).open(request, timeout=TIMEOUT_S) as response:
        own = {key.lower(): value for key, value in response.headers.items()}
        yield _described(url, response, {**own, **hops.said})


def _described(url: str, response: Any, said: dict[str, str]) -> _Answer:
    begin, total = 0, said.get("content-length", "")
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", said.get("content-range", ""))
        if found is None:
            raise ModelError(f"{url} answered a range without saying which")
        begin, total = int(found[1]), found[2]
    if not total.isdecimal():
        raise ModelError(f"{url} does not say how long it is")
    etag = said.get("x-linked-etag") or said.get("etag", "")
    digest = etag.removeprefix("W/").strip('"')
    sha256 = digest if store.DIGEST.fullmatch(digest) else ""
    return _Answer(Remote(int(total), etag, sha256, said.get("x-repo-commit", "")), begin, response)


def _refusal(url: str, error: urllib.error.HTTPError) -> str:
    why = {401: "it asks for permission", 403: "it asks for permission", 404: "there is nothing"}
    return f"{url}: {why.get(error.code, error.reason)} (HTTP {error.code})"
