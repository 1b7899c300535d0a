"""`nat bench encode --device cuda`: what a step costs on a GPU, from samples on the host to codes on the host.

Once as a CUDA graph, once with every operation launched by itself; wall time, since the host waits for the codes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table

from natd.codec import Tokenizer
from natd.codec.cuda_graph import Maker
from natd.codec.slots import CudaSlots

WARM_UP = 8
MIB = 1 << 20
COLUMNS = ("tokenizer", "launched", "streams", "step ms", "p50 ms", "p99 ms", "x real time", "MiB", "weights")


@dataclass(frozen=True, slots=True)
class Line:
    """`step_ms` of audio of all `streams` took p50 and p99; `mib` is the most that was in use on the device so far."""

    name: str
    launched: str
    streams: int
    step_ms: float
    p50_ms: float
    p99_ms: float
    mib: float
    weights: str
    device: str

    @property
    def speed(self) -> float:
        """Seconds of audio of all streams a second."""
        return self.streams * self.step_ms / self.p50_ms


def title(device: str) -> str:
    """What kind of device it is, for whoever reads the figures."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def table(lines: Sequence[Line]) -> Table:
    """The lines as people read them."""
    on = ", ".join(sorted({line.device for line in lines}))
    out = Table(*COLUMNS, title=f"wall time a step, samples in to codes out, on {on}", title_justify="left")
    for line in lines:
        out.add_row(
            line.name, line.launched, str(line.streams), f"{line.step_ms:.1f}", f"{line.p50_ms:.2f}",
            f"{line.p99_ms:.2f}", f"{line.speed:.1f}", f"{line.mib:.0f}", line.weights,
        )  # fmt: skip
    return out


@torch.inference_mode()
def measure(
    name: str, tokenizer: Tokenizer, weights: str, device: str, streams: Sequence[int], steps: int
) -> Iterator[Line]:
    """The lines of one tokenizer, which is on the device."""
    step_ms = 1e3 * tokenizer.spec.frame_samples / tokenizer.spec.sr
    for launched, graphs in (("as a graph", True), ("one by one", False)):
        for count, p50, p99, mib in _figures(tokenizer, device, streams, steps, graphs):
            yield Line(name, launched, count, step_ms, p50, p99, mib, weights, title(device))


def _figures(
    tokenizer: Tokenizer, device: str, streams: Sequence[int], steps: int, graphs: bool
) -> Iterator[tuple[int, float, float, float]]:
    """Streams, p50 and p99 in ms, MiB."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    slots = CudaSlots(tokenizer, device, Maker if cuda and graphs else None)
    slots.reserve(max(streams))
    draw = np.random.default_rng(0)
    for count in streams:
        audio = list(0.1 * draw.standard_normal((count, tokenizer.spec.frame_samples), np.float32))
        slots.renew(range(count))
        taken = []
        for _ in range(WARM_UP + steps):
            began = time.perf_counter()
            slots.encode(range(count), audio)
            taken.append(1e3 * (time.perf_counter() - began))
        taken = sorted(taken[WARM_UP:])
        mib = torch.cuda.max_memory_allocated(device) / MIB if cuda else 0.0
        yield count, statistics.median(taken), taken[int(0.99 * (len(taken) - 1))], mib
