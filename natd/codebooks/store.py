"""Weights on disk: safetensors beside a manifest that records size, sha256 and identity; nothing else is ever read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from natd.codebooks import books
from natd.errors import ModelError

MOST_BYTES = 4 << 30  # of weights: more than any tokenizer has
MOST_WORDS = 64 << 20  # of a manifest or a legend
DIGEST = re.compile(r"[0-9a-f]{64}")
NOT_JSON = (ValueError, RecursionError)  # what json.loads raises for bytes that are no JSON, or too deep


def models_folder() -> Path:
    """Where converted weights lie: $NATD_MODELS, else ~/.local/share/natd/models."""
    return Path(os.environ.get("NATD_MODELS") or Path.home() / ".local" / "share" / "natd" / "models")


def codebook_id(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """`sha256:` over the encoder's settings and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def fitted_name(name: str, settings: Mapping[str, Any]) -> str:
    """`hubert-0123456789abcdef`: what codebooks fitted to the encoder of these settings are stored as."""
    return f"{name}-{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]}"


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    legend: Any,
    fit: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write NAME.safetensors, NAME.glossary.json and NAME.json (the manifest, last); returns the manifest.

    `fit` says how codebooks were fitted; their shapes are recorded with it, and `load` looks at every code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, words = folder / f"{name}.safetensors", folder / f"{name}.glossary.json"
    replace(weights, safetensors.torch.save({k: tensors[k].contiguous() for k in sorted(tensors)}))
    replace(words, (json.dumps(legend, separators=(",", ":"), allow_nan=False) + "\n").encode())
    manifest: dict[str, Any] = {
        "codebook_id": codebook_id(settings, tensors),
        "settings": dict(settings),
        "files": {p.name: {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in (weights, words)},
    }
    if fit is not None:
        manifest["fit"] = {**fit, "shapes": books.shapes(tensors)}
    replace(folder / f"{name}.json", (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    return manifest


def load(
    folder: Path, name: str, settings: Mapping[str, Any], cure: str = "nat train ears"
) -> tuple[dict[str, Tensor], Any, str]:
    """Tensors, legend and codebook_id as `save` wrote them; ModelError with the reason if a byte or setting differs."""
    manifest = read_manifest(folder, name)
    if manifest["settings"] != dict(settings):
        other = ", ".join(sorted(_different(manifest["settings"], dict(settings))))
        raise ModelError(
            f"{folder / name}.json was written for other encoder settings ({other}): make it again with `{cure}`"
        )
    return _opened(folder, name, manifest)


def verify(folder: Path, name: str) -> str:
    """The codebook_id of `name`, if it can be loaded for the settings it records; ModelError with the reason if not."""
    return _opened(folder, name, read_manifest(folder, name))[2]


def read_manifest(folder: Path, name: str) -> dict[str, Any]:
    """The manifest of `name`: `codebook_id`, `settings`, `files`, maybe `fit`; ModelError if malformed."""
    path = folder / f"{name}.json"
    data = _regular(path, MOST_WORDS)
    try:
        manifest = json.loads(data)
    except NOT_JSON as error:
        raise ModelError(f"{path} is not a manifest of weights: {error!r}") from error
    fault = _fault(manifest, {f"{name}.safetensors", f"{name}.glossary.json"})
    if fault:
        raise ModelError(f"{path} is not a manifest of weights: {fault}")
    return dict(manifest)


def _opened(folder: Path, name: str, manifest: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any, str]:
    what = f"{name!r} in {folder}"
    found_files = {file: _verified(folder / file, recorded) for file, recorded in manifest["files"].items()}
    try:
        # From the bytes that were verified; a mapped file could change under a running daemon.
        tensors = safetensors.torch.load(found_files[f"{name}.safetensors"])
        legend = json.loads(found_files[f"{name}.glossary.json"])
    except (SafetensorError, KeyError, *NOT_JSON) as error:
        raise ModelError(f"weights of {what} cannot be read: {error}") from error
    if not isinstance(legend, dict):
        raise ModelError(f"the legend of {what} is no JSON object")
    found = codebook_id(manifest["settings"], tensors)
    if found != manifest["codebook_id"]:
        raise ModelError(f"weights of {what} are {found}, the manifest says {manifest['codebook_id']}")
    if "fit" in manifest:
        books.check(what, tensors, manifest["fit"].get("shapes"))
    return tensors, legend, found


def _fault(manifest: Any, files: set[str]) -> str | None:
    """What is wrong with a manifest; None where it is as `save` writes it."""
    if not isinstance(manifest, dict):
        return "it is no JSON object"
    if not isinstance(manifest.get("codebook_id"), str):
        return "codebook_id is no text"
    if not all(isinstance(manifest.get(key, {}), dict) for key in ("settings", "fit")) or "settings" not in manifest:
        return "settings or fit is no object"
    recorded = manifest.get("files")
    if not isinstance(recorded, dict) or set(recorded) != files:
        return f"files are not {', '.join(sorted(files))}"
    for name, row in recorded.items():
        size, digest = (row.get("bytes"), row.get("sha256")) if isinstance(row, dict) else (None, None)
        if type(size) is not int or not 0 <= size <= MOST_BYTES:
            return f"bytes of {name} is {size!r}"
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            return f"sha256 of {name} is {digest!r}"
    return None


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {key for key in {*a, *b} if key not in a or key not in b or a[key] != b[key]}


def replace(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes; ModelError for anything else, a pipe included."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ModelError(f"{path} is not a file")
        if about.st_size > most:
            raise ModelError(f"{path} has {about.st_size} bytes, {most} are the most")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def _verified(path: Path, recorded: Mapping[str, Any]) -> bytes:
    """The bytes of a file, if they are the recorded ones."""
    data = _regular(path, MOST_BYTES)
    if len(data) != recorded["bytes"]:
        raise ModelError(
            f"{path} has {len(data)} bytes, {recorded['bytes']} were recorded: it is truncated or another file"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != recorded["sha256"]:
        raise ModelError(
            f"{path} has sha256 {digest[:12]}…, {recorded['sha256'][:12]}… was recorded: it is damaged or changed"
        )
    return data
