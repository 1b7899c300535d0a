"""Compiles natd/codec/kernels/*.c when natd is built or installed; where that fails, natd goes without."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("natd") / "codec" / "kernels"
FLAGS = ["-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC"]
LEVELS = ("x86-64-v3", "x86-64-v4")  # with AVX2, with AVX-512; natd takes what the processor has


class Kernels(BuildHookInterface):  # type: ignore[type-arg]
    """One shared library for each level of processor, in a folder where no one takes them for modules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what is not there yet, and add it to the wheel."""
        folder = Path(self.root) / FOLDER
        machine = platform.machine()
        levels = LEVELS if machine in ("x86_64", "AMD64") else (machine,)
        made = [path for level in levels for path in self._library(folder, level)]
        if made:
            build_data["artifacts"] += [f"/{path.relative_to(self.root).as_posix()}" for path in made]
            system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"], build_data["tag"] = False, f"py3-none-{system}"

    def _library(self, folder: Path, level: str) -> list[Path]:
        """The library and what it was made of, as `natd.codec.kernels.library` compares them; none if it cannot be."""
        library, about = folder / "built" / f"{level}.so", folder / "built" / f"{level}.json"
        sources = sorted(folder.glob("*.[ch]"))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        if _is_made_of(library, about, digest):
            return [library, about]
        try:
            for path in (library, about):  # of other sources: better none
                path.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory() as temporary:
                fresh = Path(temporary) / library.name
                march = [f"-march={level}"] if level in LEVELS else []
                parts = [str(path) for path in sources if path.suffix == ".c"]
                _run([*_compiler(), *FLAGS, *march, "-o", str(fresh), *parts])
                content = fresh.read_bytes()
            library.parent.mkdir(exist_ok=True)
            library.write_bytes(content)
            about.write_text(_about(digest, content))
        except (OSError, ValueError, RuntimeError) as error:
            print(f"natd: no kernels for {level}, the tokenizers of others will be slower: {error}", file=sys.stderr)
            return []
        return [library, about]


def _is_made_of(library: Path, about: Path, sources: str) -> bool:
    """Whether the library is whole and of these sources: one that is not is compiled anew."""
    if not (library.is_file() and about.is_file()):
        return False
    return about.read_text() == _about(sources, library.read_bytes())


def _about(sources: str, content: bytes) -> str:
    """What lies beside a library."""
    return json.dumps({"sources": sources, "library": hashlib.sha256(content).hexdigest()})


def _compiler() -> list[str]:
    """As `CC` says, else the first that is there."""
    named = shlex.split(os.environ.get("CC", ""))
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if not named and found is None:
        raise RuntimeError("there is no C compiler")
    return named or [str(found)]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(f"{command[0]} failed: {said[0] if said else f'exit status {done.returncode}'}")
