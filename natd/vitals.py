"""What a stream says of itself: state, level, counters, the figures of the last window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from natd import wire
from natd.audio.chunks import FrameAssembler
from natd.backlog import Backlog
from natd.clock import Clock
from natd.metrics import Metrics
from natd.packer import Packer
from natd.sources import Source


class Vitals:
    """Heartbeats, `stats`, status and gauges of one stream; `assembler` is there once the source is open."""

    def __init__(
        self,
        name: str,
        epoch: str,
        source: Source,
        backlog: Backlog,
        packer: Packer,
        metrics: Metrics,
        counters: Mapping[str, int],
        window_s: float,
        frame_ms: float,
        clock: Clock,
    ) -> None:
        self.assembler: FrameAssembler | None = None
        self.draining = False
        self._name, self._epoch, self._clock = name, epoch, clock
        self._source, self._backlog, self._packer, self._metrics = source, backlog, packer, metrics
        self._own = counters
        self._window_s, self._frame_ms = window_s, frame_ms
        self._busy_ns = self._frames = 0

    @property
    def state(self) -> str:
        """`live`, `starved`, `degraded` or `draining`."""
        if self.draining:
            return "draining"
        return "degraded" if self._backlog.degraded else self._source.state

    @property
    def progress(self) -> int | None:
        """A number that grows with what is published; None while the source brings nothing."""
        return self._packer.seq if self.assembler is not None and self._source.state == "live" else None

    def counters(self) -> dict[str, int]:
        """All counters of the stream's parts."""
        parts = [self._source.counters, self._backlog.counters, self._own]
        if self.assembler is not None:
            parts.append(self.assembler.counters)
        return {name: count for part in parts for name, count in part.items()}

    def encoded(self, busy_ns: int) -> None:
        """Count one frame that took `busy_ns` of the model's time."""
        self._frames += 1
        self._busy_ns += busy_ns

    def heartbeat(self) -> wire.Heartbeat:
        """The `hb` event of this moment."""
        return wire.Heartbeat(
            epoch=self._epoch,
            last_seq=self._packer.seq,
            last_fi=self._packer.fi,
            state=self.state,
            mono_ns=self._clock.mono_ns(),
            unix_ns=self._clock.unix_ns(),
            drift_ppm=self._source.drift_ppm,
            counters=self.counters(),
            level_dbfs=self._level(),
        )

    def stats(self, layers: Sequence[wire.Layer]) -> wire.Stats:
        """The `stats` event of the window that ends now; the next one begins."""
        frames, busy_ns = self._frames, self._busy_ns
        self._frames = self._busy_ns = 0
        counters = self.counters()
        return wire.Stats(
            window_s=self._window_s,
            latency_ms=self._metrics.window(self._name),
            rtf=busy_ns / 1e6 / (frames * self._frame_ms) if frames else None,
            tokens_per_second=frames * sum(layer.per_frame for layer in layers) / self._window_s,
            bits_per_second=frames * sum(math.log2(x.vocab) * x.per_frame for x in layers) / self._window_s,
            dropped=counters["frames_shed"],
            xruns=counters.get("xruns", 0),
        )

    def summary(self) -> dict[str, Any]:
        """What the `end` event sums up."""
        return {
            "seconds": (self._packer.fi + 1) * self._frame_ms / 1000,
            "counters": self.counters(),
            "latency_ms": self._metrics.total(self._name),
        }

    def status(self) -> dict[str, Any]:
        """What a person asks first."""
        return {
            "epoch": self._epoch,
            "state": self.state,
            "source": f"{self._source.kind} {self._source.name}",
            "last_seq": self._packer.seq,
            "last_fi": self._packer.fi,
            "level_dbfs": self._level(),
            "drift_ppm": self._source.drift_ppm,
            "waiting_frames": len(self._backlog),
            "counters": self.counters(),
        }

    def gauges(self) -> dict[str, Callable[[], float | None]]:
        """What is measured when asked, by its name in `natd.metrics.GAUGES`."""
        return {
            "waiting_frames": lambda: float(len(self._backlog)),
            "drift_ppm": lambda: self._source.drift_ppm,
            "level_rms_dbfs": lambda: (self._level() or {}).get("rms"),
            "level_peak_dbfs": lambda: (self._level() or {}).get("peak"),
            "live": lambda: float(self.state == "live"),
        }

    def _level(self) -> dict[str, float] | None:
        level = None if self.assembler is None else self.assembler.level
        return None if level is None else {"peak": round(level.peak, 1), "rms": round(level.rms, 1)}
