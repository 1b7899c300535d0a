"""`nat bench streams`: how many live streams one engine encodes before a frame is late.

Every stream hands in a frame at its own moment, as a sound card would; its codes must be back within the time that the
frame lasts, counted from that moment, whatever held them up: the device, the model thread or the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import uvloop
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from natd.codec.state import leaves
from natd.engine import Engine
from natd.errors import NotInstalled
from natd.offline import stand_ins
from natd.offline.bench_cuda import title

LEAD_S = 0.2  # to make the streams of a trial
SETTLE_S = 1.0  # before frames count: all streams begin within one frame, which no hall does
SOUNDS = 64  # different frames that are handed in
FINEST = 32  # a search ends when the next number is nearer than this part of the last
COLUMNS = ("streams", "frames", "late", "p50 ms", "p99 ms", "max ms", "a step", "busy")
PAPER = 120  # columns where there is no terminal


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tokenizer on which device, seconds of a trial, first and last number of streams, random weights?"""

    name: str
    device: str = "cpu"
    seconds: float = 4.0
    first: int = 1
    most: int = 64
    random: bool = False
    threads: int = 1


@dataclass(slots=True)
class Trial:
    """`streams` at once: latencies of their frames (s), how many came late, frames a step, share of time in the model.

    It ends with the first late frame.
    """

    streams: int
    taken: list[float] = field(default_factory=list)
    late: int = 0
    together: float = 0.0
    busy: float = 0.0

    def ms(self, share: float) -> float:
        """The latency that so large a share of the frames kept."""
        return 1e3 * sorted(self.taken)[int(share * (len(self.taken) - 1))] if self.taken else 0.0

    def row(self) -> tuple[str, ...]:
        """As people read it."""
        times = [f"{self.ms(share):.1f}" for share in (0.5, 0.99, 1.0)]
        return (
            str(self.streams),
            str(len(self.taken)),
            str(self.late),
            *times,
            f"{self.together:.1f}",
            f"{self.busy:.2f}",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: `streams` were in time (0: not one), `capped` if more were not tried."""

    name: str
    device: str
    weights: str
    frame_ms: float
    streams: int
    capped: bool
    p50_ms: float
    p99_ms: float
    max_ms: float
    busy: float
    state_bytes: int
    room: int | None


def bench(plan: Plan, as_json: bool = False) -> int:
    """Print every trial and the largest number of streams that were in time."""
    with tempfile.TemporaryDirectory() as folder:
        found, trials = uvloop.run(search(plan, Path(folder)))
    if as_json:
        print(json.dumps(asdict(found)))
        return 0
    console = Console(width=None if sys.stdout.isatty() else PAPER)
    console.print(table(plan, trials))
    console.print(summary(found), soft_wrap=True, highlight=False)
    return 0


def table(plan: Plan, trials: list[Trial]) -> Table:
    """All trials, in their order."""
    out = Table(
        *COLUMNS, title=f"{plan.name}: frames in to codes out, {plan.seconds:g} s a trial", title_justify="left"
    )
    for trial in trials:
        out.add_row(*trial.row())
    return out


def summary(found: Found) -> str:
    """What the search found, in words."""
    most = f"at least {found.streams}" if found.capped else str(found.streams)
    room = "" if found.room is None else f", room for {found.room}"
    return (
        f"{found.name} ({found.weights} weights) on {found.device}: {most} streams in real time, no frame of "
        f"{found.frame_ms:.0f} ms late; codes after p50 {found.p50_ms:.1f}, p99 {found.p99_ms:.1f}, "
        f"max {found.max_ms:.1f} ms; model thread busy {100 * found.busy:.0f} %; "
        f"state {found.state_bytes / 1024:.0f} KiB a stream{room}"
    )


async def search(plan: Plan, folder: Path) -> tuple[Found, list[Trial]]:
    """Doubling, then halving what is left between."""
    trials: dict[int, Trial] = {}
    async with _opened(plan, folder) as (engine, weights):
        with _no_garbage():

            async def in_time(streams: int) -> bool:
                trials[streams] = await trial(engine, streams, plan.seconds)
                return trials[streams].late == 0

            best = await largest(in_time, plan.first, plan.most)
        spec, held = engine.spec, leaves(engine.tokenizer.initial_state(1))
        size = sum(leaf.nbytes for leaf in held)
        room = torch.cuda.mem_get_info(held[0].device)[1] // size if held[0].is_cuda else None
        kept = trials.get(best, Trial(0))
        found = Found(
            plan.name, title(str(held[0].device)), weights, 1e3 * spec.frame_samples / spec.sr, best, best == plan.most,
            kept.ms(0.5), kept.ms(0.99), kept.ms(1.0), kept.busy, size, room,
        )  # fmt: skip
    return found, list(trials.values())


async def largest(good: Callable[[int], Awaitable[bool]], first: int, most: int) -> int:
    """The largest number up to `most` that is good, to one part in `FINEST`; 0 if there is none."""
    low, high = 0, min(first, most)
    while await good(high):
        low = high
        if low == most:
            return low
        high = min(2 * low, most)
    while high - low > max(1, low // FINEST):
        middle = (low + high) // 2
        low, high = (middle, high) if await good(middle) else (low, middle)
    return low


async def trial(engine: Engine, streams: int, seconds: float) -> Trial:
    """So many streams for so long, each a little later than the one before, spread evenly over a frame."""
    result, clock = Trial(streams), time.perf_counter  # uvloop's own clock counts milliseconds
    frame_s = engine.spec.frame_samples / engine.spec.sr
    sounds = list(0.1 * np.random.default_rng(0).standard_normal((SOUNDS, engine.spec.frame_samples), np.float32))
    settle, count = int(SETTLE_S / frame_s), int((SETTLE_S + seconds) / frame_s)
    before, busy_ns = dict(engine.counters), 0
    begin = clock() + LEAD_S

    async def stream(number: int, slot: int) -> None:
        nonlocal busy_ns
        for frame in range(count):
            due = begin + frame_s * (frame + number / streams)
            await asyncio.sleep(max(0.0, due - clock()))
            if result.late:
                return
            sound: NDArray[np.float32] = sounds[(number + frame) % SOUNDS]
            encoded = await engine.encode(slot, sound, fresh=frame == 0)
            busy_ns += encoded.busy_ns
            if frame >= settle:
                result.taken.append(clock() - due)
                result.late += result.taken[-1] > frame_s

    slots = [engine.open() for _ in range(streams)]
    await asyncio.gather(*(stream(number, slot) for number, slot in enumerate(slots)))
    for slot in reversed(slots):
        engine.close(slot)
    frames, steps = (engine.counters[name] - before[name] for name in ("engine_frames", "engine_steps"))
    result.together, result.busy = frames / steps, busy_ns / 1e9 / (clock() - begin)
    return result


@asynccontextmanager
async def _opened(plan: Plan, folder: Path) -> AsyncIterator[tuple[Engine, str]]:
    """An engine that is warm for the most streams, over installed or random weights, and which of them."""
    weights = "installed"
    engine = Engine(plan.name, plan.device, plan.threads, plan.most)
    try:
        await engine.__aenter__()
    except NotInstalled:
        if not plan.random or "from=" in plan.name:
            raise
        weights = "random"
        engine = Engine(stand_ins.named(plan.name, folder), plan.device, plan.threads, plan.most)
        await engine.__aenter__()
    try:
        yield engine, weights
    finally:
        await engine.__aexit__(None, None, None)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What is there already is not looked through again and again: that would hold every stream up."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
