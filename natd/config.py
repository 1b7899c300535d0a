"""THE config: a TOML file, the flags over it, every fault found and named by its key.

configs/ has complete examples. Relative paths are relative to the working directory, in the file as in the flags.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from natd.config_faults import explain
from natd.endpoints import is_local
from natd.errors import ConfigError
from natd.settings import Config, StdinStream, StreamConfig, kind_of

__all__ = ["Config", "Overrides", "load"]


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


_SECTION_FLAGS = {
    "tokenizer": ("engine", "tokenizer"), "publish": ("publish", "endpoint"), "ingest": ("ingest", "endpoint"),
    "control": ("control", "endpoint"), "http": ("http", "endpoint"), "output": ("output", "path"),
}  # fmt: skip


_STREAM_FLAGS = ("device", "source", "stream", "rate", "channels")


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
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _not_json(value: Any) -> Any:
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
        kept = StreamConfig.model_fields.keys() | {"source"}
        for key in [k for k in stream if k not in kept]:
            del stream[key]
    given.pop("source", None)
    if kind_of(stream) == "stdin" and given.keys() & {"rate", "channels"}:
        stream["raw"] = {**(stream.get("raw") or {}), **given}
    else:
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
