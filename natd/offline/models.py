"""Weights that do not come with natd: what is installed and whole, and how it is made from its authors' files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from natd.codebooks import store
from natd.errors import ConfigError, ModelError, NatdError

# Tokenizer -> the program that reads its authors' format: never this process, never the daemon's.
CONVERTERS = {"soundstream": "natd.offline.soundstream_weights"}


def print_models() -> int:
    """A line for each tokenizer whose weights are not shipped: what is there, or how to get it."""
    folder = store.models_folder()
    print(f"{folder}:")
    for name in sorted(CONVERTERS):
        if (folder / f"{name}.json").exists():
            print(f"  {name}  {_size(folder, name) / 1e6:.1f} MB, {store.verify(folder, name)[:19]}…, hashes right")
        else:
            print(f"  {name}  not installed: nat models convert {name} --from FOLDER")
    return 0


def verify(names: list[str]) -> int:
    """Compare every byte of the models with the recorded hashes; the status of the last that is wrong, or 0."""
    folder, status = store.models_folder(), 0
    for name in names or sorted(path.stem for path in folder.glob("*.json") if ".glossary" not in path.name):
        try:
            print(f"{name}: {store.verify(folder, name)}, right")
        except ModelError as error:
            print(f"nat: {error}", file=sys.stderr)
            status = error.exit_code
    return status


def convert(name: str, source: Path) -> int:
    """Make the weights of `name` from the files in `source`, in a process of its own; its status if it fails."""
    if name not in CONVERTERS:
        raise ConfigError(f"nothing to convert for {name!r}: there is {', '.join(sorted(CONVERTERS))}")
    folder = store.models_folder()
    status = subprocess.run([sys.executable, "-m", CONVERTERS[name], str(source), str(folder)]).returncode
    if status < 0:
        raise NatdError(f"the conversion of {source} was ended by signal {-status}")
    if status == 0:
        print(f"{name}: {store.verify(folder, name)} in {folder}")
    return status


def _size(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{name}.*"))
