"""What is compared: a tokenizer of natd over the weights of a model of its authors, and that model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.parity.nearest import Chain, Heard


@dataclass(frozen=True, slots=True)
class Company:
    """How many steps streams are run side by side: 2 and 7 of them, and 32."""

    few: int
    many: int


@dataclass
class Subject:
    """Both programs over the same weights.

    `theirs` gives what the model makes of whole sounds [1, N], `their_sound` samples [N] of its codes. `others` opens
    the same with options that must change no code. Without `company`
    nothing but codes and sound is compared. `align`: frames that a sound must be whole in. `judged`: whether
    codes must be equal but for near ties.
    """

    name: str
    against: str
    tokenizer: Any
    theirs: Callable[[Tensor], Heard]
    chains: Sequence[Chain]
    their_sound: Callable[[list[Tensor]], Tensor] | None = None
    others: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    more: Callable[[Tensor, Heard], str] | None = None  # what else is to be said, of the sound and natd's codes
    company: Company | None = Company(50, 12)
    align: int = 1
    judged: bool = True
    memory: dict[str, Any] = field(default_factory=dict)  # what natd gave: beside another program it is the same


def watching(module: nn.Module, run: Callable[[], Any]) -> tuple[Any, Tensor]:
    """What `run` gives, and the latents [T, C] that `module` gave meanwhile."""
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, out: kept.append(getattr(out, "latents", out)))
    with torch.inference_mode():
        found = run()
    hook.remove()
    return found, kept[-1][0].T.clone()
