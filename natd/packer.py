"""From codes to events: keyframes, held codes, glosses before first use, sequence numbers. No socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from natd.errors import WireError
from natd.wire import (
    CAUSES,
    END_REASONS,
    Codes,
    Event,
    FormatEvent,
    Frame,
    Gap,
    Gloss,
    InputInfo,
    Layer,
    State,
    StreamEnd,
)

Held = tuple[int, ...]  # the `per_frame` codes one layer now holds


class Packer:
    """The sequenced events of one epoch: frames and gaps tile the frame axis from 0, `seq` counts every event from 0.

    A keyframe is due at the start, after a gap or format, on request, and so that never more than
    `keyframe_interval_s` of sample time lies between two. `glossary` maps layer name -> code -> phrase.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        sr: int,
        frame_samples: int,
        keyframe_interval_s: float = 5.0,
        glossary: Mapping[str, Mapping[int, str]] | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self.seq = -1
        self.fi = -1
        self._sr = sr
        self._frame_samples = frame_samples
        # A hair more than the quotient: 0.3 s of 0.1 s frames is three of them, whatever floating point says.
        self._interval = max(1, int(keyframe_interval_s * sr / frame_samples + 1e-6))
        self._glossary = {layer.name: (glossary or {}).get(layer.name, {}) for layer in self.layers}
        self._announced: dict[str, dict[str, str]] = {}
        self._held: tuple[Held, ...] | None = None  # None: the next frame is a keyframe whatever happens
        self._since_keyframe = 0
        self._requested = False
        self._frames = 0
        self._ended = False

    def request_keyframe(self) -> None:
        """The next frame will be a keyframe."""
        self._requested = True

    def frame(self, fi: int, codes: Sequence[Sequence[int]], lat_ms: float | None = None) -> list[Event]:
        """The events of frame `fi`: a gloss where codes are new, then the frame; `codes` per layer `[per_frame]`."""
        now = self._checked(codes)
        self._advance(fi, 1)
        events = self._gloss(now)
        key = self._held is None or self._requested or self._since_keyframe >= self._interval
        before = None if key else self._held
        rows: dict[str, list[Codes]] = {"S": [], "A": []}
        for i, layer in enumerate(self.layers):
            held = before is not None and layer.encoding == "rle" and before[i] == now[i]
            value: Codes = None if held else now[i][0] if layer.per_frame == 1 else list(now[i])
            rows[layer.name[0]].append(value)
        ts = round(fi * self._frame_samples * 1000 / self._sr, 3)
        events.append(Frame(self._next(), fi, ts, tuple(rows["S"]), tuple(rows["A"]), key, lat_ms))
        self._held = now
        self._frames += 1
        self._since_keyframe = 1 if key else self._since_keyframe + 1
        self._requested = self._requested and not key
        return events

    def gap(self, fi: int, frames: int, cause: str, lost_ms: float | None = None) -> list[Event]:
        """The event saying that frames [fi, fi + frames) were lost; the next frame is a keyframe."""
        if frames < 1:
            raise WireError(f"a gap of {frames} frames at frame {fi}; the least is 1")
        if cause not in CAUSES:
            raise WireError(f"the cause of a gap is {cause!r}, not one of {', '.join(CAUSES)}")
        self._advance(fi, frames)
        self._held = None
        return [Gap(self._next(), fi, frames, frames * self._frame_samples, cause, lost_ms)]

    def format(self, input: InputInfo) -> list[Event]:
        """The event saying that the source changed; the next frame is a keyframe."""
        self._refuse_after_end()
        self._held = None
        return [FormatEvent(self._next(), input)]

    def end(self, reason: str, stats: Mapping[str, Any]) -> list[Event]:
        """The last event of the epoch; nothing may follow it."""
        self._refuse_after_end()
        if reason not in END_REASONS:
            raise WireError(f"the reason of an end is {reason!r}, not one of {', '.join(END_REASONS)}")
        self._ended = True
        return [StreamEnd(self._next(), reason, self._frames, self.fi + 1 - self._frames, dict(stats))]

    def state(self) -> State:
        """What a joiner needs beside the header to go on at `seq + 1`; no codes while a keyframe must come next."""
        rows: dict[str, list[Codes]] = {"S": [], "A": []}
        for layer, codes in zip(self.layers, self._held or (), strict=False):
            rows[layer.name[0]].append(codes[0] if layer.per_frame == 1 else list(codes))
        glosses = {name: dict(words) for name, words in self._announced.items()}
        return State(self.seq, self.fi, tuple(rows["S"]), tuple(rows["A"]), glosses)

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _advance(self, fi: int, frames: int) -> None:
        self._refuse_after_end()
        if fi != self.fi + 1:
            raise WireError(f"frame {fi} after frame {self.fi}: frames and gaps must tile without hole or overlap")
        self.fi = fi + frames - 1

    def _refuse_after_end(self) -> None:
        if self._ended:
            raise WireError("the epoch has ended; nothing may follow its end")

    def _checked(self, codes: Sequence[Sequence[int]]) -> tuple[Held, ...]:
        if len(codes) != len(self.layers):
            raise WireError(f"codes of {len(codes)} layers; the header names {len(self.layers)}")
        rows = tuple(tuple(row) for row in codes)
        for layer, row in zip(self.layers, rows, strict=True):
            if len(row) != layer.per_frame:
                raise WireError(f"{len(row)} codes in {layer.name}; the header says {layer.per_frame} per frame")
            if not all(type(code) is int and 0 <= code < layer.vocab for code in row):
                raise WireError(f"{layer.name} holds {row}; its codes are whole numbers below {layer.vocab}")
        return rows

    def _gloss(self, now: tuple[Held, ...]) -> list[Event]:
        new: dict[str, dict[str, str]] = {}
        for layer, row in zip(self.layers, now, strict=True):
            words, known = self._glossary[layer.name], self._announced.get(layer.name, {})
            for code in row:
                if code in words and str(code) not in known:
                    new.setdefault(layer.name, {})[str(code)] = words[code]
        for name, phrases in new.items():
            self._announced.setdefault(name, {}).update(phrases)
        return [Gloss(self._next(), new)] if new else []
