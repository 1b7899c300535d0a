"""THE config: a TOML file, the flags over it, every fault found and named by its key.

configs/ has complete examples. Relative paths are relative to the working directory, in the file as in the flags.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from natd.config_faults import explain
from natd.endpoints import is_local
from natd.errors import ConfigError
from natd.settings import (
    Config,
    DemoStream,
    DeviceStream,
    FileStream,
    RawSettings,
    StdinStream,
    StreamSettings,
    kind_of,
)

__all__ = ["Config", "Overrides", "describe", "load"]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Flags of the command line; None where a flag was not given."""

    device: str | int | None = None
    source: str | None = None
    stream: str | None = None
    tokenizer: str | None = None
    rate: int | None = None
    channels: int | None = None
    publish: str | None = None
    ingest: str | None = None
    control: str | None = None
    http: str | None = None
    output: str | None = None
    seconds: float | None = None
    tap: Path | None = None


_SECTION_FLAGS = {
    "tokenizer": ("engine", "tokenizer"), "publish": ("publish", "endpoint"), "ingest": ("ingest", "endpoint"),
    "control": ("control", "endpoint"), "http": ("http", "endpoint"), "output": ("output", "path"),
}  # fmt: skip


_STREAM_FLAGS = ("device", "source", "stream", "rate", "channels", "tap")


def load(path: Path | None = None, overrides: Overrides | None = None) -> Config:
    """The config of the file, then the flags over it; ConfigError lists every fault, each with its key."""
    flags = overrides or Overrides()
    data = _read_toml(path) if path else {}
    faults = list(_apply(data, flags))
    try:
        # As JSON, since strict mode takes a list for a tuple and a string for a path only there.
        config = Config.model_validate_json(json.dumps(data, default=_not_json))
    except ValidationError as error:
        faults += explain(error, data, Config)
    else:
        faults += _cross_faults(config)
    if faults:
        where = f"{path}: " if path else ""
        raise ConfigError(
            f"{where}{len(faults)} fault{'s' * (len(faults) > 1)}\n" + "\n".join(f"  {f}" for f in faults)
        )
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; a number of 5000 digits; 1000 nested brackets
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _not_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    # TOML dates and times: no setting is one, so let the type check refuse them under their key.
    return {"date": str(value)}


def _apply(data: dict[str, Any], flags: Overrides) -> Iterator[str]:
    """Write the flags into the file's data; yields what contradicts."""
    for flag, (section, key) in _SECTION_FLAGS.items():
        value = getattr(flags, flag)
        if value is not None and isinstance(data.setdefault(section, {}), dict):
            data[section][key] = value
    streams = data.setdefault("stream", [{}])
    if not (isinstance(streams, list) and all(isinstance(s, dict) for s in streams)):
        return
    if flags.stream is not None and len(streams) > 1:
        chosen = [s for s in streams if s.get("name") == flags.stream]
        if not chosen:
            yield f"--stream {flags.stream}: the file has no stream of that name"
            return
        data["stream"] = streams = chosen
    if flags.seconds is not None:
        for stream in streams:
            stream["seconds"] = flags.seconds
    given = {name: value for name in _STREAM_FLAGS if (value := getattr(flags, name)) is not None}
    if given and len(streams) != 1:
        names = ", ".join(f"--{name}" for name in given)
        yield f"{names}: the file has {len(streams)} streams; choose one by --stream"
    elif given:
        yield from _apply_to_stream(streams[0], given)


def _apply_to_stream(stream: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    if "stream" in given:
        stream["name"] = given.pop("stream")
    if "device" in given and given.get("source", "device") != "device":
        yield f"--device and --source {given['source']} contradict each other"
        return
    source = "device" if "device" in given else given.pop("source", stream.get("source", "device"))
    before = kind_of(stream)
    stream["source"] = source
    if kind_of(stream) != before:  # settings of the other kind of source mean nothing here
        kept = StreamSettings.model_fields.keys() | {"source"}
        for key in [k for k in stream if k not in kept]:
            del stream[key]
    given.pop("source", None)
    raw = {key: given.pop(key) for key in ("rate", "channels") if key in given and kind_of(stream) == "stdin"}
    if raw:
        stream["raw"] = {**(stream.get("raw") or {}), **raw}
    stream.update(given)


def _cross_faults(config: Config) -> Iterator[str]:
    """What no key can know alone."""
    names = [s.name for s in config.stream]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"stream: {names.count(name)} streams are called {name!r}; names must differ"
    if sum(isinstance(s, StdinStream) for s in config.stream) > 1:
        yield "stream: only one stream can read standard input"
    bound = config.zeromq_endpoints()
    for section, endpoint in bound.items():
        if config.security is None and not is_local(endpoint):
            yield f"{section}.endpoint: other machines can reach {endpoint}; that needs [security] with CURVE keys"
    fixed = [e for e in bound.values() if not e.endswith((":*", ":0"))]
    for endpoint in sorted({e for e in fixed if fixed.count(e) > 1}):
        sections = ", ".join(f"{s}.endpoint" for s, e in bound.items() if e == endpoint)
        yield f"{sections}: all are {endpoint}; they must differ"
    path = config.output.path
    if path is not None and len(names) > 1 and "{stream}" not in path:
        yield "output.path: several streams need {stream} in the path, or their lines would mix"
    taps = [str(s.tap) for s in config.stream if s.tap]
    for tap in sorted({t for t in taps if taps.count(t) > 1}):
        yield f"stream: several streams have the tap {tap}; they must differ"


def describe(config: Config) -> str:
    """What would run, in lines for a person; ConfigError lists the files it needs and cannot use."""
    faults = list(dict.fromkeys(_file_faults(config)))
    if faults:
        raise ConfigError("\n".join([f"{len(faults)} fault{'s' * (len(faults) > 1)}", *(f"  {f}" for f in faults)]))
    engine, bound = config.engine, config.zeromq_endpoints()
    curve = "plain" if config.security is None else "CURVE"
    lines = [
        f"tokenizer {engine.tokenizer} on {engine.device}, threads {engine.threads}, backlog {engine.backlog_s:g} s"
    ]
    lines += [f"stream {s.name}: {_describe_stream(s)}" for s in config.stream]
    lines += [f"{section:8} {endpoint} ({curve})" for section, endpoint in bound.items()]
    lines += [f"{section:8} off" for section in ("publish", "control") if section not in bound]
    lines.append(f"http     {config.http.endpoint}")
    if config.output.path is not None:
        o = config.output
        for path in dict.fromkeys(str(o.path_for(s.name)) for s in config.stream):
            kept = "" if path == "-" else f", new file every {o.rotate_mb:g} MB or {o.rotate_s:g} s, {o.keep} kept"
            lines.append(f"output   {'standard output' if path == '-' else path}{kept}")
    lines.append(f"log      {config.log.level}")
    return "\n".join(lines)


def _describe_stream(stream: StreamSettings) -> str:
    match stream:
        case DeviceStream():
            which = "the system's default input" if stream.device is None else f"device {stream.device!r}"
            words = f"{which}, {stream.rate} Hz, {stream.channels} channel{'s' * (stream.channels > 1)}"
        case FileStream():
            words = (
                f"{stream.path}, {'at its own speed' if stream.paced else 'at full speed'}{', looped' * stream.loop}"
            )
        case DemoStream():
            words = f"built-in synthesiser, {'in real time' if stream.paced else 'at full speed'}, seed {stream.seed}"
        case StdinStream(raw=RawSettings() as raw):
            words = f"standard input, raw {raw.fmt}, {raw.rate} Hz, {raw.channels} channel{'s' * (raw.channels > 1)}"
        case StdinStream():
            words = "standard input, WAV"
        case _:
            words = "audio from the ingest socket"
    mix = "mean of all channels" if stream.mix == "mean" else f"channels {', '.join(map(str, stream.mix))}"
    ends = f", ends after {stream.seconds:g} s" if stream.seconds is not None else ""
    tap = f", captured samples to {stream.tap}" if stream.tap else ""
    return f"{words}, {mix}, keyframe every {stream.keyframe_interval_s:g} s{ends}{tap}"


def _file_faults(config: Config) -> Iterator[str]:
    if config.security is not None:
        try:
            config.security.listen_curve()
            config.security.feed_curve()
        except ConfigError as error:
            yield f"security: {error}"
    for stream in config.stream:
        if isinstance(stream, FileStream) and not os.access(stream.path, os.R_OK):
            yield f"stream[{stream.name}].source: cannot read {stream.path}"
        if stream.tap is not None and not os.access(stream.tap.parent, os.W_OK):
            yield f"stream[{stream.name}].tap: {_no_place(stream.tap.parent)}"
        path = config.output.path_for(stream.name)
        if path not in (None, "-") and not os.access(Path(str(path)).parent, os.W_OK):
            yield f"output.path: {_no_place(Path(str(path)).parent)}"


def _no_place(folder: Path) -> str:
    return f"cannot write in {folder}" if folder.exists() else f"the folder {folder} does not exist"
