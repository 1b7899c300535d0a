"""The published checkpoints in the models folder: NAME/config.json, NAME/model.safetensors and a record of both.

manifest.json says where they came from, and the size and sha256 of what came and of what lies there; whatever differs
from it later is refused.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from natd.codebooks import store
from natd.codec.checkpoint import CONFIG, MANIFEST, MOST, PICKLED, WEIGHTS, checked_size, config_of, manifest_of, verify
from natd.codec.families import check_config, check_tensors
from natd.errors import ModelError, NatdError
from natd.offline import hub
from natd.offline.hub import Advance, Remote

LANDING = ".fetch"  # what is on its way, below NAME
LIMITS = MOST | {PICKLED: MOST[WEIGHTS]}


@dataclass(frozen=True, slots=True)
class Published:
    """Where a checkpoint is published."""

    repo: str
    revision: str = "main"


def fetch(name: str, published: Published, accept_new: bool, advance: Advance) -> tuple[Path, bool]:
    """Download and install a checkpoint, or see that what is installed is still what is published; (folder, is new).

    ModelError where the hub does not give it, or gives other files than were recorded, unless `accept_new`.
    """
    folder = store.models_folder() / name
    record = manifest_of(folder)
    files = [CONFIG, _weights_file(published)]
    with _landing(folder) as landing:
        if record and _whole(folder) and _unchanged(record, published, files, landing, advance):
            return folder, False
        came = {}
        for file in files:
            recorded = None if accept_new else (record or {}).get("upstream", {}).get(file)
            came[file] = _fetched(published, landing / file, recorded, advance)
        _install_fetched(landing, folder, published, came)
    return folder, True


def _fetched(published: Published, path: Path, recorded: Mapping[str, Any] | None, advance: Advance) -> Remote:
    """One file in the landing; ModelError if it is not the recorded one."""
    url = hub.url_of(published.repo, published.revision, path.name)
    if recorded:
        _refuse_other(url, hub.look(url), recorded)
    came = hub.download(url, path, LIMITS[path.name], advance)
    if recorded and came.sha256 != recorded["sha256"]:
        raise ModelError(_changed(url, came.sha256, recorded["sha256"]))
    return came


def _install_fetched(landing: Path, folder: Path, published: Published, came: Mapping[str, Remote]) -> None:
    source = {"repo": published.repo, "revision": published.revision, "commit": came[CONFIG].commit}
    upstream = {
        file: {key: asdict(remote)[key] for key in ("bytes", "etag", "sha256")} for file, remote in came.items()
    }
    install(landing, folder, {**source, "upstream": upstream})


@contextmanager
def _landing(folder: Path) -> Iterator[Path]:
    """A folder for what is on its way; afterwards only a begun download stays in it, and the folder if it has one."""
    landing = folder / LANDING
    landing.mkdir(parents=True, exist_ok=True)
    _sweep(landing)
    try:
        yield landing
    finally:
        _sweep(landing)
        if not any(landing.iterdir()):
            landing.rmdir()
            if not any(folder.iterdir()):
                folder.rmdir()


def _sweep(landing: Path) -> None:
    for path in landing.iterdir():
        if not path.name.endswith((".part", ".part.json")):
            path.unlink()


def take(name: str, published: Published, source: Path) -> Path:
    """Install the checkpoint that lies in the folder `source`; ModelError if it holds none."""
    folder = store.models_folder() / name
    weights = [file for file in (WEIGHTS, PICKLED) if (source / file).is_file()]
    if not weights:
        raise ModelError(f"{source} holds neither {WEIGHTS} nor {PICKLED}")
    check_config(name, config_of(source), source)  # before anything is copied
    if weights[0] == WEIGHTS:
        check_tensors(name, readable(source / WEIGHTS), source)
    upstream: dict[str, Any] = {}
    with _landing(folder) as landing:
        for file in (CONFIG, weights[0]):
            upstream[file] = {"bytes": checked_size(source / file, LIMITS[file])}
            shutil.copyfile(source / file, landing / file)
            upstream[file]["sha256"] = store.file_sha256(landing / file)
        install(landing, folder, {"repo": published.repo, "source": str(source.resolve()), "upstream": upstream})
    return folder


def install(landing: Path, folder: Path, origin: Mapping[str, Any]) -> None:
    """Put the files of `landing` into `folder`, as safetensors, and the record last.

    ModelError if they are none, or of another model than the one that the folder is named after.
    """
    where = origin.get("source", origin["repo"])
    check_config(folder.name, config_of(landing), where)
    if not (landing / WEIGHTS).exists():
        unpickle(landing / PICKLED, landing / WEIGHTS)
        (landing / PICKLED).unlink()
    check_tensors(folder.name, readable(landing / WEIGHTS), where)
    files = {
        file: {"bytes": checked_size(landing / file), "sha256": store.file_sha256(landing / file)}
        for file in (CONFIG, WEIGHTS)
    }
    for file in files:
        (landing / file).replace(folder / file)
    record = json.dumps({**origin, "files": files}, indent=1, sort_keys=True) + "\n"
    store.replace(folder / MANIFEST, record.encode())


def unpickle(source: Path, target: Path) -> None:
    """A .bin to safetensors in a process of its own; ModelError with what it says if it does not come through."""
    command = [sys.executable, "-m", "natd.offline.pickled", str(source), str(target)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode < 0:
        raise NatdError(f"the conversion of {source} was ended by signal {-done.returncode}")
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ModelError(said[-1].removeprefix("nat: "))


def readable(path: Path) -> list[str]:
    """The names of the tensors; ModelError unless the file is safetensors with at least one."""
    checked_size(path)
    try:
        with safe_open(path, "pt") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not safetensors: {error}") from error
    if not names:
        raise ModelError(f"{path} holds no tensor")
    return names


def _weights_file(published: Published) -> str:
    """What the weights are called there: safetensors where there are such."""
    for file in (WEIGHTS, PICKLED):
        if hub.look(hub.url_of(published.repo, published.revision, file)) is not None:
            return file
    raise ModelError(f"{published.repo} holds neither {WEIGHTS} nor {PICKLED}, or there is no such repository")


def _whole(folder: Path) -> bool:
    try:
        verify(folder)
    except ModelError:
        return False
    return True


def _unchanged(
    record: Mapping[str, Any], published: Published, files: list[str], landing: Path, advance: Advance
) -> bool:
    """Whether the hub still has the recorded files; looked at by hash or etag, else downloaded to see."""
    for file in files:
        url = hub.url_of(published.repo, published.revision, file)
        recorded, remote = record.get("upstream", {}).get(file), hub.look(url)
        if recorded is None or remote is None or remote.bytes != recorded["bytes"]:
            return False
        same = remote.sha256 == recorded["sha256"] or (remote.etag != "" and remote.etag == recorded.get("etag"))
        if not same and not remote.sha256:
            same = hub.download(url, landing / file, LIMITS[file], advance).sha256 == recorded["sha256"]
        if not same:
            return False
    return True


def _refuse_other(url: str, remote: Remote | None, recorded: Mapping[str, Any]) -> None:
    """ModelError before anything is downloaded, where size or hash already tell that it is another file."""
    if remote is None:
        raise ModelError(f"{url}: it was there when it was fetched first, now there is nothing")
    if remote.sha256 and remote.sha256 != recorded["sha256"]:
        raise ModelError(_changed(url, remote.sha256, recorded["sha256"]))
    if remote.bytes != recorded["bytes"]:
        raise ModelError(_changed(url, f"{remote.bytes} bytes", f"{recorded['bytes']} bytes"))


def _changed(url: str, now: str, recorded: str) -> str:
    now, recorded = (text if text.endswith("bytes") else f"sha256 {text[:12]}…" for text in (now, recorded))
    return f"{url} has changed: it is {now}, {recorded} was recorded; --accept-new takes it as it is now"
