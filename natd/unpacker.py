"""From events back to codes: the reader's half of `packer.py`. No socket, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from natd.errors import WireError
from natd.wire import (
    Codes,
    Event,
    FormatEvent,
    Frame,
    Gap,
    Gloss,
    Glosses,
    Header,
    Layer,
    Row,
    Sequenced,
    State,
    StreamEnd,
)

Held = tuple[int, ...]  # the `per_frame` codes of one layer


@dataclass(frozen=True, slots=True)
class FullFrame:
    """One frame with every code filled in: per layer, in header order, its `per_frame` codes. `ts` and `lat` in ms."""

    seq: int
    fi: int
    ts: float
    codes: tuple[Held, ...]
    lat: float | None = None


class Decoder:
    """Full codes from the events of one stream, begun at any header + keyframe or header + `state`.

    A frame that holds a code nobody has told us is skipped and counted, never guessed; so after a hole in `seq` nothing
    comes until the next keyframe, state, or frame without held codes. A new epoch starts everything afresh.
    """

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, header: Header | None) -> None:
        self.header = header
        self.seq: int | None = None  # of the last event followed; None before the first
        self.fi: int | None = None  # the last frame index covered
        self.glosses: Glosses = {}
        self.ended = False
        self.hole: tuple[int, int] | None = None  # the latest run of seq that never came: first, last
        self.missing = 0  # events that never came
        self.skipped = 0  # frames that could not be decoded
        self.repeats = 0  # events that came twice
        self._held: tuple[Held, ...] | None = None

    @property
    def started(self) -> bool:
        """True while held codes are known."""
        return self._held is not None

    def feed(self, event: Event) -> FullFrame | None:
        """The decoded frame if `event` is one; WireError if it contradicts the header."""
        if isinstance(event, Header):
            self._take_header(event)
        elif isinstance(event, State):
            self._adopt(event)
        elif isinstance(event, Sequenced) and self._follow(event.seq):
            return self._apply(event)
        return None

    def state(self) -> State:
        """The snapshot after the last event: with it another decoder goes on at `seq + 1`."""
        rows: dict[str, list[Codes]] = {"S": [], "A": []}
        for layer, codes in zip(self._layers(), self._held or (), strict=False):
            rows[layer.name[0]].append(codes[0] if layer.per_frame == 1 else list(codes))
        glosses = {name: dict(words) for name, words in self.glosses.items()}
        return State(_or_none_yet(self.seq), _or_none_yet(self.fi), tuple(rows["S"]), tuple(rows["A"]), glosses)

    def _take_header(self, header: Header) -> None:
        if self.header is not None and self.header.epoch == header.epoch:
            if self.header.layers != header.layers:
                raise WireError(f"the layers changed within epoch {header.epoch}")
            return  # a joiner's snapshot, or the start of a rotated file
        self._begin(header)

    def _adopt(self, state: State) -> None:
        if self.seq is not None and state.seq < self.seq:
            self.repeats += 1
            return
        if self.seq is not None and state.seq > self.seq:
            self._lose(self.seq + 1, state.seq)
        self._held = None
        self._held = _known(self._filled(state.S, state.A))
        if self._held is None and (state.S or state.A):
            raise WireError(f"the state at seq {state.seq} leaves out codes")
        self.seq, self.fi = state.seq, state.fi
        for name, words in state.codes.items():
            self.glosses.setdefault(name, {}).update(words)

    def _follow(self, seq: int) -> bool:
        if self.seq is not None and seq <= self.seq:
            self.repeats += 1
            return False
        if self.seq is not None and seq > self.seq + 1:
            self._lose(self.seq + 1, seq - 1)
        self.seq = seq
        return True

    def _lose(self, first: int, last: int) -> None:
        self.hole = (first, last)
        self.missing += last - first + 1
        self._held = None

    def _apply(self, event: Sequenced) -> FullFrame | None:
        match event:
            case Frame():
                return self._frame(event)
            case Gap():
                self.fi = event.fi + event.frames - 1
                self._held = None
            case FormatEvent():
                self._held = None
            case Gloss():
                for name, words in event.codes.items():
                    self.glosses.setdefault(name, {}).update(words)
            case StreamEnd():
                self.ended = True
        return None

    def _frame(self, frame: Frame) -> FullFrame | None:
        self.fi = frame.fi
        if self.header is not None:
            self._held = _known(self._filled(frame.S, frame.A))
            if self._held is not None:
                return FullFrame(frame.seq, frame.fi, frame.ts, self._held, frame.lat)
        self.skipped += 1
        return None

    def _layers(self) -> tuple[Layer, ...]:
        return self.header.layers if self.header is not None else ()

    def _filled(self, S: Row, A: Row) -> list[Held | None]:
        """Per layer its codes, held ones filled in; None where they are not known."""
        given = {"S": S, "A": A}
        counts = {group: sum(layer.name[0] == group for layer in self._layers()) for group in given}
        for group, row in given.items():
            if row and len(row) != counts[group]:
                raise WireError(f"{len(row)} codes in {group}; the header names {counts[group]} such layers")
        rows = {group: iter(row or (None,) * counts[group]) for group, row in given.items()}
        before: tuple[Held | None, ...] = self._held or (None,) * len(self._layers())
        return [_codes(layer, next(rows[layer.name[0]]), before[i]) for i, layer in enumerate(self._layers())]


def _known(codes: list[Held | None]) -> tuple[Held, ...] | None:
    """The codes of every layer, or None if there is a layer whose codes are not known."""
    known = tuple(row for row in codes if row is not None)
    return known if known and len(known) == len(codes) else None


def _codes(layer: Layer, codes: Codes, before: Held | None) -> Held | None:
    if codes is None:
        return before
    row = tuple(codes) if isinstance(codes, list | tuple) else (codes,)
    if isinstance(codes, int) != (layer.per_frame == 1) or len(row) != layer.per_frame:
        raise WireError(f"{layer.name} is {codes}; the header says {layer.per_frame} codes per frame")
    if max(row) >= layer.vocab:
        raise WireError(f"{layer.name} is {codes}; its codes are below {layer.vocab}")
    return row


def _or_none_yet(index: int | None) -> int:
    return -1 if index is None else index
