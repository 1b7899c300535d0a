"""The reader of .tflite: a model made by hand is read as it was made; what is none is refused, however it is cut."""

import struct
from pathlib import Path

import numpy as np
import pytest

from natd.errors import ModelError
from natd.offline import tflite


class Flat:
    """A flatbuffer written front to back: offsets point forward, so what is pointed at is written later."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def table(self, fields: dict[int, bytes | None]) -> tuple[int, dict[int, int]]:
        """A table with scalars in place and None for offsets, to be set by `point`; where it is, where those are."""
        count = max(fields) + 1
        vtable = len(self.data)
        self.data += bytes(4 + 2 * count)
        self.data += bytes(-len(self.data) % 4)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable)
        places = {}
        for number, value in fields.items():
            places[number] = len(self.data)
            struct.pack_into("<H", self.data, vtable + 4 + 2 * number, len(self.data) - start)
            self.data += (value or b"").ljust(4, b"\0")
        struct.pack_into("<HH", self.data, vtable, 4 + 2 * count, len(self.data) - start)
        return start, places

    def point(self, at: int, to: int) -> None:
        struct.pack_into("<I", self.data, at, to - at)

    def vector(self, at: int, count: int, payload: bytes) -> int:
        """A vector that the offset at `at` points at; where its elements begin."""
        self.data += bytes(-len(self.data) % 4)
        self.point(at, len(self.data))
        self.data += struct.pack("<I", count) + payload
        return len(self.data) - len(payload)

    def tables(self, at: int, all_fields: list[dict[int, bytes | None]]) -> list[dict[int, int]]:
        """A vector of tables; the places of each one's fields."""
        start = self.vector(at, len(all_fields), bytes(4 * len(all_fields)))
        places = []
        for i, fields in enumerate(all_fields):
            table, found = self.table(fields)
            self.point(start + 4 * i, table)
            places.append(found)
        return places


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


WEIGHT = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)


def made() -> bytes:
    """One subgraph: value 0 is computed, value 1 is `WEIGHT` in 8 bits; a conv takes both."""
    flat = Flat()
    root, at = flat.table({1: None, 2: None, 4: None})
    struct.pack_into("<I", flat.data, 0, root)
    flat.tables(at[1], [{0: b"\x03", 3: u32(3)}])
    (graph,) = flat.tables(at[2], [{0: None, 3: None}])
    empty, full = flat.tables(at[4], [{0: None}, {0: None}])
    flat.vector(empty[0], 0, b"")
    flat.vector(full[0], WEIGHT.size, WEIGHT.tobytes())
    x, weight = flat.tables(
        graph[0], [{0: None, 1: b"\0", 2: u32(0), 3: None}, {0: None, 1: b"\x09", 2: u32(1), 3: None, 4: None}]
    )
    flat.vector(x[0], 1, u32(7))
    flat.vector(x[3], 1, b"x")
    flat.vector(weight[0], 2, u32(2) + u32(3))
    flat.vector(weight[3], 6, b"kernel")
    quant, places = flat.table({2: None, 3: None})
    flat.point(weight[4], quant)
    flat.vector(places[2], 2, np.array([0.5, 0.25], "<f4").tobytes())
    flat.vector(places[3], 2, np.array([4, 4], "<i8").tobytes())
    (op,) = flat.tables(graph[3], [{0: u32(0), 1: None, 2: None}])
    flat.vector(op[1], 3, struct.pack("<3i", 0, 1, -1))
    flat.vector(op[2], 1, struct.pack("<i", 0))
    return bytes(flat.data)


def test_a_model_is_read_as_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "made.tflite").write_bytes(made())
    (graph,) = tflite.read(tmp_path / "made.tflite")
    x, weight = graph.values
    assert (x.name, x.data, x.quant, weight.name) == ("x", None, None, "kernel")
    np.testing.assert_array_equal(weight.data, WEIGHT)
    assert weight.quant is not None
    assert (weight.quant.scale.tolist(), weight.quant.zero) == ([0.5, 0.25], 4)
    assert graph.operators == [tflite.Operator("conv", [0, 1, -1], [0])]


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x08\0\0\0TFL3", b"\xff" * 64, b"PK\3\4" * 20, b"\x1c\0\0\0TFL3" + b"\xff" * 60]
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.tflite").write_bytes(data)
    with pytest.raises(ModelError, match="not a TensorFlow Lite model"):
        tflite.read(tmp_path / "bad.tflite")


def test_a_model_that_is_cut_anywhere_is_refused_or_lacks_nothing_that_is_read(tmp_path: Path) -> None:
    whole, path = made(), tmp_path / "cut.tflite"
    refused = 0
    for length in range(0, len(whole), 4):
        path.write_bytes(whole[:length])
        try:
            tflite.read(path)
        except ModelError:
            refused += 1
    assert refused == len(range(0, len(whole), 4))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        tflite.read(tmp_path / "none.tflite")
