"""Weights on disk: safetensors beside a manifest that records size, sha256 and identity; nothing else is ever read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from natd.errors import ModelError


def models_folder() -> Path:
    """Where converted weights lie: $NATD_MODELS, else ~/.local/share/natd/models."""
    return Path(os.environ.get("NATD_MODELS") or Path.home() / ".local" / "share" / "natd" / "models")


def codebook_id(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """`sha256:` over the encoder's settings and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def fitted_name(name: str, settings: Mapping[str, Any]) -> str:
    """`hubert-0123456789abcdef`: what codebooks fitted to the encoder of these settings are stored as."""
    return f"{name}-{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]}"


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    folder: Path, name: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], legend: Any
) -> dict[str, Any]:
    """Write NAME.safetensors, NAME.glossary.json and NAME.json (the manifest, last); returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, words = folder / f"{name}.safetensors", folder / f"{name}.glossary.json"
    _replace(weights, safetensors.torch.save({k: tensors[k].contiguous() for k in sorted(tensors)}))
    _replace(words, (json.dumps(legend, separators=(",", ":"), allow_nan=False) + "\n").encode())
    manifest = {
        "codebook_id": codebook_id(settings, tensors),
        "settings": dict(settings),
        "files": {p.name: {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in (weights, words)},
    }
    _replace(folder / f"{name}.json", (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    return manifest


def load(
    folder: Path, name: str, settings: Mapping[str, Any], cure: str = "nat train ears"
) -> tuple[dict[str, Tensor], Any, str]:
    """Tensors, legend and codebook_id as `save` wrote them; ModelError with the reason if a byte or setting differs."""
    manifest = _manifest(folder / f"{name}.json")
    if manifest["settings"] != dict(settings):
        raise ModelError(f"{folder / name}.json was written for other encoder settings: make it again with `{cure}`")
    found_files = {file: _verified(folder / file, recorded) for file, recorded in manifest["files"].items()}
    try:
        # From the bytes that were verified; a mapped file could change under a running daemon.
        tensors = safetensors.torch.load(found_files[f"{name}.safetensors"])
        legend = json.loads(found_files[f"{name}.glossary.json"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"weights of {name!r} in {folder} cannot be read: {error}") from error
    found = codebook_id(settings, tensors)
    if found != manifest["codebook_id"]:
        raise ModelError(f"weights of {name!r} in {folder} are {found}, the manifest says {manifest['codebook_id']}")
    return tensors, legend, found


def verify(folder: Path, name: str) -> str:
    """The codebook_id of `name`, if every recorded file has its recorded bytes; ModelError with the reason if not."""
    manifest = _manifest(folder / f"{name}.json")
    for file, recorded in manifest["files"].items():
        _verified(folder / file, recorded)
    return str(manifest["codebook_id"])


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        manifest["codebook_id"], manifest["settings"], manifest["files"].items()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a manifest of weights: {error!r}") from error
    return dict(manifest)


def _replace(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)


def _verified(path: Path, recorded: Mapping[str, Any]) -> bytes:
    """The bytes of a file, if they are the recorded ones."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == recorded["bytes"] else b""
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if size != recorded["bytes"]:
        raise ModelError(f"{path} has {size} bytes, {recorded['bytes']} were recorded: it is truncated or another file")
    digest = hashlib.sha256(data).hexdigest()
    if digest != recorded["sha256"]:
        raise ModelError(
            f"{path} has sha256 {digest[:12]}…, {recorded['sha256'][:12]}… was recorded: it is damaged or changed"
        )
    return data
