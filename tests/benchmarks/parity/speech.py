"""SoundStream with its real weights, beside what the original runtime (its reference kernels) made of sounds.

Those records are short: 6 s of speech and 26 s of synthetic sound; company and cuts are tried on the recordings. The
original sums in float32: where a sum falls on the other side of a rounding edge, its features are one step of 8 bits
away, and what remembers it in 8 bits is for 0.3 s. The codes beside the synthetic sounds are those of the original's
features, by natd's quantizer, which gives the original's codes of speech.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from natd.codec.soundstream import FRAME, SoundStream
from natd.offline.soundstream_weights import tensors_of
from tests.benchmarks.parity import company
from tests.benchmarks.parity.nearest import Heard
from tests.benchmarks.parity.run import Result, codes
from tests.benchmarks.parity.streams import Say, Watched, heard
from tests.benchmarks.parity.subject import Company

NAME, AGAINST = "soundstream:9.2", "LiteRT 2.3.0, reference kernels, as recorded"
MEMORY = 16  # frames that an 8-bit memory lasts
RARE = 300  # frames to a flip, for any other order of sums
STEPS = Company(50, 12)


def compared(samples: Tensor, say: Say) -> list[Result]:
    """Speech, and synthetic sound; without the files of the original nothing is compared."""
    shared = os.environ.get("NATD_SHARED")
    folder = Path(shared or "") / "models" / "soundstream"
    if not shared or not folder.exists():
        return [Result(NAME, AGAINST, note="not compared: set NATD_SHARED, which holds its weights")]
    stream = Watched(SoundStream(tensors_of(folder), "sha256:0", "9.2"))
    vectors = [np.load(path) for path in sorted((folder / "vectors").glob("sample*.npz"))]
    speech = [(each["pcm"], each["features_builtin_ref"], each["codes_builtin_ref"]) for each in vectors]
    hard = np.load(folder / "vectors" / "synthetic.npz")
    names = sorted({key.split("/")[0] for key in hard if "/" in key})
    made = [(hard[f"{name}/pcm"], hard[f"{name}/features_builtin_ref"], None) for name in names]
    first = _against(stream, "speech", speech)
    first.company = {str(n): same for n, same in company.alone(stream, samples, STEPS, say).items()}
    whole = samples[:, : samples.shape[1] // FRAME * FRAME]
    first.chunks = company.chunked(stream, whole, {}, STEPS.few, say)
    return [first, _against(stream, "synthetic sound", made)]


def _against(stream: Watched, what: str, sounds: list[tuple[Any, ...]]) -> Result:
    theirs, ours, runs = [], [], []
    for pcm, features, known in sounds:
        mine = heard(stream, torch.from_numpy(pcm.astype(np.float32) / 32768)[None])
        right = torch.from_numpy(features)
        coded = stream.tokenizer.quantizer.encode(right) if known is None else list(torch.from_numpy(known.T).long())
        theirs.append(Heard(list(coded), {"": right}))
        ours.append(mine)
        wrong = (mine.latents[""] != right).any(1).nonzero()[:, 0].tolist()
        runs += [wrong] if wrong else []
    result = Result(f"{NAME}, {what}", AGAINST)
    codes(result, stream.spec, _joined(theirs), _joined(ours), [])
    result.seconds = result.frames * FRAME / stream.spec.sr
    _judge(result, runs)
    return result


def _judge(result: Result, runs: list[list[int]]) -> None:
    """`runs`: the frames of a sound whose features are others; a flip is forgotten, and rare."""
    if not runs:
        return
    count = sum(map(len, runs))
    flips = all(run[-1] - run[0] <= MEMORY for run in runs) and len(runs) * RARE <= max(result.frames, RARE)
    result.latent = None
    result.ties, result.beyond = (len(runs), 0) if flips else (0, len(runs))
    edge = "a flip at a rounding edge" if flips else "NOT a flip at a rounding edge"
    result.first = {"said": f"{count} frames of {len(runs)} sound(s): {edge}", "frames": runs}
    result.worst = {"said": f"{len(runs)}"}


def _joined(every: list[Heard]) -> Heard:
    layers = zip(*(one.codes for one in every), strict=True)
    return Heard([torch.cat(layer) for layer in layers], {"": torch.cat([one.latents[""] for one in every])})
