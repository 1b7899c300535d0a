"""Synthetic speech: the seconds asked for, many voices, one or a crowd; needs the program espeak-ng."""

import numpy as np
import pytest

from natd.errors import ConfigError
from natd.training import procedural, speech

SR = 24_000


def rng(seed=0):
    return np.random.default_rng(seed)


def pauses(x):
    """Share of 40 ms pieces that are 30 dB or more below the loudest."""
    level = np.sqrt(np.mean(x[: len(x) // 960 * 960].reshape(-1, 960) ** 2, axis=1))
    return np.mean(level < level.max() * 10 ** (-30 / 20))


def test_there_are_many_languages_and_voices():
    assert len({voice.split("+")[0] for voice in speech.voices()}) >= 18
    assert len(speech.voices()) == len(set(speech.voices())) > 300


@pytest.mark.parametrize("crowd", [1, 2, 12])
def test_the_seconds_are_filled_and_repeat_by_seed(crowd):
    for seconds in (0.5, 3.0):
        x = speech.speak(rng(4), seconds, crowd)
        assert x.dtype == np.float32 and x.shape == (round(seconds * SR),) and np.isfinite(x).all()
        assert 0.1 <= np.abs(x).max() <= 0.9
    np.testing.assert_array_equal(x, speech.speak(rng(4), 3.0, crowd))
    assert not np.array_equal(x, speech.speak(rng(5), 3.0, crowd))
    assert np.sqrt(np.mean(x[-SR:] ** 2)) > 0.02 * np.abs(x).max()  # still speaking in the last second


def test_one_speaker_pauses_and_a_crowd_does_not():
    alone = np.mean([pauses(speech.speak(rng(s), 4.0)) for s in range(4)])
    many = np.mean([pauses(speech.speak(rng(s), 4.0, 20)) for s in range(2)])
    assert alone > 0.08 and many < 0.04


@pytest.mark.parametrize("language", speech.TEXTS)
def test_every_language_is_spoken(language):
    x = speech._spoken(speech.TEXTS[language][0], ["-m", "-v", f"{language}+f2"])
    assert 0.8 < len(x) / SR < 8 and np.abs(x).max() > 0.05


@pytest.mark.parametrize("variant", [*speech.VARIANTS, *speech.WHISPERS])
def test_every_variant_is_known(variant):
    usual = speech._spoken("hello there", ["-m", "-v", "en"])
    x = speech._spoken("hello there", ["-m", "-v", f"en+{variant}"])
    assert len(x) > 0.3 * SR and not np.array_equal(x, usual)


def test_what_espeak_refuses_is_said():
    with pytest.raises(ConfigError, match="qqq"):
        speech._spoken("hello", ["-m", "-v", "qqq"])


def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    speech.program.cache_clear()
    with pytest.raises(ConfigError, match="install the Debian package espeak-ng"):
        speech.speak(rng(), 0.5)
    speech.program.cache_clear()


@pytest.mark.parametrize("kind", procedural.NEED_ESPEAK)
def test_recipes_of_people_speaking(kind):
    x = procedural.RECIPES[kind](rng(1), 1.0)
    assert x.shape == (SR,) and np.isfinite(x).all() and 0.05 < np.abs(x).max() <= 1
    np.testing.assert_array_equal(x, procedural.RECIPES[kind](rng(1), 1.0))
