"""Checkpoints that others published: config.json and safetensors, from a folder, the models folder or the hub's cache.

No code comes with them, nothing is unpickled, and nothing is downloaded here: `nat models fetch` does that. Where a
manifest.json lies beside them (`nat models` writes it), every byte is compared with it.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from natd.codebooks import store
from natd.codec.families import check_config, check_tensors
from natd.codec.trial import finite
from natd.errors import ModelError, NotInstalled

CONFIG, WEIGHTS, MANIFEST = "config.json", "model.safetensors", "manifest.json"
PICKLED = "pytorch_model.bin"
MOST = {CONFIG: 1 << 20, MANIFEST: 1 << 20, WEIGHTS: 4 << 30}  # bytes: more than any of these models has


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What config.json says, the tensors by their published names, and `sha256:` over the bytes of both files."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str


def open_checkpoint(name: str, repo: str, folder: Path | None = None) -> Checkpoint:
    """The checkpoint `repo` of tokenizer `name`: from `folder` if given, else where it is installed.

    ModelError names what is missing or wrong, another model for one, and the command that mends it.
    """
    folder = installed(name, repo) if folder is None else folder.expanduser()
    try:
        digests = verify(folder)
        config = config_of(folder)
        check_config(name, config, folder)
        tensors = load_file(folder / WEIGHTS)
        check_tensors(name, tensors, folder)
        _check_numbers(tensors, folder)
    except ModelError as error:
        raise ModelError(f"{name}: {error}; {_mend(name, folder)}") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{name}: {folder / WEIGHTS} cannot be read: {error}; {_mend(name, folder)}") from error
    return Checkpoint(config, tensors, f"sha256:{_joined(digests[CONFIG] + digests[WEIGHTS])}")


@contextmanager
def complete(name: str) -> Iterator[None]:
    """What a tokenizer raises because config.json or a tensor is not what it must be is a ModelError of `name`."""
    try:
        yield
    except LookupError as error:
        lacking = error.args[0] if isinstance(error, KeyError) else error
        raise ModelError(f"{name}: the checkpoint lacks what the tokenizer needs: {lacking}") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{name}: config.json and the weights do not fit the tokenizer: {error}") from error


def small(key: str, value: Any) -> float:
    """What config.json has as `key`, to be added to a variance; ValueError if it cannot be that."""
    if not 0.0 < float(value) < 1.0:
        raise ValueError(f"config.json says {key}={value!r}, which is not between 0 and 1")
    return float(value)


def installed(name: str, repo: str) -> Path:
    """The folder that holds `repo`: NAME in the models folder, else a snapshot in the hub's cache; else ModelError."""
    folder = store.models_folder() / name
    if (folder / CONFIG).is_file():
        return folder
    cached = hub_snapshot(repo)
    if cached is not None:
        return cached
    raise NotInstalled(f"the weights of {name} ({repo}) are not installed; {cure(name)}")


def hub_snapshot(repo: str) -> Path | None:
    """Where the hub's own cache holds both files of `repo`; None where it does not."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repo, file) for file in (CONFIG, WEIGHTS)]
    return Path(str(found[0])).parent if all(isinstance(path, str) for path in found) else None


def verify(folder: Path) -> dict[str, str]:
    """Hex sha256 of config.json and the weights in `folder`; ModelError where they are not what its manifest says.

    Neither is read if it is no regular file, or larger than such a file can be.
    """
    recorded = manifest_of(folder)
    digests = {}
    for file in (CONFIG, WEIGHTS):
        size = checked_size(folder / file)
        row = recorded["files"][file] if recorded else None
        if row and size != row["bytes"]:
            raise ModelError(f"{folder / file} has {size} bytes, {row['bytes']} were recorded")
        digests[file] = store.file_sha256(folder / file)
        if row and digests[file] != row["sha256"]:
            raise ModelError(
                f"{folder / file} has sha256 {digests[file][:12]}…, {row['sha256'][:12]}… was recorded: "
                "it is damaged or changed"
            )
    return digests


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """What `nat models` recorded of the files in `folder`; None where there is no record, ModelError for a bad one."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    checked_size(path)
    try:
        manifest = json.loads(path.read_bytes())
        rows = [manifest["files"][file] for file in (CONFIG, WEIGHTS)] + list(manifest.get("upstream", {}).values())
        whole = all(type(row["bytes"]) is int and store.DIGEST.fullmatch(row["sha256"]) for row in rows)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, *store.NOT_JSON) as error:
        raise ModelError(f"{path} is not a manifest: {error!r}") from error
    if not whole:
        raise ModelError(f"{path} is not a manifest: sizes and hashes are missing")
    return dict(manifest)


def config_of(folder: Path) -> dict[str, Any]:
    """config.json as an object; ModelError if it is none."""
    path = folder / CONFIG
    checked_size(path)
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except store.NOT_JSON as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no JSON object")
    return config


def checked_size(path: Path, most: int | None = None) -> int:
    """Bytes of a regular file; ModelError if it is missing, something else, or above `most` (that of its name)."""
    most = MOST[path.name] if most is None else most
    try:
        about = path.stat()
    except FileNotFoundError as error:
        raise ModelError(f"there is no {path}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(about.st_mode):
        raise ModelError(f"{path} is not a file")
    if about.st_size > most:
        raise ModelError(f"{path} has {about.st_size} bytes, {most} are the most")
    return about.st_size


def cure(name: str) -> str:
    """How to get the weights of a tokenizer."""
    return f"run `nat models fetch {name}`, or give a folder: {asked_as(name)}:from=FOLDER"


def asked_as(name: str) -> str:
    """What to type for the model `snac_24khz` as a tokenizer: `snac:model=24khz`."""
    return name.replace("_", ":model=")


def _check_numbers(tensors: Mapping[str, Tensor], folder: Path) -> None:
    for name, tensor in tensors.items():
        if not finite(tensor):
            raise ModelError(f"{folder / WEIGHTS}: {name} holds what is no number")


def _mend(name: str, folder: Path) -> str:
    if not (folder / WEIGHTS).exists() and (folder / PICKLED).exists():
        return f"{PICKLED} is there, which is not read as it is: run `nat models convert {name} --from {folder}`"
    return cure(name)


def _joined(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
