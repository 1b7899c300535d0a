"""Compiles natd/codec/kernels/*.c when natd is built or installed; without a C compiler natd goes without them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("natd") / "codec" / "kernels"
FLAGS = ["-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC"]
LEVELS = ("x86-64-v3", "x86-64-v4")  # with AVX2, with AVX-512; natd takes what the processor has


class Kernels(BuildHookInterface):  # type: ignore[type-arg]
    """One shared library for each level of processor."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what came of it to the wheel."""
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            print("natd: no C compiler: the tokenizers of other authors will be slower on the CPU", file=sys.stderr)
            return
        folder = Path(self.root) / FOLDER
        (folder / "built").mkdir(exist_ok=True)
        machine = platform.machine()
        sources = sorted(folder.glob("*.[ch]"))
        # What the libraries were made of: natd refuses those of other sources than lie beside them.
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        flags = [*FLAGS, f'-DNATD_SOURCES="{digest}"']
        levels = LEVELS if machine in ("x86_64", "AMD64") else (machine,)
        for level in levels:
            library = folder / "built" / f"{level}.so"  # in a folder of their own, where no one takes them for modules
            march = [f"-march={level}"] if level in LEVELS else []
            # Beside it and then in its place: a daemon that runs keeps the one it has opened.
            fresh = library.with_suffix(".new")
            subprocess.run(
                [compiler, *flags, *march, "-o", fresh, *(path for path in sources if path.suffix == ".c")], check=True
            )
            fresh.replace(library)
            build_data["artifacts"].append(f"/{library.relative_to(self.root).as_posix()}")
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"], build_data["tag"] = False, f"py3-none-{system}"
