"""CPU time of `ears` per frame for 1, 8 and 32 streams: `python -m tests.benchmarks.bench_ears [frames]`."""

import statistics
import sys
import time

import torch

from natd.codec import open_tokenizer
from tests.codec.sounds import streams


def cpu_ms(batch: int, frames: int) -> list[float]:
    """CPU milliseconds of each `encode` of a batch, one thread, after ten frames of warm-up; sorted."""
    tokenizer = open_tokenizer("ears")
    state = tokenizer.initial_state(batch)
    audio = torch.from_numpy(streams(max(batch, 4), 50))[:batch]
    times = []
    for frame in range(frames + 10):
        chunk = audio[:, frame % 50].contiguous()
        began = time.process_time_ns()
        tokenizer.encode(chunk, state)
        times.append((time.process_time_ns() - began) / 1e6)
    return sorted(times[10:])


def main(frames: int) -> None:
    """One line a batch size."""
    torch.set_num_threads(1)
    for batch in (1, 8, 32):
        times = cpu_ms(batch, frames)
        p99 = times[int(0.99 * (len(times) - 1))]
        print(f"batch {batch:2d}: p50 {statistics.median(times):6.2f} ms, p99 {p99:6.2f} ms, {frames} frames of 80 ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
