"""Checkpoints that others published: config.json and safetensors, from a folder, the models folder or the hub's cache.

No code comes with them, nothing is unpickled, and nothing is downloaded here: `nat models fetch` does that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from natd.codebooks import store
from natd.errors import ModelError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What config.json says, the tensors by their published names, and `sha256:` over the bytes of both files."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str


def open_checkpoint(name: str, repo: str, folder: Path | None = None) -> Checkpoint:
    """The checkpoint `repo` of tokenizer `name`: from `folder` if given, else where it is installed.

    ModelError names what is missing or wrong, and the command that mends it.
    """
    if folder is None:
        folder = installed(name, repo)
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / WEIGHTS)
        digest = store.file_sha256(folder / CONFIG) + store.file_sha256(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise ModelError(f"{name}: there is no {error.filename}; {cure(name)}") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{name}: {folder} cannot be read: {error}; {cure(name)}") from error
    return Checkpoint(config, tensors, f"sha256:{_joined(digest)}")


def installed(name: str, repo: str) -> Path:
    """The folder that holds `repo`: NAME in the models folder, else a snapshot in the hub's cache; else ModelError."""
    folder = store.models_folder() / name
    if (folder / CONFIG).is_file():
        return folder
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repo, file) for file in (CONFIG, WEIGHTS)]
    if all(isinstance(path, str) for path in found):
        return Path(str(found[0])).parent
    raise ModelError(f"the weights of {name} ({repo}) are not installed; {cure(name)}")


def cure(name: str) -> str:
    """How to get the weights of a tokenizer."""
    return f"run `nat models fetch {name}`, or give a folder: {name}:from=FOLDER"


def _joined(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
