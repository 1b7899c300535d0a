"""From the channels of a source to one, and which of its samples are no numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from natd.errors import SourceError

LOUDEST = 1e9  # beyond this (180 dB over full scale) a sample is as useless as NaN, and its square overflows float32


def pick(mix: str | tuple[int, ...], count: int) -> tuple[int, ...]:
    """The channels to average; SourceError if there are not so many."""
    picked = tuple(range(count)) if isinstance(mix, str) else mix
    if not picked or min(picked) < 0 or max(picked) >= count:
        wanted = ", ".join(str(channel + 1) for channel in picked)
        raise SourceError(f"the mix asks for channel {wanted}, but the source has {count}")
    return picked


def downmix(samples: NDArray[np.float32], picked: tuple[int, ...]) -> NDArray[np.float32]:
    """The mean of the picked columns `[n, channels]` -> `[n]`; column by column, so that no row depends on another."""
    mono = samples[:, picked[0]].astype(np.float32)
    for channel in picked[1:]:
        mono += samples[:, channel]
    if len(picked) > 1:
        mono /= np.float32(len(picked))
    return mono


def runs(mono: NDArray[np.float32], near: int) -> list[tuple[int, int, int]]:
    """Split `[n]` into (start, stop, samples that are no numbers); bad samples nearer than `near` share a run."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(mono) <= LOUDEST))
    if not len(bad):
        return [(0, len(mono), 0)] if len(mono) else []
    found: list[tuple[int, int, int]] = []
    at = 0
    for group in np.split(bad, np.flatnonzero(np.diff(bad) >= near) + 1):
        start, stop = int(group[0]), int(group[-1]) + 1
        if start > at:
            found.append((at, start, 0))
        found.append((start, stop, len(group)))
        at = stop
    if at < len(mono):
        found.append((at, len(mono), 0))
    return found
