"""The benchmark of encoding: real tokenizers in processes of their own, lines that hold together, missing weights."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from natd.codec import open_tokenizer
from natd.errors import ConfigError, ModelError
from natd.offline import bench_encode, floor, stand_ins
from natd.offline.bench_encode import Line, Plan, bench, opened, table
from natd.offline.peers import Peer


def test_a_line_for_each_number_of_streams(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(Plan(["ears"], streams=(1, 2), steps=5), as_json=True) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["name"], line["threads"], line["streams"]) for line in lines] == [("ears", 1, 1), ("ears", 1, 2)]
    for line in lines:
        assert line["step_ms"] == 80.0 and 0 < line["p50_ms"] <= line["p99_ms"] and line["weights"] == "installed"
        assert line["speed"] == pytest.approx(80.0 * line["streams"] / line["p50_ms"], rel=0.01)
        assert line["rss_mib"] > 100 and 0 < line["limit_ms"] < line["p50_ms"]


def test_a_peer_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    peer = Peer(lambda chunk: turns.append("peer"), 40.0, warm_up_steps=2)
    monkeypatch.setattr(bench_encode.peers, "of", lambda name: {"other": peer})
    threads = torch.get_num_threads()
    try:
        lines = bench_encode.measure("ears", 1, Plan(["ears"], steps=4, peers=True))
    finally:
        torch.set_num_threads(threads)
    assert turns == ["peer"] * 6 and [line.name for line in lines] == ["ears", "other"]
    assert lines[1].step_ms == 40.0 and lines[1].limit_ms is None
    assert [line.weights for line in lines] == ["installed", "random"]


def test_missing_weights_are_said_and_the_others_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert bench(Plan(["soundstream", "ears"], steps=2), as_json=True) == 65
    told = capsys.readouterr()
    assert "nat models convert soundstream" in told.err and [x["name"] for x in json.loads(told.out)] == ["ears"]
    with pytest.raises(ModelError):
        opened("encodec", tmp_path, random=False)
    with pytest.raises(ConfigError, match="no random weights are made for 'soundstream'"):
        opened("soundstream", tmp_path, random=True)


def test_damaged_weights_are_no_reason_for_random_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    (tmp_path / "encodec").mkdir()
    (tmp_path / "encodec" / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON|there is no"):
        opened("encodec", tmp_path, random=True)


def test_random_weights_open_as_the_published_ones_would(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(stand_ins.named("encodec", tmp_path))
    assert tokenizer.spec.sr == 24_000 and len(tokenizer.spec.layers) == 8
    again = tmp_path / "again"
    again.mkdir()
    same = open_tokenizer(stand_ins.named("encodec", again))
    assert same.spec.info.codebook_id == tokenizer.spec.info.codebook_id


def test_products_and_what_they_read_are_counted() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 3)
    count = floor.counted(lambda: a @ b)
    assert (count.flops, count.read) == (2.0 * 4 * 8 * 3, 4 * (32 + 24))
    linear = floor.Linear(torch.ones(3, 8))
    packed = floor.counted(lambda: linear(a))
    added = floor.counted(lambda: linear(a, torch.ones(4, 3)))
    assert (packed.flops, packed.read) == (count.flops, count.read) == (added.flops, added.read)
    assert floor.Core(192.0, 1e9).floor_ms(count) == pytest.approx(1000.0)
    assert floor.Core(1e9, 224.0).floor_ms(count) == pytest.approx(1000.0)
    measured = floor.core()
    assert measured.flops > 1e8 and measured.bytes > 1e8


def test_the_table_shows_every_figure() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table([Line("mimi", 1, 6, 80.0, 16.0, 20.0, 900.0, 4.3, "random")]))
    text = console.export_text()
    assert all(part in text for part in ("mimi", "16.00", "20.00", "30.0", "900", "4.30", "random"))


@pytest.mark.parametrize("name", ["hubert", "mert"])
def test_encoders_that_hear_a_window_get_random_codebooks_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import HubertConfig

    small = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    monkeypatch.setattr("transformers.HubertConfig", lambda: HubertConfig(**small))
    tokenizer = stand_ins.opened(f"{name}:semantic=1,2:acoustic=0", tmp_path)
    assert tokenizer.spec.sr == {"hubert": 16_000, "mert": 24_000}[name]
    assert [layer.name for layer in tokenizer.spec.layers] == ["S0", "S1", "A0", "A1", "A2", "A3"]
    codes = tokenizer.encode(torch.zeros(1, tokenizer.spec.frame_samples), tokenizer.initial_state(1))
    assert [len(code[0]) for code in codes] == [layer.per_frame for layer in tokenizer.spec.layers]
