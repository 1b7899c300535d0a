"""What a frame costs: processor time of one stream, and of eight in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from natd.codec import Tokenizer
from natd.evaluation.bootstrap import Floats, Row, missing
from natd.evaluation.coding import Samples

WARM_UP, FRAMES = 40, 400
STREAMS = 8


def rows(tokenizer: Tokenizer, audio: Sequence[Samples]) -> list[Row]:
    """Median and p99 of the processor time of a step; it is that of this machine, and of all that runs beside it."""
    frame = tokenizer.spec.frame_samples
    if not any(len(clip) >= frame for clip in audio):
        return [missing("processor time a frame", "1 stream, median", "ms", "no recording holds a frame")]
    per_stream, found = {}, []
    note = f"{FRAMES} steps, this machine"
    for streams in (1, STREAMS):
        took = 1000.0 * spent(tokenizer, audio, streams) / streams
        of = "1 stream" if streams == 1 else f"{streams} streams"
        per_stream[streams] = float(np.median(took))
        for what, value in (("median", per_stream[streams]), ("p99", float(np.percentile(took, 99)))):
            found.append(Row("processor time a frame", f"{of}, {what}", "ms", round(value, 4), note=note))
    share = round(per_stream[STREAMS] / per_stream[1], 4)
    return [*found, Row("processor time a frame", f"{STREAMS} streams to 1", "ratio", share, note="a frame of each")]


@torch.no_grad()
def spent(tokenizer: Tokenizer, audio: Sequence[Samples], streams: int) -> Floats:
    """Seconds of processor time of each step [FRAMES] of `streams` streams, each somewhere else in the recordings."""
    frame = tokenizer.spec.frame_samples
    frames = torch.cat([torch.from_numpy(clip[: len(clip) // frame * frame]).view(-1, frame) for clip in audio])
    begins = torch.arange(streams) * len(frames) // streams
    state: Any = tokenizer.initial_state(streams)
    took = np.zeros(WARM_UP + FRAMES)
    for step in range(len(took)):
        chunk = frames[(begins + step) % len(frames)].contiguous()
        began = time.process_time()
        tokenizer.encode(chunk, state)
        took[step] = time.process_time() - began
    return took[WARM_UP:]
