"""The corpus through the front end, job by job, in files: a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from natd.codebooks import hearing
from natd.codec.descriptors import FrontEnd
from natd.codec.mel import FRAME
from natd.codec.threads import one_thread
from natd.training.corpus import USUAL, Amounts, Job, Take, jobs, takes

Progress = Callable[[str], None]
BATCH = 24
WITH_MEL = ("recorded", "changed", "played", "spoken")  # whose log-mel the acoustic layers are fitted on
MEL_STRIDE = 2  # neighbouring frames are alike
# What shapes a shard beside the code of its job; raised when a recipe or the front end changes.
VERSION = 1


@dataclass(slots=True)
class Shard:
    """Frames of some takes: scene [N, 1008] (float16), descriptors [N, 29], silent [N], the take of each [N].

    `log_mel` [M, 1024] (float16) is of every second frame and only where it is asked for.
    `kinds`, `group` and `origin` are those of the takes.
    """

    name: str
    scene: Tensor
    descriptors: Tensor
    silent: Tensor
    take: Tensor
    log_mel: Tensor
    kinds: list[tuple[str, ...]]
    group: list[str]
    origin: list[str]


@dataclass(slots=True)
class HeardTake:
    """A take's silence [T], descriptors [T, 29], log-mel [T, 8, 128] and scene [T, 1008], the last two float16."""

    silent: Tensor
    descriptors: Tensor
    log_mel: Tensor
    scene: Tensor


def make(
    audio_dir: Path, cache: Path, seed: int, workers: int, progress: Progress, amounts: Amounts = USUAL
) -> list[Path]:
    """Files of all jobs, in the order of the jobs; those that are there already are kept."""
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{VERSION} {seed} {audio_dir.resolve()}{amounts}".encode()).hexdigest()[:8]
    wanted = {job: cache / f"{job}-{key}.safetensors" for job in jobs(audio_dir, amounts)}
    missing = [job for job, path in wanted.items() if not path.is_file()]
    progress(f"corpus: {len(wanted) - len(missing)} of {len(wanted)} parts are there")
    # Forked children would share torch's threads and a lock of them; spawned ones begin clean.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(_write, job, audio_dir, wanted[job], seed, amounts): job for job in missing}
        try:
            for done, future in enumerate(as_completed(running), 1):
                seconds = future.result()
                progress(f"corpus: {running[future]}, {seconds / 60:.1f} min of sound ({done} of {len(missing)})")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # no waiting for parts that were not begun
            raise
    return list(wanted.values())


def _write(job: Job, audio_dir: Path, path: Path, seed: int, amounts: Amounts) -> float:
    torch.set_num_threads(1)
    found = list(takes(job, audio_dir, seed, amounts))
    heard = hear_takes(found)
    count = torch.tensor([len(h.silent) for h in heard])
    mel = [h.log_mel[::MEL_STRIDE].flatten(1) for h in heard] if job.name in WITH_MEL else []
    tensors = {
        "scene": torch.cat([h.scene for h in heard]),
        "silent": torch.cat([h.silent for h in heard]),
        "descriptors": torch.cat([h.descriptors for h in heard]),
        "take": torch.repeat_interleave(torch.arange(len(heard)), count),
        "log_mel": torch.cat(mel) if mel else torch.zeros(0, 1024, dtype=torch.float16),
    }
    about = [{"kinds": t.kinds, "group": t.group, "origin": t.origin} for t in found]
    fresh = path.with_suffix(".part")
    save_file(tensors, fresh, metadata={"takes": json.dumps(about)})
    fresh.replace(path)
    return float(count.sum()) * FRAME / 24_000


def read(path: Path, mel: bool = False) -> Shard:
    """A shard; its log-mel only if asked for, as it is most of the file."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["takes"])
        tensors = {name: file.get_tensor(name) for name in ("scene", "descriptors", "silent", "take")}
        log_mel = file.get_tensor("log_mel") if mel else torch.zeros(0, 1024, dtype=torch.float16)
    return Shard(
        path.stem,
        tensors["scene"],
        tensors["descriptors"],
        tensors["silent"],
        tensors["take"],
        log_mel,
        [tuple(t["kinds"]) for t in about],
        [t["group"] for t in about],
        [t["origin"] for t in about],
    )


@torch.no_grad()
def hear_takes(found: Sequence[Take]) -> list[HeardTake]:
    """Every take as a stream of its own; the shorter ones beside each other."""
    front = FrontEnd()
    out: dict[int, HeardTake] = {}
    order = sorted(range(len(found)), key=lambda i: (len(found[i].samples), i))
    with one_thread():
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            out |= dict(zip(batch, _hear(front, [found[i].samples for i in batch]), strict=True))
    return [out[i] for i in range(len(found))]


def _hear(front: FrontEnd, audio: Sequence[NDArray[np.float32]]) -> Iterator[HeardTake]:
    chunks, counts = framed(audio)
    state = front.initial_state(len(audio))
    heard = [front(chunks[:, f].contiguous(), state) for f in range(chunks.shape[1])]
    for row, count in enumerate(counts):
        part = heard[:count]
        yield HeardTake(
            torch.stack([h.silent[row] for h in part]),
            torch.stack([h.descriptors[row] for h in part]),
            torch.stack([h.log_mel[row].half() for h in part]),
            torch.stack([h.scene[row].half() for h in part]),
        )


def framed(audio: Sequence[NDArray[np.float32]]) -> tuple[Tensor, list[int]]:
    """Samples of several takes side by side as frames [B, T, 1920], and how many frames each has; at least one."""
    return hearing.framed(audio, FRAME, least=1)
