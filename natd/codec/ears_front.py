"""The front end of `ears` as an encoder that codebooks can be fitted to: what its acoustic layers quantize, and timbre.

"A" are the 128 principal components of the frame's log-mel, with the shipped mean and basis; "S0" are descriptors of
the frame in comparable units: level, brightness, noisiness, how pitched, pitch classes, onsets and motion.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from natd.codebooks import store
from natd.codec import ears, mel
from natd.codec.descriptors import CHROMA, COLUMN, DescriptorState, FrontEnd
from natd.codec.ears import compress
from natd.errors import ConfigError

NAME = "ears"
# Descriptor -> what counts as much as the whole range of a share: every column then spans about one unit.
SPAN = {
    "level": 40.0, "centroid": 4.0, "bandwidth": 3.0, "flatness": 40.0, "salience": 1.0, "tonalness": 1.0,
    "onset": 20.0, "slow": 2.0, "fast": 2.0,
}  # fmt: skip


class EarsFront:
    """Samples of a frame -> vectors; each row on its own (see `rows`)."""

    def __init__(self, mean: Tensor, basis: Tensor, device: str = "cpu") -> None:
        self.sr, self.frame_samples = mel.SR, mel.FRAME
        self._front = FrontEnd(device)
        self._mean, self._basis = mean.float().to(device), basis.float().to(device)
        self._weights = store.codebook_id({}, {"A.mean": mean, "A.basis": basis})
        self._columns = torch.tensor([COLUMN[name] for name in SPAN], device=device)
        self._spans = torch.tensor(list(SPAN.values()), device=device)

    def settings(self) -> dict[str, Any]:
        """Everything that shapes the vectors."""
        kept = ("front_end", "sr", "frame_samples", "mel_floor_db", "acoustic_width")
        return {"name": NAME, **{key: ears.SETTINGS[key] for key in kept}, "weights": self._weights, "span": dict(SPAN)}

    def initial_state(self, batch: int) -> DescriptorState:
        """State of `batch` streams that have heard nothing."""
        return self._front.initial_state(batch)

    @torch.no_grad()
    def vectors(self, chunk: Tensor, state: DescriptorState) -> dict[str, Tensor]:
        """One frame [B, 1920] float32 -> "S0" [B, 1, 21] and "A" [B, 1, 128]; `state` moves on."""
        heard = self._front(chunk, state)
        scaled = heard.descriptors.index_select(1, self._columns) / self._spans
        timbre = torch.cat([scaled, heard.descriptors[:, CHROMA]], 1)
        return {"S0": timbre[:, None], "A": compress(heard.log_mel, self._mean, self._basis)[:, None]}


def open_encoder(name: str = NAME, device: str = "cpu", options: str = "") -> EarsFront:
    """The front end over the shipped weights; ConfigError for options, of which there are none."""
    if options:
        raise ConfigError(f"{name} takes no options, not {options!r}")
    tensors, _, _ = store.load(ears.MODELS, ears.NAME, ears.SETTINGS)
    return EarsFront(tensors["A.mean"], tensors["A.basis"], device)
