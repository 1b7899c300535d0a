"""The law: the same samples give the same codes, by any way in, at any chunk size, alone and in company."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

import natd_client
from natd.audio.chunks import Format
from natd.audio.demo import RATE, Demo
from natd.engine import Engine
from natd.metrics import Metrics
from natd.settings import StatsSettings, StreamSettings
from natd.sources.file import FileSource
from natd.sources.stdin import StdinSource
from natd.sources.zeromq import Ingest
from natd.stream import Stream
from natd.unpacker import Decoder
from natd.wire import Event

SECONDS = 10
SHARED = os.environ.get("NATD_SHARED")
RECORDINGS = (
    [] if SHARED is None else [Path(SHARED, "audio/recordings", n) for n in ("vibe_ace_jazz.ogg", "speech_5703.ogg")]
)


class Collect:
    """A sink that keeps every frame's full codes, per stream."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.codes: dict[str, list[tuple]] = defaultdict(list)
        self._decoders: dict[str, Decoder] = defaultdict(Decoder)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        if (frame := self._decoders[stream].feed(event)) is not None:
            self.codes[stream].append((frame.fi, frame.codes))

    async def drain(self) -> None:
        return None


async def run_streams(sources: dict[str, object]) -> dict[str, list[tuple]]:
    """Codes of the sources, all running at once on one engine."""
    async with Engine("ears") as engine:
        sink = Collect()
        streams = [
            Stream(StreamSettings(name=name), source, engine, [sink], Metrics(), StatsSettings())
            for name, source in sources.items()
        ]
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.run())
    return sink.codes


def codes_of(source: object) -> list[tuple]:
    return asyncio.run(run_streams({"x": source}))["x"]


def excerpt(path: Path | None, offset_s: float = 0.0) -> tuple[np.ndarray, int]:
    """SECONDS of a recording (or of the demo's score) as 16-bit values, [n, channels]."""
    if path is None:
        samples, rate = Demo(3).render(int(offset_s * RATE), SECONDS * RATE), RATE
    else:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        at = int((7.3 * offset_s) % 20 * rate)
        samples = samples[at : at + SECONDS * rate]
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16).reshape(len(samples), -1), rate


@pytest.fixture(scope="module", params=[None, *RECORDINGS], ids=lambda p: p.stem if p else "demo")
def wav(request, tmp_path_factory) -> Path:
    samples, rate = excerpt(request.param)
    path = tmp_path_factory.mktemp("wav") / "take.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def expected(wav) -> list[tuple]:
    codes = codes_of(FileSource(wav))
    assert len(codes) == SECONDS * 1000 // 80
    assert len({c for _, c in codes}) > 20  # codes that never change would agree with anything
    return codes


@pytest.mark.parametrize("chunk_ms", [1.0, 3.7, 80.0, 333.0, 1000.0])
def test_any_chunk_size(wav, expected, chunk_ms):
    assert codes_of(FileSource(wav, block_ms=chunk_ms)) == expected


def test_standard_input(wav, expected):
    assert codes_of(StdinSource(io.BytesIO(wav.read_bytes()))) == expected


def test_zeromq_in_10_ms_messages(wav, expected):
    samples, rate = soundfile.read(wav, dtype="int16", always_2d=True)
    channels, per_message = samples.shape[1], rate // 100
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"

    def feed(loop: asyncio.AbstractEventLoop, room: asyncio.Semaphore) -> None:
        with natd_client.Feeder(endpoint, "x", rate, channels, "s16le") as feeder:
            for start in range(0, len(samples), per_message):
                asyncio.run_coroutine_threadsafe(room.acquire(), loop).result()
                feeder.send(samples[start : start + per_message].tobytes())

    async def scenario() -> list[tuple]:
        async with Engine("ears") as engine, Ingest(endpoint) as ingest:
            sink, loop = Collect(), asyncio.get_running_loop()
            source = ingest.source("x", Format(rate, channels))
            stream = Stream(StreamSettings(name="x"), source, engine, [sink], Metrics(), StatsSettings())
            task = asyncio.create_task(stream.run())
            room = asyncio.Semaphore(50)  # half a second ahead: the ingest is live and would shed more
            feeding = asyncio.create_task(asyncio.to_thread(feed, loop, room))
            freed = 50
            while len(sink.codes["x"]) < len(expected) - 1:
                heard = len(sink.codes["x"]) * 8 + 50
                while freed < heard:
                    room.release()
                    freed += 1
                await asyncio.wait([task], timeout=0.005)
                assert not task.done(), task.exception()
            for _ in range(1000):
                room.release()
            await feeding
            while source.counters["ingest_accepted"] < -(-len(samples) // per_message):
                await asyncio.wait([task], timeout=0.005)
            stream.stop()
            await task
            return sink.codes["x"]

    assert asyncio.run(scenario()) == expected


@pytest.mark.parametrize("count", [2, 7, 32])
def test_in_company(wav, expected, count, tmp_path):
    sources = {"x": FileSource(wav)}
    for i in range(1, count):
        samples, rate = excerpt(None, offset_s=3.1 * i)
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, samples[: len(samples) // 4], rate, subtype="PCM_16")
        sources[f"other{i}"] = FileSource(path, block_ms=5.0 + i)
    together = asyncio.run(run_streams(sources))
    assert together["x"] == expected
    for name in ("other1", f"other{count - 1}"):
        assert together[name] == codes_of(FileSource(tmp_path / f"{name[5:]}.wav"))
