"""From what a source delivers to whole, aligned frames for a tokenizer; a loss is a jump in the sample number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Format:
    """Rate (Hz) and channel count of a source."""

    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous samples `[n, channels]` float32; `first` counts source samples since the last `FormatChange` (or start).

    `mono_ns` is the monotonic time at which the block's last sample was available to the source.
    """

    first: int
    samples: NDArray[np.float32]
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Source samples [first, first + count) never arrived; `cause` is one of `wire.CAUSES`."""

    first: int
    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class FormatChange:
    """The source goes on in another format; its sample count starts again at 0.

    `lost_s` is the time (s) without audio before the new format's first sample (0.0 if none was lost).
    """

    format: Format
    lost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class End:
    """The source is finished: `reason` is one of `wire.END_REASONS`."""

    reason: str


SourceEvent = Block | Loss | FormatChange | End
