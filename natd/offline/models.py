"""Weights that do not come with natd: what is installed and whole, how it is fetched or converted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from natd.codebooks import store
from natd.codec import checkpoint
from natd.codec.families import check_config, check_tensors
from natd.codec.ssl_published import PUBLISHED as SSL
from natd.errors import ConfigError, ModelError, NatdError, OutputError
from natd.offline import installs
from natd.offline.installs import Published

# Tokenizer -> the program that reads its authors' format: never this process, never the daemon's.
CONVERTERS = {"soundstream": "natd.offline.soundstream_weights"}
# What is installed -> where it is published. A tokenizer of several models has a line for each: dac_44khz, ...
HUB = {
    "mimi": Published("kyutai/mimi"),
    "encodec": Published("facebook/encodec_24khz"),
    **{f"snac_{rate}": Published(f"hubertsiuzdak/snac_{rate}") for rate in ("24khz", "32khz", "44khz")},
    **{f"dac_{rate}": Published(f"descript/dac_{rate}") for rate in ("16khz", "24khz", "44khz")},
    **{name: Published(model.repo) for name, model in SSL.items()},
}


def print_models() -> int:
    """A line for each model whose weights are not shipped: what is there, or how to get it; 65 if one is damaged."""
    status = 0
    print(f"{store.models_folder()}:\n  model        --tokenizer")
    for name, state in states():
        status = state.exit_code if isinstance(state, ModelError) else status
        print(f"  {name:<11}  {checkpoint.asked_as(name):<16}  {state}")
    return status


def states() -> Iterator[tuple[str, str | ModelError]]:
    """Of each model whose weights are not shipped: what is there, or how to get it, or what is wrong with it."""
    folder = store.models_folder()
    for name in (*HUB, *CONVERTERS):
        try:
            yield name, _state(folder, name)
        except ModelError as error:
            yield name, error


def verify(names: list[str]) -> int:
    """Compare every byte of the models with the recorded hashes; the status of the last that is wrong, or 0."""
    folder, status = store.models_folder(), 0
    there = _there(folder)
    known = [name if name in there else _known(name) for name in names]
    if not known and not there:
        print(f"there are no models in {folder}: nat models list shows how to get them", file=sys.stderr)
    for name in known or there:
        try:
            print(f"{name}: {_verified(folder, name)}")
        except ModelError as error:
            print(f"nat: {error}", file=sys.stderr)
            status = error.exit_code
    return status


def fetch(names: list[str], accept_new: bool) -> int:
    """Download and install models, or see that they still are what is published; the status of the last that fails."""
    known = [_fetchable(name) for name in names]
    status = 0
    for name in known:
        try:
            folder, new = _fetched(name, accept_new)
            print(f"{name}: {'installed in' if new else 'as it is published, whole in'} {folder}")
        except NatdError as error:
            print(f"nat: {name}: {error}", file=sys.stderr)
            status = error.exit_code
    return status


def convert(name: str, source: Path) -> int:
    """Make the weights of `name` from the files in `source`, in a process of its own; its status if it fails."""
    name = _known(name)
    if name in CONVERTERS:
        return _convert(name, source)
    try:
        folder = installs.take(name, HUB[name], source)
    except OSError as error:
        raise OutputError(f"{store.models_folder() / name}: {error.strerror}") from error
    print(f"{name}: {_verified(store.models_folder(), name)} in {folder}")
    return 0


def _convert(name: str, source: Path) -> int:
    folder = store.models_folder()
    status = subprocess.run([sys.executable, "-m", CONVERTERS[name], str(source), str(folder)]).returncode
    if status < 0:
        raise NatdError(f"the conversion of {source} was ended by signal {-status}")
    if status == 0:
        print(f"{name}: {store.verify(folder, name)} in {folder}")
    return status


def _known(name: str) -> str:
    """The model `name`, also as a tokenizer is asked for (`snac:model=24khz`); ConfigError if there is no such."""
    found = name.replace(":model=", "_").replace("-", "_")
    if found not in (*HUB, *CONVERTERS):
        raise ConfigError(f"no model is called {name!r}: there is {', '.join((*HUB, *CONVERTERS))}")
    return found


def _fetchable(name: str) -> str:
    found = _known(name)
    if found in CONVERTERS:
        raise ConfigError(f"{name} is not on the hub: nat models convert {name} --from FOLDER")
    return found


def _fetched(name: str, accept_new: bool) -> tuple[Path, bool]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    with progress:
        task = progress.add_task(name, total=None)
        try:
            return installs.fetch(
                name, HUB[name], accept_new, lambda have, total: progress.update(task, completed=have, total=total)
            )
        except OSError as error:
            raise OutputError(f"{store.models_folder() / name}: {error.strerror}") from error


def _there(folder: Path) -> list[str]:
    flat = [path.stem for path in folder.glob("*.json") if ".glossary" not in path.name]
    return sorted([*flat, *(path.parent.name for path in folder.glob(f"*/{checkpoint.CONFIG}"))])


def _state(folder: Path, name: str) -> str:
    if name in CONVERTERS:
        if not (folder / f"{name}.json").exists():
            return f"not installed: nat models convert {name} --from FOLDER"
        return f"{_megabytes(folder.glob(f'{name}.*'))}, {store.verify(folder, name)[:19]}…, hashes right"
    own, repo = folder / name, HUB[name].repo
    if (own / checkpoint.CONFIG).is_file():
        return (
            f"{_megabytes(own / file for file in (checkpoint.CONFIG, checkpoint.WEIGHTS))}, {_verified(folder, name)}"
        )
    cached = checkpoint.hub_snapshot(repo)
    if cached is not None:
        return f"in the hub's cache: {cached}"
    begun = next(iter((own / installs.LANDING).glob("*.part")), None)
    rest = f" (goes on behind {begun.stat().st_size / 1e6:.1f} MB)" if begun else ""
    return f"not installed: nat models fetch {name}{rest}, {repo}"


def _megabytes(paths: Iterable[Path]) -> str:
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.1f} MB"


def _verified(folder: Path, name: str) -> str:
    """What is said of a model whose every byte is as recorded; ModelError else."""
    own = folder / name
    if name in CONVERTERS and not (folder / f"{name}.json").exists():
        raise ModelError(f"{name} is not in {folder}: nat models convert {name} --from FOLDER")
    if not (own / checkpoint.CONFIG).exists() and name not in HUB:
        return f"{store.verify(folder, name)}, right"
    if not (own / checkpoint.CONFIG).exists():
        raise ModelError(f"{name} is not in {folder}; {checkpoint.cure(name)}")
    digests = checkpoint.verify(own)
    record = checkpoint.manifest_of(own)
    check_config(name, checkpoint.config_of(own), own)
    check_tensors(name, installs.readable(own / checkpoint.WEIGHTS), own)
    said = f"weights sha256:{digests[checkpoint.WEIGHTS][:12]}…"
    if record is None:
        return f"{said}, put there by hand: nothing was recorded to compare with"
    commit = record.get("commit") or record.get("source") or "?"
    return f"{said}, right, {record.get('repo')} at {commit[:12] if record.get('commit') else commit}"
