"""What S2 says: a beat and its tempo, regular ticks and their period, flutter, syllables or none of these; and onsets.

A code is a state times an onset level. The state comes from a small trained net over six seconds of onsets and level,
the onset level from the frame alone. Both are slow to change: see `STATE_MARGIN` and `CHANGE_COST`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from natd.codec import rows
from natd.codec.mel import HOPS
from natd.codec.rhythm import HOP_RATE, PULSE_FFT, PULSE_HOPS, RISES, SHORT_HOPS, SPECTRUM, VIEWS, Past

SILENCE, UNHEARD = 0, 1
FIRST_CODE = 2
UNHEARD_FRAMES = 8  # 0.64 s
SOUNDING_FRAMES = 38  # 3.04 s of sound before a tempo is said: two beats at 40 a minute

STATES = ("steady", "sparse", "dense", "slow flutter", "fast flutter", "syllabic", "ticks", "tempo")
TICKS, TEMPO = STATES.index("ticks"), STATES.index("tempo")
PERIODS = (0.20, 0.28, 0.38, 0.50, 0.70, 1.00, 1.40, 2.00)  # seconds between ticks
TEMPI = tuple(120.0 * 2.0 ** (step / 9) for step in range(-14, 10))  # 41 to 240 a minute, 8 % apart
ONSETS = ("no onset", "faint onset", "soft onset", "clear onset", "strong onset", "very strong onset")
PLAIN = TICKS  # states without a figure come first
UNHEARD_ONSET = FIRST_CODE + (PLAIN + len(PERIODS) + len(TEMPI)) * len(ONSETS)  # too early, but there was an onset
CODES = UNHEARD_ONSET + len(ONSETS) - 1

HEADS = ("state", "period", "tempo", "onset")  # what is said, each kept until another leads
HEAD = 32  # logits of a head, the last ones unused
LOGITS = 3 * HEAD
SMOOTHING = 0.10  # share of the newest logits: a time constant of 0.8 s
STATE_MARGIN = 0.7  # by how much (nat) another state, period or tempo must lead
CHANGE_COST = 2.0  # dB^2 by which another onset level must be nearer
NEVER = -1e4

LAGS, LAG_BINS = 112, 256  # beats are below 25 Hz
RATES = 48
ABOVE_DB = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0)  # rises
BELOW_DB = (1.5, 3.0, 5.0, 8.0, 12.0, 18.0, 25.0, 35.0)  # under the loudest level
FEATURES = rows.padded(RISES * (LAGS + 1) + VIEWS * (RATES + 1) + RISES + 2 * len(ABOVE_DB) + len(BELOW_DB) + 1)


@dataclass(slots=True)
class RhythmNetState:
    """Frames that sounded [B], smoothed logits [B, 3, 32], what the `HEADS` said [B, 4]."""

    sounded: Tensor
    logits: Tensor
    said: Tensor


class Features:
    """Six seconds of hops -> what the net looks at: autocorrelation, modulation spectrum, shares of hops."""

    def __init__(self, device: str = "cpu") -> None:
        self.lags, self.rates = _lags().to(device), _rates().to(device)
        self.floor = torch.tensor([0.01] * RISES + [0.05, 0.01, 0.05], device=device)[:, None]  # dB^2 a hop
        self.above = torch.tensor(ABOVE_DB, device=device)[:, None]
        self.below = torch.tensor(BELOW_DB, device=device)[:, None]
        self.unit = torch.tensor(1.0 / PULSE_HOPS, device=device)

    def __call__(self, past: Past) -> Tensor:
        """What was heard of B streams -> [B, 832]."""
        count = past.count[:, None]
        rates = rows.product(past.power, self.rates)  # [B, 7, 64]
        energy = rates[..., RATES : RATES + 1] / count[..., None]
        least = (energy + self.floor) * count[..., None]
        rates = (rates / least).clamp_(min=0.0).sqrt_()[..., :RATES]
        lags = rows.product(past.power[:, :RISES, :LAG_BINS].contiguous(), self.lags) / least[:, :RISES]
        rise, level = past.hops[:, :1], past.hops[:, RISES:]
        events = (rise > self.above).float()
        near = (level > (level.amax(2, keepdim=True) - self.below).clamp_(min=0.0)).float()
        # Sums of ones are exact.
        counts = torch.cat([events.sum(2), events[..., -SHORT_HOPS:].sum(2), near.sum(2)], dim=1) / count
        deviation = energy[..., 0].sqrt()  # sums of squares
        parts = [lags.flatten(1), lags.amax(2), rates.flatten(1), deviation, past.mean[:, :RISES, 0], counts]
        unused = FEATURES - sum(part.shape[1] for part in parts)
        return torch.cat([*parts, (count * self.unit).expand(-1, unused)], dim=1)


class RhythmNet:
    """S2 over the tensors that `natd.training.rhythm` fits."""

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        on = {name: tensors[f"S2.{name}"].to(device) for name in ("w1", "b1", "w2", "b2", "w3", "b3", "levels")}
        self.device = device
        self.features = Features(device)
        unused = torch.arange(HEAD) >= torch.tensor([len(STATES), len(PERIODS), len(TEMPI)])[:, None]
        on["b3"] = on["b3"].masked_fill(unused.flatten().to(device), NEVER)
        self.layers = [(on[f"w{i}"], on[f"b{i}"]) for i in (1, 2, 3)]
        self.levels = torch.nn.functional.pad(on["levels"], (0, HEAD - len(ONSETS)), value=-NEVER)  # dB [32]
        self.early = torch.zeros(3, HEAD, device=device)  # what may not be said after too little sound
        self.early[0, TEMPO] = NEVER
        self.margins = torch.tensor([STATE_MARGIN] * 3 + [CHANGE_COST], device=device)
        self.codes, self.strides = (x.to(device) for x in _codes())
        self.unheard = torch.tensor([UNHEARD, *range(UNHEARD_ONSET, CODES)], device=device)
        self.few = torch.tensor(float(UNHEARD_FRAMES * HOPS), device=device)
        self.now, self.smoothing = torch.ones((), device=device), torch.tensor(SMOOTHING, device=device)
        self.enough = torch.tensor(float(SOUNDING_FRAMES), device=device)

    def initial_state(self, batch: int) -> RhythmNetState:
        """Nothing heard."""
        zeros = torch.zeros
        return RhythmNetState(
            sounded=zeros(batch, device=self.device),
            logits=zeros(batch, 3, HEAD, device=self.device),
            said=zeros(batch, len(HEADS), dtype=torch.int64, device=self.device),
        )

    def __call__(self, past: Past, onset: Tensor, silent: Tensor, state: RhythmNetState) -> Tensor:
        """What `Rhythm` heard, onset strength in dB [B], silent [B] -> codes [B]."""
        loud = ~silent
        state.sounded.add_(loud)
        known = past.count > self.few
        logits = self.logits(self.features(past)).view(-1, 3, HEAD)
        state.logits.add_((logits - state.logits) * torch.where(known, self.smoothing, self.now)[:, None, None])
        self._say(onset, state)
        code = self.codes[(state.said * self.strides).sum(1)]
        return torch.where(known, code, self.unheard[state.said[:, 3]]) * loud

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, 832] -> logits of the states, the periods and the tempi, each padded to 32: [B, 96]."""
        x = features[:, None]
        for weight, bias in self.layers[:-1]:
            x = rows.affine(x, weight, bias).relu_()
        return rows.affine(x, *self.layers[-1])[:, 0]

    def _say(self, onset: Tensor, state: RhythmNetState) -> None:
        """What was said stays unless another leads by more than the margin."""
        early = (state.sounded < self.enough)[:, None, None]
        off = onset[:, None, None] - self.levels
        score = torch.cat([state.logits + early * self.early, -(off * off)], dim=1)  # [B, 4, 32]
        best = score.max(2)
        lead = best.values - score.gather(2, state.said[..., None])[..., 0]
        state.said.copy_(torch.where(lead > self.margins, best.indices, state.said))


def names() -> dict[int, str]:
    """Code -> what it says."""
    figures = ["steady", "sparse irregular events", "dense irregular events", *STATES[3:PLAIN]]
    figures += [f"regular ticks every {period:.2f} s" for period in PERIODS]
    figures += [f"tempo {tempo:.0f} bpm" for tempo in TEMPI]
    said = [f"{figure}, {onset}" for figure in figures for onset in ONSETS]
    early = "not heard long enough"
    said += [f"{early}, {onset}" for onset in ONSETS[1:]]
    return {SILENCE: "silence", UNHEARD: f"{early}, {ONSETS[0]}"} | dict(enumerate(said, FIRST_CODE))


def _codes() -> tuple[Tensor, Tensor]:
    """The code of everything that the heads can say [8 * 8 * 24 * 6], and what a step of each head is worth in it."""
    sizes = (len(STATES), len(PERIODS), len(TEMPI), len(ONSETS))
    state, period, tempo, onset = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    figure = torch.where(state == TICKS, period, len(PERIODS) + tempo)
    place = torch.where(state < PLAIN, state, PLAIN + figure)
    code = FIRST_CODE + place * len(ONSETS) + onset
    strides = torch.tensor([math.prod(sizes[i + 1 :]) for i in range(len(sizes))])
    return code.flatten(), strides


def _lags() -> Tensor:
    """Power spectrum -> autocorrelation at lags of 0.15 to 3.2 s, evenly spaced on a log scale: [256, 112]."""
    hz = torch.arange(LAG_BINS, dtype=torch.float64)[:, None] * HOP_RATE / PULSE_FFT
    lag = 0.15 * (3.2 / 0.15) ** (torch.arange(LAGS, dtype=torch.float64) / (LAGS - 1))
    step = lag * math.log(3.2 / 0.15) / (LAGS - 1)
    out = torch.cos(2 * math.pi * hz * lag) * torch.sinc(hz * step) ** 2  # blurred to the width of a step
    return (out * 2.0 / PULSE_FFT).float()


def _rates() -> Tensor:
    """Power spectrum -> power about rates of 0.5 to 45 Hz on a log scale (48 columns), then all of it: [512, 64]."""
    hz = torch.arange(SPECTRUM, dtype=torch.float64)[:, None] * HOP_RATE / PULSE_FFT
    rate = 0.5 * 90.0 ** (torch.arange(RATES, dtype=torch.float64) / (RATES - 1))
    width = (rate * math.log(90.0) / (RATES - 1)).clamp(min=HOP_RATE / PULSE_FFT)
    out = torch.zeros(SPECTRUM, rows.padded(RATES + 1), dtype=torch.float64)
    out[:, :RATES] = (1.0 - (hz - rate).abs() / width).clamp(min=0.0)
    out[:, RATES] = 1.0
    return (out * 2.0 / PULSE_FFT).float()
