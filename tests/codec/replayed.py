"""Graphs of a device that is not there: a replay runs the body again and writes what it gives to the same addresses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from natd.codec.cuda_graph import WARM_UP


class Replay:
    """What `CudaGraph` is for a recording."""

    def __init__(self, body: Callable[[], Any], given: list[Tensor]) -> None:
        self._body, self._given, self.count = body, given, 0

    def replay(self) -> None:
        self.count += 1
        for to, of in zip(self._given, _listed(self._body()), strict=True):
            to.copy_(of)


class Maker:
    """`made` counts the graphs."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.device, self.made = device or torch.device("cpu"), 0

    def graph(self, body: Callable[[], Any]) -> tuple[Replay, Any]:
        self.made += 1
        for _ in range(WARM_UP):
            body()
        given = body()
        return Replay(body, _listed(given)), given


def _listed(given: Any) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else given
