"""`nat listen`: what is heard as plain text for a language model, of audio files, recorded streams or a running one."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from types import TracebackType
from typing import Any, BinaryIO, Self

from natd.codebooks.legend import entry
from natd.codec import open_tokenizer
from natd.engine import Engine
from natd.errors import NatdError, SourceError
from natd.llm.view import Style, View, no_words
from natd.metrics import Metrics
from natd.offline import recording
from natd.offline.tail import ANSWER_S, Address, get, live
from natd.offline.tokenize import BACKLOG_S, QUIET, stream_name
from natd.settings import StreamSettings
from natd.sources.file import FileSource
from natd.stream import Stream
from natd.wire import Event, Header, TokenizerInfo
from natd_client import ask

Entry = Callable[[str, int], Mapping[str, Any]]  # what a legend knows of a code of a layer


def listen_to_files(files: Sequence[str], tokenizer: str, style: Style) -> int:
    """Tell `files` (audio or recorded streams; - is one on standard input) in turn; the last bad one's status, or 0."""
    status = 0
    for i, file in enumerate(files):
        if i:
            print()
        try:
            with recording.opened(file) as opened:
                recorded = file == "-" or opened.peek(1)[:1] == b"{"
                if recorded:
                    _show_recording(file, opened, style)
            if not recorded:
                asyncio.run(_show_audio(file, tokenizer, style))
        except NatdError as error:
            print(f"nat: {error}", file=sys.stderr)
            status = error.exit_code
    return status


def listen_live(address: Address, stream: str | None, seconds: float | None, style: Style) -> int:
    """Tell `stream` (None: the only one) until it is interrupted, `seconds` are over, or the HTTP stream ends."""
    view = View(style, _asking(address))
    with closing(live(address, stream, seconds)) as events:
        for event in events:
            if event is not None:
                _show(view.feed(event))
    _show(view.finish())
    return 0


def _show_recording(file: str, lines: BinaryIO, style: Style) -> None:
    view: View | None = None
    begun = False
    for _, line, event in recording.events(file, lines):
        begun = begun or isinstance(event, Header)
        if view is None:
            view = View(style, _at_hand(event.tokenizer) if isinstance(event, Header) else None)
        if event is not None:
            _show(view.feed(json.loads(line)))
    if view is not None and begun:
        _show(view.finish())
    if not begun:
        raise SourceError(f"{file}: no header of a stream: there is nothing to tell")


async def _show_audio(file: str, tokenizer: str, style: Style) -> None:
    async with Engine(tokenizer) as engine:
        opened = engine.tokenizer
        if not any(opened.glossary.values()) and not any(getattr(opened, "names", {}).values()):
            raise no_words(opened.spec.info.name)
        sink = _Teller(View(style, partial(entry, engine.tokenizer)))
        settings = StreamSettings(name=stream_name(file))
        await Stream(settings, FileSource(file), engine, [sink], Metrics(), QUIET, backlog_s=BACKLOG_S).run()


def _at_hand(made_by: TokenizerInfo) -> Entry | None:
    """The legend of the tokenizer that made a recording, if that very one is installed here."""
    try:
        tokenizer = open_tokenizer(made_by.name)
    except NatdError:
        return None  # the words in the recording are enough
    return partial(entry, tokenizer) if tokenizer.spec.info.codebook_id == made_by.codebook_id else None


def _asking(address: Address) -> Entry:
    """The legend of a running natd, asked for once a code; nothing more once it has not answered."""
    answers = True

    @cache
    def asked(layer: str, code: int) -> Mapping[str, Any]:
        nonlocal answers
        if not answers:
            return {}
        try:
            if address.http:
                with get(address.http, f"/legend/{layer}/{code}", ANSWER_S) as reply:
                    return dict(json.load(reply))
            request = {"op": "legend", "layer": layer, "code": code}
            return ask(address.control, request, curve=address.keys, timeout=ANSWER_S)[0]
        except (SourceError, TimeoutError):
            answers = False
            return {}

    return asked


class _Teller:
    """A sink that prints what a view tells."""

    def __init__(self, view: View) -> None:
        self.counters: dict[str, int] = {}
        self._view = view
        self._failed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept that would have to be closed."""

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Print the lines that the event completes."""
        if not self._failed:  # else the stream tells its end, for which there is no output any more
            self._failed = True
            _show(self._view.feed(json.loads(line)))
            self._failed = False

    async def drain(self) -> None:
        """Return at once: what was told is printed."""


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
