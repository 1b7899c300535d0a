"""The subscriber of `nat bench latency`: a process of its own that stamps what it receives and sums it up.

`python -m natd.offline.probe ENDPOINT CONTROL STREAM SECONDS` prints a line once frames come, and JSON at the end.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

from natd_client import Listener

WAIT_S = 1.0
Summary = dict[str, float | int | None]


class Probe:
    """Figures of one stream, from its events and the monotonic times (ns) at which they were received."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {}
        self.frames: list[tuple[int, int]] = []  # frame index, received ns
        self.beats: list[int] = []  # ns from publishing a heartbeat to its receipt
        self.stats: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        self.error: str | None = None
        self.drift_ppm: float | None = None
        self.gaps = self.gap_frames = self.lost_events = self.epochs = 0

    def feed(self, event: dict[str, Any], received_ns: int) -> None:
        """Take the next event."""
        match event["event"]:
            case "header" if event["epoch"] != self.header.get("epoch"):
                self.epochs += 1
                self.header, self.frames = event, []
            case "frame":
                self.frames.append((event["fi"], received_ns))
            case "hb":
                self.beats.append(received_ns - event["mono_ns"])
                self.drift_ppm = event["drift_ppm"]
            case "gap":
                self.gaps += 1
                self.gap_frames += event["frames"]
            case "lost":
                self.lost_events += event["to_seq"] - event["from_seq"] + 1
            case "stats":
                self.stats.append(event["latency_ms"])
            case "end":
                self.end = event
            case "error":
                self.error = event["message"]

    def captured_ns(self, fi: int) -> float:
        """When the last sample of frame `fi` was captured, by the header's anchor and the drift last heard of."""
        frame_ns = self.header["frame_samples"] * 1e9 / self.header["sr"]
        pace = 1.0 - (self.drift_ppm or 0.0) * 1e-6  # a fast clock fills a frame in less time
        return float(self.header["clock"]["t0_mono_ns"] + (fi + 1) * frame_ns * pace)

    def report(self) -> dict[str, Any]:
        """All figures; times in ms."""
        received = [(at - self.captured_ns(fi)) / 1e6 for fi, at in self.frames]
        return {
            "frames": len(self.frames),
            "gaps": self.gaps,
            "gap_frames": self.gap_frames,
            "lost_events": self.lost_events,
            "epochs": self.epochs,
            "captured_to_received": summed_up(received),
            "published_to_received": summed_up([ns / 1e6 for ns in self.beats]),
            "header": self.header,
            "windows": self.stats,
            "end": self.end,
            "error": self.error,
        }


def summed_up(values: list[float]) -> Summary:
    """The exact p50, p99 and max, and how many; None where there is nothing."""
    if not values:
        return {"p50": None, "p99": None, "max": None, "count": 0}
    ordered = sorted(values)
    p50, p99 = (ordered[math.ceil(q * len(ordered)) - 1] for q in (0.5, 0.99))
    return {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(ordered[-1], 3), "count": len(ordered)}


def main(endpoint: str, control: str, stream: str, seconds: float) -> None:
    """Listen until the stream ends, or for `seconds` from the first frame on (0: no limit)."""
    probe = Probe()
    stop = math.inf
    with Listener(endpoint, stream, control or None, timeout=WAIT_S, until_end=True) as listener:
        while time.monotonic() < stop:
            try:
                event = next(listener)
            except StopIteration:
                break
            except TimeoutError:
                continue
            probe.feed(event, listener.recv_mono_ns)
            if event["event"] == "frame" and len(probe.frames) == 1:
                print("frames come", flush=True)
                stop = time.monotonic() + seconds if seconds else math.inf
    print(json.dumps(probe.report()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
