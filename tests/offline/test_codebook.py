"""Looking into codebooks."""

from types import SimpleNamespace

import pytest

from natd import codec
from natd.codec import open_tokenizer
from natd.errors import ConfigError
from natd.offline.codebook import readable, show
from tests.codebooks.test_legend import LEGEND, toy


def explained(device: str = "cpu") -> SimpleNamespace:
    return toy(legend=LEGEND)


def plain(device: str = "cpu") -> SimpleNamespace:
    return toy()


@pytest.fixture
def opened(monkeypatch):
    """A tokenizer `toy` with all that a legend may have, and `plain` without any legend."""
    monkeypatch.setitem(codec.BUILTIN, "toy", f"{__name__}:explained")
    monkeypatch.setitem(codec.BUILTIN, "plain", f"{__name__}:plain")


def test_all_about_one_code(opened, capsys):
    assert show("toy", "S0:1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "S0:1     dog",
        "  chosen by      240 frames of the training",
        "  confidence     0.82 that the name is right",
        "  closest        dog 0.80, cat 0.10",
        "  examples       speech_en (train)",
        "  level          -20.2 dBFS",
        "  f0             446 Hz, near A4 (pitched frames only)",
    ]


def test_what_is_not_known_is_left_out(opened, capsys):
    assert show("toy", "A0:2") == show("plain", "S0:1") == show("toy", "A0:3") == 0
    assert capsys.readouterr().out.splitlines() == [
        "A0:2     (no words)", "  chosen by      3 frames of the training", "  level          -9.0 dBFS",
        "S0:1     dog", "A0:3     (no words)"]  # fmt: skip


def test_a_layer_as_a_table(opened, capsys):
    assert show("toy", "S0") == 0
    assert capsys.readouterr().out.splitlines() == [
        "S0  scene: 2 of 4 codes have words",
        "code      frames  sure  phrase",
        "S0:0          12        silence",
        "S0:1         240  0.82  dog",
    ]
    assert show("plain", None) == 0
    assert capsys.readouterr().out.splitlines() == [
        "S0  scene: 2 of 4 codes have words",
        "S0:0      silence",
        "S0:1      dog",
        "A0  residual: 4 codes, none has words",
    ]


def test_the_embedded_tokenizer(capsys):
    tokenizer = open_tokenizer("ears")
    assert show("ears", None) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if ":" not in line.split()[0] and line != lines[1]]
    assert [line.split()[0] for line in heads if line[0] in "SA"] == [row.name for row in tokenizer.spec.layers]
    assert sum(line.startswith("S2:") for line in lines) == len(tokenizer.glossary["S2"])
    assert any(line.startswith("S2:5 ") and line.endswith(f"  {tokenizer.glossary['S2'][5]}") for line in lines)
    assert show("ears", "S1:0") == 0
    assert capsys.readouterr().out.startswith("S1:0     silence\n")


@pytest.mark.parametrize(
    ("name", "mean", "unit", "said"),
    [
        (
            "f0",
            8.78136,
            "log2 Hz, frames with salience >= 0.8 only",
            "440 Hz, near A4 (frames with salience >= 0.8 only)",
        ),
        ("f0", 8.03, "log2 Hz", "261 Hz, near C4"),
        ("centroid", 11.0, "log2 Hz, weighted by magnitude", "2.05 kHz (weighted by magnitude)"),
        ("tempo", 6.9069, "log2 beats per minute", "120 bpm"),
        ("level", -18.04, "dBFS (RMS; a full-scale sine is -3)", "-18.0 dBFS (RMS; a full-scale sine is -3)"),
        ("flatness", -12.0, "dB, 0 is white noise", "-12.0 dB (0 is white noise)"),
        ("onset_rate", 3.0, "onsets per second, latest 1.6 s", "3.0 a second (latest 1.6 s)"),
        ("salience", 0.5, "height of the peak, 0..1", "0.50 (height of the peak, 0..1)"),
        ("bandwidth", 1.5, "octaves", "1.5 octaves"),
    ],
)
def test_units_that_a_musician_reads(name, mean, unit, said):
    assert readable(name, mean, unit) == said


@pytest.mark.parametrize("which", ["S9", "S1:100000", "S1:x", "S1:-1", "S1:²", "nonsense"])
def test_codes_that_there_are_not(which):
    with pytest.raises(ConfigError):
        show("ears", which)


def test_a_tokenizer_that_there_is_not():
    with pytest.raises(ConfigError, match="no tokenizer is called 'eyes'"):
        show("eyes", None)
