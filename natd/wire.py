"""THE wire format, `lam_audio_tokens` 2.0: events, their encoding and decoding. No socket, no clock.

clients/PROTOCOL.md is the public text of what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA = "lam_audio_tokens"
FORMAT_VERSION = "2.0"
CAUSES = (
    "overrun", "xrun", "device_lost", "encoder_late", "ingest_seq_gap", "ingest_invalid",
    "nonfinite", "format_change", "epoch_start", "reload",
)  # fmt: skip
END_REASONS = ("eof", "shutdown", "error")
STATES = ("live", "starved", "degraded", "draining")

Codes = int | list[int] | None  # one layer of one frame: a code, `per_frame` codes, or held (same as the frame before)


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of codes: `S0`… semantic or `A0`… acoustic; `encoding` is `dense` or `rle` (held codes are null)."""

    name: str
    type: str
    about: str
    vocab: int
    per_frame: int = 1
    encoding: str = "dense"


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """Identity of the codes: the same codebook_id and samples give the same codes everywhere."""

    name: str
    version: str
    codebook_id: str
    causal: bool = True
    lookahead_ms: float = 0.0
    dtype: str = "float32"
    batch_invariant: bool = True


@dataclass(frozen=True, slots=True)
class InputInfo:
    """What feeds the stream: `delay_ms` is the resampler's."""

    source: str
    name: str
    rate: int
    channels: int
    resampler: str
    delay_ms: float


@dataclass(frozen=True, slots=True)
class ClockInfo:
    """Wall and monotonic time (ns) of sample 0."""

    t0_unix_ns: int
    t0_mono_ns: int


@dataclass(frozen=True, slots=True)
class Header:
    """All a reader must know before the first frame."""

    stream: str
    epoch: str
    tokenizer: TokenizerInfo
    sr: int
    frame_samples: int
    input: InputInfo
    clock: ClockInfo
    layers: tuple[Layer, ...]
    keyframe_interval_s: float
    legend: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """Codes of one frame; `ts` (ms of sample time) of its first sample; `lat` = ms from capture of its last to publishing."""

    seq: int
    fi: int
    ts: float
    S: tuple[Codes, ...] = ()
    A: tuple[Codes, ...] = ()
    kf: bool = False
    lat: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames [fi, fi + frames) were lost at the source; `samples` = frames * frame_samples.

    `lost_ms` is the length of what was really lost, before rounding out to whole frames (None if not known).
    """

    seq: int
    fi: int
    frames: int
    samples: int
    cause: str
    lost_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Gloss:
    """Words for codes about to be used for the first time: layer -> code -> phrase."""

    seq: int
    codes: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class FormatEvent:
    """The source changed rate or channels; the tokenizer's state was reset."""

    seq: int
    input: InputInfo


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Once a second, also when nothing else is sent; not sequenced."""

    epoch: str
    last_seq: int
    last_fi: int
    state: str
    mono_ns: int
    unix_ns: int
    drift_ppm: float | None
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """A window of figures; histograms in ms by stage; null where nothing was measured. Not sequenced."""

    window_s: float
    latency_ms: dict[str, dict[str, float | None]]
    rtf: float | None
    tokens_per_second: float
    bits_per_second: float
    dropped: int
    xruns: int


@dataclass(frozen=True, slots=True)
class State:
    """The snapshot a joiner gets: all codes after event `seq`; the live stream goes on at seq + 1."""

    seq: int
    fi: int
    S: tuple[Codes, ...] = ()
    A: tuple[Codes, ...] = ()
    codes: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The stream is over; `stats` sums up the epoch."""

    seq: int
    reason: str
    frames: int
    gaps: int
    stats: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reset:
    """A replay cannot be given; header and state follow."""

    reason: str
    oldest_seq: int


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Answer to a bad request, or a fatal error before an `end`."""

    code: str
    message: str


Event = Header | Frame | Gap | Gloss | FormatEvent | Heartbeat | Stats | State | StreamEnd | Reset | ErrorEvent
