"""SoundStream's weights out of Lyra's .tflite files; runs as a process of its own: FROM TO."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from natd.codebooks import store
from natd.codec import soundstream
from natd.errors import ModelError, NatdError, OutputError
from natd.offline import tflite
from natd.offline.tflite import Graph, Operator

SOURCES = {  # of Lyra 1.3.2
    "soundstream_encoder.tflite": "237da0b16226fb0a68d49551c81bebf614e42142af72764448359f68581e88f1",
    "quantizer.tflite": "841ee05989687d32d1f616a8ad1419fc7eda37599d3c05c7cf5a0d60ccf8ac5c",
    "lyragan.tflite": "50e7839cda4f30599a3a34cfaddcd9c98449b049eee884e1a74295780448ad06",
}
Tensors = dict[str, Tensor]


def convert(source: Path, folder: Path) -> None:
    """Read the three files of `source` and write weights with their manifest; ModelError for other files than these."""
    for name, known in SOURCES.items():
        try:
            found = store.file_sha256(source / name)
        except OSError as error:
            raise ModelError(f"{source / name} cannot be read: {error.strerror}") from error
        if found != known:
            raise ModelError(f"{source / name} has sha256 {found[:12]}…, that of Lyra 1.3.2 has {known[:12]}…")
    store.save(folder, soundstream.NAME, soundstream.SETTINGS, tensors_of(source), {})


def tensors_of(source: Path) -> Tensors:
    """All tensors by the names that `natd.codec.soundstream_layers` gives them."""
    encoder, quantizer, decoder = (tflite.read(source / name) for name in SOURCES)
    tensors = _layers(encoder[0], list(_encoder_names())) | _layers(decoder[0], list(_decoder_names()))
    books = {}
    for value in quantizer[1].values:
        found = re.fullmatch(r"vector_quantizer_ema_(\d+)/ExpandDims", value.name)
        if found and value.data is not None:
            books[int(found[1])] = value.data[0]
    tensors["quantizer.codebooks"] = torch.from_numpy(np.stack([books[i] for i in sorted(books)]))
    return tensors


def _encoder_names() -> Iterator[str]:
    yield "encoder.first"
    for block in range(3):
        yield from _residual_names(f"encoder.blocks.{block}")
        yield f"encoder.blocks.{block}.down"
    yield "encoder.bottleneck"


def _decoder_names() -> Iterator[str]:
    yield "decoder.bottleneck"
    for block, (_, parts) in enumerate(soundstream.UP):
        yield from [f"decoder.blocks.{block}.up"] * parts
        yield from _residual_names(f"decoder.blocks.{block}")
    yield "decoder.last"


def _residual_names(block: str) -> Iterator[str]:
    for i in range(len(soundstream.DILATIONS)):
        yield from (f"{block}.res.{i}.{part}" for part in ("dw", "pw", "out"))


def _layers(graph: Graph, names: list[str]) -> Tensors:
    """The convolutions in their order; those of one name are parts of one, their outputs side by side."""
    parts: dict[str, list[Tensors]] = {}
    at, leaky, latest = 0, None, ""
    for op in graph.operators:
        if op.kind == "leaky_relu":
            leaky = op
        elif op.kind in ("conv", "depthwise", "transposed"):
            latest, at = names[at], at + 1
            parts.setdefault(latest, []).append(_layer(graph, op, leaky))
            leaky = leaky if op.kind == "transposed" else None
        elif op.kind == "subtract" and latest:
            parts[latest][-1]["tail_bias"] = _constant(graph, op.inputs[1])
    if at != len(names):
        raise ModelError(f"{at} convolutions where SoundStream has {len(names)}")
    return {f"{name}.{key}": tensor for name, found in parts.items() for key, tensor in _joined(found).items()}


def _layer(graph: Graph, op: Operator, leaky: Operator | None) -> Tensors:
    given, weight, bias = (op.inputs[i] for i in ((2, 1, 3) if op.kind == "transposed" else (0, 1, 2)))
    kernel = _constant(graph, weight)
    kernel = kernel[0, :, 0, :] if op.kind == "depthwise" else kernel[:, :, 0, :]
    layer = {"weight": kernel.contiguous(), "bias": _constant(graph, bias)}
    quant, taken = graph.values[weight].quant, graph.values[given].quant
    made = graph.values[op.outputs[0]].quant
    if quant is not None and taken is not None and made is not None:
        outputs = len(layer["bias"])
        layer["scale"] = torch.from_numpy(quant.scale).expand(outputs).contiguous()
        layer["in"] = torch.tensor([float(taken.scale[0]), taken.zero])
        layer["out"] = torch.tensor([[float(made.scale[0])], [made.zero]]).expand(2, outputs).contiguous()
    act = graph.values[leaky.inputs[0]].quant if leaky else None
    if act is not None:
        layer["act"] = torch.tensor([float(act.scale[0]), act.zero])
    return layer


def _constant(graph: Graph, index: int) -> Tensor:
    data = graph.values[index].data
    if data is None:
        raise ModelError(f"{graph.values[index].name} is computed where a constant was expected")
    return torch.from_numpy(data.copy())


def _joined(parts: list[Tensors]) -> Tensors:
    """`in` and `act` are the same for all parts; the rest lies side by side."""
    axis = {"out": 1}
    return {
        key: parts[0][key] if key in ("in", "act") else torch.cat([p[key] for p in parts], axis.get(key, 0))
        for key in parts[0]
    }


def main() -> int:
    """Exit status of the conversion; what is wrong on standard error."""
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except OSError as error:
        print(f"nat: {sys.argv[2]}: {error.strerror}", file=sys.stderr)
        return OutputError.exit_code
    except NatdError as error:
        print(f"nat: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
