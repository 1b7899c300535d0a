"""CPU time of `ears` per frame, one thread: `python -m tests.benchmarks.bench_ears [frames]`.

By part and in all, plain and recorded, for 1, 8 and 32 streams; then what a frame of one stream cannot cost less than.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from natd.codec import ears, scene
from natd.codec.descriptors import DESCRIPTORS
from natd.codec.ears import Ears
from natd.offline.floor import counted
from tests.codec.sounds import streams

Call = Callable[[], Any]
WARM_UP = 10


def cpu_ms(call: Call, times: int) -> tuple[float, float]:
    """Median and 99th percentile of the CPU milliseconds of a call."""
    taken = []
    for _ in range(times + WARM_UP):
        began = time.process_time_ns()
        call()
        taken.append((time.process_time_ns() - began) / 1e6)
    taken = sorted(taken[WARM_UP:])
    return statistics.median(taken), taken[int(0.99 * (len(taken) - 1))]


def parts(tokenizer: Ears, chunk: torch.Tensor) -> Iterator[tuple[str, Call]]:
    """Each part of a step on its own."""
    front, state = tokenizer.front, tokenizer.initial_state(len(chunk))
    for _ in range(WARM_UP):
        heard = tokenizer.hear(chunk, state)
    own, silent = state.front, heard.silent
    power = front.mel.power(own.audio)
    log_mel = front.mel.log_mel(power)
    motion = front.modulation(power, own.modulation)[:, : scene.MOTION_BANDS, : scene.RANGES]
    stats = {n: heard.of(n) if n in DESCRIPTORS else silent.float() for n in scene.STATS}
    yield "front end, all of it", lambda: tokenizer.hear(chunk, state)
    yield "  log-mel", lambda: front.mel.log_mel(front.mel.power(own.audio))
    yield "  harmony", lambda: front.harmony(own.audio, own.slow_audio)
    yield "  rhythm", lambda: front.rhythm(log_mel, own.rhythm)
    yield "  modulation", lambda: front.modulation(power, own.modulation)
    yield "  scene", lambda: front.scene(log_mel, stats, motion, silent, own.scene)
    yield "S0", lambda: tokenizer.scene(heard.scene, silent, state.scene)
    f0, salience, onset = heard.of("f0"), heard.of("salience"), heard.of("onset")
    yield "S1", lambda: tokenizer.harmony(heard.tonal, f0, salience, silent, state.harmony)
    yield "S2", lambda: tokenizer.rhythm(heard.past, onset, silent, state.rhythm)
    yield "S3", lambda: tokenizer.dynamics(heard.descriptors, silent, state.dynamics)
    yield "A0-A3", lambda: tokenizer.residual.encode(tokenizer.compress(log_mel), silent)


def limits(step: Call) -> str:
    """What the arithmetic, the memory and the number of operations of a step cost on this machine at its best."""
    a, big, small = torch.ones(256, 256), torch.ones(1 << 23), torch.ones(1)
    count = counted(step)

    def many(x: torch.Tensor) -> torch.Tensor:
        for _ in range(100):
            x = x.add(small)
        return x

    flops_ms = 2.0 * 256**3 / cpu_ms(lambda: a @ a, 50)[0]
    bytes_ms = 4.0 * big.numel() / cpu_ms(lambda: big.sum(), 20)[0]
    operation_ms = cpu_ms(lambda: many(small), 100)[0] / 100
    return (
        f"limits, one stream: {count.flops / 1e6:.1f} Mflop: {count.flops / flops_ms:.2f} ms; "
        f"{count.read / 1e6:.1f} MB read by products: {count.read / bytes_ms:.2f} ms from memory; "
        f"{count.operations} operations at {operation_ms * 1e3:.1f} us: {count.operations * operation_ms:.2f} ms"
    )


def report(name: str, call: Call, times: int, operations: int | None) -> None:
    p50, p99 = cpu_ms(call, times)
    counted_as = f"  {operations:5d} operations" if operations else ""
    print(f"  {name:22s} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms{counted_as}")


@torch.inference_mode()
def main(tokenizer: Ears, times: int) -> None:
    """A block of lines a batch size, the limits at the end."""
    torch.set_num_threads(1)
    print(f"{times} frames of 80 ms a line, load {os.getloadavg()[0]:.1f}")
    for batch in (1, 8, 32):
        print(f"{batch} streams:")
        audio = torch.from_numpy(streams(max(batch, 4), 4))[:batch, 3]
        chunk = audio.contiguous()
        state = tokenizer.initial_state(batch)
        report("encode (recorded)", lambda c=chunk, s=state: tokenizer.encode(c, s), times, None)  # type: ignore[misc]
        plain: Call = lambda c=chunk, s=state: tokenizer.step(c, s)  # type: ignore[misc]  # noqa: E731
        report("plain", plain, times, counted(plain).operations)
        for name, call in parts(tokenizer, chunk):
            report(name, call, times, counted(call).operations)
        if batch == 1:
            found = limits(plain)
    print(found)


if __name__ == "__main__":
    main(ears.open_tokenizer(), int(sys.argv[1]) if len(sys.argv) > 1 else 500)
