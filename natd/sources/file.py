"""A recording in any format libsndfile reads, at full speed or at its own."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from natd.audio.chunks import Block, End, Format, SourceEvent
from natd.audio.wav import WavError, read_header
from natd.clock import Clock, SystemClock
from natd.errors import SourceError
from natd.sources.pacing import Pacer, Sleep, read_ahead

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]
CURE = "convert it first, e.g. `ffmpeg -i IN -c:a pcm_s16le OUT.wav`"


class FileSource:
    """The samples of one file, whole and in order; it waits for its reader, paced or not.

    `paced` delivers each block when its last sample would have been heard; `loop` starts again at the end for ever, on
    one continuous sample axis. Blocks hold at most `block_ms`. Raises SourceError from `__aenter__` for a file that is
    absent or not audio, and while iterating for one that cannot be decoded to its end.
    """

    kind = "file"
    live = False
    state = "live"
    drift_ppm: float | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        paced: bool = False,
        loop: bool = False,
        block_ms: float = 10.0,
        *,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = os.fsencode(path).decode("utf-8", "backslashreplace")  # a name that is no text is told as one
        self.counters = {"file_loops": 0}
        self.timed = paced
        self._path, self._paced, self._loop, self._block_ms = Path(path), paced, loop, block_ms
        self._clock, self._sleep = clock or SystemClock(), sleep
        self._file: soundfile.SoundFile | None = None
        self._using = threading.Lock()  # one thread at a time in libsndfile, also while closing
        self._read_samples = 0  # of this pass through the file
        self._said_samples = 0  # by its header

    @property
    def format(self) -> Format:
        """Rate and channels of the file."""
        file = self._opened()
        return Format(file.samplerate, file.channels)

    async def __aenter__(self) -> Self:
        self._file = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    async def __aiter__(self) -> AsyncIterator[SourceEvent]:
        """Blocks, then `End("eof")`."""
        rate = self.format.rate
        size = max(1, round(rate * self._block_ms / 1000))
        pacer = Pacer(rate, self._clock, self._sleep)
        first = 0
        async with aclosing(read_ahead(self._read)) as seconds:
            async for samples in seconds:
                for at in range(0, len(samples), size):
                    block = samples[at : at + size]
                    if self._paced:
                        await pacer.wait(first + len(block))
                        pacer.forgive(first + len(block))
                    yield Block(first, block, self._clock.mono_ns())
                    first += len(block)
        yield End("eof")

    def _opened(self) -> soundfile.SoundFile:
        if self._file is None:
            raise RuntimeError("FileSource used outside its context")
        return self._file

    def _open(self) -> soundfile.SoundFile:
        try:
            mode = self._path.stat().st_mode
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}; check the path and its permissions") from error
        if not stat.S_ISREG(mode):  # libsndfile would wait for ever on a pipe without a writer
            raise SourceError(f"{self.name}: not a regular file; pipe audio to `-` instead")
        if self._path.suffix.lower() == ".raw":
            raise SourceError(f"{self.name}: raw PCM says nothing of its format; pipe it to `-` with a declared format")
        try:
            said = _said_by_wav(self._path)
            file = soundfile.SoundFile(os.fsencode(self._path))
        except soundfile.SoundFileError as error:
            raise SourceError(f"{self.name}: not audio that libsndfile reads ({error}); {CURE}") from error
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}; check the path and its permissions") from error
        if self._loop and file.frames == 0:
            file.close()
            raise SourceError(f"{self.name}: holds no samples, so it cannot be looped")
        self._said_samples = max(file.frames, said)
        return file

    def _close(self) -> None:
        with self._using:
            self._opened().close()

    def _read(self) -> Samples | None:
        """Up to one second `[n, channels]`; None at the end or once closed. Runs in a thread."""
        with self._using:
            file = self._opened()
            if file.closed:
                return None
            samples = self._decode(file)
            first_pass = not self.counters["file_loops"]
            if len(samples) == 0 and first_pass and self._read_samples < self._said_samples:
                have, said = self._read_samples / file.samplerate, self._said_samples / file.samplerate
                log.warning("%s: ends after %.3f s, its header says %.3f s; truncated?", self.name, have, said)
            if len(samples) == 0 and self._loop and self._read_samples > 0:
                self.counters["file_loops"] += 1
                file.seek(0)
                self._read_samples = 0
                samples = self._decode(file)
            self._read_samples += len(samples)
            return samples if len(samples) else None

    def _decode(self, file: soundfile.SoundFile) -> Samples:
        try:
            samples: Samples = file.read(file.samplerate, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            at = self._read_samples / file.samplerate
            raise SourceError(f"{self.name}: cannot be decoded after {at:.3f} s ({error}); {CURE}") from error
        return samples


def _said_by_wav(path: Path) -> int:
    """Samples that a WAV file should have: libsndfile tells those that are there. 0 for what is none, or says none."""
    with path.open("rb") as file:
        try:
            header = read_header(file.read)
        except WavError:
            return 0
    return (header.data_bytes or 0) // header.raw.frame_bytes
