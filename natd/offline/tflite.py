"""Reader of TensorFlow Lite models: tensors, constants, quantization and operators, as the flatbuffer holds them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natd.errors import ModelError

DTYPES = {0: "<f4", 2: "<i4", 4: "<i8", 6: "|b1", 9: "|i1"}
RESOURCE = 13  # a handle of a variable: it has a name and no values
OPERATORS = {
    3: "conv", 4: "depthwise", 41: "subtract", 67: "transposed", 98: "leaky_relu"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quant:
    """real = (q - zero) * scale; one scale a channel, or one for all."""

    scale: NDArray[np.float32]
    zero: int


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph: its name, its constant `data` (None where it is computed) and its quantization."""

    name: str
    data: NDArray[Any] | None
    quant: Quant | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the graph: `kind` as in `OPERATORS` or the number of the builtin; values by index (-1: none)."""

    kind: str
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True, slots=True)
class Graph:
    """Values and operators of a subgraph, in the order of their execution."""

    values: list[Value]
    operators: list[Operator]


def read(path: Path) -> list[Graph]:
    """The subgraphs of a .tflite file; ModelError if it cannot be read or is not one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 in its head")
        model = _Table(data, _u32(data, 0))
        codes = [max(c.scalar(0, "<b", 0), c.scalar(3, "<i", 0)) for c in model.tables(1)]
        buffers = [b.bytes(0) for b in model.tables(4)]
        return [_graph(g, codes, buffers) for g in model.tables(2)]
    except (struct.error, IndexError, ValueError) as error:
        raise ModelError(f"{path} is not a TensorFlow Lite model: {error}") from error


def _graph(table: _Table, codes: list[int], buffers: list[bytes]) -> Graph:
    values = [_value(t, buffers) for t in table.tables(0)]
    operators = []
    for op in table.tables(3):
        code = codes[op.scalar(0, "<I", 0)]
        operators.append(Operator(OPERATORS.get(code, str(code)), op.vector(1, "<i4"), op.vector(2, "<i4")))
    return Graph(values, operators)


def _value(table: _Table, buffers: list[bytes]) -> Value:
    raw, kind = buffers[table.scalar(2, "<I", 0)], table.scalar(1, "<b", 0)
    data = np.frombuffer(raw, DTYPES[kind]).reshape(table.vector(0, "<i4")) if raw and kind in DTYPES else None
    quant = None
    found = table.table(4)
    if found is not None and (scale := found.vector(2, "<f4")):
        quant = Quant(np.array(scale, np.float32), (found.vector(3, "<i8") or [0])[0])
    return Value(table.bytes(3).decode(), data, quant)


class _Table:
    """A flatbuffer table at a byte position; fields by their number in the schema."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - struct.unpack_from("<i", data, at)[0]

    def _field(self, number: int) -> int | None:
        if 4 + 2 * number >= struct.unpack_from("<H", self._data, self._vtable)[0]:
            return None
        offset: int = struct.unpack_from("<H", self._data, self._vtable + 4 + 2 * number)[0]
        return self._at + offset if offset else None

    def scalar(self, number: int, kind: str, default: int) -> int:
        at = self._field(number)
        return default if at is None else int(struct.unpack_from(kind, self._data, at)[0])

    def _start(self, number: int) -> tuple[int, int]:
        """First byte and count of a vector."""
        at = self._field(number)
        if at is None:
            return 0, 0
        at += _u32(self._data, at)
        return at + 4, _u32(self._data, at)

    def bytes(self, number: int) -> bytes:
        start, count = self._start(number)
        if start + count > len(self._data):
            raise ValueError("a buffer reaches beyond the file")
        return self._data[start : start + count]

    def vector(self, number: int, kind: str) -> list[Any]:
        start, count = self._start(number)
        if start + count * np.dtype(kind).itemsize > len(self._data):
            raise ValueError("a vector reaches beyond the file")
        values: list[Any] = np.frombuffer(self._data, kind, count, start).tolist()
        return values

    def table(self, number: int) -> _Table | None:
        at = self._field(number)
        return None if at is None else _Table(self._data, at + _u32(self._data, at))

    def tables(self, number: int) -> list[_Table]:
        start, count = self._start(number)
        if start + 4 * count > len(self._data):
            raise ValueError("a vector reaches beyond the file")
        return [_Table(self._data, at + _u32(self._data, at)) for at in range(start, start + 4 * count, 4)]


def _u32(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value
