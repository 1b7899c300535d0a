"""One hour of audio through `file:` at full speed: real-time factor, memory, and every frame accounted for.

pytest -m soak -s tests/soak/test_hour.py
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from natd.audio.demo import RATE, Demo
from natd.tiling import TilingChecker
from natd.wire import decode
from tests.daemon import Daemon

pytestmark = pytest.mark.soak

CONFIG = """
[output]
path = "{out}"
free_mb = 0
[[stream]]
name = "hour"
source = "file:{wav}"
paced = false
seconds = {limit}
"""


def tail(path: Path) -> bytes:
    """The last 8 KiB of a file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return file.read()


@pytest.fixture(scope="module")
def hour(tmp_path_factory) -> Path:
    """3600 s at 48 kHz, stereo: the demo's score, or the recordings one after the other where they are at hand."""
    path = tmp_path_factory.mktemp("hour") / "hour.wav"
    shared = os.environ.get("NATD_SHARED")
    takes = sorted(Path(shared, "audio/music/train").glob("*.ogg")) if shared else []
    rng = np.random.default_rng(1)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as out:
        while (left := 3600 * RATE - out.frames) > 0:
            if takes:
                samples, rate = soundfile.read(takes[rng.integers(len(takes))], dtype="float32", always_2d=True)
                samples = np.repeat(samples[:, :1], 2, 1)[:left]  # at another speed where the rate differs: still music
            else:
                samples = Demo(2).render(out.frames, min(left, 10 * RATE))
            out.write(samples)
    return path


def test_an_hour(hour, tmp_path):
    frames = 3600 * RATE // (RATE * 80 // 1000)
    config, out = tmp_path / "hour.toml", tmp_path / "hour.ndjson"
    config.write_text(CONFIG.format(out=out, wav=hour, limit=3600))
    started = time.monotonic()
    with Daemon("--config", str(config), output=False) as natd:
        natd.wait_for_log("hour (file:")
        ready, rss = time.monotonic(), []
        while natd.process.poll() is None:
            size = natd.rss()  # before the look for the end: leaving maps in what only leaving needs
            if out.exists() and out.stat().st_size > 100_000 and b'"event":"end"' not in tail(out):
                rss.append(size)
            with suppress(subprocess.TimeoutExpired):
                natd.process.wait(0.5)
        assert natd.wait() == 0
    took = time.monotonic() - ready
    rss = [size for size in rss if size]  # 0 once the process is gone
    first, last = rss[0], rss[-1]
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    checker = TilingChecker()
    with out.open("rb") as lines:
        for line in lines:
            if (event := decode(line)) is not None:
                checker.feed(event)
    end = json.loads(line)
    print(
        f"\nhour: {took:.1f} s for 3600 s of audio: {3600 / took:.0f} x real time (RTF {took / 3600:.4f}), "
        f"start-up {ready - started:.1f} s, CPU {cpu.ru_utime + cpu.ru_stime:.1f} s\n"
        f"hour: RSS {first / 2**20:.1f} MiB after the first lines, {rss[len(rss) // 2] / 2**20:.1f} half way, "
        f"{last / 2**20:.1f} at the end, most {max(rss) / 2**20:.1f} MiB\n"
        f"hour: {end['frames']} frames + {end['gaps']} lost == {frames} asked; faults {checker.faults}"
    )
    assert end["frames"] + end["gaps"] == frames
    assert checker.faults == []
    assert last - first < 16 * 2**20
