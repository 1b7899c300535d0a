"""`nat bench encode`: what a step of each tokenizer costs, beside its limit and other programs of the same model.

On the CPU times are processor time of the process, so that a busy machine disturbs them little; tokenizer and peers
take turns, frame by frame, in one process. A process of its own for each number of threads. On a GPU see `bench_cuda`.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from natd import procfs
from natd.codec import Tokenizer, open_tokenizer
from natd.codec.devices import exact_products, present
from natd.errors import ConfigError, NatdError, NotInstalled
from natd.offline import bench_cuda, floor, peers, stand_ins
from natd.offline.apart import apart

WARM_UP = 8
WARM_UP_S = 12.0  # of audio for the first case: windows of attention are full, as they are after a while
MIB = 1 << 20
PAPER = 120  # columns where there is no terminal
COLUMNS = (
    "tokenizer",
    "threads",
    "streams",
    "step ms",
    "p50 ms",
    "p99 ms",
    "x real time",
    "MiB",
    "limit ms",
    "weights",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tokenizers, threads and numbers of streams; steps of each; whether weights may be random, peers asked.

    Threads and peers are of the CPU.
    """

    names: Sequence[str]
    threads: Sequence[int] = (1,)
    streams: Sequence[int] = (1,)
    steps: int = 60
    random: bool = False
    peers: bool = False
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: `step_ms` of audio cost p50 and p99 of processor time; `limit_ms` on one core, or None."""

    name: str
    threads: int
    streams: int
    step_ms: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    limit_ms: float | None
    weights: str

    @property
    def speed(self) -> float:
        """Seconds of audio of all streams a second of processor time."""
        return self.streams * self.step_ms / self.p50_ms


def bench(plan: Plan, as_json: bool = False) -> int:
    """Print the table; the lines of a tokenizer whose weights are missing say so, and the status is then 65."""
    device = present(plan.device)
    if device != "cpu" and plan.peers:
        raise ConfigError("--peers are measured on the CPU")
    runs = [(name, threads) for name in plan.names for threads in plan.threads]
    work: Any = measure
    if device != "cpu":
        runs, work = [(name, 1) for name in plan.names], measure_on_device
    lines: list[Any] = []
    status = 0
    for name, threads in runs:
        try:  # in a process of its own: threads and memory are then those of this tokenizer
            lines += apart(work, name, threads, replace(plan, device=device))
        except NatdError as error:
            print(f"nat: {error}", file=sys.stderr)
            status = error.exit_code
    if as_json:
        print(json.dumps([asdict(line) | {"speed": round(line.speed, 2)} for line in lines]))
    elif lines:
        shown = table(lines) if device == "cpu" else bench_cuda.table(lines)
        Console(width=None if sys.stdout.isatty() else PAPER).print(shown)
    return status


def table(lines: Sequence[Line]) -> Table:
    """The lines as people read them."""
    out = Table(*COLUMNS, title="processor time a step, ms", title_justify="left")
    for line in lines:
        limit = "" if line.limit_ms is None else f"{line.limit_ms:.2f}"
        out.add_row(
            line.name, str(line.threads), str(line.streams), f"{line.step_ms:.1f}", f"{line.p50_ms:.2f}",
            f"{line.p99_ms:.2f}", f"{line.speed:.1f}", f"{line.rss_mib:.0f}", limit, line.weights,
        )  # fmt: skip
    return out


@torch.inference_mode()
def measure(name: str, threads: int, plan: Plan) -> list[Line]:
    """The lines of one tokenizer in this process."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, weights = opened(name, Path(folder), plan.random)
        limit = floor.core() if threads == 1 else None
        lines: list[Line] = []
        for streams in plan.streams:
            others = peers.of(name) if plan.peers and streams == 1 else {}
            lines += _lines(name, tokenizer, streams, threads, plan.steps, limit, weights, others)
        return lines


def measure_on_device(name: str, threads: int, plan: Plan) -> list[bench_cuda.Line]:
    """The lines of one tokenizer on a GPU, in this process."""
    torch.set_num_threads(threads)
    exact_products()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, weights = opened(name, Path(folder), plan.random, plan.device)
        return list(bench_cuda.measure(name, tokenizer, weights, plan.device, plan.streams, plan.steps))


def opened(name: str, folder: Path, random: bool, device: str = "cpu") -> tuple[Tokenizer, str]:
    """The tokenizer and what its weights are: installed, or random ones of the published shape if that is allowed."""
    try:
        return open_tokenizer(name, device), "installed"
    except NotInstalled:
        if not random or "from=" in name:
            raise
        return stand_ins.opened(name, folder, device), "random"


def _lines(
    name: str, tokenizer: Tokenizer, streams: int, threads: int, steps: int, core: floor.Core | None, weights: str,
    others: dict[str, peers.Peer],
) -> Iterator[Line]:  # fmt: skip
    spec = tokenizer.spec
    step_ms = 1e3 * spec.frame_samples / spec.sr
    audio = torch.randn(streams, spec.frame_samples, generator=torch.Generator().manual_seed(streams)) * 0.1
    state = tokenizer.initial_state(streams)
    own: Callable[[Tensor], Any] = lambda chunk: tokenizer.encode(chunk, state)  # noqa: E731
    calls = {name: (own, step_ms)} | {label: (peer.step, peer.step_ms) for label, peer in others.items()}
    for _ in range(max(WARM_UP, int(WARM_UP_S * 1e3 / step_ms))):
        own(audio)
    for peer in others.values():
        peer.warm_up()
    taken: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(steps):
        for label, (call, _) in calls.items():
            began = time.process_time()
            call(audio)
            taken[label].append(1e3 * (time.process_time() - began))
    limit = None if core is None else core.floor_ms(floor.counted(lambda: own(audio)))
    usage = procfs.usage(os.getpid())
    for label, (_, ms) in calls.items():
        p50, p99 = statistics.median(taken[label]), sorted(taken[label])[math.ceil(0.99 * steps) - 1]
        of = weights if label == name else "random"
        rss = 0.0 if usage is None else usage.resident_bytes / MIB
        yield Line(label, threads, streams, ms, p50, p99, rss, limit if label == name else None, of)
