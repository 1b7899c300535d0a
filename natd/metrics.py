"""Every figure natd keeps, in one place: counters, gauges and latency stages with unit and meaning; and their keeper.

A part counts in a plain dict (`self.counters`), whose keys are declared in `COUNTERS`; `Metrics` reads it when asked.
"""

from __future__ import annotations

import math
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from natd import procfs
from natd.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure counts (`unit`) and means."""

    unit: str
    about: str


COUNTERS: dict[str, Figure] = {
    # stream
    "frames": Figure("frames", "encoded and published"),
    "gaps": Figure("events", "gaps declared"),
    "gap_frames": Figure("frames", "covered by declared gaps"),
    "frames_shed": Figure("frames", "dropped, oldest first, because the encoder was late; each is in a gap"),
    # engine
    "engine_frames": Figure("frames", "encoded by the model, all streams"),
    "engine_steps": Figure("steps", "of the model; a step encodes one frame of each waiting stream"),
    # sources and the way to whole frames
    "samples_in": Figure("samples", "of one channel that arrived from the source"),
    "samples_lost": Figure("samples", "of one channel that the source lost; each is in a gap"),
    "samples_nonfinite": Figure("samples", "that were no numbers or far beyond full scale; each is lost"),
    "overruns": Figure("times", "that the oldest audio was lost because it was not fetched in time"),
    "overrun_samples": Figure("samples", "of one channel lost in overruns"),
    "xruns": Figure("times", "that the sound driver said it lost audio"),
    "device_lost": Figure("times", "that a capture device went on after it had gone or hung"),
    "device_lost_samples": Figure("samples", "of one channel lost meanwhile"),
    "device_restarts": Figure("times", "that the capture process was given up and started again"),
    "file_loops": Figure("times", "that a file began again"),
    "partial_bytes": Figure("bytes", "at the end of standard input that make no whole sample"),
    "missing_bytes": Figure("bytes", "that the WAV header on standard input promised and that never came"),
    # ZeroMQ ingest: ingest_messages == all refused + duplicates + accepted
    "ingest_messages": Figure("messages", "received on the ingest socket"),
    "ingest_accepted": Figure("messages", "of audio taken"),
    "ingest_duplicates": Figure("messages", "that repeat or overlap what was taken before; dropped"),
    "ingest_refused_frames": Figure("messages", "refused: not three parts"),
    "ingest_refused_stream": Figure("messages", "refused: the first part is no stream name"),
    "ingest_refused_unknown_stream": Figure("messages", "refused: for a stream without ZeroMQ source"),
    "ingest_refused_header": Figure("messages", "refused: the header is no msgpack of the right types, or too long"),
    "ingest_refused_version": Figure("messages", "refused: of another version"),
    "ingest_refused_rate": Figure("messages", "refused: rate out of range"),
    "ingest_refused_channels": Figure("messages", "refused: channel count out of range, or less than the mix asks for"),
    "ingest_refused_fmt": Figure("messages", "refused: unknown sample format"),
    "ingest_refused_length": Figure("messages", "refused: no whole samples, or none"),
    "ingest_refused_too_long": Figure("messages", "refused: more than 1 s or 1 MiB"),
    "ingest_refused_producer": Figure("messages", "refused: a second producer on a stream"),
    "ingest_refused_quarantined": Figure("messages", "refused: the stream changed too often, by two producers perhaps"),
    "ingest_quarantines": Figure("times", "that a stream was closed for 10 s because it changed too often"),
    "ingest_runs": Figure("times", "that a producer started again, changed its format or was replaced"),
    "ingest_lost_samples": Figure("samples", "of one channel missing in a producer's count; each is in a gap"),
    # recordings
    "recording_lines": Figure("lines", "written to files or standard output"),
    "recording_bytes": Figure("bytes", "written to files or standard output"),
    "recording_dropped": Figure(
        "lines", "not recorded: the writer was behind, stopped by an error, or of another stream"
    ),
    "recording_errors": Figure("times", "that writing a recording failed"),
    "recording_files": Figure("files", "begun by recordings"),
    # publishing and control by ZeroMQ
    "joins": Figure("subscriptions", "to streams that were begun"),
    "subscriptions_refused": Figure("messages", "from subscribers that name no stream"),
    "slow_episodes": Figure("times", "that a subscriber's queue was found full; it misses events until it reads again"),
    "publish_dropped": Figure("events", "dropped before publishing because the sockets' thread was behind"),
    "breaker_trips": Figure("times", "that all subscribers were cut off because of a flood of subscriptions"),
    "control_requests": Figure("requests", "received on the control socket"),
    "control_refused": Figure("requests", "answered with an error: malformed, unknown, or too many"),
    "control_failed": Figure("requests", "answered with an error because the daemon failed or was busy"),
    "control_dropped": Figure("replies", "not sent because the asker had gone or did not read"),
    "replays": Figure("requests", "for a replay that were answered"),
    "replayed_events": Figure("events", "sent again in replays"),
    "peers_refused": Figure("handshakes", "refused: no key, or one that is not allowed"),
    "handshakes_failed": Figure("connections", "that were no ZeroMQ, spoke too late, or were refused"),
    "accepts_failed": Figure("connections", "not accepted because file descriptors ran out"),
    # HTTP
    "http_requests": Figure("requests", "received"),
    "http_refused": Figure("requests", "answered with an error, and connections cut for being silent or too many"),
    "http_clients": Figure("clients", "that began to follow a stream"),
    "http_dropped": Figure("lines", "dropped for clients that read too slowly; they get a new state"),
    "http_cut": Figure("clients", "cut off because they had stopped reading"),
    # metrics, logs and the supervisor
    "latencies_negative": Figure("records", "with an end before its start, kept as 0"),
    "log_dropped": Figure("lines", "not written because standard error was blocked"),
    "notify_failed": Figure("messages", "to systemd that could not be sent"),
    "log_suppressed": Figure("lines", "left out because the same cause had just been logged"),
}

GAUGES: dict[str, Figure] = {
    "up_seconds": Figure("s", "since the daemon started"),
    "process_resident_bytes": Figure("bytes", "resident memory of the daemon and of its children together"),
    "waiting_frames": Figure("frames", "waiting for the encoder"),
    "drift_ppm": Figure("ppm", "of the source's clock against the monotonic clock"),
    "level_rms_dbfs": Figure("dBFS", "of the latest second"),
    "level_peak_dbfs": Figure("dBFS", "of the latest second"),
    "live": Figure("0 or 1", "1 while audio arrives"),
    "subscribers": Figure("peers", "now connected"),
}

# Latency of one frame, by stage; all times are CLOCK_MONOTONIC. `captured` is when the frame's last sample was there.
STAGES: dict[str, str] = {
    "resample": "captured to resampled and assembled into a frame",
    "encode": "resampled to encoded, waiting for the model included",
    "publish": "encoded to handed to the sinks",
    "end_to_end": "captured to handed to the sinks",
}
# What only a subscriber can measure, with the same clock when it runs on the same machine (`nat bench latency`).
SUBSCRIBER_STAGES: dict[str, str] = {
    "receive": "handed to the sinks to received by the subscriber",
    "heard": "captured to received by the subscriber",
}

LOWEST_US, HIGHEST_US, DIGITS = 1, 60_000_000, 3
WINDOW_RECORDS = 4096  # per stage and stream; a window that sees more keeps the latest
# Seconds; close together around the frame periods in use (12.5 to 80 frames a second).
BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08,
    0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
_BUCKETS_NS = [round(b * 1e9) for b in BUCKETS_S]
QUANTILES = {"p50": 50.0, "p99": 99.0}


class Latency:
    """One stage of one stream: exact over the last window, in HdrHistogram and in buckets since the start."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._at = array("q", bytes(8 * WINDOW_RECORDS))
        self._ns = array("q", bytes(8 * WINDOW_RECORDS))
        self._all = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        self.buckets = [0] * (len(_BUCKETS_NS) + 1)
        self.count = self.sum_ns = self.max_ns = 0

    def record(self, ns: int, now_ns: int) -> None:
        """Take one latency (ns, not negative) seen at `now_ns`."""
        i = self.count % WINDOW_RECORDS
        self._at[i], self._ns[i] = now_ns, ns
        self.count += 1
        self.sum_ns += ns
        if ns > self.max_ns:
            self.max_ns = ns
        self.buckets[bisect_left(_BUCKETS_NS, ns)] += 1
        self._all.record_value(min(ns // 1000, HIGHEST_US))

    def window(self, now_ns: int) -> dict[str, float | None]:
        """p50, p99 and max (ms) of the last window; None where nothing was measured."""
        kept = min(self.count, WINDOW_RECORDS)
        since = now_ns - self._window_ns
        recent = sorted(self._ns[i] for i in range(kept) if self._at[i] > since)
        if not recent:
            return {**dict.fromkeys(QUANTILES), "max": None}
        ranks = {name: recent[math.ceil(q / 100 * len(recent)) - 1] for name, q in QUANTILES.items()}
        return {name: _ms(ns) for name, ns in {**ranks, "max": recent[-1]}.items()}

    def total(self) -> dict[str, float | None]:
        """p50, p99 (to 3 digits), max (exact), all ms, and count since the start."""
        if not self.count:
            return {**dict.fromkeys(QUANTILES), "max": None, "count": 0}
        found = self._all.get_percentile_to_value_dict(list(QUANTILES.values()))
        ranks = {name: _ms(found[q] * 1000) for name, q in QUANTILES.items()}
        return {**ranks, "max": _ms(self.max_ns), "count": self.count}


class Metrics:
    """Keeps latencies, reads the counters of parts and gauges when asked. One thread (the loop) records.

    Memory: 0.2 MiB for each stage and stream in use; `forget` gives it back.
    """

    def __init__(self, window_s: float = 10.0, clock: Clock | None = None) -> None:
        self.counters = {"latencies_negative": 0}
        self._clock: Clock = clock or SystemClock()
        self._window_ns = round(window_s * 1e9)
        self._started_ns = self._clock.mono_ns()
        self._latency: dict[tuple[str, str], Latency] = {}
        self._watched: list[tuple[dict[str, str], Mapping[str, int] | Callable[[], Mapping[str, int]]]] = []
        self._gauges: list[tuple[str, dict[str, str], Callable[[], float | None]]] = []
        self.watch({}, self.counters)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Scrape(self))

    def record(self, stream: str, stage: str, ns: int) -> None:
        """Take the latency of one frame (ns; below 0 counts as 0); `stage` is a key of `STAGES`, else KeyError."""
        latency = self._latency.get((stream, stage))
        if latency is None:
            STAGES[stage]
            latency = self._latency[stream, stage] = Latency(self._window_ns)
        if ns < 0:
            self.counters["latencies_negative"] += 1
            ns = 0
        latency.record(ns, self._clock.mono_ns())

    def watch(self, labels: Mapping[str, str], counters: Mapping[str, int] | Callable[[], Mapping[str, int]]) -> None:
        """Read `counters` at every scrape; equal names under equal labels are summed.

        A mapping must be the one that its part keeps up; where a part builds a new one each time, give a function.
        KeyError names what `COUNTERS` does not declare.
        """
        now = counters() if callable(counters) else counters
        unknown = sorted(now.keys() - COUNTERS.keys())
        if unknown:
            raise KeyError(f"counters not declared in natd.metrics: {', '.join(unknown)}")
        self._watched.append((dict(labels), counters))

    def gauge(self, name: str, fn: Callable[[], float | None], labels: Mapping[str, str] | None = None) -> None:
        """Ask `fn` at every scrape, in the place of one with the same name and labels; None leaves the sample out.

        `name` is a key of `GAUGES` (KeyError otherwise).
        """
        GAUGES[name]
        self._gauges = [g for g in self._gauges if g[:2] != (name, labels or {})]
        self._gauges.append((name, dict(labels or {}), fn))

    def settle(self, stream: str) -> None:
        """Keep the counts of a stream that has ended, and let its parts go: another run of it may begin."""
        counts = {key: count for key, count in self.counted().items() if dict(key[1]).get("stream") == stream}
        self._drop(stream)
        for (name, labels), count in counts.items():
            self._watched.append((dict(labels), {name: count}))

    def forget(self, stream: str) -> None:
        """Drop all that is labelled with a stream that is over."""
        self._latency = {key: value for key, value in self._latency.items() if key[0] != stream}
        self._drop(stream)

    def _drop(self, stream: str) -> None:
        self._watched = [w for w in self._watched if w[0].get("stream") != stream]
        self._gauges = [g for g in self._gauges if g[1].get("stream") != stream]

    def window(self, stream: str) -> dict[str, dict[str, float | None]]:
        """Stage -> p50, p99, max (ms) of the last window, for the `stats` event."""
        now = self._clock.mono_ns()
        return {stage: self._latency_of(stream, stage).window(now) for stage in STAGES}

    def total(self, stream: str) -> dict[str, dict[str, float | None]]:
        """Stage -> p50, p99, max (ms) and count since the start, for the `end` event."""
        return {stage: self._latency_of(stream, stage).total() for stage in STAGES}

    def prometheus_text(self) -> bytes:
        """The text exposition format 0.0.4."""
        return generate_latest(self._registry)

    def counted(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
        """(counter, sorted labels) -> sum over the parts that count it under these labels."""
        sums: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        for labels, counters in self._watched:
            now = counters() if callable(counters) else counters
            for name, count in list(now.items()):
                key = (name, tuple(sorted(labels.items())))
                sums[key] = sums.get(key, 0) + count
        return sums

    def gauged(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """(gauge, labels, value) of those that have a value now."""
        yield "up_seconds", {}, (self._clock.mono_ns() - self._started_ns) / 1e9
        for name, labels, fn in self._gauges:
            if (value := fn()) is not None:
                yield name, labels, value

    def latencies(self) -> list[tuple[tuple[str, str], Latency]]:
        """((stream, stage), latency) of all that was recorded."""
        return sorted(self._latency.items(), key=lambda item: item[0])

    def _latency_of(self, stream: str, stage: str) -> Latency:
        return self._latency.get((stream, stage)) or _NOTHING


_NOTHING = Latency(0)


class _Scrape(Collector):
    """Families for the exposition, built anew at each scrape: what is exported is what the parts hold now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._gauges()
        yield from self._processes()
        family = HistogramMetricFamily(
            "natd_latency_seconds", "latency of a frame by stage", labels=["stream", "stage"]
        )
        for key, latency in self._metrics.latencies():
            below, buckets = 0, []
            for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], latency.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric(list(key), buckets, latency.sum_ns / 1e9)
        yield family

    def _counters(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for (name, labels), count in sorted(self._metrics.counted().items()):
            figure = COUNTERS[name]
            if name not in families:
                families[name] = CounterMetricFamily(f"natd_{name}", f"{figure.unit} {figure.about}")
            families[name].add_sample(f"natd_{name}_total", dict(labels), count)
        yield from families.values()

    def _gauges(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._metrics.gauged():
            figure = GAUGES[name]
            if name not in families:
                families[name] = GaugeMetricFamily(f"natd_{name}", f"{figure.about} ({figure.unit})")
            families[name].add_sample(f"natd_{name}", labels, value)
        yield from families.values()

    def _processes(self) -> Iterator[Metric]:
        own = os.getpid()
        figures = {"daemon": procfs.together([own]), "children": procfs.together(procfs.children(own))}
        memory = GaugeMetricFamily("natd_process_resident_bytes", GAUGES["process_resident_bytes"].about)
        cpu = CounterMetricFamily("natd_process_cpu_seconds", "s of processor time, user and system")
        for process, usage in figures.items():
            memory.add_sample("natd_process_resident_bytes", {"process": process}, usage.resident_bytes)
            cpu.add_sample("natd_process_cpu_seconds_total", {"process": process}, usage.cpu_s)
        yield from (memory, cpu)


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)
