"""Looking into codebooks."""

import pytest

from natd.codec import open_tokenizer
from natd.errors import ConfigError
from natd.offline.codebook import show


def test_one_code(capsys):
    assert show("ears", "S1:0") == 0
    assert capsys.readouterr().out == "S1:0     silence\n"


def test_every_code_of_a_layer(capsys):
    words = open_tokenizer("ears").glossary["S2"]
    assert show("ears", "S2") == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("S2  rhythm") and len(rest) == len(words)
    assert rest[5] == f"S2:5     {words[5]}"


def test_every_layer(capsys):
    assert show("ears", None) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if ":" not in line.split()[0]]
    assert [line[:2] for line in heads] == ["S0", "S1", "S2", "S3", "A0", "A1", "A2", "A3"]
    assert heads[4].endswith("1024 codes, none has words")


@pytest.mark.parametrize("which", ["S9", "S1:256", "S1:x", "nonsense"])
def test_codes_that_there_are_not(which):
    with pytest.raises(ConfigError):
        show("ears", which)


def test_a_tokenizer_that_there_is_not():
    with pytest.raises(ConfigError, match="no tokenizer is called 'eyes'"):
        show("eyes", None)
