"""Another sampling rate inside a tokenizer: a polyphase filter as one strided convolution, causal, step by step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from natd.codec.packed_conv import Conv, TailState

CROSSINGS = 32  # of zero on either side of the filter, at the lower rate
PASSED = 0.94  # of the lower Nyquist rate
BETA = 9.0  # of the Kaiser window: about 90 dB


class RateChange:
    """From `rate` to `to` Hz. Output n is the input at time n / to - `delay_s`; what was before the start is silence.

    Source: a Kaiser-windowed sinc, by phases of the output (Crochiere and Rabiner, 1983).
    """

    def __init__(self, rate: int, to: int, device: str = "cpu") -> None:
        common = math.gcd(rate, to)
        self.up, self.down = to // common, rate // common
        narrow = min(1.0, to / rate)
        reach = math.ceil(CROSSINGS / narrow)  # input samples
        delay = reach + 1
        self.delay_s = delay / rate
        taps = delay + reach + self.down
        at = torch.arange(self.up, dtype=torch.float64)[:, None] * self.down / self.up - delay
        tau = at - (torch.arange(taps, dtype=torch.float64) - (taps - self.down))
        cut = PASSED * narrow
        inside = (1.0 - (tau / reach) ** 2).clamp(min=0.0).sqrt()
        weight = torch.sinc(cut * tau) * torch.special.i0(BETA * inside) * (tau.abs() <= reach)
        weight /= weight.sum(1, keepdim=True)
        self._conv = Conv(weight[:, None].float().to(device), stride=self.down)

    def initial_state(self, batch: int) -> TailState:
        """Silence before."""
        return self._conv.initial_state(batch)

    def __call__(self, samples: Tensor, state: TailState) -> Tensor:
        """[B, T], T a multiple of `down` -> [B, T * up / down]."""
        return self._conv(samples[:, :, None], state).flatten(1)
