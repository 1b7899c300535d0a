"""What a stream says now, kept up from its events: words, level, latency, losses. No I/O, no clock."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from natd.codebooks import naming

WINDOW_MS = 10_000.0  # over which latencies are summed up
RIBBON_FRAMES = 512  # kept of each layer's past
CHANGES = 64  # kept of what happened
MOST_PHRASES = 4  # of a layer with several codes a frame that are told one by one

Codes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A semantic layer: its name on the wire, and what stands for it in a line, see `labels`."""

    name: str
    about: str


@dataclass(slots=True)
class Word:
    """What a layer says: its codes, their meaning, and since when (ms of sample time)."""

    codes: Codes
    phrases: tuple[str, ...]
    since_ms: float

    @property
    def text(self) -> str:
        """All phrases; of more than `MOST_PHRASES` the one that is said most often, and how many others there are."""
        if len(self.phrases) <= MOST_PHRASES:
            return " + ".join(self.phrases)
        (often, count), *others = Counter(self.phrases).most_common()
        told = f"{often} ({count} of {len(self.phrases)})"
        return f"{told} + {len(others)} others" if others else told


@dataclass(frozen=True, slots=True)
class Change:
    """Something worth a line: at `ts` (ms of sample time), `kind` words, gap, loss, epoch, format, end or error."""

    ts: float
    kind: str
    text: str


class Following:
    """Feed it every event (a dict) of one stream; a new epoch begins everything but `epochs` afresh."""

    def __init__(self) -> None:
        self.epochs = 0
        self._begin({})

    def _begin(self, header: Mapping[str, Any]) -> None:
        self.header = header
        self.layers = [
            Row(name, label)
            for name, label in labels(layer for layer in header.get("layers", []) if layer["type"] == "semantic")
        ]
        self.words: dict[str, Word] = {}
        self.ribbon: deque[tuple[Codes | None, ...]] = deque(maxlen=RIBBON_FRAMES)
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self.state = "waiting"
        self.level: Mapping[str, float] | None = None
        self.drift_ppm: float | None = None
        self.stats: Mapping[str, Any] = {}
        self.frames = self.gaps = self.gap_frames = self.lost_events = 0
        self.ts = 0.0  # end of the last frame, ms
        self._names = naming.read(header)
        self._glosses: dict[str, dict[str, str]] = {}
        self._lat: deque[tuple[float, float]] = deque()
        self._seq: int | None = None

    @property
    def frame_ms(self) -> float:
        """Length of a frame, ms; 0 before the header."""
        return float(self.header.get("frame_ms", 0.0))

    @property
    def worded(self) -> bool:
        """Whether any code has had words so far: a name in the header, or a gloss."""
        return any(self._names.values()) or any(self._glosses.values())

    def latency_ms(self) -> tuple[float, float] | None:
        """p50 and p99 of `lat` over the last `WINDOW_MS`; None where nothing was measured."""
        values = sorted(lat for _, lat in self._lat)
        if not values:
            return None
        return values[math.ceil(0.5 * len(values)) - 1], values[math.ceil(0.99 * len(values)) - 1]

    def unix_ns(self, ts: float) -> int | None:
        """Wall time of sample time `ts` (ms), by the header's mapping."""
        clock = self.header.get("clock")
        return None if clock is None else int(clock["t0_unix_ns"]) + round(ts * 1e6)

    def feed(self, event: Mapping[str, Any]) -> list[Change]:
        """Take the next event; what changed."""
        kind = event.get("event")
        changes = list(self._lost(event))
        if kind == "header":
            changes += self._header(event)
        elif kind == "state":
            self._learn(event.get("codes", {}))
            self._seq = event["seq"]
            self.ts = (event["fi"] + 1) * self.frame_ms
            changes += self._say(event.get("S", ()), self.ts)
        elif kind == "gloss":
            self._learn(event["codes"])
        elif kind == "frame":
            changes += self._frame(event)
        elif kind == "gap":
            changes += self._gap(event)
        elif kind == "format":
            heard = event["input"]
            changes.append(Change(self.ts, "format", f"now {heard['rate']} Hz, {heard['channels']} channels"))
        elif kind == "hb":
            self.state, self.drift_ppm = event["state"], event.get("drift_ppm")
            self.level = event.get("level_dbfs")
        elif kind == "stats":
            self.stats = event
        elif kind == "end":
            self.state = "ended"
            changes.append(Change(self.ts, "end", f"{event['reason']}: {event['frames']} frames, {event['gaps']} lost"))
        elif kind == "error":
            changes.append(Change(self.ts, "error", f"{event['code']}: {event['message']}"))
        self.changes.extend(changes)
        return changes

    def _header(self, header: Mapping[str, Any]) -> Iterator[Change]:
        if header["epoch"] == self.header.get("epoch"):
            return
        again = self.epochs > 0
        self.epochs += 1
        self._begin(header)
        heard, name = header["input"], header["tokenizer"]["name"]
        what = f"{heard['source']} {heard['name']}, {heard['rate']} Hz, {heard['channels']} ch, tokenizer {name}"
        yield Change(0.0, "epoch", f"{'a new epoch of' if again else 'listening to'} {header['stream']}: {what}")

    def _lost(self, event: Mapping[str, Any]) -> Iterator[Change]:
        """A hole in `seq`, or what the listener says about one, is events that never reached us."""
        if event["event"] == "lost":
            lost = event["to_seq"] - event["from_seq"] + 1
            self.lost_events += lost
            self._seq = event["to_seq"]
            yield Change(self.ts, "loss", f"{lost} events lost on the way here")
        seq = event.get("seq")
        if seq is None or event["event"] == "state":
            return
        if self._seq is not None and seq > self._seq + 1:
            lost = seq - self._seq - 1
            self.lost_events += lost
            yield Change(self.ts, "loss", f"{lost} events lost on the way here")
        self._seq = seq

    def _learn(self, codes: Mapping[str, Mapping[str, str]]) -> None:
        for layer, words in codes.items():
            self._glosses.setdefault(layer, {}).update(words)

    def _frame(self, frame: Mapping[str, Any]) -> list[Change]:
        ts = float(frame["ts"])
        self.frames += 1
        self.ts = ts + self.frame_ms
        if frame.get("lat") is not None:
            self._lat.append((ts, frame["lat"]))
        while self._lat and self._lat[0][0] < ts - WINDOW_MS:
            self._lat.popleft()
        changes = self._say(frame.get("S", ()), ts)
        self.ribbon.append(tuple(self._now(layer.name) for layer in self.layers))
        return changes

    def _gap(self, gap: Mapping[str, Any]) -> list[Change]:
        ts = gap["fi"] * self.frame_ms
        self.gaps += 1
        self.gap_frames += gap["frames"]
        self.ts = ts + gap["frames"] * self.frame_ms
        self.words.clear()
        self.ribbon.extend([(None,) * len(self.layers)] * min(gap["frames"], RIBBON_FRAMES))
        return [Change(ts, "gap", f"{_lost(gap['frames'], gap.get('lost_ms'))}: {gap['cause'].replace('_', ' ')}")]

    def _now(self, layer: str) -> Codes | None:
        word = self.words.get(layer)
        return None if word is None else word.codes

    def _say(self, row: Any, ts: float) -> list[Change]:
        """The semantic layers that changed, as one line."""
        new: list[str] = []
        for layer, value in zip(self.layers, row, strict=False):
            if value is None:
                continue
            name = layer.name
            codes = tuple(value) if isinstance(value, list | tuple) else (value,)
            if self._now(name) == codes:
                continue
            phrases = tuple(self._phrase(name, code) for code in codes)
            before = self.words.get(name)
            if before is not None and before.phrases == phrases:  # another code of the same meaning
                before.codes = codes
                continue
            self.words[name] = word = Word(codes, phrases, ts)
            new.append(f"{layer.about}: {word.text}")
        return [Change(ts, "words", " · ".join(new))] if new else []

    def _phrase(self, layer: str, code: int) -> str:
        """The gloss of a code; without one, its name in the header; without that, its number."""
        named = self._names.get(layer, {}).get(code, f"code {code}")
        return self._glosses.get(layer, {}).get(str(code), named)


def labels(layers: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each layer's name, and the first word of what it is about; where several share that, or it has none, its name."""
    words = [(layer["name"], re.split(r"[^\w-]", layer["about"], maxsplit=1)[0]) for layer in layers]
    often = Counter(word for _, word in words)
    return [(name, word if word and often[word] == 1 else name) for name, word in words]


def _lost(frames: int, audio_ms: float | None) -> str:
    counted = f"{frames} frame{'s' if frames != 1 else ''}"
    if audio_ms == 0.0:
        return f"{counted} without codes, no audio lost"
    return f"{counted} lost" + ("" if audio_ms is None else f", {audio_ms:.0f} ms of audio")
