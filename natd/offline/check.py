"""Check a recording of the stream: every line valid, frames and gaps without hole or overlap."""

from __future__ import annotations

from collections.abc import Iterable

from natd.offline.recording import Line, opened, read
from natd.tiling import TilingChecker

SHOWN = 20  # faults written out; all are counted


class Recording:
    """What a recording holds and where it breaks the wire contract: `faults` as (line number, words)."""

    def __init__(self) -> None:
        self.faults: list[tuple[int, str]] = []
        self.lines = 0
        self.cut: list[int] = []  # numbers of lines within which it was cut off
        self.seconds = 0.0  # of sample time, all epochs
        self._checker = TilingChecker()
        self._epoch_s = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Events by kind, epochs, frames inside gaps, faults."""
        return self._checker.counts

    @property
    def unfinished(self) -> int:
        """Epochs without an `end`: the recording was cut off, which is no fault of the stream."""
        return self.counts["epochs"] - self.counts["ends"]

    def feed(self, lines: Iterable[Line]) -> None:
        """Check every line."""
        for line in lines:
            if line.cut:
                self.cut.append(line.number)
                continue
            self.lines += 1
            known, epochs = len(self._checker.faults), self.counts["epochs"]
            if line.event is None:  # which the checker says of, or counts as unknown
                self._checker.feed_line(line.data)
            else:
                self._checker.feed(line.event)
            self.faults += [(line.number, text) for text in self._checker.faults[known:]]
            if self.counts["epochs"] > epochs:
                self.seconds += self._epoch_s
            self._epoch_s = self._length_s()
        self.seconds, self._epoch_s = self.seconds + self._epoch_s, 0.0

    def _length_s(self) -> float:
        header = self._checker.decoder.header
        return 0.0 if header is None else self._checker.length * header.frame_samples / header.sr


def check_recording(path: str) -> int:
    """Print what the recording at `path` (- for standard input) holds and its faults; 1 if there are any."""
    recording = Recording()
    with opened(path) as file:
        recording.feed(read(file))
    counts = recording.counts
    if not counts["epochs"]:
        recording.faults.append((recording.lines, "no header: this is not a recording of natd"))
        counts["faults"] += 1
    print(f"{recording.lines} lines, {recording.seconds:.2f} s of sample time")
    print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count or name == "faults"))
    if recording.unfinished > 0:
        epochs = f"{recording.unfinished} of {counts['epochs']} epochs"
        print(f"note: {epochs} have no end here: rotated, cut off, or still being written")
    for number in recording.cut:
        print(f"note: cut off within line {number}, which is left out")
    for number, text in recording.faults[:SHOWN]:
        print(f"line {number}: {text}")
    if counts["faults"] > SHOWN:
        print(f"and {counts['faults'] - SHOWN} more faults")
    return 1 if counts["faults"] else 0
