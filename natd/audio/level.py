"""How loud the latest second was."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOOR_DBFS = -120.0
PARTS = 10  # of a second


@dataclass(frozen=True, slots=True)
class Level:
    """Peak and rms in dBFS (a full-scale square wave is 0), not below `FLOOR_DBFS`."""

    peak: float
    rms: float


class LevelMeter:
    """Peak and rms over the latest second, renewed every 0.1 s of samples."""

    def __init__(self, rate: int) -> None:
        self._part = max(1, rate // PARTS)
        self._parts: deque[tuple[float, float]] = deque(maxlen=PARTS)  # (peak, mean square) of each 0.1 s
        self._peak, self._sum, self._count = 0.0, 0.0, 0

    @property
    def level(self) -> Level | None:
        """None before the first 0.1 s."""
        if not self._parts:
            return None
        peak = max(p for p, _ in self._parts)
        return Level(_dbfs(peak), _dbfs(math.sqrt(sum(s for _, s in self._parts) / len(self._parts))))

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take `[n]` finite samples."""
        at = 0
        while at < len(samples):
            part = samples[at : at + self._part - self._count]
            at += len(part)
            self._count += len(part)
            self._peak = max(self._peak, float(np.abs(part).max()))
            self._sum += float(np.dot(part.astype(np.float64), part))
            if self._count == self._part:
                self._parts.append((self._peak, self._sum / self._count))
                self._peak, self._sum, self._count = 0.0, 0.0, 0


def _dbfs(amplitude: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DBFS
