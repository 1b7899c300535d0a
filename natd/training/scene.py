"""Fitting of the scene net: pooled features in, a short vector and the kinds of sound out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from natd.codebooks.kinds import KINDS, UNKNOWN, WIDER_OF
from natd.codec.scene_net import HIDDEN, OUTPUTS, Z
from natd.training.shards import Shard

Progress = Callable[[str], None]
BATCH = 1024
RATE = 2e-3
DECAY = 2e-2
DROPOUT = 0.4
WIDER_SHARE = 0.1  # of a frame's target that any kind of the same wider kind may have
REPORT = 200  # steps
SAMPLE = 40_000  # frames that the features are standardised by


@dataclass(slots=True)
class Lesson:
    """Pooled features [N, 1008] (float16), allowed kinds [N, 53] (bool; the last is unknown), weight of each [N]."""

    vectors: Tensor
    allowed: Tensor
    weight: Tensor


class SceneNet(nn.Module):
    """1008 -> 320 -> 256 -> 32 -> kinds and unknown."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = HIDDEN
        self.shift = nn.Buffer(torch.zeros(width))
        self.scale = nn.Buffer(torch.ones(width))
        self.one, self.two = nn.Linear(width, first), nn.Linear(first, second)
        self.three, self.out = nn.Linear(second, Z), nn.Linear(Z, OUTPUTS)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features [B, 1008] -> z [B, 32], logits [B, 53]."""
        h = self.drop(functional.relu(self.one(x)))
        h = self.drop(functional.relu(self.two(h)))
        z = self.three(h)
        return z, self.out(z)

    def standard(self, x: Tensor) -> Tensor:
        """Raw features -> what the net takes, without far outliers."""
        return ((x.float() - self.shift) * self.scale).clamp(-6.0, 6.0)


def fit(lesson: Lesson, steps: int, seed: int, progress: Progress, device: str = "cpu") -> SceneNet:
    """A net after `steps` batches of 1024 frames drawn by weight; the same for the same lesson, seed and threads.

    It learns on `device` and comes back to the CPU.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = _standardised(lesson, generator).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    mass = lesson.weight.double().cumsum(0)
    recent = 0.0
    for step in range(steps):
        drawn = torch.searchsorted(mass, torch.rand(BATCH, generator=generator, dtype=torch.float64) * mass[-1])
        x, allowed = net.standard(lesson.vectors[drawn].to(device)), lesson.allowed[drawn].to(device)
        loss = _of_two(net, x, allowed, generator) if step % 2 else _error(net(x)[1], allowed).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        recent += float(loss.detach())
        if (step + 1) % REPORT == 0:
            progress(f"scene net: step {step + 1} of {steps}, loss {recent / REPORT:.3f}")
            recent = 0.0
    return net.eval().cpu()


def _standardised(lesson: Lesson, generator: torch.Generator) -> SceneNet:
    """A net that has learned nothing but how its features are spread."""
    net = SceneNet(lesson.vectors.shape[1])
    sample = lesson.vectors[torch.randint(len(lesson.vectors), (SAMPLE,), generator=generator)].float()
    net.shift.copy_(sample.mean(0))
    spread = sample.std(0)
    net.scale.copy_(torch.where(spread > 1e-4, 1.0 / spread.clamp(min=1e-4), torch.zeros_like(spread)))
    return net


def _of_two(net: SceneNet, x: Tensor, allowed: Tensor, generator: torch.Generator) -> Tensor:
    """The mean error on pairs of frames [B, 1008] added up, each of the two with its share."""
    order = torch.randperm(len(x), generator=generator).to(x.device)
    share = torch.rand(len(x), 1, generator=generator).to(x.device)
    logits = net(share * x + (1.0 - share) * x[order])[1]
    parts = torch.stack([_error(logits, allowed), _error(logits, allowed[order])], dim=1)
    return (parts * torch.cat([share, 1.0 - share], dim=1)).sum(1).mean()


def _error(logits: Tensor, allowed: Tensor) -> Tensor:
    """Minus the log of the share that the allowed kinds have, a little of it for any kind of the same wider kind."""
    log_share = logits.log_softmax(1)
    wide = (allowed.float() @ _SAME.to(allowed.device)) > 0.0
    right, near = (-log_share.masked_fill(~kinds, -torch.inf).logsumexp(1) for kinds in (allowed, allowed | wide))
    return (1.0 - WIDER_SHARE) * right + WIDER_SHARE * near


def _same() -> Tensor:
    """1 where two kinds belong to the same wider kind [53, 53]; unknown stands alone."""
    wider = [WIDER_OF[kind] for kind in KINDS] + [UNKNOWN]
    return torch.tensor([[float(a == b) for b in wider] for a in wider])


_SAME = _same()


# ---- what is learned from

WEIGHTS = {"recorded": 1.0, "changed": 0.6, "mixed": 0.4, "made": 0.3, "played": 0.5, "spoken": 0.5, "odd": 0.5}
BALANCE = 0.5  # exponent: 1 leaves the kinds as frequent as they are, 0 makes them equally frequent
FOLDS = 4
WHOLE_FRAMES, MOST_FRAMES = 40, 400  # a take of so many counts once; what is longer than the second says no more


def lesson(shards: Sequence[Shard], keep: Callable[[Shard, int], bool]) -> Lesson:
    """The sounding frames of the takes that `keep(shard, take)` wants, with weights that favour rare kinds."""
    vectors, kinds, weights, counts = [], [], [], []
    for shard in shards:
        wanted = torch.tensor([keep(shard, i) for i in range(len(shard.kinds))], dtype=torch.bool)
        mask = wanted[shard.take] & ~shard.silent
        vectors.append(shard.scene[mask])
        frames = torch.bincount(shard.take[mask], minlength=len(wanted))
        for i in torch.nonzero(frames)[:, 0].tolist():
            kinds.append(shard.kinds[i])
            # A long recording says more than a short one, but not in proportion.
            weights.append(WEIGHTS[shard.name.split("-")[0]] * (min(MOST_FRAMES, int(frames[i])) / WHOLE_FRAMES) ** 0.5)
            counts.append(int(frames[i]))
    count = torch.tensor(counts)
    take = torch.repeat_interleave(torch.arange(len(kinds)), count)
    allowed = torch.stack([allowed_of(of_take) for of_take in kinds])
    return Lesson(torch.cat(vectors), allowed[take], (balanced(kinds, weights) / count)[take])


def balanced(kinds: Sequence[tuple[str, ...]], weights: Sequence[float]) -> Tensor:
    """Weights of takes [n] so that a frequent kind counts less a take; one of several kinds is a part of each."""
    total: dict[str, float] = defaultdict(float)
    for names, weight in zip(kinds, weights, strict=True):
        for name in names:
            total[name] += weight / len(names)
    rarity = [sum(total[name] ** (BALANCE - 1.0) for name in names) / len(names) for names in kinds]
    return torch.tensor([weight * rare for weight, rare in zip(weights, rarity, strict=True)])


def allowed_of(kinds: Sequence[str]) -> Tensor:
    """Names of kinds -> mask [53]."""
    places = [KINDS.index(kind) if kind != UNKNOWN else len(KINDS) for kind in kinds]
    out = torch.zeros(OUTPUTS, dtype=torch.bool)
    out[places] = True
    return out


def fold_of(group: str) -> int:
    """The fold (0 to 3) of everything that one author or source made."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % FOLDS
