"""Interleaved little-endian PCM bytes to float32: a closed list of sample formats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
MIN_RATE, MAX_RATE = 8_000, 192_000  # Hz
MAX_CHANNELS = 32


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What bytes without a header mean: `fmt` is a key of `SAMPLE_BYTES`, `rate` in Hz."""

    fmt: str
    rate: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_BYTES[self.fmt] * self.channels


def decode(data: bytes, fmt: str, channels: int) -> NDArray[np.float32]:
    """Samples [n, channels]; integers are scaled by their full range, floats stay as they are (also non-finite ones).

    Raises ValueError unless `data` holds whole samples of all channels.
    """
    if len(data) % (SAMPLE_BYTES[fmt] * channels):
        raise ValueError(f"{len(data)} bytes are not whole {fmt} samples of {channels} channels")
    if fmt == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, channels)
    if fmt == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)  # the sample in the upper bytes keeps its sign
        integers = wide.view("<i4")[:, 0]
    else:
        integers = np.frombuffer(data, "<i2" if fmt == "s16le" else "<i4")
    scale = np.float32(2.0**-15 if fmt == "s16le" else 2.0**-31)
    return (integers.astype(np.float32) * scale).reshape(-1, channels)
