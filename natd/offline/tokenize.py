"""Recordings to tokens: the daemon's own pipeline at full speed, one stream after another."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from natd.engine import Engine
from natd.errors import ConfigError, NatdError, OutputError
from natd.metrics import Metrics
from natd.settings import StatsSettings, StreamSettings
from natd.sources import Source
from natd.sources.file import FileSource
from natd.sources.stdin import StdinSource
from natd.stream import Stream
from natd.wire import Event, Frame

# A recording has no listener who must hear that it lives: the fewest heartbeats there can be.
QUIET = StatsSettings(window_s=3600.0, heartbeat_s=60.0)
BACKLOG_S = 2.0
Advance = Callable[[int], None]


def tokenize_files(files: Sequence[str], output: Path | None, tokenizer: str, chunk_ms: float) -> int:
    """Write the streams of `files` (- is standard input) one after another; the status of the last bad file, or 0."""
    if output is not None:
        for file in files:
            refuse_same(file, output)
    with _opened(output) as out, _progress() as progress:
        return asyncio.run(_all(files, out, tokenizer, chunk_ms, progress))


def refuse_same(file: str, output: Path) -> None:
    """ConfigError if what is read is what would be written over."""
    with contextlib.suppress(OSError):  # what is not there is no fault of `output`
        if file != "-" and Path(file).is_file() and output.samefile(file):
            raise ConfigError(f"{output} is what is read: give another file to write to")


async def _all(files: Sequence[str], out: BinaryIO, tokenizer: str, chunk_ms: float, progress: Progress) -> int:
    status = 0
    async with Engine(tokenizer) as engine, Lines(out) as lines:
        for file in files:
            try:
                progress.print(await _one(file, engine, lines, chunk_ms, _bar(progress, file, engine)))
            except OutputError:
                raise
            except NatdError as error:
                progress.print(f"nat: {error}")
                status = error.exit_code
            for task in progress.task_ids:
                progress.remove_task(task)
    return status


async def _one(file: str, engine: Engine, lines: Lines, chunk_ms: float, advance: Advance) -> str:
    """One file; what to say about it."""
    source: Source
    if file == "-":
        source = StdinSource(sys.stdin.buffer, block_ms=chunk_ms)
    else:
        source = FileSource(file, block_ms=chunk_ms)
    lines.advance, lines.frames = advance, 0
    started = time.perf_counter()
    # The patience counts for live audio only; here it bounds what waits in memory.
    stream = Stream(
        StreamSettings(name=stream_name(file)), source, engine, [lines], Metrics(), QUIET, backlog_s=BACKLOG_S
    )
    await _to_its_end(stream)
    await lines.drain()
    wall_s = time.perf_counter() - started
    return f"{file}: {_said(stream, engine.spec.frame_samples * 1000 / engine.spec.sr, wall_s)}"


async def _to_its_end(stream: Stream) -> None:
    """Run it; an interrupt ends it as a recording ends, with what has been heard until then."""
    task = asyncio.create_task(stream.run())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        stream.stop()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # of an interrupted stream nobody asks for it
        raise
    await task


def _said(stream: Stream, frame_ms: float, wall_s: float) -> str:
    """What became of a recording, and how much of it is left over at the end, where no whole frame is."""
    frames, lost = stream.counters["frames"], stream.counters["gap_frames"]
    audio_s = frames * frame_ms / 1000
    said = f"{frames} frames, {audio_s:.2f} s of audio in {wall_s:.2f} s"
    if not audio_s:
        return f"{said} (shorter than one frame of {frame_ms:g} ms)"
    heard_ms = 0.0 if stream.vitals.assembler is None else stream.vitals.assembler.elapsed_ns / 1e6
    tenths = math.floor((heard_ms - (frames + lost) * frame_ms) * 10 + 1e-3)  # never a whole frame
    left = f"; the last {tenths / 10:g} ms are not coded (a frame has {frame_ms:g} ms)" if tenths > 0 else ""
    return f"{said}, real-time factor {wall_s / audio_s:.4f}{left}"


def stream_name(file: str) -> str:
    """A name that a stream may have, made from a file's."""
    stem = "stdin" if file == "-" else Path(file).stem.lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")[:64] or "file"


class Lines:
    """A sink that keeps every line: the stream waits in `drain` while they are written to the raw file `out`.

    `drain` raises OutputError where they cannot be, and BrokenPipeError where nobody reads on.
    """

    def __init__(self, out: BinaryIO) -> None:
        self.counters: dict[str, int] = {}
        self.frames = 0
        self.advance: Advance = lambda frames: None
        self._out, self._waiting = out, bytearray()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError | OutputError):
            await self.drain()

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        """Keep the line until `drain`."""
        self._waiting += line
        if isinstance(event, Frame):
            self.frames += 1
            self.advance(1)

    async def drain(self) -> None:
        """Write what waits; it may block, as nothing here is live."""
        try:
            with memoryview(self._waiting) as waiting:
                at = 0
                while at < len(waiting):
                    at += self._out.write(waiting[at:])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"the tokens cannot be written: {error.strerror}") from error
        self._waiting.clear()


class _Replacing(io.FileIO):
    """A file whose old content goes with the first write: what writes nothing takes nothing away."""

    def __init__(self, path: Path) -> None:
        self._was_there = path.exists()
        super().__init__(path, "ab")  # which does not truncate, and fails now where nothing can be written
        self._path, self._whole = path, path.is_file()
        self._untouched = True

    def write(self, data: Any, /) -> int:
        """As of a file that was opened anew."""
        if self._untouched and self._whole:
            self.truncate(0)
        self._untouched = False
        return super().write(data)

    def close(self) -> None:
        """A file that was not there before and got nothing is not left behind."""
        if not self.closed and self._untouched and self._whole and not self._was_there:
            self._path.unlink(missing_ok=True)
        super().close()


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    # Without a buffer of Python's: what could not be written must not be tried again at the close.
    try:
        if output is None:
            file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
        else:
            file = _Replacing(output)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}") from error
    with file:
        yield cast(BinaryIO, file)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """On standard error; bars only where that is a terminal."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    progress = Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    )
    with progress:
        yield progress


def _bar(progress: Progress, file: str, engine: Engine) -> Advance:
    """A bar for `file`, as long as it has frames (without an end where nobody knows)."""
    total: float | None = None
    # Whoever opens it says what is wrong; and libsndfile would take the header off standard input for "-".
    with contextlib.suppress(soundfile.SoundFileError, OSError):
        if Path(file).is_file():
            total = soundfile.info(os.fsencode(file)).duration * engine.spec.sr / engine.spec.frame_samples
    task = progress.add_task(Path(file).name, total=total)
    return lambda frames: progress.advance(task, frames)
