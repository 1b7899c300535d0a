"""From checked messages to source events: holes declared, repeats dropped, restarts told from repeats. No socket.

A producer counts its samples (`first_sample`) and its messages (`seq`). The law, message by message:

- `first_sample` where it is expected: the samples go on, whatever `seq` says.
- ahead of it: the hole is a Loss, "ingest_invalid" if a message of the stream was refused since the last good one,
  else "ingest_seq_gap". More than `MAX_HOLE_S` ahead: a new run.
- behind it: a repeat or an overlap, dropped whole and counted. Not "the new part of it": where two producers share a
  stream that would splice their sounds together. But with `seq` 0 and no `producer` id, or after `SILENT_S` without a
  good message, it is a producer that has started again: a new run.
- another rate, channel count or sample format: a new run.
- another `producer` id, or none: refused while the first one is heard, a new run after `SILENT_S` of silence. So a
  producer with an id that starts again at once waits that long.

A new run is a FormatChange (sample count from 0, the tokenizer afresh) whose `lost_s` is the monotonic time that no
audio covers; 0 where only the format changes and `seq` goes on. More than `MAX_RUNS` new runs in a second are two
producers, or one that does not count: all is refused for `QUARANTINE_S`.
"""

from __future__ import annotations

from collections import deque

from natd.audio.chunks import Block, Format, FormatChange, Loss, SourceEvent
from natd.audio.pcm import RawFormat, decode
from natd.sources.ingest import Message, Refused

SILENT_S = 2.0
MAX_HOLE_S = 3600
MAX_RUNS = 8  # in a second
QUARANTINE_S = 10.0


class Sequence:
    """One stream's place on the sample axis; `format` is what the source said before the first message."""

    def __init__(self, format: Format) -> None:
        self.counters = dict.fromkeys(
            ("ingest_accepted", "ingest_duplicates", "ingest_runs", "ingest_quarantines", "ingest_lost_samples"), 0
        )
        self._format = format
        self._raw: RawFormat | None = None  # of the current run; None before the first message
        self._producer: str | None = None
        self._base = 0  # the producer's number of the run's first sample
        self._expected = 0
        self._last = (-1, 0, 0)  # seq, first, count of the last good message
        self._heard_ns = 0
        self._refused = False
        self._runs: deque[int] = deque(maxlen=MAX_RUNS)
        self._closed_until_ns: int | None = None

    def refuse(self) -> None:
        """A message of this stream was refused: its samples are missing."""
        self._refused = True

    def starved(self, now_ns: int) -> bool:
        """Whether no good message has come for `SILENT_S`, or none ever."""
        return self._raw is None or now_ns - self._heard_ns > SILENT_S * 1e9

    def accept(self, message: Message, now_ns: int) -> list[SourceEvent]:
        """What the message means, received at `now_ns` (monotonic): its samples last, none for a repeat.

        Refused("producer") or Refused("quarantined") if it may not speak now.
        """
        if self._closed_until_ns is not None and now_ns < self._closed_until_ns:
            raise Refused("quarantined")
        if self._raw is None:
            start = [] if message.format == self._format else [FormatChange(message.format)]
            self._begin(message)
            return [*start, self._take(message, now_ns)]
        if message.producer != self._producer and not self.starved(now_ns):
            raise Refused("producer")
        if self._is_new_run(message, now_ns):
            change = self._new_run(message, now_ns)
            return [change, self._take(message, now_ns)]
        hole = message.first - self._expected
        if hole < 0:
            self.counters["ingest_duplicates"] += 1
            return []
        events: list[SourceEvent] = []
        if hole:
            self.counters["ingest_lost_samples"] += hole
            cause = "ingest_invalid" if self._refused else "ingest_seq_gap"
            events.append(Loss(self._expected - self._base, hole, cause))
        return [*events, self._take(message, now_ns)]

    def _is_new_run(self, message: Message, now_ns: int) -> bool:
        if self._closed_until_ns is not None or message.producer != self._producer:
            return True
        if (message.seq, message.first, message.count) == self._last:
            return False
        if message.raw != self._raw or message.first - self._expected > MAX_HOLE_S * message.raw.rate:
            return True
        from_zero = message.seq == 0 and message.producer is None  # with an id a restart has another
        return message.first < self._expected and (from_zero or self.starved(now_ns))

    def _new_run(self, message: Message, now_ns: int) -> FormatChange:
        if len(self._runs) == MAX_RUNS and now_ns - self._runs[0] < 1_000_000_000:
            self._runs.clear()
            self._closed_until_ns = now_ns + round(QUARANTINE_S * 1e9)
            self.counters["ingest_quarantines"] += 1
            raise Refused("quarantined")
        self._runs.append(now_ns)
        self.counters["ingest_runs"] += 1
        same = self._closed_until_ns is None and message.producer == self._producer
        goes_on = same and message.raw != self._raw and message.seq == self._last[0] + 1
        uncovered_s = (now_ns - self._heard_ns) / 1e9 - message.count / message.raw.rate
        self._begin(message)
        return FormatChange(message.format, 0.0 if goes_on else max(0.0, uncovered_s))

    def _begin(self, message: Message) -> None:
        self._raw, self._format, self._producer = message.raw, message.format, message.producer
        self._base = self._expected = message.first
        self._closed_until_ns = None

    def _take(self, message: Message, now_ns: int) -> Block:
        self._last = (message.seq, message.first, message.count)
        self._expected = message.first + message.count
        self._heard_ns, self._refused = now_ns, False
        self.counters["ingest_accepted"] += 1
        samples = decode(message.pcm, message.raw.fmt, message.raw.channels)
        return Block(message.first - self._base, samples, now_ns)
