"""The picture of an evaluation."""

import sys

import pytest

from natd.cli import nat
from natd.errors import ConfigError, OutputError
from natd.offline import picture

CURVES = {"S0": {"reliability": [[0.6, 0.5, 0.4], [0.9, 0.95, 0.6]], "coverage": [[0.5, 1.0], [1.0, 0.8]]}}


def result(curves: dict) -> dict:
    return {"tokenizer": {"name": "made", "version": "1"}, "clips": {"scored": 14}, "curves": curves}


def test_it_is_a_png_of_two_panels_a_layer(tmp_path):
    picture.check(tmp_path / "one.png")
    picture.draw(result(CURVES), tmp_path / "one.png")
    picture.draw(result({**CURVES, "S1": {"reliability": [], "coverage": []}}), tmp_path / "two.png")
    sizes = [(tmp_path / name).read_bytes() for name in ("one.png", "two.png")]
    assert all(data[:8] == b"\x89PNG\r\n\x1a\n" for data in sizes)
    wide, high = ([int.from_bytes(data[at : at + 4], "big") for data in sizes] for at in (16, 20))
    assert wide == [1380, 1380] and high == [690, 1380]


def test_faults_are_named_before_anything_is_measured(tmp_path):
    with pytest.raises(ConfigError, match=".png"):
        picture.check(tmp_path / "one.pdf")
    with pytest.raises(OutputError, match="nowhere"):
        picture.check(tmp_path / "nowhere" / "one.png")


def test_a_tokenizer_without_names_has_no_picture(tmp_path):
    with pytest.raises(ConfigError, match="not called kinds"):
        picture.draw(result({}), tmp_path / "one.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_cure_is_told(tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails, as where it is not installed
    words = ["eval", "tokenizer", "ears", "--audio", str(tmp_path), "--plot", str(tmp_path / "one.png")]
    assert nat.main(words) == ConfigError.exit_code
    assert "natd[plot]" in capsys.readouterr().err
