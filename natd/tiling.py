"""Proof that a stream lost nothing in silence: frames and gaps tile the frame axis, `seq` has no hole."""

from __future__ import annotations

from natd.errors import WireError
from natd.unpacker import Decoder, FullFrame
from natd.wire import (
    Event,
    FormatEvent,
    Frame,
    Gap,
    Gloss,
    Header,
    Heartbeat,
    Reset,
    Sequenced,
    State,
    StreamEnd,
    decode,
)

MAX_FAULTS = 100  # kept as text; all are counted


class TilingChecker:
    """Feed it every event of a stream; `faults` says in words what does not follow the wire contract.

    Each epoch must begin at frame `start_fi` with seq 0, or with a `state`; None takes whatever frame comes first.
    `counts`: events by kind, frames inside gaps, epochs, faults.
    """

    def __init__(self, start_fi: int | None = 0) -> None:
        self.faults: list[str] = []
        self.counts = dict.fromkeys(
            ("epochs", "frames", "keyframes", "gaps", "gap_frames", "glosses", "formats", "heartbeats", "ends"), 0
        )
        self.counts["unknown"] = self.counts["faults"] = 0
        self.decoder = Decoder()
        self._start_fi = start_fi
        self._lost: bool
        self._begin_epoch()

    @property
    def length(self) -> int:
        """Frames of sample time covered so far: one more than the last frame index."""
        return 0 if self.decoder.fi is None else self.decoder.fi + 1

    def feed_line(self, line: bytes) -> FullFrame | None:
        """As `feed`, for one line; one that is not an event is a fault."""
        try:
            event = decode(line)
        except WireError as error:
            self._fault(f"{error}: {line[:80]!r}")
            return None
        if event is None:
            self.counts["unknown"] += 1
            return None
        return self.feed(event)

    def feed(self, event: Event) -> FullFrame | None:
        """Check one event; the decoded frame if it is one."""
        if isinstance(event, Header):
            self._header(event)
        elif self.decoder.header is None:
            self._fault(f"{type(event).__name__} before the header")
            return None
        elif isinstance(event, State):
            self._state(event)
        elif isinstance(event, Heartbeat):
            self._heartbeat(event)
        elif isinstance(event, Reset):
            self._fault(f"a reset ({event.reason}): events up to {event.oldest_seq} were not delivered")
        elif isinstance(event, Sequenced):
            self._sequenced(event)
        skipped = self.decoder.skipped
        try:
            full = self.decoder.feed(event)
        except WireError as error:
            self._fault(str(error))
            return None
        if self.decoder.skipped > skipped and not self._lost:
            self._fault(f"frame {self.decoder.fi} holds codes that nothing before it gives")
        if full is not None:
            self._lost = False
            self._remember(full)
        return full

    def _begin_epoch(self) -> None:
        self._whole = False  # the epoch was followed from its first event, and nothing was missing
        self._lost = False  # after missing events: held codes cannot be known
        self._key_due = True
        self._last_key: int | None = None
        self._frames = 0
        self._used: dict[str, set[str]] = {}

    def _header(self, header: Header) -> None:
        if self.decoder.header is None or self.decoder.header.epoch != header.epoch:
            self.counts["epochs"] += 1
            self._begin_epoch()

    def _state(self, state: State) -> None:
        mine = self.decoder
        if mine.seq is None or state.seq > mine.seq:
            if mine.seq is not None:
                self._fault(f"a state at seq {state.seq} after seq {mine.seq}")
            self._whole = state.seq == -1
            self._lost = False
            self._key_due = not (state.S or state.A)
            self._last_key = None if self._key_due else state.fi
        elif state.seq < mine.seq:
            self._fault(f"a state at seq {state.seq} after seq {mine.seq}")
        elif state != mine.state():
            self._fault(f"the state at seq {state.seq} is not what its stream gives")

    def _heartbeat(self, hb: Heartbeat) -> None:
        self.counts["heartbeats"] += 1
        mine = self.decoder
        if mine.header is not None and hb.epoch != mine.header.epoch:
            self._fault(f"a heartbeat of epoch {hb.epoch} in epoch {mine.header.epoch}")
        if hb.last_seq > (-1 if mine.seq is None else mine.seq):
            self._fault(f"a heartbeat says seq {hb.last_seq}; the last that came is {mine.seq}")

    def _sequenced(self, event: Sequenced) -> None:
        if self.decoder.seq is None:
            self._whole = event.seq == 0
        first = 0 if self._start_fi == 0 else None
        expected = first if self.decoder.seq is None else self.decoder.seq + 1
        if expected is not None and event.seq != expected:
            self._fault(f"seq {event.seq} where {expected} was due")
            self._lost, self._whole, self._key_due, self._last_key = True, False, False, None
        if self.decoder.ended:
            self._fault(f"seq {event.seq} comes after the end")
        match event:
            case Frame():
                self._frame(event)
            case Gap():
                self._gap(event)
            case Gloss():
                self._gloss(event)
            case FormatEvent():
                self.counts["formats"] += 1
                self._key_due = True
            case StreamEnd():
                self._end(event)

    def _axis(self, fi: int, what: str) -> None:
        expected = self._start_fi if self.decoder.fi is None else self.decoder.fi + 1
        if expected is not None and fi != expected:
            self._fault(f"{what} at frame {fi} where {expected} was due: {'a hole' if fi > expected else 'an overlap'}")

    def _frame(self, frame: Frame) -> None:
        self.counts["frames"] += 1
        self._frames += 1
        self._axis(frame.fi, "a frame")
        header = self.decoder.header
        assert header is not None
        ts = frame.fi * header.frame_samples * 1000 / header.sr
        if abs(frame.ts - ts) > 0.001:
            self._fault(f"frame {frame.fi} has ts {frame.ts}; its samples begin at {ts:.3f} ms")
        if frame.kf:
            self.counts["keyframes"] += 1
        elif self._key_due:
            self._fault(f"frame {frame.fi} must be a keyframe")
        elif self._last_key is not None:
            since_s = (frame.fi - self._last_key) * header.frame_samples / header.sr
            one_frame_s = header.frame_samples / header.sr
            if since_s > max(header.keyframe_interval_s, one_frame_s) + 1e-6:
                self._fault(f"frame {frame.fi}: no keyframe for {since_s:.3f} s")
        if frame.kf or self._key_due:
            self._last_key = frame.fi
        self._key_due = False

    def _gap(self, gap: Gap) -> None:
        self.counts["gaps"] += 1
        self.counts["gap_frames"] += gap.frames
        self._axis(gap.fi, "a gap")
        self._key_due = True
        header = self.decoder.header
        assert header is not None
        if gap.samples != gap.frames * header.frame_samples:
            self._fault(f"the gap at frame {gap.fi} says {gap.samples} samples in {gap.frames} frames")
        if gap.lost_ms is not None and not 0 <= gap.lost_ms <= gap.samples * 1000 / header.sr + 0.001:
            self._fault(f"the gap at frame {gap.fi} lost {gap.lost_ms} ms, more than its {gap.frames} frames")

    def _gloss(self, gloss: Gloss) -> None:
        self.counts["glosses"] += 1
        for name, words in gloss.codes.items():
            for code in words:
                if code in self.decoder.glosses.get(name, {}):
                    self._fault(f"{name} {code} is glossed twice")
                elif code in self._used.get(name, ()):
                    self._fault(f"{name} {code} was used before its gloss")

    def _end(self, end: StreamEnd) -> None:
        self.counts["ends"] += 1
        if end.frames + end.gaps != self.length:
            self._fault(f"the end counts {end.frames} frames and {end.gaps} lost; the stream covers {self.length}")
        elif self._whole and end.frames != self._frames:
            self._fault(f"the end counts {end.frames} frames; {self._frames} came")

    def _remember(self, full: FullFrame) -> None:
        assert self.decoder.header is not None
        for layer, codes in zip(self.decoder.header.layers, full.codes, strict=True):
            self._used.setdefault(layer.name, set()).update(map(str, codes))

    def _fault(self, text: str) -> None:
        self.counts["faults"] += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)
