"""Resampling of one contiguous stretch of mono samples by soxr, hop by hop, with a short and constant delay.

soxr's own streaming interface gives the same samples (to -120 dB) but in batches: 48 kHz to 24 kHz it holds back 4 to
38 ms of input, because it filters by long transforms. Here each hop of the output is resampled by itself, from just
the input that its filter reaches; that takes the same time, holds back 5 ms, and how the input was cut cannot matter.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from natd.errors import ConfigError

REACH = {"HQ": 120, "VHQ": 160}  # how far soxr's filter reaches, in samples of the lower rate (measured: 112, 150)


class Resampler:
    """Mono float32 from `rate` to `sr` in hops of `hop` output samples; equal rates pass through untouched.

    Output sample k is the input at time k / sr: nothing is shifted, the level stays. Before and after the stretch lies
    silence. Errors: ConfigError for an unknown `quality`.
    """

    def __init__(self, rate: int, sr: int, hop: int, quality: str = "HQ") -> None:
        if quality not in REACH:
            raise ConfigError(f"resampler quality {quality!r} is not one of {', '.join(REACH)}")
        self.rate, self.sr, self.hop, self._quality = rate, sr, hop, quality
        self.name = "none" if rate == sr else f"soxr-{quality.lower()}"
        common = math.gcd(rate, sr)
        self._up, self._down = sr // common, rate // common
        self._ahead = math.ceil(REACH[quality] * max(1.0, rate / sr))
        self._behind = math.ceil(self._ahead / self._down) * self._down
        self._held = np.zeros(self._behind, np.float32)  # input from sample `_base` on
        self._base = -self._behind
        self._fed = 0
        self._hops = 0

    @property
    def delay_ms(self) -> float:
        """How much input after the end of a hop is needed to give it, ms."""
        return 0.0 if self.rate == self.sr else 1000.0 * self._ahead / self.rate

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take `[n]` at `rate`, give the hops that are now certain, `[m * hop]` at `sr` (equal rates: the input)."""
        self._fed += len(samples)
        if self.rate == self.sr:
            return samples
        self._held = np.concatenate([self._held, samples])
        hops = []
        while self._window()[1] <= self._fed:
            hops.append(self._give())
        return np.concatenate(hops) if hops else np.empty(0, np.float32)

    def flush(self) -> NDArray[np.float32]:
        """The rest: all output together is round(n * sr / rate) long. Nothing may be fed afterwards."""
        rest = math.floor(self._fed * self._up / self._down + 0.5) - self._hops * self.hop
        if self.rate == self.sr or rest <= 0:
            return np.empty(0, np.float32)
        count = math.ceil(rest / self.hop)
        silence = math.ceil((count + 1) * self.hop * self.rate / self.sr) + self._ahead
        self._held = np.concatenate([self._held, np.zeros(silence, np.float32)])
        return np.concatenate([self._give() for _ in range(count)])[:rest]

    def _window(self) -> tuple[int, int]:
        """Input samples [start, end) that the next hop depends on; start is where input and output samples coincide."""
        start = self._hops * self.hop // self._up * self._down - self._behind
        return start, -(-(self._hops + 1) * self.hop * self._down // self._up) + self._ahead

    def _give(self) -> NDArray[np.float32]:
        start, end = self._window()
        out = soxr.resample(
            self._held[start - self._base : end - self._base], self.rate, self.sr, quality=self._quality
        )
        at = self._hops * self.hop - start // self._down * self._up
        self._hops += 1
        keep = self._window()[0]
        self._held, self._base = self._held[keep - self._base :], keep
        return np.asarray(out[at : at + self.hop], np.float32)
