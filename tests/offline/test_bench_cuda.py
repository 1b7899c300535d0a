"""The benchmark of a GPU, here on the CPU: what it runs, what it says, what it refuses."""

import io

import pytest
import torch
from rich.console import Console

from natd.codec import ears
from natd.errors import ConfigError
from natd.offline import bench_cuda
from natd.offline.bench_cuda import Line, measure, table
from natd.offline.bench_encode import Plan, bench


def test_a_line_for_each_way_to_launch_and_number_of_streams() -> None:
    lines = list(measure("ears", ears.open_tokenizer(), "installed", "cpu", (1, 3), steps=3))
    assert [(line.launched, line.streams) for line in lines] == [
        ("as a graph", 1), ("as a graph", 3), ("one by one", 1), ("one by one", 3),
    ]  # fmt: skip
    for line in lines:
        assert line.step_ms == 80.0 and 0.0 < line.p50_ms <= line.p99_ms and line.device == "cpu"
        assert line.speed == pytest.approx(80.0 * line.streams / line.p50_ms)


def test_the_table_names_the_device() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table([Line("mimi", "as a graph", 6, 80.0, 1.6, 2.0, 900.0, "random", "a GPU")]))
    text = console.export_text()
    assert all(part in text for part in ("on a GPU", "mimi", "as a graph", "1.60", "2.00", "300.0", "900", "random"))


def test_what_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device cuda was asked for"):
        bench(Plan(["ears"], device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="--peers are measured on the CPU"):
        bench(Plan(["ears"], device="cuda", peers=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_is_named() -> None:
    assert bench_cuda.title("cuda") == torch.cuda.get_device_name()
