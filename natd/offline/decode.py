"""`nat decode`: what the acoustic codes of a recorded stream hold, as a WAV file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from natd.codec.threads import one_thread
from natd.errors import ConfigError, OutputError, SourceError, WireError
from natd.offline import recording
from natd.offline.beside import beside
from natd.offline.tokenize import refuse_same
from natd.offline.voices import Run, Samples, Voice, Voices
from natd.unpacker import Decoder, FullFrame
from natd.wire import FormatEvent, Frame, Gap, Header

MOST_BYTES = 2**32 - 2**16  # a WAV file counts its bytes in 32 bits
SILENT_BLOCK = 1 << 16  # samples of a pause written at a time


@dataclass
class Wave:
    """A mono WAV file of 16 bits being written."""

    file: soundfile.SoundFile
    number: int  # its descriptor
    rate: int
    samples: int = 0

    def write(self, samples: Samples) -> None:
        """Add samples, clipped to full scale; OutputError where no more can be written."""
        self._reserve(len(samples))
        try:
            self.file.write(np.clip(samples, -1.0, 1.0))
        except (soundfile.SoundFileError, OSError) as error:
            raise OutputError(f"the samples cannot be written: {self._refusal() or error}") from error

    def rest(self, samples: int) -> None:
        """Add silence."""
        self._reserve(samples)
        self.samples -= samples
        while samples:
            self.write(np.zeros(min(samples, SILENT_BLOCK), np.float32))
            samples -= min(samples, SILENT_BLOCK)

    def _refusal(self) -> str | None:
        """What the system says to a page more: libsndfile keeps the reason to itself."""
        try:
            os.write(self.number, bytes(4096))
        except OSError as error:
            return error.strerror
        return None

    def _reserve(self, samples: int) -> None:
        self.samples += samples
        if self.samples * 2 > MOST_BYTES:
            hours = MOST_BYTES / 2 / self.rate / 3600
            raise OutputError(f"more than the {hours:.0f} hours that a WAV file can hold: decode a shorter recording")


class Epoch:
    """One epoch of a stream on its way into `wave`: every frame in its place, silence where there is none."""

    def __init__(self, header: Header, voices: Voices, voice: Voice, wave: Wave) -> None:
        self.header, self.frames, self.silent = header, 0, 0  # both in frames
        self._voices, self._voice, self._wave = voices, voice, wave
        self._decoder = Decoder()
        self._next: int | None = None  # frame index; None before the first
        self._run: Run | None = None

    def feed(self, event: Any) -> None:
        """Write what the event makes certain."""
        if self._next is None and isinstance(event, Frame | Gap):
            self._next = event.fi
        frame = self._decoder.feed(event)
        if isinstance(event, FormatEvent):
            self._break()  # the encoder began afresh, so do we
        if frame is not None:
            self._rest(frame.fi)
            self._play(frame)

    def close(self) -> None:
        """Write the end, with the silence of what was lost last."""
        if self._decoder.fi is not None and self._next is not None:
            self._rest(self._decoder.fi + 1)
        self._break()

    def _play(self, frame: FullFrame) -> None:
        if self._run is None:
            self._run = self._voices.begin(self._voice)
        codes = [torch.tensor([frame.codes[i]]) for i in self._voice.layers]
        self._wave.write(self._run.play(codes))
        self.frames += 1
        self._next = frame.fi + 1

    def _rest(self, until: int) -> None:
        missing = until - (until if self._next is None else self._next)
        if missing > 0:
            self._break()
            self._wave.rest(missing * self._voice.frame_samples)
            self.silent += missing
            self._next = until

    def _break(self) -> None:
        if self._run is not None:
            self._wave.write(self._run.close())
        self._run = None


def decode_recording(
    file: str, output: Path, layers: int | None, stream: str | None, tokenizer: str | None = None
) -> int:
    """Write the sound of the recording `file` (- is standard input) to `output`; 0, or the error that ended it.

    Epochs of one stream follow one another; `stream` says which where there are several. `tokenizer` opens the one
    that made it where the name in the header is not enough, as of weights in a folder. On one thread.
    """
    started = time.perf_counter()
    with recording.opened(file) as lines, _progress(file) as progress, one_thread():
        refuse_same(file, output)
        epochs = _decode(file, _events(file, lines, progress), output, Voices(layers, tokenizer), stream)
    if not epochs:
        which = f"the stream {stream}" if stream else "a stream"
        raise SourceError(f"{file}: no header of {which}: there is nothing to decode")
    seconds = sum((e.frames + e.silent) * e.header.frame_samples / e.header.sr for e in epochs)
    frames, silent = sum(e.frames for e in epochs), sum(e.silent for e in epochs)
    wall = time.perf_counter() - started
    said = f"{output}: {seconds:.2f} s in {wall:.2f} s, {frames} frames"
    print(said + (f", {silent} lost frames left silent" if silent else ""), file=sys.stderr)
    return 0


def _decode(
    file: str, events: Iterator[tuple[int, Any]], output: Path, voices: Voices, stream: str | None
) -> list[Epoch]:
    """The epochs of `stream` (None: the only one) as they were written; `output` is replaced once all of them are."""
    epochs: list[Epoch] = []
    wave: Wave | None = None
    current: Epoch | None = None
    with ExitStack() as opened:
        for number, event in events:
            if isinstance(event, Header) and (current is None or event.epoch != current.header.epoch):
                if current is not None:
                    current.close()
                current = None
                if stream in (None, event.stream):
                    with _at(file, number):
                        voice = voices.voice(event)  # before anything at `output` is touched
                    wave = wave or opened.enter_context(_wave(output, voice.sr))
                    _same(wave, voice.sr, epochs, event)
                    current = Epoch(event, voices, voice, wave)
                    epochs.append(current)
            if current is not None:
                with _at(file, number):
                    current.feed(event)
        if current is not None:
            current.close()
    return epochs


def _same(wave: Wave, rate: int, epochs: list[Epoch], header: Header) -> None:
    if epochs and header.stream != epochs[0].header.stream:
        names = f"{epochs[0].header.stream} and {header.stream}"
        raise ConfigError(f"the recording holds the streams {names}: say which with --stream")
    if rate != wave.rate:
        raise ConfigError(f"the recording goes on at {rate} Hz after {wave.rate} Hz: one WAV file has one rate")


@contextmanager
def _wave(output: Path, rate: int) -> Iterator[Wave]:
    """A WAV file that stands at `output` once it is whole."""
    with beside(output) as place:
        try:
            number = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)  # which says what is wrong
        except OSError as error:
            raise OutputError(f"{output}: {error.strerror}") from error
        try:
            file = soundfile.SoundFile(number, "w", rate, 1, "PCM_16", format="WAV")
        except soundfile.SoundFileError as error:
            raise OutputError(f"{output} cannot hold a WAV file: {error}") from error
        with file:
            yield Wave(file, number, rate)


@contextmanager
def _at(file: str, number: int) -> Iterator[None]:
    """A WireError says where it is."""
    try:
        yield
    except WireError as error:
        raise WireError(f"{file}: line {number}: {error}") from error


def _events(file: str, lines: BinaryIO, progress: Progress) -> Iterator[tuple[int, Any]]:
    for number, line, event in recording.events(file, lines):
        for task in progress.task_ids:
            progress.advance(task, len(line))
        if event is not None:
            yield number, event


@contextmanager
def _progress(file: str) -> Iterator[Progress]:
    """A bar on standard error where that is a terminal, as long as the file has bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        known = Path(file).is_file()
        progress.add_task(Path(file).name, total=Path(file).stat().st_size if known else None)
        yield progress
