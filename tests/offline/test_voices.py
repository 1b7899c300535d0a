"""What cannot be turned into sound is known before any weights are looked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from natd import codec
from natd.codec.mimi import Mimi
from natd.codec.ssl import Ssl
from natd.errors import ConfigError, ModelError
from natd.offline.voices import ALONE, ONE_WAY, Voices
from natd.wire import Header
from tests.streams import simple


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def made_by(name: str) -> Header:
    head = simple(1).header
    return replace(head, tokenizer=replace(head.tokenizer, name=name))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ears+mimi", "^ears[+]mimi cannot be turned back into sound: that of mimi is also .*; record mimi alone$"),
        ("ears+mimi:codebooks=4", "; record mimi:codebooks=4 alone$"),
        ("hubert", "^the codes of hubert cannot be turned back into sound$"),
        ("ears+wavlm:hop=0.04", "^the codes of wavlm:hop=0.04 cannot be turned back into sound$"),
    ],
)
def test_it_is_said_first(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Voices(None).voice(made_by(name))


@pytest.mark.parametrize("name", ["mimi", "ears+soundstream", "mimi+soundstream", "ears+dac"])
def test_of_others_the_weights_are_asked_for(name: str) -> None:
    with pytest.raises(ModelError):
        Voices(None).voice(made_by(name))


def test_the_names_are_those_of_what_can_do_no_more() -> None:
    assert set(ALONE) | set(ONE_WAY) < set(codec.BUILTIN)
    assert Mimi.decodes == ("semantic", "acoustic")
    assert not hasattr(Ssl, "initial_decoder_state") and not hasattr(Ssl, "initial_mel_state")
