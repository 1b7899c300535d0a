"""Backups of stored codebooks: whole copies under a stamp of the time, kept before anything is written over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from natd.codebooks import store
from natd.errors import ModelError

FOLDER = "backups"
ENDINGS = (".safetensors", ".glossary.json", ".json")  # the manifest is the last to be restored


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy under its stamp (UTC), its size, and its codebook_id, or what is wrong with it."""

    stamp: str
    bytes: int
    codebook_id: str
    fault: str


def now() -> datetime:
    """The time that stamps are made of."""
    return datetime.now(UTC)


def keep(folder: Path, name: str, clock: Callable[[], datetime] = now) -> str | None:
    """Copy what is stored as `name`, damaged or not; the stamp of the copy, None where nothing is stored."""
    files = [folder / f"{name}{ending}" for ending in ENDINGS]
    files = [path for path in files if path.is_file()]
    if not files:
        return None
    place = folder / FOLDER / name
    place.mkdir(parents=True, exist_ok=True)
    stamp = _free(place, clock().strftime("%Y%m%dT%H%M%SZ"))
    fresh = place / f".{stamp}"
    fresh.mkdir()
    for path in files:
        shutil.copy2(path, fresh / path.name)
    fresh.rename(place / stamp)
    return stamp


def listed(folder: Path, name: str) -> list[Backup]:
    """All backups of `name`, the oldest first."""
    place = folder / FOLDER / name
    found = []
    for copy in sorted(path for path in place.glob("[!.]*") if path.is_dir()):
        size = sum(path.stat().st_size for path in copy.iterdir() if path.is_file())
        try:
            found.append(Backup(copy.name, size, store.verify(copy, name), ""))
        except ModelError as error:
            found.append(Backup(copy.name, size, "", str(error)))
    return found


def restore(folder: Path, name: str, stamp: str) -> tuple[str, str | None]:
    """Put a backup back; its codebook_id, and the stamp of the copy of what was there before.

    ModelError where there is no such backup or it is not whole: then nothing has changed.
    """
    stamps = [backup.stamp for backup in listed(folder, name)]
    if stamp not in stamps:
        raise ModelError(f"{name} has no backup {stamp!r}; there are {', '.join(stamps) or 'none'}")
    copy = folder / FOLDER / name / stamp
    codebook_id = store.verify(copy, name)
    before = keep(folder, name)
    for ending in ENDINGS:
        file = f"{name}{ending}"
        store.replace(folder / file, (copy / file).read_bytes())
    return codebook_id, before


def _free(place: Path, stamp: str) -> str:
    """The stamp, or with a number where two copies are made in one second."""
    taken = {path.name for path in place.iterdir()}
    names = [stamp, *(f"{stamp}-{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
