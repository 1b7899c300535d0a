"""Recordings through an encoder: each vector from its own recording, beside what was heard at its time."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from natd.codebooks import hearing
from natd.codebooks.hearing import Recording, hear, held_out
from natd.codec.descriptors import COLUMN
from natd.codec.threads import one_thread
from natd.errors import ModelError
from tests.codebooks.toy_encoder import FRAME, SR, ToyEncoder, recording, recordings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def nothing(text: str) -> None:
    pass


def alone(number: int, encoder: ToyEncoder, seconds: float) -> torch.Tensor:
    """All vectors "A" of a recording by itself."""
    audio = torch.from_numpy(recording(number, seconds).samples(SR))
    state = encoder.initial_state(1)
    frames = audio[: len(audio) // FRAME * FRAME].view(-1, 1, FRAME)
    return torch.cat([encoder.vectors(frame, state)["A"][0] for frame in frames])


def test_what_is_held_out_is_other_recordings_whole() -> None:
    heard = hear(ToyEncoder(), recordings(), 1_000_000, 0, nothing)
    held = held_out(6, 0)
    assert len(held) == 1 and held_out(6, 0) == held and len(held_out(25, 3)) == 5
    wanted = [alone(i, ToyEncoder(), 4.0 + i % 3) for i in range(6)]
    torch.testing.assert_close(heard.held["A"], wanted[held[0]])
    torch.testing.assert_close(heard.fit["A"], torch.cat([w for i, w in enumerate(wanted) if i not in held]))
    assert len(heard.fit["S0"]) == 2 * len(heard.fit["A"]) == len(heard.descriptors["S0"])


def test_of_few_recordings_the_end_of_each_is_held_out() -> None:
    heard = hear(ToyEncoder(), recordings(2), 1_000_000, 0, nothing)
    one, other = alone(0, ToyEncoder(), 4.0), alone(1, ToyEncoder(), 5.0)
    torch.testing.assert_close(heard.fit["A"], torch.cat([one[:32], other[:40]]))
    torch.testing.assert_close(heard.held["A"], torch.cat([one[32:], other[40:]]))


def test_company_and_draw_change_nothing_but_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    together = hear(ToyEncoder(), recordings(), 100, 0, nothing)
    monkeypatch.setattr(hearing, "TOGETHER", 1)
    by_itself = hear(ToyEncoder(), recordings(), 100, 0, nothing)
    torch.testing.assert_close(together.fit["S0"], by_itself.fit["S0"])
    count = len(together.fit["S0"]) + len(together.held["S0"])
    assert 60 < count < 140
    other = hear(ToyEncoder(), recordings(), 100, 1, nothing)
    assert other.fit["S0"].shape != together.fit["S0"].shape or not torch.equal(other.fit["S0"], together.fit["S0"])


def test_vectors_that_come_late_stand_beside_what_they_are_of() -> None:
    """A level that rises in steps of 0.4 s: each vector has the level of its own time, however late it comes."""
    level = 10 ** (-2.5 + 0.25 * np.arange(10)).repeat(9600)
    tone = (np.sin(2 * np.pi * 500 * np.arange(96_000) / 24_000) * level).astype(np.float32)
    one = Recording("steps", 1, "", 4.0, lambda sr: tone[:: 24_000 // sr].copy())

    class Late(ToyEncoder):
        """Its vectors are the frame's level, two frames late."""

        def initial_state(self, batch):
            return [torch.full((batch,), -9.0), torch.full((batch,), -9.0)]

        def vectors(self, chunk, state):
            state.append(20 * chunk.std(1).log10())
            return {"S0": state.pop(0)[:, None, None].expand(-1, 1, 4)}

    heard = hear(Late(late=2), [one], 1_000_000, 0, nothing)
    off = heard.fit["S0"][:, 0] - heard.descriptors["S0"][:, COLUMN["level"]]
    assert off.abs().median() < 0.2 and len(off) == 31  # 40 frames without the two late ones, the last fifth held out


def test_of_silence_few_frames_count() -> None:
    quiet = Recording("quiet", 1, "", 8.0, lambda sr: np.zeros(8 * sr, np.float32))
    heard = hear(ToyEncoder(), [recording(0), quiet], 1_000_000, 0, nothing)
    assert len(heard.fit["A"]) + len(heard.held["A"]) == 40 + 4


def test_too_little_sound_is_refused() -> None:
    short = replace(recording(0), seconds=0.05, samples=lambda sr: np.zeros(sr // 20, np.float32))
    with pytest.raises(ModelError, match="no whole frame"):
        hear(ToyEncoder(), [short], 100, 0, nothing)
    quiet = Recording("quiet", 1, "", 0.3, lambda sr: np.zeros(3 * sr // 10, np.float32))
    with pytest.raises(ModelError, match="too little sound"):
        hear(ToyEncoder(), [quiet], 100, 0, nothing)
