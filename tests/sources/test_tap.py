"""What the tap writes is what it delivers, in one file for each stretch without loss."""

import asyncio
import threading

import numpy as np
import pytest
import soundfile

from natd.audio.chunks import Block, End, Format, FormatChange, Loss
from natd.errors import OutputError
from natd.sources.tap import Tap


class Listed:
    """A source that delivers a list."""

    kind, name, live, timed, state, drift_ppm = "list", "list", False, False, "live", None

    def __init__(self, events):
        self.format, self.counters, self._events = Format(48000, 2), {}, events

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def __aiter__(self):
        for event in self._events:
            if isinstance(event, FormatChange):
                self.format = event.format
            yield event


def noise(n, channels=2):
    return np.random.default_rng(n).standard_normal((n, channels)).astype(np.float32)


def taken(events, path):
    async def scenario():
        async with Tap(Listed(events), path) as source:
            assert [e async for e in source] == events
            return source.files

    return [soundfile.read(file, dtype="float32", always_2d=True) for file in asyncio.run(scenario())]


def test_one_file_for_each_stretch(tmp_path):
    a, b, c, d, e = noise(10), noise(20), noise(30), noise(40), noise(50, 1)
    events = [
        Block(0, a, 0),
        Block(10, b, 0),
        Loss(30, 5, "overrun"),
        Block(35, c, 0),
        Block(100, d, 0),  # a hole that nobody declared
        FormatChange(Format(16000, 1)),
        Block(0, e, 0),
        End("eof"),
    ]
    files = taken(events, tmp_path / "tap")
    assert [rate for _, rate in files] == [48000, 48000, 48000, 16000]
    for (samples, _), expected in zip(files, [np.concatenate([a, b]), c, d, e], strict=True):
        np.testing.assert_array_equal(samples, expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tap.0.wav", "tap.1.wav", "tap.2.wav", "tap.3.wav"]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        taken([Block(0, noise(10), 0)], tmp_path / "nowhere" / "tap")


def test_a_file_is_not_closed_while_a_block_is_written(tmp_path, monkeypatch):
    writing, go_on, calls = threading.Event(), threading.Event(), []

    class SlowFile(soundfile.SoundFile):
        def write(self, samples):
            writing.set()
            go_on.wait(10)
            super().write(samples)
            calls.append("written")

        def close(self):
            calls.append("closed")
            super().close()

    monkeypatch.setattr(soundfile, "SoundFile", SlowFile)

    async def scenario():
        tap = Tap(Listed([Block(0, noise(480), 0), End("eof")]), tmp_path / "tap")
        async with tap:
            reading = asyncio.ensure_future(anext(aiter(tap)))
            await asyncio.to_thread(writing.wait, 10)
            reading.cancel()
            threading.Timer(0.2, go_on.set).start()

    asyncio.run(scenario())
    assert calls[:2] == ["written", "closed"]
