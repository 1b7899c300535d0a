"""The build hook: kernels where a compiler is, natd without them where none is, and what is there already is taken."""

import ctypes
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from hatch_build import FOLDER, LEVELS, Kernels

BUILT = LEVELS if platform.machine() in ("x86_64", "AMD64") else (platform.machine(),)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose kernels are two functions."""
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "one.h").write_text("#define ONE 1\n")
    (tmp_path / FOLDER / "one.c").write_text('#include "one.h"\nint one(void) { return ONE; }\n')
    (tmp_path / FOLDER / "two.c").write_text("int two(void) { return 2; }\n")
    return tmp_path


def build(root: Path) -> dict[str, Any]:
    """What the hook asks hatchling for."""
    data: dict[str, Any] = {"artifacts": []}
    Kernels(str(root), {}, None, None, "", "wheel").initialize("standard", data)  # type: ignore[arg-type]
    return data


def libraries(root: Path) -> list[Path]:
    return [root / FOLDER / "built" / f"{level}.so" for level in BUILT]


def called(library: Path) -> tuple[int, int]:
    opened = ctypes.CDLL(str(library))
    return opened.one(), opened.two()


def test_a_library_of_all_sources_for_each_level_and_what_it_was_made_of(root: Path) -> None:
    data = build(root)
    sources = b"".join((root / FOLDER / name).read_bytes() for name in ("one.c", "one.h", "two.c"))
    assert called(libraries(root)[0]) == (1, 2)  # of a level that every processor here has
    for library in libraries(root):
        about = json.loads(library.with_suffix(".json").read_text())
        whole = hashlib.sha256(library.read_bytes()).hexdigest()
        assert about == {"sources": hashlib.sha256(sources).hexdigest(), "library": whole}
    assert len(data["artifacts"]) == 2 * len(BUILT) and f"/{FOLDER}/built/{BUILT[0]}.so" in data["artifacts"]
    assert data["pure_python"] is False and data["tag"].startswith("py3-none-")


def test_what_is_there_is_taken_and_what_is_damaged_is_made_anew(root: Path) -> None:
    build(root)
    first = [library.stat().st_mtime_ns for library in libraries(root)]
    assert len(build(root)["artifacts"]) == 2 * len(BUILT)
    assert [library.stat().st_mtime_ns for library in libraries(root)] == first
    damaged = libraries(root)[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    build(root)
    assert damaged.read_bytes()[:4] == b"\x7fELF" and called(damaged) == (1, 2)


def test_a_library_that_runs_somewhere_is_not_written_over(root: Path) -> None:
    build(root)
    library = libraries(root)[0]
    before, loaded = library.read_bytes(), ctypes.CDLL(str(library))
    (root / FOLDER / "one.h").write_text("#define ONE 11\n")
    with library.open("rb") as held:
        build(root)
        assert held.read() == before != library.read_bytes()
    assert loaded.one() == 1


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc", "none-of-this-name -O2"])
def test_without_a_compiler_that_works_there_are_no_kernels_and_it_is_said(
    root: Path, compiler: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(root)
    (root / FOLDER / "two.c").write_text("int two(void) { return 22; }\n")
    monkeypatch.setenv("CC", compiler)
    assert build(root) == {"artifacts": []}
    assert not any(library.exists() or library.with_suffix(".json").exists() for library in libraries(root))
    assert capsys.readouterr().err.count("natd: no kernels for ") == len(BUILT)


def test_sources_that_do_not_compile_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / FOLDER / "two.c").write_text("int two(void) { return }\n")
    assert build(root) == {"artifacts": []}
    assert "two.c" in capsys.readouterr().err
