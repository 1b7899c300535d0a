"""The search for the most live streams: what is found, what counts as late, what is said."""

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from natd.engine import Encoded, Engine
from natd.errors import ConfigError, ModelError, NotInstalled
from natd.offline import bench_streams
from natd.offline.bench_streams import Found, Plan, Trial, bench, largest, summary, table, trial


@pytest.mark.parametrize(
    ("limit", "first", "most", "expected", "tries"),
    [
        (11, 1, 64, 11, [1, 2, 4, 8, 16, 12, 10, 11]),
        (64, 1, 64, 64, [1, 2, 4, 8, 16, 32, 64]),
        (70, 16, 48, 48, [16, 32, 48]),
        (3, 8, 64, 3, [8, 4, 2, 3]),
        (0, 1, 64, 0, [1]),
        (1000, 256, 4096, 992, [256, 512, 1024, 768, 896, 960, 992, 1008]),  # to one part in 32
    ],
)
def test_the_search_doubles_and_then_halves(limit: int, first: int, most: int, expected: int, tries: list[int]) -> None:
    tried = []

    async def good(streams: int) -> bool:
        tried.append(streams)
        return streams <= limit

    assert asyncio.run(largest(good, first, most)) == expected
    assert tried == tries


def test_ears_in_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(Plan("ears", seconds=0.5, most=2), as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["device"], found["weights"], found["frame_ms"]) == ("ears", "cpu", "installed", 80.0)
    assert found["streams"] <= 2 and found["capped"] == (found["streams"] == 2) and found["room"] is None
    assert found["p50_ms"] <= found["p99_ms"] <= found["max_ms"] <= 80.0
    assert 50_000 < found["state_bytes"] < 500_000


class Slow:
    """An engine whose codes take their time."""

    def __init__(self, seconds: float) -> None:
        self.spec: Any = type("Spec", (), {"frame_samples": 240, "sr": 24_000})  # 10 ms
        self.counters = {"engine_frames": 0, "engine_steps": 0}
        self.seconds, self.slots, self.heard = seconds, 0, set[tuple[int, bool]]()

    def open(self) -> int:
        self.slots += 1
        return self.slots - 1

    def close(self, slot: int) -> None:
        self.slots -= 1

    async def encode(self, slot: int, samples: np.ndarray, fresh: bool = False, ends: bool = False) -> Encoded:
        assert samples.shape == (240,) and samples.dtype == np.float32
        self.heard.add((slot, fresh))
        self.counters["engine_frames"] += 1
        self.counters["engine_steps"] += 1
        await asyncio.sleep(self.seconds)
        return Encoded([[1]], 1_000_000, time.monotonic_ns())


def run(engine: Slow, streams: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setattr(bench_streams, "SETTLE_S", 0.02)
    engine_: Any = engine
    return asyncio.run(trial(engine_, streams, seconds))


def test_a_frame_that_takes_longer_than_it_lasts_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Slow(0.03)
    found = run(engine, 3, 5.0, monkeypatch)
    assert found.late and found.ms(1.0) > 10.0
    assert len(found.taken) <= 6  # the first late frame ends it
    assert engine.slots == 0 and {slot for slot, fresh in engine.heard if fresh} == {0, 1, 2}


def test_frames_count_after_the_start_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Slow(0.0)
    engine.spec.sr = 2400  # 100 ms: no machine is that slow
    monkeypatch.setattr(bench_streams, "LEAD_S", 0.01)
    found = run(engine, 2, 0.5, monkeypatch)
    assert not found.late and len(found.taken) == 10 and found.together == 1.0
    assert 0.0 < found.busy < 0.1 and found.ms(0.5) <= found.ms(1.0) < 100.0


def test_missing_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError):
        bench(Plan("encodec"))
    with pytest.raises(ConfigError, match="no random weights are made for 'soundstream'"):
        bench(Plan("soundstream", random=True))


def test_random_weights_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = []

    async def enter(engine: Engine) -> Engine:
        opened.append(engine.name)
        if "from=" not in engine.name:
            raise NotInstalled("not here")
        return engine

    async def leave(engine: Engine, *_: Any) -> None:
        opened.append("closed")

    monkeypatch.setattr(Engine, "__aenter__", enter)
    monkeypatch.setattr(Engine, "__aexit__", leave)
    monkeypatch.setattr(bench_streams.stand_ins, "named", lambda name, folder: f"{name}:from={folder}")

    async def weights() -> str:
        async with bench_streams._opened(Plan("mimi", random=True), tmp_path) as (_, found):
            return found

    assert asyncio.run(weights()) == "random"
    assert opened == ["mimi", f"mimi:from={tmp_path}", "closed"]


def test_what_is_said() -> None:
    found = Found("mimi", "a GPU", "random", 80.0, 512, True, 5.0, 9.0, 14.0, 0.55, 8 << 20, 9000)
    assert summary(found) == (
        "mimi (random weights) on a GPU: at least 512 streams in real time, no frame of 80 ms late; codes after "
        "p50 5.0, p99 9.0, max 14.0 ms; model thread busy 55 %; state 8192 KiB a stream, room for 9000"
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(Plan("mimi"), [Trial(8, [0.001, 0.002, 0.004], 0, 2.5, 0.25), Trial(16, [], 1)]))
    text = console.export_text()
    assert all(part in text for part in ("mimi", "4 s a trial", "2.0", "4.0", "2.5", "0.25", "16"))
