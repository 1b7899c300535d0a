"""kill -9 of the daemon under 64 subscribers: all hear the new epoch, and none takes an old event for a new one.

pytest -m soak -s tests/soak/test_kill.py
"""

import asyncio
import signal
import time

import pytest

from natd_client import AsyncListener
from tests.daemon import Daemon

pytestmark = pytest.mark.soak

SUBSCRIBERS, KILLS = 64, 4


class Subscriber:
    """One listener; for each epoch when its header and its first frame came, and the seq it heard."""

    def __init__(self) -> None:
        self.first_frame_ns: dict[str, int] = {}
        self.seqs: dict[str, list[int]] = {}

    async def listen(self, natd: Daemon) -> None:
        epoch = ""
        async with AsyncListener(natd.publish, "live", natd.control) as events:
            async for event in events:
                if event["event"] == "header":
                    epoch = event["epoch"]
                    self.seqs.setdefault(epoch, [])
                elif event["event"] in ("frame", "gap", "gloss", "format", "end"):
                    self.seqs[epoch].append(event["seq"])
                    if event["event"] == "frame":
                        self.first_frame_ns.setdefault(epoch, events.recv_mono_ns)


async def all_heard(subscribers: list[Subscriber], epochs: int, tasks: list[asyncio.Task[None]]) -> None:
    """Until every subscriber has frames of this many epochs."""
    async with asyncio.timeout(60):
        while any(len(s.first_frame_ns) < epochs for s in subscribers):
            done, _ = await asyncio.wait(tasks, timeout=0.02)
            assert not done, [task.exception() for task in done]


async def kill_and_listen(natd: Daemon) -> tuple[list[Subscriber], list[list[float]]]:
    subscribers = [Subscriber() for _ in range(SUBSCRIBERS)]
    took: list[list[float]] = []
    killed = 0
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(s.listen(natd)) for s in subscribers]
        for kill in range(KILLS + 1):
            with natd:
                await all_heard(subscribers, kill + 1, tasks)
                if kill:
                    took.append([(list(s.first_frame_ns.values())[-1] - killed) / 1e9 for s in subscribers])
                natd.signal(signal.SIGKILL)
                killed = time.monotonic_ns()
                await asyncio.to_thread(natd.wait)
        for task in tasks:
            task.cancel()
    return subscribers, took


def test_every_subscriber_hears_the_new_epoch():
    subscribers, took = asyncio.run(kill_and_listen(Daemon("--source", "demo:", output=False)))
    times = sorted(t for kill in took for t in kill)
    heard = sum(len(s.first_frame_ns) == KILLS + 1 for s in subscribers)
    whole = sum(seqs == list(range(seqs[0], seqs[0] + len(seqs))) for s in subscribers for seqs in s.seqs.values())
    print(
        f"\nkill -9: {KILLS} kills x {SUBSCRIBERS} subscribers: {heard} of {SUBSCRIBERS} heard every new epoch, "
        f"{whole} of {(KILLS + 1) * SUBSCRIBERS} runs of seq without a hole; from the kill to the first new frame "
        f"(restart at once, the model's loading included) p50 {times[len(times) // 2]:.2f} s, max {times[-1]:.2f} s"
    )
    assert heard == SUBSCRIBERS
    assert whole == (KILLS + 1) * SUBSCRIBERS
