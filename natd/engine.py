"""The one model thread: it owns a tokenizer's weights and states, and encodes whatever frames wait in one batch."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from natd.codec import Spec, Tokenizer, open_tokenizer
from natd.codec.devices import exact_products, present
from natd.codec.slots import Codes, Slots, slots_on
from natd.errors import NatdError


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
        try:
            self.tokenizer = await ready
        except BaseException:
            self._inbox.put(None)  # its thread ends as soon as it can
            raise
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
            exact_products()
            device = present(self._device)
            if device.startswith("cuda:"):
                torch.cuda.set_device(device)
            with torch.inference_mode():
                tokenizer = open_tokenizer(self.name, device)
                slots = slots_on(tokenizer, device)
                slots.warm_up(self._streams)
                self._post(ready, tokenizer)
                while (jobs := self._next()) is not None:
                    self._step(slots, jobs)
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

    def _step(self, slots: Slots, jobs: list[_Job]) -> None:
        started = time.monotonic_ns()
        try:
            codes = _encoded(slots, jobs)
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


def _encoded(slots: Slots, jobs: list[_Job]) -> Codes:
    """The codes of each job's frame."""
    slots.reserve(max(job.slot for job in jobs) + 1)
    if fresh := [job.slot for job in jobs if job.fresh]:
        slots.renew(fresh)
    if ends := [job.slot for job in jobs if job.ends]:
        slots.finish(ends)
    return slots.encode([job.slot for job in jobs], [job.samples for job in jobs])
