"""Streams for tests: any layers, any codes, any gaps, packed by the packer; with the truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from natd.packer import Packer
from natd.wire import (
    CAUSES,
    ClockInfo,
    Event,
    Frame,
    Header,
    Heartbeat,
    InputInfo,
    Layer,
    State,
    TokenizerInfo,
    encode,
)

INPUT = InputInfo("device", "hw:1", 48000, 2, "soxr-hq", 1.2)
LAYERS = (
    Layer("S0", "semantic", "scene", 4, 1, "rle"),
    Layer("S1", "semantic", "harmony", 4, 1, "rle"),
    Layer("A0", "acoustic", "residual 0", 1024),
    Layer("A1", "acoustic", "residual 1", 1024, 2),
)


def header(
    layers: Sequence[Layer] = LAYERS,
    epoch: str = "e0",
    stream: str = "stage",
    sr: int = 24000,
    frame_samples: int = 1920,
    keyframe_interval_s: float = 5.0,
) -> Header:
    info = TokenizerInfo("ears", "1", "sha256:00")
    clock = ClockInfo(1_700_000_000_000_000_000, 12_345)
    return Header(stream, epoch, info, sr, frame_samples, INPUT, clock, tuple(layers), keyframe_interval_s)


def heartbeat(last_seq: int, last_fi: int, epoch: str = "e0") -> Heartbeat:
    return Heartbeat(epoch, last_seq, last_fi, "live", 1, 2, None, {"frames": 3}, {"peak": -3.0, "rms": -20.5})


@dataclass
class Story:
    """One epoch: `events` without the header, the packer's state after the first n of them, the codes of each frame."""

    header: Header
    events: list[Event] = field(default_factory=list)
    states: dict[int, State] = field(default_factory=dict)
    codes: dict[int, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    @property
    def lines(self) -> list[bytes]:
        return [encode(self.header), *map(encode, self.events)]


class Teller:
    """Writes a story through a packer."""

    def __init__(self, head: Header, glossary: dict[str, dict[int, str]] | None = None) -> None:
        self.story = Story(head)
        self.packer = Packer(head.layers, head.sr, head.frame_samples, head.keyframe_interval_s, glossary)

    def frame(self, codes: Sequence[Sequence[int]], lat: float | None = None) -> None:
        fi = self.packer.fi + 1
        self._add(self.packer.frame(fi, codes, lat))
        self.story.codes[fi] = tuple(tuple(row) for row in codes)

    def gap(self, frames: int, cause: str = "xrun", lost_ms: float | None = None) -> None:
        self._add(self.packer.gap(self.packer.fi + 1, frames, cause, lost_ms))

    def format(self) -> None:
        self._add(self.packer.format(replace(INPUT, rate=44100)))

    def end(self, reason: str = "eof") -> None:
        self._add(self.packer.end(reason, {"seconds": 1.5}))

    def _add(self, events: list[Event]) -> None:
        self.story.events += events
        self.story.states[len(self.story.events)] = self.packer.state()


def simple(frames: int, layers: Sequence[Layer] = LAYERS, ended: bool = True, **head: object) -> Story:
    """A story of `frames` frames whose codes change now and then."""
    teller = Teller(header(layers, **head), {"S0": {0: "quiet", 1: "a band"}})  # type: ignore[arg-type]
    for i in range(frames):
        teller.frame(
            [[(i // (3 + k) + j) % layer.vocab for j in range(layer.per_frame)] for k, layer in enumerate(layers)]
        )
    if ended:
        teller.end()
    return teller.story


def layers_of() -> st.SearchStrategy[tuple[Layer, ...]]:
    """1 to 6 layers in wire order, semantic first; small vocabularies, so that codes are often held."""
    one = st.tuples(st.sampled_from([1, 2, 3, 1000]), st.sampled_from([1, 1, 2, 3]), st.sampled_from(["rle", "dense"]))

    def build(S: list[tuple[int, int, str]], A: list[tuple[int, int, str]]) -> tuple[Layer, ...]:
        rows = [("S", "semantic", i, x) for i, x in enumerate(S)] + [("A", "acoustic", i, x) for i, x in enumerate(A)]
        return tuple(Layer(f"{group}{i}", kind, "", *x) for group, kind, i, x in rows)

    some = st.lists(one, max_size=3)
    return st.builds(build, some, some).filter(bool)


@st.composite
def stories(draw: st.DrawFn, max_steps: int = 30) -> Story:
    """Any epoch: frames, gaps, format changes, requests for keyframes; glosses for some of the codes."""
    layers = draw(layers_of())
    sr, frame_samples = draw(st.sampled_from([(24000, 1920), (44100, 512), (16000, 320)]))
    interval = draw(st.sampled_from([0.001, 0.1, 0.3, 5.0]))
    head = header(layers, sr=sr, frame_samples=frame_samples, keyframe_interval_s=interval)
    words = {layer.name: {c: f"{layer.name} {c}" for c in range(2)} for layer in layers if draw(st.booleans())}
    teller = Teller(head, words)
    rows = st.tuples(*(st.tuples(*[st.integers(0, layer.vocab - 1)] * layer.per_frame) for layer in layers))
    again = None
    for step in draw(st.lists(st.sampled_from("ffffffhhhgFk"), max_size=max_steps)):
        if step == "f" or (step == "h" and again is None):
            again = draw(rows)
            teller.frame(again, draw(st.none() | st.integers(0, 10**6).map(lambda n: n / 1000)))
        elif step == "h" and again is not None:
            teller.frame(again)
        elif step == "g":
            teller.gap(draw(st.integers(1, 5)), draw(st.sampled_from(CAUSES)), draw(st.none() | st.just(0.5)))
        elif step == "F":
            teller.format()
        else:
            teller.packer.request_keyframe()
    if draw(st.booleans()):
        teller.end(draw(st.sampled_from(["eof", "shutdown", "error"])))
    return teller.story


def sent(event: Event) -> Event:
    """The event as a reader sees it: groups that are all held are left out, times have 3 digits."""
    if not isinstance(event, Frame):
        return event
    rows = (row if any(codes is not None for codes in row) else () for row in (event.S, event.A))
    lat = None if event.lat is None else round(event.lat, 3)
    return Frame(event.seq, event.fi, round(event.ts, 3), *rows, event.kf, lat)
