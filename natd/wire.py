"""THE wire format, `lam_audio_tokens` 2.0: events, their encoding and decoding. No socket, no clock.

clients/PROTOCOL.md is the public text of what stands here; `tiling.py` holds what follows a whole stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta

from natd.errors import WireError

SCHEMA = "lam_audio_tokens"
FORMAT_VERSION = "2.0"
CAUSES = (
    "overrun", "xrun", "device_lost", "encoder_late", "ingest_seq_gap", "ingest_invalid",
    "nonfinite", "format_change", "epoch_start", "reload",
)  # fmt: skip
END_REASONS = ("eof", "shutdown", "error")
STATES = ("live", "starved", "degraded", "draining")
RESET_REASONS = ("epoch", "too_old", "future")
MAX_LINE = 16 << 20  # bytes `decode` looks at; a header with a long legend stays far below
MAX_INDEX = 2**53 - 1  # the largest whole number every JSON reader holds exactly


def _one_of(words: tuple[str, ...]) -> Meta:
    return Meta(pattern=rf"^({'|'.join(words)})\Z")


Index = Annotated[int, Meta(ge=0, le=MAX_INDEX)]
Last = Annotated[int, Meta(ge=-1, le=MAX_INDEX)]  # -1: none yet
Count = Annotated[int, Meta(ge=1, le=MAX_INDEX)]
Nanoseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
STREAM_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
StreamName = Annotated[str, Meta(pattern=rf"^{STREAM_NAME}\Z")]
Epoch = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,64}\Z")]
LayerName = Annotated[str, Meta(pattern=r"^[SA](0|[1-9][0-9]?)\Z")]
Code = Annotated[int, Meta(ge=0, lt=2**31)]
Codes = Code | list[Code] | None  # a layer of a frame: a code, `per_frame` codes, or held (same as the frame before)
Row = Annotated[tuple[Codes, ...], Meta(max_length=100)]  # the layers of one group
Glosses = dict[str, dict[str, str]]  # layer name -> code -> phrase


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of codes: `S0`… semantic or `A0`… acoustic; `encoding` is `dense` or `rle` (held codes are null)."""

    name: LayerName
    type: Annotated[str, _one_of(("semantic", "acoustic"))]
    about: str
    vocab: Annotated[int, Meta(ge=1, le=2**31)]
    per_frame: Annotated[int, Meta(ge=1, le=1024)] = 1
    encoding: Annotated[str, _one_of(("dense", "rle"))] = "dense"


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
    rate: Count
    channels: Count
    resampler: str
    delay_ms: float


@dataclass(frozen=True, slots=True)
class ClockInfo:
    """Wall and monotonic time (ns) of sample 0."""

    t0_unix_ns: Nanoseconds
    t0_mono_ns: Nanoseconds


@dataclass(frozen=True, slots=True)
class Header:
    """All a reader must know before the first frame."""

    stream: StreamName
    epoch: Epoch
    tokenizer: TokenizerInfo
    sr: Count
    frame_samples: Count
    input: InputInfo
    clock: ClockInfo
    layers: Annotated[tuple[Layer, ...], Meta(min_length=1, max_length=200)]
    keyframe_interval_s: Annotated[float, Meta(gt=0)]
    legend: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """Codes of one frame: `ts` (ms of sample time) of its first sample; `lat` (ms) from capture to the sinks."""

    seq: Index
    fi: Index
    ts: float
    S: Row = ()
    A: Row = ()
    kf: bool = False
    lat: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames [fi, fi + frames) were lost at the source; `samples` = frames * frame_samples.

    `lost_ms` is the length of what was really lost, before rounding out to whole frames (None if not known).
    """

    seq: Index
    fi: Index
    frames: Count
    samples: Count
    cause: Annotated[str, _one_of(CAUSES)]
    lost_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Gloss:
    """Words for codes about to be used for the first time: layer -> code -> phrase."""

    seq: Index
    codes: Glosses


@dataclass(frozen=True, slots=True)
class FormatEvent:
    """The source changed rate or channels; the tokenizer's state was reset."""

    seq: Index
    input: InputInfo


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Once a second, also when nothing else is sent; not sequenced."""

    epoch: Epoch
    last_seq: Last
    last_fi: Last
    state: Annotated[str, _one_of(STATES)]
    mono_ns: Nanoseconds
    unix_ns: Nanoseconds
    drift_ppm: float | None
    counters: dict[str, Index]
    level_dbfs: dict[str, float] | None = None  # peak and rms of the latest second of the mix; None before


@dataclass(frozen=True, slots=True)
class Stats:
    """A window of figures; histograms in ms by stage; null where nothing was measured. Not sequenced."""

    window_s: float
    latency_ms: dict[str, dict[str, float | None]]
    rtf: float | None
    tokens_per_second: float
    bits_per_second: float
    dropped: Index
    xruns: Index


@dataclass(frozen=True, slots=True)
class State:
    """The snapshot a joiner gets: all codes after event `seq`; the live stream goes on at seq + 1.

    Both groups are empty while no code holds (before the first frame, after a gap or format): a keyframe comes next.
    `codes` holds every gloss announced in this epoch so far.
    """

    seq: Last
    fi: Last
    S: Row = ()
    A: Row = ()
    codes: Glosses = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The stream is over; `frames` published plus `gaps` (frames inside gaps) is its length; `stats` sums it up."""

    seq: Index
    reason: Annotated[str, _one_of(END_REASONS)]
    frames: Index
    gaps: Index
    stats: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reset:
    """A replay cannot be given; header and state follow."""

    reason: Annotated[str, _one_of(RESET_REASONS)]
    oldest_seq: Index


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Answer to a bad request, or a fatal error before an `end`."""

    code: str
    message: str


Sequenced = Frame | Gap | Gloss | FormatEvent | StreamEnd  # those that have a `seq`
Event = Header | Sequenced | Heartbeat | Stats | State | Reset | ErrorEvent

NAMES: dict[type, str] = {
    Header: "header", Frame: "frame", Gap: "gap", Gloss: "gloss", FormatEvent: "format", Heartbeat: "hb",
    Stats: "stats", State: "state", StreamEnd: "end", Reset: "reset", ErrorEvent: "error",
}  # fmt: skip


def encode(event: Event) -> bytes:
    """One line of JSON with LF; WireError for a number that JSON cannot carry or that is not Python's own."""
    try:
        if isinstance(event, Frame):
            body = _frame(event)
        elif isinstance(event, Header):
            body = _header(event)
        else:
            body = {"event": NAMES[type(event)]} | {f.name: getattr(event, f.name) for f in fields(event)}
            if isinstance(event, State):
                body = {k: v for k, v in body.items() if k not in ("S", "A") or v}
                _check_codes(event.S + event.A, held=False)
        _check_finite(body)
        # A copy: orjson's own result keeps 4 KiB allocated however short it is, and lines wait in queues and logs.
        return bytes(memoryview(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)))
    except (TypeError, RecursionError) as error:
        raise WireError(f"{NAMES.get(type(event), type(event).__name__)} cannot be written: {error}") from error


def _frame(frame: Frame) -> dict[str, Any]:
    _check_codes(frame.S + frame.A, held=not frame.kf)
    body: dict[str, Any] = {"event": "frame", "seq": frame.seq, "fi": frame.fi, "ts": round(frame.ts, 3)}
    if frame.kf:
        body["kf"] = True
    for group, row in (("S", frame.S), ("A", frame.A)):
        if any(codes is not None for codes in row):
            body[group] = row
    if frame.lat is not None:
        body["lat"] = round(frame.lat, 3)
    return body


def _header(header: Header) -> dict[str, Any]:
    body: dict[str, Any] = {"event": "header", "schema": SCHEMA, "format_version": FORMAT_VERSION}
    for f in fields(header):
        body[f.name] = getattr(header, f.name)
        if f.name == "frame_samples":
            body["frame_ms"] = header.frame_samples * 1000 / header.sr
            body["frames_per_second"] = header.sr / header.frame_samples
            body["time_units"] = "ms"
    return body


def _check_codes(row: tuple[Codes, ...], held: bool) -> None:
    for codes in row:
        if codes is None and not held:
            raise WireError("a keyframe or state holds a null code")
        for code in codes if isinstance(codes, list | tuple) else () if codes is None else (codes,):
            if type(code) is not int or not 0 <= code < 2**31:
                raise WireError(f"{code!r} ({type(code).__name__}) is not a code: a whole number from 0 is")


def _check_finite(value: Any) -> None:
    # orjson writes NaN and infinity as null, which would read as "not measured".
    if isinstance(value, float):
        if not isfinite(value):
            raise WireError(f"{value} is not a JSON number")
    elif isinstance(value, dict):
        for item in value.values():
            _check_finite(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_finite(item)
    elif is_dataclass(value):
        for f in fields(value):
            _check_finite(getattr(value, f.name))


class _Probe(msgspec.Struct):
    event: str
    schema: str = ""
    format_version: str = ""


_probe = msgspec.json.Decoder(_Probe)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(kind) for kind, name in NAMES.items()}


def decode(line: bytes) -> Event | None:
    """The event of one line; None for an event this version does not know (skip it); WireError for anything else."""
    if len(line) > MAX_LINE:
        raise WireError(f"a line of {len(line)} bytes; at most {MAX_LINE} are read")
    try:
        probe = _probe.decode(line)
        if probe.event not in _decoders:
            return None
        if probe.event == "header" and (probe.schema != SCHEMA or probe.format_version.split(".")[0] != "2"):
            raise WireError(f"header says {probe.schema!r} {probe.format_version!r}; this reader knows {SCHEMA} 2.x")
        event: Event = _decoders[probe.event].decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not an event: {error}") from error
    if (isinstance(event, State) or (isinstance(event, Frame) and event.kf)) and None in event.S + event.A:
        raise WireError(f"a keyframe or state holds a null code at frame {event.fi}")
    return event
