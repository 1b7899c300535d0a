"""Frames on their way through the engine: codes come with their own frame, however late, or are given up by count."""

import asyncio

import numpy as np
import pytest

from natd import codec
from natd.audio.chunks import FrameChunk
from natd.encoding import Encoding
from natd.engine import Engine
from tests.test_engine import FRAME


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(codec.BUILTIN, "sum", "tests.test_engine:SumTokenizer")
    monkeypatch.setitem(codec.BUILTIN, "late", "tests.late_sum:LateSumTokenizer")


def chunk(fi: int) -> FrameChunk:
    return FrameChunk(fi, np.full(FRAME, 1.0, np.float32), 0, 0)


async def told(coding: Encoding, first: int, count: int) -> list[tuple[int, int] | None]:
    """(frame, its S0) of every step."""
    steps = [await coding.frame(chunk(first + i)) for i in range(count)]
    while coding.waiting:
        steps.append(await coding.rest())
    return [None if one is None else (one.chunk.fi, one.encoded.codes[0][0]) for one in steps]


def run(tokenizer: str, scenario) -> list:
    async def all_of_it() -> list:
        async with Engine(tokenizer) as engine:
            return await scenario(Encoding(engine, engine.open()))

    return asyncio.run(all_of_it())


def test_without_look_ahead_every_step_gives_its_own_frame():
    assert run("sum", lambda coding: told(coding, 5, 3)) == [(5, 8), (6, 16), (7, 24)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_codes_come_with_the_frame_they_are_of(count):
    steps = run("late", lambda coding: told(coding, 5, count))
    assert steps == [None, None, *[(5 + i, 8 * (i + 1)) for i in range(count)]]


def test_the_end_is_told_once_and_a_new_sound_begins_afresh():
    async def scenario(coding: Encoding) -> list:
        first = [await coding.frame(chunk(0)), await coding.rest(), await coding.rest()]
        lost = coding.restart()
        return [first[2].encoded.codes[1], lost, await told(coding, 9, 1)]

    # Two steps of silence after the end, counted from 1 as the tokenizer writes it: its end was not told again.
    assert run("late", scenario) == [[8, 3], 0, [None, None, (9, 8)]]


def test_what_is_given_up_is_counted():
    async def scenario(coding: Encoding) -> list:
        for fi in range(5):
            await coding.frame(chunk(fi))
        return [coding.waiting, coding.restart(), coding.waiting, await told(coding, 7, 1)]

    assert run("late", scenario) == [2, 2, 0, [None, None, (7, 8)]]
