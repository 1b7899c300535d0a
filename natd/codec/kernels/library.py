"""The kernels' shared libraries: one for each level of processor, made by `hatch_build.py` when natd is installed."""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

from natd.errors import ModelError

LEVELS = {"AVX512": ("x86-64-v4", "x86-64-v3"), "AVX2": ("x86-64-v3",)}  # torch's word for a processor -> builds


class Windows(ctypes.Structure):
    """`windows` of product.h."""

    _fields_ = [
        ("at", ctypes.c_void_p), ("batch", ctypes.c_ssize_t), ("steps", ctypes.c_ssize_t),
        ("batch_stride", ctypes.c_ssize_t), ("step_stride", ctypes.c_ssize_t),
    ]  # fmt: skip


class AttentionShape(ctypes.Structure):
    """`attention_shape` of attention.c."""

    _fields_ = [(name, ctypes.c_ssize_t) for name in ("batch", "steps", "heads", "depth", "ring", "window")]


class Codebook(ctypes.Structure):
    """`codebook` of residual.c."""

    _fields_ = [
        ("panels", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("codes", ctypes.c_void_p), ("count", ctypes.c_ssize_t),
    ]  # fmt: skip


class Quantization(ctypes.Structure):
    """`quantization` of chain.h."""

    _fields_ = [("scale", ctypes.c_double), ("zero", ctypes.c_ssize_t)]


class Layer(ctypes.Structure):
    """`layer` of chain.h."""

    _fields_ = [
        *((name, ctypes.c_ssize_t) for name in ("inputs", "outputs", "groups", "kernel", "stride", "dilation")),
        *((name, ctypes.c_ssize_t) for name in ("whole", "leaky", "begins", "sum")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias")),
        ("given", Quantization), ("act", Quantization), ("table", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("multiplier", "half", "right", "away", "zero")),
        ("added", Quantization), ("total", Quantization), ("sums", ctypes.c_void_p),
    ]  # fmt: skip


class Chain(ctypes.Structure):
    """`chain` of chain.h."""

    _fields_ = [
        ("layers", ctypes.POINTER(Layer)), ("count", ctypes.c_ssize_t), ("samples", ctypes.c_ssize_t),
        ("widest", ctypes.c_ssize_t), ("out", Quantization), ("slope", ctypes.c_double),
    ]  # fmt: skip


POINTER, SIZE, NUMBER = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
SIGNATURES: dict[str, list[Any]] = {
    "natd_product": [ctypes.POINTER(Windows), POINTER, NUMBER, *[SIZE] * 4, POINTER, POINTER, NUMBER, POINTER, POINTER],
    "natd_elu": [POINTER, SIZE, POINTER],
    "natd_snake": [POINTER, SIZE, SIZE, POINTER, POINTER, POINTER],
    "natd_depthwise": [POINTER, *[SIZE] * 4, POINTER, SIZE, SIZE, POINTER, POINTER],
    "natd_lstm": [POINTER, *[SIZE] * 3, *[POINTER] * 5],
    "natd_residual": [POINTER, SIZE, SIZE, ctypes.POINTER(Codebook), SIZE, POINTER],
    "natd_gram": [POINTER, SIZE, SIZE, POINTER, POINTER, POINTER, SIZE, SIZE, POINTER, POINTER],
    "natd_chain_float": [ctypes.POINTER(Chain), POINTER, SIZE, *[POINTER] * 3],
    "natd_chain_double": [ctypes.POINTER(Chain), POINTER, SIZE, *[POINTER] * 3],
    "natd_ring_attention": [ctypes.POINTER(AttentionShape), *[POINTER] * 7],
}


def fits_none() -> bool:
    """Whether this processor is one that no build is made for: x86 without AVX2."""
    return platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() not in LEVELS


def _fitting() -> tuple[str, ...]:
    if platform.machine() in ("x86_64", "AMD64"):
        return LEVELS.get(torch.backends.cpu.get_cpu_capability(), ())
    return (platform.machine(),)


def fastest() -> str | None:
    """The build that this processor runs best; None where none is made for it."""
    return next(iter(_fitting()), None)


def builds() -> list[Path]:
    """The libraries that this processor runs, the fastest first."""
    return [path for level in _fitting() if (path := Path(__file__).parent / "built" / f"{level}.so").exists()]


def opened(path: Path) -> ctypes.CDLL:
    """The library at `path`, its functions declared; ModelError if it is damaged or not of these sources."""
    cure = "install natd again, where there is a C compiler"
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == about["library"]
        made_of = about["sources"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be compared with what was built ({error!r}): {cure}") from error
    if not whole:
        raise ModelError(f"{path} is damaged: {cure}")
    if made_of != sources():
        raise ModelError(f"{path} was compiled from other sources than lie beside it: {cure}")
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
    except (OSError, AttributeError) as error:
        raise ModelError(f"{path} cannot be loaded ({error}): {cure}") from error
    return library


def sources() -> str:
    """The sha256 of the sources, in hexadecimal, as the build has it."""
    files = sorted(Path(__file__).parent.glob("*.[ch]"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@cache
def chosen() -> ctypes.CDLL | None:
    """The fastest that there is; None where natd was installed without a compiler; ModelError if it is another's."""
    found = builds()
    return opened(found[0]) if found else None
