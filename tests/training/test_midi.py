"""The rendering is in time with its score; collected only where FluidSynth and its fonts are installed."""

from dataclasses import replace

import numpy as np
import pytest

from natd.errors import ConfigError
from natd.training import midi
from natd.training.midi import DRUM, Note, Piece, compose, evaluation_soundfont, render, render_many, soundfont

SR = 24_000
STARTS = (0.5, 1.25, 2.003, 3.3, 5.7701)


def piece(program: int, key: int, cents: float = 0.0) -> Piece:
    notes = tuple(Note(start, start + 0.4, key, program, 110) for start in STARTS)
    return Piece("solo", 3, 0.0, 7.0, notes, (), cents)


@pytest.mark.parametrize("font", [soundfont, evaluation_soundfont])
@pytest.mark.parametrize(("program", "key"), [(DRUM, 37), (0, 72), (80, 60)])
def test_a_note_begins_where_the_score_says(font, program, key):
    sound = np.abs(render(piece(program, key), font()))
    assert len(sound) == 7 * SR and sound.dtype == np.float32
    for start in STARTS:
        first = int((start - 0.05) * SR)
        part = sound[first : first + SR // 5]
        begins = np.argmax(part > max(3 * part[: SR // 25].max(), 0.02 * part.max()))
        assert abs(begins / SR - 0.05) < 0.010


@pytest.mark.parametrize("cents", [0.0, -30.0])
def test_pitch_and_tuning_are_those_of_the_score(cents):
    sound = render(piece(73, 81, cents))
    part = sound[int(0.6 * SR) : int(0.85 * SR)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 18))
    hz = spectrum.argmax() * SR / (1 << 18)
    assert abs(1200 * np.log2(hz / 880.0) - cents) < 12


def test_the_same_piece_gives_the_same_samples_alone_and_among_others():
    pieces = [compose(style, 4) for style in ("solo", "drums")]
    many = list(render_many(pieces))
    assert np.array_equal(render(pieces[1]), many[1])
    for sound, made in zip(many, pieces, strict=True):
        assert len(sound) == round(made.seconds * SR) and 0.1 < np.abs(sound).max() < 1.0
        assert abs(float(sound.mean())) < 1e-4
    assert not np.array_equal(many[0], render(pieces[0], evaluation_soundfont()))


def test_the_kit_is_that_of_the_piece():
    drums = compose("drums", 2)
    assert not np.array_equal(render(replace(drums, kit=0)), render(replace(drums, kit=25)))


def test_what_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path):
    with pytest.raises(ConfigError, match="cannot render"):
        render(piece(0, 60), tmp_path / "none.sf2")
    monkeypatch.setattr(midi, "FONTS", tmp_path)
    with pytest.raises(ConfigError, match=r"none|FluidR3_GM.sf2 is not installed.*apt-get install"):
        soundfont()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="fluidsynth is not installed.*fluid-soundfont-gm"):
        evaluation_soundfont()
