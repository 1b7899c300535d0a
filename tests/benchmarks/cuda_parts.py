"""The parts of `bench_cuda`, each for one tokenizer: `python -m tests.benchmarks.cuda_parts PART NAME DEVICE ...`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from natd.codec import Tokenizer, cuda_graph
from natd.codec.devices import exact_products
from natd.codec.slots import CudaSlots, slots_on
from tests.benchmarks.cuda_task import SLOW, Task, told

HEADS = {
    "check": "per layer % of equal codes; first different (stream, frame, layer)",
    "tests": "pytest -m gpu",
    "steps": "wall ms a step p50/p99 (MiB in use), streams:",
    "streams": "largest number of live streams",
    "profile": "ms on the device of 20 steps of 64 streams, operation by operation; ms/calls/kernel",
    "train": "losses and weights",
}


# ---- check


def check(task: Task) -> None:
    """Codes of the device against the CPU, recorded against not, alone against company, slots against either."""
    there = task.open(task.device)
    heard = task.sounds(there)
    print(f"{task.name}: {tuple(heard.shape)}, layers {[layer.name for layer in there.spec.layers]}")
    plain = codes_of(there, heard, recorded=False)
    told(f"{task.name:20s} runs operation by operation; codes seen a layer {distinct(plain)}")
    waits(there, heard, task)
    together = codes_of(there, heard)
    compared(task.name, there, "recorded, plain", together, plain)
    alone = torch.cat([codes_of(there, heard[i : i + 1]) for i in range(len(heard))])
    compared(task.name, there, "alone, company", alone, together)
    alone_plain = torch.cat([codes_of(there, heard[i : i + 1], recorded=False) for i in range(len(heard))])
    compared(task.name, there, "alone: rec., plain", alone, alone_plain)
    slots = in_slots(there, heard, task)
    compared(task.name, there, "slots, company", slots, together)
    compared(task.name, there, "device, CPU", together, codes_of(task.open("cpu"), heard))


@torch.inference_mode()
def codes_of(tokenizer: Any, heard: Tensor, recorded: bool = True) -> Tensor:
    """[rows, frames, sum of per_frame] on the CPU."""
    held = tokenizer.initial_state(len(heard))
    found = []
    for frame in heard.unbind(1):
        if recorded:
            codes = tokenizer.encode(frame.contiguous(), held)
        else:
            with cuda_graph.unrecorded():
                codes = tokenizer.encode(frame.contiguous(), held)
        found.append(torch.cat(codes, 1).cpu())
    return torch.stack(found, 1)


@torch.inference_mode()
def in_slots(tokenizer: Any, heard: Tensor, task: Task) -> Tensor:
    """The same as the engine does it: slots in another order, some steps of a part of them."""
    slots = slots_on(tokenizer, task.device)
    slots.warm_up(len(heard))
    slots.reserve(len(heard))
    order = list(reversed(range(len(heard))))
    slots.renew(order)
    rows: list[list[Any]] = [[] for _ in order]
    for number, frame in enumerate(heard.unbind(1)):
        groups = [order] if number % 3 else [order[:1], order[1:]]
        for group in groups:
            for slot, codes in zip(group, slots.encode(group, [frame[slot].numpy() for slot in group]), strict=True):
                rows[slot].append([code for layer in codes for code in layer])
    return torch.tensor(rows)


@torch.inference_mode()
def waits(tokenizer: Any, heard: Tensor, task: Task) -> None:
    """A step that waits for the device is an error in torch's own words."""
    if not task.cuda:
        return
    held, chunk = tokenizer.initial_state(len(heard)), heard[:, 0].contiguous().to(task.device)
    with cuda_graph.unrecorded():
        torch.cuda.set_sync_debug_mode("error")
        try:
            tokenizer.encode(chunk, held)
            told(f"{task.name:20s} waits for nothing within a step")
        except RuntimeError as error:
            told(f"{task.name:20s} WAITS: {str(error)[:200]}")
        finally:
            torch.cuda.set_sync_debug_mode("default")


def compared(name: str, tokenizer: Tokenizer, what: str, a: Tensor, b: Tensor) -> None:
    """One line: how many codes of each layer are equal, and where the first difference is."""
    same, at, shares = a == b, 0, []
    for layer in tokenizer.spec.layers:
        own = same[:, :, at : at + layer.per_frame]
        shares.append(f"{layer.name} {100 * own.float().mean():.2f}")
        at += layer.per_frame
    wrong = (~same).nonzero()
    first = f"; first {tuple(wrong[wrong[:, 1].argmin()].tolist())}" if len(wrong) else ""
    told(f"{name:20s} {what:18s} {', '.join(shares) if len(wrong) else 'all equal'}{first}")


def distinct(codes: Tensor) -> list[int]:
    """How many different codes there are, column by column: a layer that never changes proves nothing."""
    return [len(codes[:, :, i].unique()) for i in range(min(codes.shape[2], 8))]


# ---- the others


def steps(task: Task) -> None:
    """A line for each way to launch."""
    from natd.offline import bench_cuda

    exact_products()
    torch.set_num_threads(1)
    tokenizer = task.open(task.device)
    streams = (1, 4) if task.small else (1, 8, 64, 256, 512) if task.base not in SLOW else (1, 8, 64)
    count = 3 if task.small else 30
    lines: dict[str, list[str]] = {}
    for line in bench_cuda.measure(task.name, tokenizer, "", task.device, streams, count):
        print(line)
        one = f"{line.streams}: {line.p50_ms:.2f}/{line.p99_ms:.2f} ({line.mib:.0f})"
        lines.setdefault(f"{line.name:20s} {line.launched:11s}", []).append(one)
    for label, found in lines.items():
        told(f"{label} {', '.join(found)}")


def streams(task: Task) -> None:
    """What `nat bench streams` says."""
    import uvloop

    from natd.offline.bench_streams import Plan, search, summary

    first, most = (1, 4) if task.small else {"soundstream": (32, 1024), "ears": (128, 4096)}.get(task.base, (64, 2048))
    plan = Plan(task.named(), task.device, 0.5 if task.small else 3.0, first, most)
    found, trials = uvloop.run(search(plan, task.shared))
    said = []
    for trial in trials:
        print(trial.row())
        late = " LATE" if trial.late else ""
        said.append(
            f"{trial.streams}{late}: p99 {trial.ms(0.99):.0f} ms, {trial.together:.0f} a step, {trial.busy:.2f}"
        )
    told(f"{task.name:12s} {summary(found).partition(' weights) ')[2]}")
    told(f"{'':12s} {'; '.join(said)}")
    if task.cuda:
        free, total = torch.cuda.mem_get_info()
        told(f"{'':12s} GPU memory in use at the end {(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB")


@torch.inference_mode()
def profile(task: Task) -> None:
    """The kernels that take longest."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    exact_products()
    tokenizer = task.open(task.device)
    batch = 2 if task.small else 64
    slots = CudaSlots(tokenizer, task.device, None)
    slots.reserve(batch)
    slots.renew(range(batch))
    audio = [
        0.1 * np.random.default_rng(i).standard_normal(tokenizer.spec.frame_samples, np.float32) for i in range(batch)
    ]
    slots.encode(range(batch), audio)
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if task.cuda else [])
    with profiled(activities=kinds) as seen:
        for _ in range(20):
            slots.encode(range(batch), audio)
    events = seen.key_averages()
    key: Callable[[Any], float] = lambda e: e.self_device_time_total if task.cuda else e.self_cpu_time_total  # noqa: E731
    kernels = [e for e in events if not task.cuda or e.device_type == torch.autograd.DeviceType.CUDA]
    total, launches = sum(map(key, kernels)) / 1e3, sum(e.count for e in kernels)
    told(f"{task.name:12s} all {total:.1f} ms, {launches / 20:.0f} kernels a step")
    for event in sorted(kernels, key=key, reverse=True)[:9]:
        told(f"{'':12s} {key(event) / 1e3:7.2f} {event.count:6d} {event.key[:90]}")


def train(task: Task) -> None:
    """The nets of `ears` on a few short sounds, as the tests train them, and the note net on frames of chance."""
    from safetensors.torch import save_file

    from natd.codec import ears, harmony_net
    from natd.training import harmony, scene
    from natd.training.ears import weights
    from natd.training.stages import Run
    from tests.codec import test_rhythm_net
    from tests.training import toy_recordings
    from tests.training.test_ears import PLAN, SEED

    audio, out = toy_recordings.folder(task.shared / "audio", seconds=6.0), task.shared / "trained"
    (out / "work").mkdir(parents=True)
    tensors = harmony_net.initial_tensors(0)
    tensors["S1.cells"] = torch.rand(tensors["S1.cells"].shape, generator=torch.Generator().manual_seed(1))
    run = Run(audio, out / "work", SEED, 4, print, PLAN, task.device)
    save_file(tensors, out / "work" / f"harmony-{run.key}.safetensors")
    save_file(test_rhythm_net.tensors(), out / "work" / f"rhythm-{run.key}.safetensors")
    scene.BATCH = 64
    began = time.monotonic()
    weights(run, out)
    opened = ears.open_tokenizer(folder=out).spec.info.codebook_id
    told(f"scene, decoder, all that needs no synthesiser: {time.monotonic() - began:.0f} s, {opened}")
    told(learned(harmony, task.device))


def learned(harmony: Any, device: str) -> str:
    """The note net on frames of chance."""
    from natd.codec import harmony_net
    from natd.training.harmony_frames import Frames

    draw = torch.Generator().manual_seed(0)
    count = 4096
    none = torch.zeros(count)
    label = torch.randint(harmony_net.CLASSES, (count,), generator=draw)
    context = torch.rand(count, *harmony_net.CONTEXT, generator=draw).half()
    frames = Frames(context, torch.rand(count, 12), none.bool(), none.long(), none, none, label, none + 1.0)
    began = time.monotonic()
    found = harmony.train(frames, 0, 40, print, device)
    finite = all(bool(t.isfinite().all()) for t in found.values())
    return f"notes: 40 steps in {time.monotonic() - began:.1f} s, {'finite' if finite else 'NOT FINITE'}"


def tests(task: Task) -> None:
    """The tests marked `gpu`."""
    marked = "gpu" if task.cuda else "not gpu and not soak"
    where = ["tests/codec/test_cuda_graph.py", "tests/offline/test_bench_cuda.py"]
    paths = os.pathsep.join([os.environ.get("PYTHONPATH", ""), "clients"])  # as they are where natd is installed
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", marked, *where],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    print(done.stdout, done.stderr)
    told(done.stdout.strip().splitlines()[-1] if done.stdout else "nothing was run")
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    part, name, device, shared, audio, size = sys.argv[1:]
    torch.set_num_threads(2)
    exact_products()
    began_at = time.monotonic()
    {"check": check, "tests": tests, "steps": steps, "streams": streams, "profile": profile, "train": train}[part](
        Task(name, device, Path(shared), audio, size == "small")
    )
    print(f"took {time.monotonic() - began_at:.1f} s")
