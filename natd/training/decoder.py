"""Fitting the causal net of `natd.codec.mel_decoder`: whole sequences at once, L1 in dB, layers dropped at random."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from natd.codec.mel_decoder import DILATIONS, LAYERS, PREFIX, RECEPTIVE, TAPS

FLOOR_DB = -80.0  # what lies below is one and the same silence
CROP = 48  # frames a sequence; the first RECEPTIVE of them only warm up, except where the recording begins
BEGINNINGS = 0.25  # share of the crops that begin where their recording does
SHARES = (0.3, 0.2, 0.2, 0.3)  # how often 1, 2, 3 and 4 layers are given: the coarsest and the full code matter most
PEAK_RATE, LAST_RATE, DECAY, WARM_UP = 2e-3, 1e-5, 0.01, 100
REPORT = 50  # steps between two reports


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the fit stands: mean loss in dB over the steps since the last report, and steps a second so far."""

    step: int
    steps: int
    loss_db: float
    steps_per_s: float


class Decoder(nn.Module):
    """The net of `MelDecoder` over whole sequences, with the same tensors."""

    scale: Tensor
    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor, scale: Tensor, width: int = 384, seed: int = 0) -> None:
        super().__init__()
        wide, narrow = basis.shape
        draw = torch.Generator().manual_seed(seed)

        def weight(of: int, to: int, gain: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(of, to, generator=draw) * (gain / math.sqrt(of)))

        self.register_buffer("mean", mean.float())
        self.register_buffer("basis", basis.float().T.contiguous())
        self.register_buffer("scale", scale.float())
        self.layers = nn.Parameter(torch.zeros(LAYERS, width))
        self.enter = weight(narrow, width, 1.0)
        # A block adds a little to what passes it by: the net starts near a shallow one.
        self.blocks = nn.ParameterList([weight(TAPS * width, width, 0.5) for _ in DILATIONS])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in DILATIONS])
        self.leave = nn.Parameter(torch.zeros(width, wide))  # the correction starts at nothing
        self.leave_bias = nn.Parameter(torch.zeros(wide))

    def forward(self, vectors: Tensor, layers: Tensor) -> Tensor:
        """Summed vectors [N, T, 128] and how many layers they hold [N] (1 to 4) -> log-mel in dB [N, T, 1024]."""
        return vectors @ self.basis + self.mean + self.correction(vectors, layers)

    def correction(self, vectors: Tensor, layers: Tensor) -> Tensor:
        """What the components leave out, in dB [N, T, 1024]."""
        x = (vectors / self.scale) @ self.enter + self.layers[layers - 1][:, None]
        for weight, bias, dilation in zip(self.blocks, self.biases, DILATIONS, strict=True):
            x = x + (_taps(x.relu(), dilation) @ weight + bias)
        return x.relu() @ self.leave + self.leave_bias

    def tensors(self) -> dict[str, Tensor]:
        """All that was fitted, named as `MelDecoder` reads it."""
        named: dict[str, Tensor] = {"scale": self.scale, "layers": self.layers, "in": self.enter}
        for i, (weight, bias) in enumerate(zip(self.blocks, self.biases, strict=True)):
            named |= {f"block{i}": weight, f"block{i}_bias": bias}
        named |= {"out": self.leave, "out_bias": self.leave_bias}
        return {PREFIX + name: tensor.detach().clone() for name, tensor in named.items()}


def fit(
    sequences: Sequence[Tensor],
    mels: Sequence[Tensor],
    mean: Tensor,
    basis: Tensor,
    *,
    steps: int,
    seed: int = 0,
    width: int = 384,
    batch: int = 32,
    threads: int = 1,
    device: str = "cpu",
    bfloat16: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Tensor]:
    """The tensors after `steps` steps on recordings: vectors per layer [T, 4, 128] and log-mel in dB [T, 1024] each.

    The same arguments give the same tensors, which lie on the CPU. Any float dtype will do for the recordings. With
    `bfloat16` the products inside the net round to it: twice as fast where the processor has them, the tensors stay
    float32.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        net = Decoder(mean, basis, spread(sequences), width, seed).to(device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=DECAY, betas=(0.9, 0.98))
        draw = torch.Generator().manual_seed(seed)
        started, recent = time.monotonic(), []
        for step in range(steps):
            vectors, layers, target, counted = (x.to(device) for x in crops(sequences, mels, batch, draw))
            optimizer.param_groups[0]["lr"] = rate(step, steps)
            # The components' part stays float32 in either case: bfloat16 would be a decibel off.
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16):
                correction = net.correction(vectors, layers)
            found = vectors @ net.basis + net.mean + correction
            loss = l1_db(found, target, counted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            recent.append(loss.item())
            if progress and ((step + 1) % REPORT == 0 or step + 1 == steps):
                speed = (step + 1) / (time.monotonic() - started)
                progress(Progress(step + 1, steps, sum(recent) / len(recent), speed))
                recent = []
        return {name: tensor.cpu() for name, tensor in net.tensors().items()}
    finally:
        torch.set_num_threads(before)


def spread(sequences: Sequence[Tensor]) -> Tensor:
    """Root mean square [128] of the summed vectors about zero, at least a thousandth of the greatest."""
    total = torch.zeros(sequences[0].shape[-1], dtype=torch.float64)
    for sequence in sequences:
        total += sequence.sum(1, dtype=torch.float32).double().square().sum(0)
    scale = (total / sum(len(sequence) for sequence in sequences)).sqrt()
    return scale.clamp(min=float(scale.max()) * 1e-3).float()


def crops(
    sequences: Sequence[Tensor], mels: Sequence[Tensor], batch: int, draw: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Summed vectors [N, T, 128], layers in them [N], log-mel [N, T, 1024], and which frames count [N, T].

    A recording is drawn as often as it is long; one shorter than a crop counts as far as it goes.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    which = torch.multinomial(lengths.double(), batch, replacement=True, generator=draw)
    begin = torch.rand(batch, generator=draw) < BEGINNINGS
    at = (torch.rand(batch, generator=draw) * (lengths[which] - CROP + 1).clamp(min=1)).long()
    at = torch.where(begin, 0, at)
    layers = torch.multinomial(torch.tensor(SHARES), batch, replacement=True, generator=draw) + 1
    vectors = torch.zeros(batch, CROP, sequences[0].shape[-1])
    target = torch.full((batch, CROP, mels[0].shape[-1]), FLOOR_DB)
    counted = torch.zeros(batch, CROP)
    for row, (i, start, n) in enumerate(zip(which.tolist(), at.tolist(), layers.tolist(), strict=True)):
        part = sequences[i][start : start + CROP, :n].sum(1, dtype=torch.float32)
        vectors[row, : len(part)] = part
        target[row, : len(part)] = mels[i][start : start + CROP]
        counted[row, 0 if start == 0 else RECEPTIVE : len(part)] = 1.0
    return vectors, layers, target, counted


def l1_db(found: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Mean |difference| in dB over the frames that count, all below -80 dB being equal."""
    over = (found - FLOOR_DB).clamp(min=0.0)
    # Where there is sound, an answer below the floor still gets a gradient.
    apart = torch.where(target > FLOOR_DB, (found - target).abs(), over)
    return (apart.mean(2) * counted).sum() / counted.sum().clamp(min=1.0)


def rate(step: int, steps: int) -> float:
    """Learning rate: a straight warm-up, then half a cosine down to the last."""
    warm = min(WARM_UP, steps // 5 + 1)
    if step < warm:
        return PEAK_RATE * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done))


def _taps(x: Tensor, dilation: int) -> Tensor:
    """[N, T, W] -> [N, T, 3 W]: each frame behind its two predecessors, `dilation` apart, zeros before the first."""
    length = x.shape[1]
    x = nn.functional.pad(x, (0, 0, (TAPS - 1) * dilation, 0))
    return torch.cat([x[:, i * dilation : i * dilation + length] for i in range(TAPS)], dim=2)
