"""The one model thread: it owns a tokenizer's weights and states, and encodes whatever frames wait in one batch."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from natd.codec import LookAhead, Spec, Tokenizer, open_tokenizer
from natd.codec.devices import present
from natd.codec.state import gather, scatter
from natd.errors import NatdError

WARM_UP_STEPS = 3  # kernels chosen, caches filled, steps recorded, before the first real frame
WARM_UP_BATCH = 8  # the largest batch that is made ready for: larger ones are rare


class EngineError(NatdError):
    """The model thread failed (the message says where); its process cannot go on encoding."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Codes of one frame, per layer; `busy_ns` is this frame's share of the model's time, `done_ns` monotonic."""

    codes: list[list[int]]
    busy_ns: int
    done_ns: int


@dataclass(slots=True)
class _Job:
    slot: int
    samples: NDArray[np.float32]
    fresh: bool
    ends: bool
    future: asyncio.Future[Encoded]


class Engine:
    """Any number of streams share one tokenizer; each holds a slot and awaits one frame at a time.

    `encode` is safe to cancel: the frame is encoded all the same and its codes are dropped; pass `fresh` with the next.
    It is warm for `streams` of them when it is entered; a further one makes its first frame wait.
    """

    def __init__(self, tokenizer: str, device: str = "cpu", threads: int = 1, streams: int = 1) -> None:
        self.name = tokenizer
        self.counters = {"engine_frames": 0, "engine_steps": 0}
        self._device = device
        self._threads = threads
        self._streams = streams
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._held: _Job | None = None
        self._free: list[int] = []
        self._slots = 0
        self._failed: BaseException | None = None

    @property
    def spec(self) -> Spec:
        """What the tokenizer promises; valid once the engine is entered."""
        return self.tokenizer.spec

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[Tokenizer] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"engine:{self.name}", daemon=True)
        self._thread.start()
        self.tokenizer = await ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, 5.0)

    def open(self) -> int:
        """A slot for one stream, holding the initial state once its first frame is encoded with `fresh`."""
        if self._free:
            return self._free.pop()
        self._slots += 1
        return self._slots - 1

    def close(self, slot: int) -> None:
        """Give a slot back; the next stream to get it begins with `fresh`."""
        self._free.append(slot)

    async def encode(self, slot: int, samples: NDArray[np.float32], fresh: bool = False, ends: bool = False) -> Encoded:
        """Codes of one frame `[frame_samples]`; `fresh` starts the slot's state anew before it, `ends` ends its sound.

        After the end of a sound only silence, for the codes that a tokenizer which looks ahead still holds.
        """
        future: asyncio.Future[Encoded] = self._loop.create_future()
        self._inbox.put(_Job(slot, samples, fresh, ends, future))
        if self._failed is not None:  # looked at after the put: the thread sets it before it empties the inbox
            raise EngineError(f"the {self.name} engine has stopped: {self._failed!r}") from self._failed
        return await future

    # ---- the model thread

    def _run(self, ready: asyncio.Future[Tokenizer]) -> None:
        try:
            torch.set_num_threads(self._threads)
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            device = present(self._device)
            with torch.inference_mode():
                tokenizer = open_tokenizer(self.name, device)
                worker = _Worker(tokenizer, device)
                worker.warm_up(self._streams)
                self._post(ready, tokenizer)
                while (jobs := self._next()) is not None:
                    self._step(worker, jobs)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits, none is lost
            self._failed = error
            self._post(ready, error)
            left = [self._held]
            while not self._inbox.empty():
                left.append(self._inbox.get_nowait())
            for job in left:
                if job is not None:
                    self._post(job.future, EngineError(f"the {self.name} engine has stopped: {error!r}"))

    def _next(self) -> list[_Job] | None:
        """All waiting jobs, at most one per slot (a cancelled one may be followed by another); None at the close."""
        jobs: dict[int, _Job] = {}
        job = self._held or self._inbox.get()
        self._held = None
        while job is not None:
            if job.slot in jobs:
                self._held = job
                break
            jobs[job.slot] = job
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                break
        if job is not None:
            return list(jobs.values())
        for left in jobs.values():
            self._post(left.future, EngineError(f"the {self.name} engine was closed"))
        return None

    def _step(self, worker: _Worker, jobs: list[_Job]) -> None:
        started = time.monotonic_ns()
        try:
            codes = worker.encode(jobs)
        except BaseException as error:
            for job in jobs:
                self._post(job.future, EngineError(f"{self.name} failed on a frame: {error!r}"))
            raise
        done = time.monotonic_ns()
        self.counters["engine_frames"] += len(jobs)
        self.counters["engine_steps"] += 1
        share = (done - started) // len(jobs)
        results = [(job.future, Encoded(row, share, done)) for job, row in zip(jobs, codes, strict=True)]
        self._call(_deliver, results)

    def _post(self, future: asyncio.Future[Any], value: Any) -> None:
        self._call(_deliver, [(future, value)])

    def _call(self, fn: Any, *args: Any) -> None:
        if self._loop.is_closed():
            return  # nobody is left to await
        self._loop.call_soon_threadsafe(fn, *args)


def _deliver(results: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, value in results:
        if future.done():
            continue
        if isinstance(value, BaseException):
            future.set_exception(value)
        else:
            future.set_result(value)


class _Worker:
    """The tokenizer with the state of every slot; lives in the model thread alone."""

    def __init__(self, tokenizer: Tokenizer, device: str) -> None:
        self.tokenizer = tokenizer
        self._device = torch.device(device)
        self._capacity = 1
        self._warm = 0  # the largest batch that was made ready for
        self._state = tokenizer.initial_state(1)

    def warm_up(self, streams: int) -> None:
        """Makes ready for the batches that so many streams can make."""
        largest = min(streams, WARM_UP_BATCH) if self.tokenizer.spec.info.batch_invariant else 1
        for batch in range(self._warm + 1, largest + 1):
            state = self.tokenizer.initial_state(batch)
            silence = torch.zeros(batch, self.tokenizer.spec.frame_samples, device=self._device)
            for _ in range(WARM_UP_STEPS):
                self.tokenizer.encode(silence, state)
        self._warm = max(self._warm, largest)

    def encode(self, jobs: list[_Job]) -> list[list[list[int]]]:
        """Codes `[job][layer][per_frame]`; a tokenizer that is not batch invariant gets its rows one by one."""
        self._reserve(max(job.slot for job in jobs) + 1)
        fresh = [job.slot for job in jobs if job.fresh]
        if fresh:
            scatter(self._state, self._rows(fresh), self.tokenizer.initial_state(len(fresh)))
        ends = [job.slot for job in jobs if job.ends]
        if ends and hasattr(self.tokenizer, "finish"):
            part = gather(self._state, self._rows(ends))
            cast(LookAhead, self.tokenizer).finish(part)
            scatter(self._state, self._rows(ends), part)
        if self.tokenizer.spec.info.batch_invariant:
            return self._together(jobs)
        return [self._together([job])[0] for job in jobs]

    def _together(self, jobs: list[_Job]) -> list[list[list[int]]]:
        chunk = torch.from_numpy(np.stack([job.samples for job in jobs])).to(self._device)
        slots = [job.slot for job in jobs]
        if slots == list(range(self._capacity)):
            codes = self.tokenizer.encode(chunk, self._state)
        else:
            rows = self._rows(slots)
            part = gather(self._state, rows)
            codes = self.tokenizer.encode(chunk, part)
            scatter(self._state, rows, part)
        layers = [layer.tolist() for layer in codes]
        return [[layer[i] for layer in layers] for i in range(len(jobs))]

    def _reserve(self, slots: int) -> None:
        if slots <= self._capacity:
            return
        self.warm_up(slots)
        grown = self.tokenizer.initial_state(slots)
        scatter(grown, self._rows(range(self._capacity)), self._state)
        self._state, self._capacity = grown, slots

    def _rows(self, slots: Any) -> torch.Tensor:
        return torch.tensor(list(slots), dtype=torch.int64, device=self._device)
