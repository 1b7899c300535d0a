"""A tokenizer that looks ahead, for tests of what carries frames: sums that come two frames late."""

from dataclasses import dataclass, replace

import torch

from natd.wire import TokenizerInfo
from tests.test_engine import SumTokenizer

DELAY = 2


@dataclass
class LateState:
    total: torch.Tensor  # [B] running sum of all samples
    past: torch.Tensor  # [B, DELAY] those of the latest frames
    ended: torch.Tensor  # [B] steps since the end of the sound; -1 before it


class LateSumTokenizer(SumTokenizer):
    """S0 = running sum up to the frame, A0 = [that sum, steps since the end of the sound was told (or -1)]."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        info = TokenizerInfo("late", "1", "sha256:1", causal=False, lookahead_ms=160.0)
        self.spec = replace(self.spec, info=info, delay_frames=DELAY)

    def initial_state(self, batch: int) -> LateState:
        return LateState(torch.zeros(batch), torch.full((batch, DELAY), 9e8), torch.full((batch,), -1.0))

    def finish(self, state: LateState) -> None:
        state.ended.zero_()

    def encode(self, chunk: torch.Tensor, state: LateState) -> list[torch.Tensor]:
        state.total += chunk.sum(1)
        late = state.past[:, 0].long()
        state.past.copy_(torch.cat([state.past[:, 1:], state.total[:, None]], 1))
        state.ended.add_((state.ended >= 0).float())
        return [late[:, None], torch.stack([late, state.ended.long() + 1], 1)]
