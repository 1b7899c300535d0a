"""One stream by scripted sources: where it ends, what it says of an error, and when its time begins."""

import asyncio

import numpy as np
import pytest

from natd import codec
from natd.audio.chunks import Block, End, Format, FormatChange, Loss
from natd.codebooks.naming import Name
from natd.engine import Engine
from natd.errors import ModelError, SourceError
from natd.metrics import Metrics
from natd.settings import StatsSettings, StreamSettings
from natd.stream import Stream
from natd.tiling import TilingChecker
from natd.wire import ErrorEvent, Event, FormatEvent, Frame, Gap, Header, StreamEnd
from tests.test_engine import FRAME, SumTokenizer

RATE = 100  # that of the tokenizer: a frame is 80 ms


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(codec.BUILTIN, "sum", "tests.test_engine:SumTokenizer")
    monkeypatch.setitem(codec.BUILTIN, "late", "tests.late_sum:LateSumTokenizer")


class Script:
    """A source that delivers what it was given; an exception among it is raised."""

    kind, name, live, timed, state = "script", "script", False, True, "live"
    drift_ppm = None

    def __init__(self, *steps: object, channels: int = 1) -> None:
        self.format = Format(RATE, channels)
        self.counters: dict[str, int] = {}
        self.entered = False
        self.opened = None  # called as soon as the loop can, once the source is open
        self._steps = steps

    async def __aenter__(self):
        self.entered = True
        if self.opened is not None:
            asyncio.get_running_loop().call_soon(self.opened)
        return self

    async def __aexit__(self, *_):
        return None

    async def __aiter__(self):
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            yield step


class Kept:
    """A sink that keeps the events."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.events: list[Event] = []

    def publish(self, stream: str, event: Event, line: bytes) -> None:
        self.events.append(event)

    async def drain(self) -> None:
        return None

    def of(self, *kinds: type) -> list:
        return [event for event in self.events if isinstance(event, kinds)]


def block(first: int, count: int, mono_ns: int = 0) -> Block:
    return Block(first, np.zeros((count, 1), np.float32), mono_ns)


def run(source: Script, stop: str = "", tokenizer: str = "sum", **settings: object) -> Kept:
    """What the stream publishes, and as `error` what it raises; `stop` it `before` it runs or `once open`."""
    kept = Kept()

    async def scenario() -> None:
        async with Engine(tokenizer) as engine:
            stream = Stream(StreamSettings(**settings), source, engine, [kept], Metrics(), StatsSettings())
            if stop == "before":
                stream.stop()
            elif stop == "once open":
                source.opened = stream.stop
            try:
                async with asyncio.timeout(10):
                    await stream.run()
            except Exception as error:
                kept.error = error

    kept.error = None
    asyncio.run(scenario())
    return kept


@pytest.mark.parametrize("frames", [25, 201, 203, 402])
def test_the_limit_in_seconds_is_exact(frames):
    kept = run(Script(block(0, 500 * FRAME), End("eof")), seconds=frames * 80 / 1000)
    assert [e.fi for e in kept.of(Frame)] == list(range(frames))
    assert [(e.reason, e.frames) for e in kept.of(StreamEnd)] == [("eof", frames)]


def test_a_gap_across_the_limit_is_cut_with_its_length():
    script = Script(block(0, 2 * FRAME), Loss(2 * FRAME, 10 * FRAME, "overrun"), block(12 * FRAME, FRAME), End("eof"))
    kept = run(script, seconds=0.32)
    assert [(e.fi, e.frames, e.lost_ms) for e in kept.of(Gap)] == [(2, 2, 160.0)]
    assert kept.events[-1].frames + kept.events[-1].gaps == 4


def test_a_channel_that_the_source_has_not_is_named():
    kept = run(Script(End("eof"), channels=2), mix=(3,))
    assert isinstance(kept.error, SourceError)
    assert "channel 3, but the source has 2" in str(kept.error)


@pytest.mark.parametrize("error", [SourceError("the cable is out"), OSError("nobody thought of this")])
def test_an_error_of_any_kind_is_told_and_ends_the_stream(error):
    kept = run(Script(block(0, 3 * FRAME), error))
    assert kept.error is error
    told, end = kept.events[-2:]
    assert isinstance(told, ErrorEvent)
    assert (told.code, told.message) == (type(error).__name__, str(error))
    assert isinstance(end, StreamEnd)
    assert end.reason == "error"


def test_a_stream_stopped_before_its_turn_opens_nothing():
    script = Script(End("eof"))
    kept = run(script, stop="before")
    assert (kept.events, kept.error) == ([], None)
    assert not script.entered


def test_a_stream_stopped_before_its_intake_has_begun_ends():
    kept = run(Script(block(0, FRAME), End("eof")), stop="once open")
    assert kept.error is None
    assert [type(e) for e in kept.events][0] is Header
    assert kept.events[-1].reason in ("shutdown", "eof")


def test_time_zero_is_that_of_the_first_sample_even_if_it_was_lost():
    kept = run(Script(Loss(0, 50, "overrun"), block(50, 150, mono_ns=7_000_000_000), End("eof")))
    [header] = kept.of(Header)
    assert header.clock.t0_mono_ns == 5_000_000_000


def test_a_header_holds_the_names_of_a_tokenizer_that_has_some(monkeypatch):
    script = Script(block(0, FRAME), End("eof"))
    assert run(script).of(Header)[0].legend == {}
    monkeypatch.setattr(SumTokenizer, "names", {"S0": [Name(0, "nothing"), Name(1, "some")]}, raising=False)
    kept = run(Script(block(0, FRAME), End("eof")))
    assert kept.of(Header)[0].legend == {"names": {"S0": [[0, "nothing"], [1, "some"]]}}
    monkeypatch.setattr(SumTokenizer, "names", {"S1": [Name(0, "nothing")]})
    with pytest.raises(ModelError, match="layers that there are not: S1"):
        run(Script(block(0, FRAME), End("eof")))


def ones(first: int, count: int) -> Block:
    return Block(first, np.ones((count, 1), np.float32), 0)


def tiled(kept: Kept) -> list[tuple[str, int, object]]:
    """Frames as (fi, sum), gaps as (fi, frames); they tile the axis, by the checker's own count."""
    checker = TilingChecker()
    for event in kept.events:
        checker.feed(event)
    assert checker.faults == []
    found: list[tuple[str, int, object]] = []
    for event in kept.of(Frame, Gap, FormatEvent):
        if isinstance(event, Frame):
            found.append(("frame", event.fi, event.S[0]))
        else:
            found.append(("gap", event.fi, event.frames) if isinstance(event, Gap) else ("format", 0, 0))
    return found


def test_codes_that_come_late_are_published_with_their_own_frames():
    kept = run(Script(ones(0, 5 * FRAME), End("eof")), tokenizer="late")
    assert tiled(kept) == [("frame", i, 8 * (i + 1)) for i in range(5)]
    assert (kept.events[-1].frames, kept.events[-1].gaps) == (5, 0)


def test_a_sound_ends_where_a_gap_begins_and_keeps_its_last_frames():
    script = Script(ones(0, 3 * FRAME), Loss(3 * FRAME, 4 * FRAME, "overrun"), ones(7 * FRAME, FRAME), End("eof"))
    kept = run(script, tokenizer="late")
    heard = [("frame", i, 8 * (i + 1)) for i in range(3)]
    assert tiled(kept) == [*heard, ("gap", 3, 4), ("frame", 7, 8)]


def test_a_sound_ends_where_another_format_begins():
    change = FormatChange(Format(RATE, 2))
    kept = run(
        Script(ones(0, FRAME), change, Block(0, np.ones((2 * FRAME, 2), np.float32), 0), End("eof")), tokenizer="late"
    )
    assert tiled(kept) == [("frame", 0, 8), ("format", 0, 0), ("frame", 1, 8), ("frame", 2, 16)]


def test_who_is_late_gives_up_what_is_still_to_come_and_says_so():
    kept = run(Script(ones(0, 4 * FRAME), Loss(4 * FRAME, FRAME, "encoder_late"), End("eof")), tokenizer="late")
    # The codes of frames 2 and 3 would have needed frame 4, or steps that there is no time for.
    assert tiled(kept) == [("frame", 0, 8), ("frame", 1, 16), ("gap", 2, 3)]
    assert [(gap.cause, gap.lost_ms) for gap in kept.of(Gap)] == [("encoder_late", 240.0)]


@pytest.mark.parametrize("after", [1, 3, 5, 6])
def test_a_drain_that_takes_too_long_loses_nothing_in_silence(monkeypatch, after):
    calls = iter(range(100))
    monkeypatch.setattr(Stream, "_too_late_to_drain", lambda self: next(calls) >= after)
    kept = run(Script(ones(0, 5 * FRAME), End("shutdown")), tokenizer="late")
    found = tiled(kept)
    frames = sum(kind == "frame" for kind, _, _ in found)
    assert frames == max(0, after - 2)
    assert kept.events[-1].frames + kept.events[-1].gaps == 5
    assert {gap.cause for gap in kept.of(Gap)} == {"encoder_late"}
