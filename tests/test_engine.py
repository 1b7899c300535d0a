"""The engine: one thread, many streams, the same codes alone and in company, errors that reach whoever awaits."""

import asyncio
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from natd import codec
from natd.codec import Spec
from natd.engine import Engine, EngineError
from natd.errors import ConfigError
from natd.wire import Layer, TokenizerInfo

FRAME = 8


@dataclass
class SumState:
    total: torch.Tensor  # [B] running sum of all samples


class SumTokenizer:
    """Codes depend on all the samples of their own row so far: S0 = running sum, A0 = [sum, frame maximum]."""

    glossary: dict[str, dict[int, str]] = {}

    def __init__(self, device: str = "cpu") -> None:
        self.spec = Spec(
            TokenizerInfo("sum", "1", "sha256:0"),
            100,
            FRAME,
            (Layer("S0", "semantic", "sum", 1 << 30), Layer("A0", "acoustic", "pair", 1 << 30, per_frame=2)),
        )
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def initial_state(self, batch: int) -> SumState:
        return SumState(torch.zeros(batch))

    def encode(self, chunk: torch.Tensor, state: SumState) -> list[torch.Tensor]:
        if bool((chunk == 13).any()):
            raise RuntimeError("unlucky sample")
        self.batches.append(len(chunk))
        self.threads.add(threading.current_thread().name)
        state.total += chunk.sum(1)
        total = state.total.long()
        return [total[:, None], torch.stack([total, chunk.max(1).values.long()], 1)]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(codec.BUILTIN, "sum", f"{__name__}:SumTokenizer")


def block(value: float) -> np.ndarray:
    return np.full(FRAME, value, np.float32)


def test_each_slot_has_its_own_state_and_one_thread_runs_the_model():
    async def scenario():
        async with Engine("sum") as engine:
            slots = [engine.open() for _ in range(5)]
            first = await asyncio.gather(*(engine.encode(s, block(s + 1), fresh=True) for s in slots))
            second = await asyncio.gather(*(engine.encode(s, block(1)) for s in reversed(slots)))
            return engine.tokenizer, [e.codes for e in first], [e.codes for e in second]

    tokenizer, first, second = asyncio.run(scenario())
    assert first == [[[8 * (s + 1)], [8 * (s + 1), s + 1]] for s in range(5)]
    assert second == [[[8 * (s + 1) + 8], [8 * (s + 1) + 8, 1]] for s in reversed(range(5))]
    assert tokenizer.threads == {"engine:sum"}


def test_waiting_frames_share_a_step():
    async def scenario():
        async with Engine("sum") as engine:
            slots = [engine.open() for _ in range(8)]
            for _ in range(20):
                await asyncio.gather(*(engine.encode(s, block(1)) for s in slots))
            return engine.counters

    counters = asyncio.run(scenario())
    assert counters["engine_frames"] == 160
    assert counters["engine_steps"] < 160


def test_fresh_starts_a_slot_anew_and_leaves_the_others_alone():
    async def scenario():
        async with Engine("sum") as engine:
            a, b = engine.open(), engine.open()
            await asyncio.gather(engine.encode(a, block(5)), engine.encode(b, block(7)))
            again, other = await asyncio.gather(engine.encode(a, block(1), fresh=True), engine.encode(b, block(1)))
            return again.codes, other.codes

    assert asyncio.run(scenario()) == ([[8], [8, 1]], [[64], [64, 1]])


def test_a_closed_slot_is_reused_and_forgets():
    async def scenario():
        async with Engine("sum") as engine:
            a = engine.open()
            await engine.encode(a, block(5))
            engine.close(a)
            b = engine.open()
            return a == b, (await engine.encode(b, block(1), fresh=True)).codes

    assert asyncio.run(scenario()) == (True, [[8], [8, 1]])


def test_a_failing_step_reaches_every_waiter_and_stops_the_engine():
    async def scenario():
        async with Engine("sum") as engine:
            slot = engine.open()
            with pytest.raises(EngineError, match="unlucky sample"):
                await engine.encode(slot, block(13))
            with pytest.raises(EngineError, match="has stopped"):
                while True:  # the thread records its end just after it answers
                    await engine.encode(slot, block(1))

    asyncio.run(scenario())


def test_a_failing_step_reaches_also_the_frame_behind_a_cancelled_one():
    async def scenario():
        async with Engine("sum") as engine:
            busy, slot = engine.open(), engine.open()
            # Many before them, so that the next two wait together.
            before = [asyncio.ensure_future(engine.encode(busy, block(1))) for _ in range(50)]
            cancelled = asyncio.ensure_future(engine.encode(slot, block(13)))
            behind = asyncio.ensure_future(engine.encode(slot, block(1), fresh=True))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(EngineError):
                async with asyncio.timeout(5):
                    await behind
            await asyncio.gather(*before, return_exceptions=True)

    asyncio.run(scenario())


def test_a_cancelled_frame_does_not_disturb_the_next():
    async def scenario():
        async with Engine("sum") as engine:
            slot = engine.open()
            task = asyncio.create_task(engine.encode(slot, block(9)))
            await asyncio.sleep(0)
            task.cancel()
            return (await engine.encode(slot, block(1), fresh=True)).codes

    assert asyncio.run(scenario()) == [[8], [8, 1]]


def test_an_unknown_tokenizer_is_named_before_anything_runs():
    async def scenario():
        async with Engine("nonesuch"):
            pass

    with pytest.raises(ConfigError, match="no tokenizer is called 'nonesuch'; there is .*ears"):
        asyncio.run(scenario())


def test_an_engine_whose_opening_was_cancelled_ends(monkeypatch):
    loading, go_on = threading.Event(), threading.Event()

    def load(device: str) -> SumTokenizer:
        loading.set()
        assert go_on.wait(60)
        return SumTokenizer(device)

    async def cancelled() -> threading.Thread:
        engine = Engine("late")
        opening = asyncio.create_task(engine.__aenter__())
        await asyncio.to_thread(loading.wait, 60)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return engine._thread

    monkeypatch.setitem(codec.BUILTIN, "late", f"{__name__}:late")
    monkeypatch.setattr(sys.modules[__name__], "late", load, raising=False)
    thread = asyncio.run(cancelled())
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
