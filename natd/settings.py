"""Every setting with its type, range and default: frozen, strict sections; a part receives its own, never the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from natd.endpoints import OFF, CurveServer, check_endpoint, check_http, load_curve
from natd.wire import STREAM_NAME

MAX_STREAMS = 256
_LAYER = re.compile(r"[SA](0|[1-9][0-9]?)?")


def _text_line(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("must be one line of printable text")
    return value


def _endpoint_or_off(value: str) -> str:
    return value if value == OFF else check_endpoint(value)


def _http_or_off(value: str) -> str:
    return value if value == OFF else check_http(value)


def _torch_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,2})?", value):
        raise ValueError("must be cpu, cuda, cuda:N or auto")
    return value


def _stream_name(value: str) -> str:
    if not re.fullmatch(STREAM_NAME, value):
        raise ValueError(f"must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or a digit, not {value!r}")
    return value


def _file_path(value: Path) -> Path:
    _text_line(str(value))
    return value


Line = Annotated[str, AfterValidator(_text_line)]
File = Annotated[Path, AfterValidator(_file_path)]
Rate = Annotated[int, Field(ge=1000, le=768_000)]  # Hz
Channels = Annotated[int, Field(ge=1, le=64)]
Channel = Annotated[int, Field(ge=1, le=64)]  # counted from 1, as on the desk
Seconds = Annotated[float, Field(gt=0, le=1e9)]


# The tags keep pydantic from reporting a fault in a list once more as "not the word mean".
Mix = Annotated[
    Annotated[Literal["mean"], Tag("word")] | Annotated[tuple[Channel, ...], Tag("list")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "list"),
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EngineSettings(_Section):
    """The one model thread: which tokenizer, where it computes, how far it may fall behind."""

    tokenizer: Line = "ears"
    device: Annotated[str, AfterValidator(_torch_device)] = "cpu"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    backlog_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5


class PublishSettings(_Section):
    """The XPUB socket that subscribers connect to."""

    endpoint: Annotated[str, AfterValidator(_endpoint_or_off)] = "tcp://127.0.0.1:5556"


class ControlSettings(_Section):
    """The ROUTER socket for replay, status and requests."""

    endpoint: Annotated[str, AfterValidator(_endpoint_or_off)] = "tcp://127.0.0.1:5557"


class IngestSettings(_Section):
    """The PULL socket for audio from elsewhere; bound only if a stream has the source `zeromq:`."""

    endpoint: Annotated[str, AfterValidator(check_endpoint)] = "tcp://127.0.0.1:5555"


class HttpSettings(_Section):
    """The HTTP server on the loopback: the streams as lines, /metrics, /health."""

    endpoint: Annotated[str, AfterValidator(_http_or_off)] = "127.0.0.1:8088"


class SecuritySettings(_Section):
    """CURVE keys; with this section every ZeroMQ socket asks for one. `feeders` (default: `clients`) may send audio."""

    server_key: File
    clients: File
    feeders: File | None = None

    def listen_curve(self) -> CurveServer:
        """Keys for the publish and control sockets; ConfigError if a file is not right."""
        return load_curve(self.server_key, self.clients, "natd.listen")

    def feed_curve(self) -> CurveServer:
        """Keys for the ingest socket; ConfigError if a file is not right."""
        return load_curve(self.server_key, self.feeders or self.clients, "natd.feed")


class OutputSettings(_Section):
    """The recording of the events: a file (`{stream}` in its path is the stream's name), or `-` for standard output."""

    path: Line | None = None
    rotate_mb: Annotated[float, Field(gt=0, le=1e6)] = 256.0
    rotate_s: Annotated[float, Field(gt=0, le=1e9)] = 86_400.0
    keep: Annotated[int, Field(ge=1, le=100_000)] = 14
    free_mb: Annotated[float, Field(ge=0, le=1e9)] = 512.0

    def path_for(self, stream: str) -> str | None:
        """Where the events of `stream` go: a path, `-`, or None."""
        return self.path and self.path.replace("{stream}", stream)


class LogSettings(_Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class StatsSettings(_Section):
    """How often the stream speaks of itself: `stats` every `window_s`, `hb` every `heartbeat_s`."""

    window_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    heartbeat_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0


class RawSettings(_Section):
    """Format of raw PCM on standard input."""

    fmt: Literal["s16le", "s24le", "s32le", "f32le"] = "s16le"
    rate: Rate
    channels: Channels


class StreamSettings(_Section):
    """What every stream has, whatever its source."""

    name: Annotated[str, AfterValidator(_stream_name)] = "live"
    mix: Mix = "mean"
    seconds: Seconds | None = None
    keyframe_interval_s: Annotated[float, Field(ge=0.1, le=600)] = 5.0
    rle: tuple[str, ...] = ("S",)  # layers, or a letter for all of its kind
    tap: File | None = None

    @model_validator(mode="after")
    def _check(self) -> StreamSettings:
        if self.mix != "mean" and (not self.mix or len(set(self.mix)) != len(self.mix)):
            raise ValueError("mix must be 'mean' or a list of different channels, counted from 1")
        for layer in self.rle:
            if not _LAYER.fullmatch(layer):
                raise ValueError(f"rle lists layers such as 'S0', or 'S' for all semantic ones, not {layer!r}")
        return self

    def encoding(self, layer: str) -> str:
        """`rle` (held codes are left out) or `dense`, for a layer by its name."""
        return "rle" if layer in self.rle or layer[:1] in self.rle else "dense"


class DeviceStream(StreamSettings):
    """A sound card: by name, part of a name, `hw:N` or index; without `device` the system's default input."""

    source: Literal["device"] = "device"
    device: Line | Annotated[int, Field(ge=0)] | None = None
    rate: Rate = 48_000
    channels: Channels = 2

    @model_validator(mode="after")
    def _channels_exist(self) -> DeviceStream:
        if self.mix != "mean" and max(self.mix, default=0) > self.channels:
            raise ValueError(f"mix asks for channel {max(self.mix)} but only {self.channels} are captured")
        return self


class DemoStream(StreamSettings):
    """The built-in synthesiser."""

    source: Literal["demo:"]
    paced: bool = True
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0


class FileStream(StreamSettings):
    """A sound file; `paced` plays it at its own speed, as if it were live."""

    source: Annotated[Line, Field(pattern=r"^file:.+$")]
    paced: bool = True
    loop: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.source.removeprefix("file:"))


class ZeromqStream(StreamSettings):
    """Audio sent to the ingest socket under this stream's name; it brings its own rate and channels."""

    source: Literal["zeromq:"]


class StdinStream(StreamSettings):
    """WAV on standard input, or raw PCM where `raw` says which."""

    source: Literal["-"]
    raw: RawSettings | None = None


def kind_of(stream: Any) -> str:
    """Kind of a `[[stream]]` table by its source: device, demo, file, zeromq or stdin; anything else is not one."""
    source = stream.get("source", "device") if isinstance(stream, Mapping) else getattr(stream, "source", None)
    if isinstance(source, str) and source.startswith("file:"):
        return "file"
    return {"device": "device", "demo:": "demo", "zeromq:": "zeromq", "-": "stdin"}.get(str(source), str(source))


Stream = Annotated[
    Annotated[DeviceStream, Tag("device")]
    | Annotated[DemoStream, Tag("demo")]
    | Annotated[FileStream, Tag("file")]
    | Annotated[ZeromqStream, Tag("zeromq")]
    | Annotated[StdinStream, Tag("stdin")],
    Discriminator(kind_of),
]


class Config(_Section):
    """The whole; only the composition root sees it."""

    engine: EngineSettings = EngineSettings()
    publish: PublishSettings = PublishSettings()
    control: ControlSettings = ControlSettings()
    ingest: IngestSettings = IngestSettings()
    http: HttpSettings = HttpSettings()
    security: SecuritySettings | None = None
    output: OutputSettings = OutputSettings()
    log: LogSettings = LogSettings()
    stats: StatsSettings = StatsSettings()
    stream: Annotated[tuple[Stream, ...], Field(min_length=1, max_length=MAX_STREAMS)] = (DeviceStream(),)

    @property
    def has_ingest(self) -> bool:
        """Whether the ingest socket is bound."""
        return any(isinstance(s, ZeromqStream) for s in self.stream)

    def zeromq_endpoints(self) -> dict[str, str]:
        """Section -> endpoint of the ZeroMQ sockets that will be bound."""
        chosen = {"publish": self.publish.endpoint, "control": self.control.endpoint}
        if self.has_ingest:
            chosen["ingest"] = self.ingest.endpoint
        return {section: endpoint for section, endpoint in chosen.items() if endpoint != OFF}
