"""`nat feed`: audio to the ingest socket of a running natd, at its own speed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from natd.audio.chunks import Block, FormatChange, Loss
from natd.errors import ConfigError, SourceError
from natd.offline.keys import Keys
from natd.sources.file import CURE
from natd_client import Feeder

FORMAT = "f32le"  # holds every sample of 16 and 24 bit exactly
MAX_MESSAGE_MS = 100.0
PATIENCE_S = 10.0  # how long natd may be away or busy before a file gives up
MICROPHONE_PATIENCE_S = 0.5  # live audio cannot wait: what is not taken by then is declared lost
SAID_S = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where audio is sent: the ingest socket, the stream's name, audio (ms) a message, CURVE keys if it asks."""

    endpoint: str
    stream: str
    message_ms: float = 10.0
    keys: Keys | None = None

    def feeder(self, rate: int, channels: int) -> Feeder:
        """A connected one; ConfigError for messages longer than natd is sent."""
        if self.message_ms > MAX_MESSAGE_MS:
            raise ConfigError(f"--message-ms {self.message_ms:g}: at most {MAX_MESSAGE_MS:g} ms go into a message")
        return Feeder(self.endpoint, self.stream, rate, channels, FORMAT, curve=self.keys)


@dataclass(frozen=True, slots=True)
class Microphone:
    """A sound card: selector (None: the system's default), Hz, channels."""

    device: str | None
    rate: int
    channels: int


class Progress:
    """One line on standard error that is written over, only where that is a terminal."""

    def __init__(self, rate: int, total: int | None) -> None:
        self._rate, self._total, self._said = rate, total, 0.0
        self._shown = sys.stderr.isatty()

    def at(self, sample: int, text: str = "") -> None:
        """Say how far it is, at most once a second."""
        if self._shown and time.monotonic() >= self._said + SAID_S:
            self._said = time.monotonic()
            whole = f" of {self._total / self._rate:.0f} s" if self._total else " s"
            print(f"\r{sample / self._rate:7.1f}{whole} {text}\033[K", end="", file=sys.stderr, flush=True)

    def done(self, text: str) -> None:
        """The last word."""
        print(f"\r{text}\033[K" if self._shown else text, file=sys.stderr)


def feed_file(path: str, target: Target, *, fast: bool) -> int:
    """Send a file, paced unless `fast`; SourceError where it cannot be read or nobody takes it."""
    with _opened(path) as file, target.feeder(file.samplerate, file.channels) as feeder:
        progress = Progress(file.samplerate, file.frames)
        started = time.monotonic()
        for block in _blocks(file, target.message_ms):
            if not fast:
                due = started + (feeder.first_sample + len(block)) / file.samplerate
                time.sleep(max(0.0, due - time.monotonic()))
            if feeder.send(block, timeout=PATIENCE_S) < len(block):
                raise SourceError(f"nobody takes the audio at {target.endpoint}: does natd run with --source zeromq: ?")
            progress.at(feeder.first_sample)
        took = time.monotonic() - started
        progress.done(f"{path}: {feeder.first_sample / file.samplerate:.2f} s of audio sent in {took:.2f} s")
    return 0


def _opened(path: str) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(os.fsencode(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise SourceError(f"{path}: cannot be read ({error}); {CURE}") from error


def _blocks(file: soundfile.SoundFile, message_ms: float) -> Iterator[NDArray[np.float32]]:
    """Arrays `[n, channels]` of one message each."""
    size = max(1, round(file.samplerate * message_ms / 1000))
    try:
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            yield block
    except soundfile.SoundFileError as error:
        raise SourceError(f"{file.name}: cannot be decoded to its end ({error}); {CURE}") from error


def feed_microphone(microphone: Microphone, target: Target) -> int:
    """Send a sound card until it is interrupted; what natd does not take in time is declared lost."""
    return asyncio.run(_microphone(microphone, target))


async def _microphone(microphone: Microphone, target: Target) -> int:
    from natd.sources.device import DeviceSource

    lost = 0
    async with DeviceSource(
        microphone.device, microphone.rate, microphone.channels, block_ms=target.message_ms
    ) as source:
        with target.feeder(source.format.rate, source.format.channels) as feeder:
            progress = Progress(source.format.rate, None)
            async for event in source:
                if isinstance(event, Block):
                    lost += await asyncio.to_thread(_send, feeder, event.samples)
                elif isinstance(event, Loss):
                    feeder.skip(event.count)
                    lost += event.count
                elif isinstance(event, FormatChange):
                    raise SourceError("the sound card changed its format: start nat feed again")
                progress.at(feeder.first_sample, f"lost {lost} samples" if lost else "")
    return 0


def _send(feeder: Feeder, samples: NDArray[np.float32]) -> int:
    """Send or skip; how many samples were skipped."""
    left = len(samples) - feeder.send(np.ascontiguousarray(samples), timeout=MICROPHONE_PATIENCE_S)
    feeder.skip(left)
    return left
