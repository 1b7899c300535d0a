"""What a part of `bench_cuda` is about: a tokenizer over weights that it can have everywhere, and what it hears."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from natd.codec import Tokenizer, open_tokenizer

MARK = "RESULT "
SLOW = ("dac", "snac", "hubert", "wavlm")  # on a CPU
ROWS, SECONDS = 7, 10.0
SLOW_ROWS, SLOW_SECONDS = 3, 4.0


def told(line: str) -> None:
    print(f"{MARK}{line}", flush=True)


class Task:
    """What a part is asked to do."""

    def __init__(self, name: str, device: str, shared: Path, audio: str, small: bool) -> None:
        self.name, self.device, self.shared, self.audio, self.small = name, device, shared, audio, small
        self.base, _, self.options = name.partition(":")
        self.cuda = device.startswith("cuda")

    def named(self) -> str:
        """The name that opens it: over a checkpoint made once, where its weights are not installed."""
        if self.base in ("ears", "soundstream"):
            return self.name
        folder = self.shared / self.base
        if not (folder / "done").exists():
            beside = self.shared / f"{self.base}-{os.getpid()}"
            beside.mkdir(parents=True)
            checkpoint(self.base, beside)
            (beside / "done").touch()
            try:
                beside.rename(folder)
            except OSError:
                if not (folder / "done").exists():  # else another part has made it meanwhile
                    raise
        return ":".join([self.base, *filter(None, [self.options]), f"from={folder}"])

    def open(self, device: str) -> Any:
        if self.base in ("hubert", "wavlm"):
            return with_codebooks(self, device)
        return open_tokenizer(self.named(), device)

    def sounds(self, tokenizer: Tokenizer) -> Tensor:
        """[rows, frames, samples] at the tokenizer's rate: recordings, or sounds that the tests are made of."""
        rows, seconds = (SLOW_ROWS, SLOW_SECONDS) if self.base in SLOW else (ROWS, SECONDS)
        rows, seconds = (3, 1.0) if self.small else (rows, seconds)
        return sounds(self.audio, rows, seconds, tokenizer.spec.sr, tokenizer.spec.frame_samples)


def checkpoint(base: str, folder: Path) -> None:
    """Published shapes; weights drawn so that codes differ from frame to frame, where the tests have such."""
    from natd.offline import stand_ins
    from tests.codec import encodec_models, mimi_models
    from tests.codec.look_ahead_models import save

    if base == "mimi":
        save(mimi_models.checkpoint(mimi_models.published(num_quantizers=32)), folder)
    elif base == "encodec":
        save(encodec_models.checkpoint(encodec_models.published()), folder)
    else:
        stand_ins.named(base, folder)


def with_codebooks(task: Task, device: str) -> Any:
    """An encoder with codebooks of what it hears, so that codes differ."""
    from natd.codec import ssl

    encoder = ssl.open_encoder(task.base, "cpu", task.named().partition(":")[2])
    heard = 0.1 * torch.randn(2, encoder.frame_samples, generator=torch.Generator().manual_seed(0))
    found = encoder.vectors(heard, encoder.initial_state(2))
    books = {f"{name}.codes": x.flatten(0, 1) for name, x in found.items() if name != "A"}
    books["A.codes"] = torch.stack([found["A"].flatten(0, 1) / (2**i) for i in range(4)])
    if device != "cpu":
        encoder = ssl.open_encoder(task.base, device, task.named().partition(":")[2])
    return ssl.Ssl(encoder, books, {}, "random")


def sounds(folder: str, rows: int, seconds: float, sr: int, frame: int) -> Tensor:
    """Different parts of the recordings, or of the tests' score."""
    if folder:
        clips = [np.load(path).astype(np.float32) / 32767 for path in sorted(Path(folder).glob("*.npy"))]
        whole = torch.from_numpy(np.concatenate(clips))
    else:
        from tests.codec.sounds import score

        whole = torch.from_numpy(score().reshape(-1))
    if sr != 24_000:
        from torchaudio.functional import resample

        whole = resample(whole, 24_000, sr)
    count = max(2, int(seconds * sr / frame))
    parts = [
        torch.roll(whole, -int(i * len(whole) / rows)).repeat(1 + count * frame // len(whole)) for i in range(rows)
    ]
    return torch.stack([part[: count * frame].view(count, frame) for part in parts])
