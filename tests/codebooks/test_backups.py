"""Backups of codebooks: whole, named by the time, and the way back."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from natd.codebooks import backups, store
from natd.errors import ModelError

NAME, SETTINGS = "toy-0123456789abcdef", {"name": "toy"}


def at(second: int) -> datetime:
    return datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC)


def stored(folder: Path, value: float) -> str:
    codes = torch.arange(12.0).view(4, 3) + value
    return str(store.save(folder, NAME, SETTINGS, {"S0.codes": codes}, {}, {"key": ""})["codebook_id"])


def test_nothing_stored_is_no_backup(tmp_path: Path) -> None:
    assert backups.keep(tmp_path, NAME) is None and backups.listed(tmp_path, NAME) == []
    with pytest.raises(ModelError, match="no backup '20260102T030405Z'; there are none"):
        backups.restore(tmp_path, NAME, "20260102T030405Z")


def test_backups_are_listed_by_time_and_two_of_a_second_are_two(tmp_path: Path) -> None:
    first = stored(tmp_path, 0.0)
    stamps = [backups.keep(tmp_path, NAME, lambda: at(5)), backups.keep(tmp_path, NAME, lambda: at(5))]
    second = stored(tmp_path, 1.0)
    stamps.append(backups.keep(tmp_path, NAME, lambda: at(6)))
    assert stamps == ["20260102T030405Z", "20260102T030405Z-2", "20260102T030406Z"]
    listed = backups.listed(tmp_path, NAME)
    assert [b.stamp for b in listed] == stamps and all(b.fault == "" and b.bytes > 100 for b in listed)
    assert [b.codebook_id for b in listed] == [first, first, second]


def test_restoring_keeps_what_was_there(tmp_path: Path) -> None:
    first = stored(tmp_path, 0.0)
    stamp = backups.keep(tmp_path, NAME, lambda: at(5))
    second = stored(tmp_path, 1.0)
    assert stamp is not None
    identity, before = backups.restore(tmp_path, NAME, stamp)
    assert identity == first == store.load(tmp_path, NAME, SETTINGS)[2]
    assert before is not None and before != stamp
    assert backups.restore(tmp_path, NAME, before)[0] == second == store.verify(tmp_path, NAME)


def test_a_damaged_backup_is_listed_as_such_and_not_restored(tmp_path: Path) -> None:
    stored(tmp_path, 0.0)
    stamp = backups.keep(tmp_path, NAME, lambda: at(5))
    second = stored(tmp_path, 1.0)
    assert stamp is not None
    (tmp_path / "backups" / NAME / stamp / f"{NAME}.safetensors").write_bytes(b"")
    assert "truncated" in backups.listed(tmp_path, NAME)[0].fault
    with pytest.raises(ModelError, match="truncated"):
        backups.restore(tmp_path, NAME, stamp)
    assert store.verify(tmp_path, NAME) == second and len(backups.listed(tmp_path, NAME)) == 1


@pytest.mark.parametrize("stamp", ["", "..", "../..", "/", "20260102T030405Z/.."])
def test_a_stamp_is_never_a_path(tmp_path: Path, stamp: str) -> None:
    stored(tmp_path, 0.0)
    backups.keep(tmp_path, NAME, lambda: at(5))
    with pytest.raises(ModelError, match="there are 20260102T030405Z"):
        backups.restore(tmp_path, NAME, stamp)


def test_what_is_damaged_is_kept_as_it_is(tmp_path: Path) -> None:
    stored(tmp_path, 0.0)
    (tmp_path / f"{NAME}.json").write_text("{")
    assert backups.keep(tmp_path, NAME, lambda: at(5)) == "20260102T030405Z"
    assert "not a manifest" in backups.listed(tmp_path, NAME)[0].fault
