"""A pickled state dict (.bin) to safetensors; runs as a process of its own: FROM TO.

torch unpickles tensors and plain containers only (`weights_only`); whatever such a file could still do, it does not do
in the process of `nat` and never in the daemon's.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from natd.errors import ModelError, NatdError

MOST_BYTES = 4 << 30
ROOM = 16 << 30  # of address space beside four times the file: what unpacks to more is ended
NESTED = ("state_dict", "model", "model_state_dict")  # where some trainers put the tensors


def convert(source: Path, target: Path) -> None:
    """Write the tensors of `source`, by their names, to `target`; ModelError if it holds anything else."""
    try:
        size = source.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{source} has {size} bytes, {MOST_BYTES} are the most")
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except NatdError:
        raise
    except OSError as error:
        raise ModelError(f"{source} cannot be read: {error}") from error
    except Exception as error:  # what a broken or hostile file raises has no common type
        said = str(error).strip().splitlines() or [""]
        raise ModelError(f"{source} is not a file of weights alone: {type(error).__name__}: {said[0]}") from error
    tensors = tensors_of(loaded, source)
    # Copies: tied tensors share memory, which safetensors does not keep.
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, target)


def tensors_of(loaded: Any, source: Path) -> dict[str, Tensor]:
    """The state dict that was loaded; ModelError if there is anything but named dense tensors in it."""
    if isinstance(loaded, Mapping):
        inner = [loaded[key] for key in NESTED if isinstance(loaded.get(key), Mapping)]
        loaded = inner[0] if inner else loaded
    if not isinstance(loaded, Mapping) or not loaded:
        raise ModelError(f"{source} holds no named tensors")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise ModelError(f"{source}: {name!r} is {type(tensor).__name__}, not a dense tensor")
    return dict(loaded)


def main() -> int:
    """Exit status of the conversion; what is wrong on standard error."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        room = ROOM + 4 * (source.stat().st_size if source.is_file() else 0)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        convert(source, target)
    except NatdError as error:
        print(f"nat: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
