"""Descriptors measure what their names say, in their units, on sounds whose values are known."""

import math

import numpy as np
import pytest
import torch

from natd.codebooks.naming import PITCH_CLASSES
from natd.codec.descriptors import COLUMN, DESCRIPTORS, FrontEnd
from tests.codec.sounds import FRAME, SR

RNG = np.random.default_rng(11)
T = np.arange(SR * 6) / SR


def heard_together(*signals: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Name -> values [T] of each of several mono signals of one length."""
    front = FrontEnd()
    state = front.initial_state(len(signals))
    audio = torch.from_numpy(np.stack(signals).astype(np.float32))
    frames = audio[:, : audio.shape[1] // FRAME * FRAME].view(len(signals), -1, FRAME)
    table = torch.stack(
        [front(frames[:, f].contiguous(), state).descriptors for f in range(frames.shape[1])], 1
    ).numpy()
    return [{name: row[:, i] for name, i in COLUMN.items()} for row in table]


def heard(audio: np.ndarray) -> dict[str, np.ndarray]:
    return heard_together(audio)[0]


def tone(hz: float, seconds: float = 1.2, level: float = 0.3, partials: int = 6) -> np.ndarray:
    t = T[: int(seconds * SR)]
    return level * sum(np.sin(2 * np.pi * hz * k * t + k) / k for k in range(1, partials + 1))


def clicks(per_minute: float, seconds: float = 6.0) -> np.ndarray:
    out = 1e-3 * RNG.standard_normal(int(seconds * SR))
    for at in np.arange(0.1, seconds - 0.1, 60.0 / per_minute):
        start = int(at * SR)
        out[start : start + 960] += 0.4 * RNG.standard_normal(960) * np.exp(-np.arange(960) / 200)
    return out


def test_level_is_the_rms_in_dbfs_whatever_the_offset() -> None:
    sine = np.sin(2 * np.pi * 1000 * T[:SR])
    assert heard(sine)["level"][5] == pytest.approx(-3.01, abs=0.02)
    assert heard(0.1 * sine + 0.3)["level"][5] == pytest.approx(-23.01, abs=0.05)


def test_f0_and_its_pitch_class() -> None:
    notes = (55.0, 110.0, 196.0, 440.0, 987.77)
    for hz, d in zip(notes, heard_together(*(tone(hz) for hz in notes)), strict=True):
        assert d["f0"][-1] == pytest.approx(math.log2(hz), abs=0.01)
        assert d["salience"][-1] > 0.95
        nearest = round(12 * math.log2(hz / 440.0) + 9) % 12
        chroma = [d[f"chroma_{name}"][-1] for name in PITCH_CLASSES]
        assert int(np.argmax(chroma)) == nearest and sum(chroma) == pytest.approx(1.0, abs=1e-4)


def test_chroma_of_a_chord_holds_its_three_notes_and_noise_has_no_pitch() -> None:
    chord = heard(sum(tone(hz, partials=4) for hz in (261.63, 329.63, 392.0)))
    assert sum(chord[f"chroma_{name}"][-1] for name in ("C", "E", "G")) > 0.85
    noise = heard(0.1 * RNG.standard_normal(SR))
    assert noise["salience"].max() < 0.4
    assert chord["tonalness"][-1] > 3 * noise["tonalness"].max()


def test_brightness_of_noise_and_of_a_low_tone() -> None:
    noise, low = heard(0.1 * RNG.standard_normal(SR)), heard(tone(80.0, partials=2))
    assert noise["flatness"][-1] > -1.0 and low["flatness"][-1] < -40.0
    assert noise["rolloff"][-1] == pytest.approx(math.log2(0.85 * SR / 2), abs=0.05)
    assert low["centroid"][-1] < math.log2(250) < math.log2(4000) < noise["centroid"][-1]
    assert noise["bandwidth"][-1] > low["bandwidth"][-1]


def test_tempo_of_clicks() -> None:
    tempi = (72.0, 96.0, 120.0, 150.0)
    for tempo, d in zip(tempi, heard_together(*(clicks(t) for t in tempi)), strict=True):
        assert d["pulse"][-1] > 0.5
        assert 2.0 ** d["tempo"][-1] == pytest.approx(tempo, rel=0.02)
        assert d["onset"][25:].max() > 5.0
        assert d["onset_rate"][-1] == pytest.approx(tempo / 60, abs=0.8)


def test_steady_noise_has_no_onsets_and_no_pulse() -> None:
    d = heard(0.1 * RNG.standard_normal(SR * 6))
    assert d["onset_rate"][-1] < 1.0 and d["pulse"][50:].max() < 0.3


def test_flutter_falls_into_its_band() -> None:
    hiss = RNG.standard_normal(3 * SR)
    rates = (4.0, 20.0)
    slow, fast = heard_together(*(0.1 * (1.0 + 0.9 * np.sin(2 * np.pi * hz * T[: 3 * SR])) * hiss for hz in rates))
    assert slow["slow"][-1] == pytest.approx(0.9, abs=0.2) and slow["fast"][-1] < 0.3
    # The windows of 43 ms smooth 20 Hz down to about two thirds.
    assert fast["fast"][-1] == pytest.approx(0.6, abs=0.15) and fast["slow"][-1] < 0.3


def test_trend_wavering_and_duty() -> None:
    rising = heard(tone(300.0, 2.0) * np.linspace(0.01, 1.0, 2 * SR) ** 2)
    assert rising["trend"][4:].min() > 0.0
    pauses = np.concatenate([tone(300.0, 0.8), np.zeros(int(SR * 0.8)), tone(300.0, 0.8), np.zeros(int(SR * 0.8))])
    assert heard(pauses)["duty"][-1] == pytest.approx(0.5, abs=0.02)
    assert heard(tone(300.0))["wavering"][-1] < 0.2


def test_gain_moves_the_level_and_little_else() -> None:
    audio = clicks(110.0, 4.0) + tone(220.0, 4.0, 0.1)
    loud, soft = heard_together(audio, audio * 0.25)
    assert loud["level"][-1] - soft["level"][-1] == pytest.approx(12.04, abs=0.01)
    for name in ("centroid", "flatness", "f0", "salience", "tonalness", "pulse", "tempo", "slow", "fast", "wavering"):
        assert soft[name][-1] == pytest.approx(loud[name][-1], abs=0.05), name


def test_every_descriptor_has_a_unit_and_is_finite_on_silence_and_full_scale() -> None:
    assert all(DESCRIPTORS.values())
    for audio in (np.zeros(SR), np.ones(SR), 1e20 * RNG.standard_normal(SR)):
        assert all(np.isfinite(values).all() for values in heard(audio).values())
