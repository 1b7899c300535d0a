"""The frames of one stream on their way through the engine: some tokenizers give the codes of a frame steps later."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from natd.audio.chunks import FrameChunk
from natd.engine import Encoded, Engine


@dataclass(frozen=True, slots=True)
class Coded:
    """A frame and its codes."""

    chunk: FrameChunk
    encoded: Encoded


class Encoding:
    """Frames in, codes out in the same order, each `spec.delay_frames` steps after its frame.

    At the end of a sound `rest` gives the codes that are still to come, as if it had been followed by silence;
    `restart` gives them up. After either the tokenizer begins afresh.
    """

    def __init__(self, engine: Engine, slot: int) -> None:
        self._engine, self._slot = engine, slot
        self._silence = np.zeros(engine.spec.frame_samples, np.float32)
        self._waiting: deque[FrameChunk] = deque()
        self._steps = 0
        self._ended = False

    @property
    def waiting(self) -> int:
        """Frames whose codes have not come."""
        return len(self._waiting)

    async def frame(self, chunk: FrameChunk) -> Coded | None:
        """Encode the next frame; the one whose codes this gives, if any."""
        self._waiting.append(chunk)
        return self._given(await self._engine.encode(self._slot, chunk.samples, fresh=self._steps == 0))

    async def rest(self) -> Coded | None:
        """One step beyond the end of the sound; to be called while frames wait."""
        ends, self._ended = not self._ended, True
        return self._given(await self._engine.encode(self._slot, self._silence, ends=ends))

    def restart(self) -> int:
        """Begin afresh with the next frame; how many frames' codes will not come."""
        lost = len(self._waiting)
        self._waiting.clear()
        self._steps, self._ended = 0, False
        return lost

    def _given(self, encoded: Encoded) -> Coded | None:
        self._steps += 1
        if self._steps <= self._engine.spec.delay_frames:
            return None
        return Coded(self._waiting.popleft(), encoded)
