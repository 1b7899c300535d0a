"""How far the log-mel that acoustic codes give back is from what was heard, by the number of layers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from natd.codec import MelDecoder, Tokenizer
from natd.codec.mel import FRAME, SR
from natd.evaluation.bootstrap import Floats
from natd.evaluation.coding import BATCH, Coded
from natd.training.hearing import Frames

FLOOR_DB = -80.0


def fault(tokenizer: Tokenizer) -> str:
    """Why the log-mel error of this tokenizer cannot be measured; "" if it can."""
    if not (hasattr(tokenizer, "decode_mel") and hasattr(tokenizer, "initial_mel_state")):
        return "it does not decode to log-mel"
    if (tokenizer.spec.sr, tokenizer.spec.frame_samples) != (SR, FRAME):
        return f"its frames are not {FRAME} samples at {SR} Hz"
    return ""


@torch.no_grad()
def decoded(tokenizer: Tokenizer, coded: Coded, layers: list[str]) -> Tensor:
    """Log-mel [N, 8, 128] of all frames, clip by clip, from the codes of `layers`; each clip is a stream of its own."""
    decoder = cast(MelDecoder, tokenizer)
    lengths = torch.bincount(coded.clip[layers[0]], minlength=coded.clips)
    per_frame = {layer.name: layer.per_frame for layer in tokenizer.spec.layers}
    streams = {
        name: torch.split(coded.codes[name].view(-1, per_frame[name]), (lengths // per_frame[layers[0]]).tolist())
        for name in layers
    }
    out: dict[int, Tensor] = {}
    order = [int(i) for i in torch.argsort(lengths, stable=True)]
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        counts = [len(streams[layers[0]][i]) for i in batch]
        padded = [torch.nn.utils.rnn.pad_sequence([streams[n][i] for i in batch], batch_first=True) for n in layers]
        state: Any = decoder.initial_mel_state(len(batch))
        steps = [decoder.decode_mel([p[:, f] for p in padded], state).cpu() for f in range(max(counts))]
        for line, (i, count) in enumerate(zip(batch, counts, strict=True)):
            out[i] = torch.stack([step[line] for step in steps[:count]]) if count else torch.zeros(0, 8, 128)
    return torch.cat([out[i] for i in range(coded.clips)])


def error(given: Tensor, heard: Frames, clips: int) -> Floats:
    """Per clip: sum of the mean absolute error in dB of sounding frames (nothing lies below -80 dB), number [C, 2]."""
    rows = ~heard.silent
    wrong = (given[rows].clamp(min=FLOOR_DB) - heard.log_mel[rows].clamp(min=FLOOR_DB)).abs().flatten(1).mean(1)
    clip = heard.clip[rows]
    columns = [
        torch.zeros(clips, dtype=torch.float64).index_add_(0, clip, x.double()) for x in (wrong, torch.ones_like(wrong))
    ]
    return np.asarray(torch.stack(columns, dim=1).numpy())


def mean_frame(heard: Frames) -> Tensor:
    """The mean log-mel [8, 128] of sounding frames: what can be said without any code."""
    return heard.log_mel[~heard.silent].clamp(min=FLOOR_DB).mean(0)
