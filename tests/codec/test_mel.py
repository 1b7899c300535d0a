"""Log-mel: right band, right level, nothing ahead of now."""

import numpy as np
import pytest
import torch

from natd.codec.mel import BANDS, FRAME, HISTORY, SR, Mel, mel_bank

T = torch.arange(HISTORY, dtype=torch.float64) / SR


@pytest.mark.parametrize("hz", [100.0, 440.0, 3000.0, 9000.0])
def test_a_sine_lights_the_band_of_its_frequency_at_its_level(hz: float) -> None:
    mel = Mel()
    audio = (0.1 * torch.sin(2 * np.pi * hz * T)).float()[None]
    log_mel = mel.log_mel(mel.power(audio))[0]
    assert log_mel.shape == (8, BANDS)
    bank = mel_bank()
    assert abs(int(log_mel[-1].argmax()) - int(bank[round(hz * 1024 / SR)].argmax())) <= 1
    assert float(log_mel[-1].max()) == pytest.approx(-20.0, abs=2.5)


def test_every_band_hears_something_and_silence_is_the_floor() -> None:
    assert (mel_bank().sum(0) > 0.5).all()
    mel = Mel()
    assert (mel.log_mel(mel.power(torch.zeros(2, HISTORY))) == -100.0).all()


def test_the_last_window_ends_with_the_frame() -> None:
    mel = Mel()
    audio = torch.zeros(1, HISTORY)
    audio[0, -100] = 1.0
    power = mel.power(audio)[0]
    assert (power[:7] == 0.0).all() and (power[7] > 0.0).any()


def test_level_ignores_an_offset() -> None:
    frame = (0.5 * torch.sin(2 * np.pi * 1000 * T[:FRAME])).float()[None]
    torch.testing.assert_close(Mel().level(frame + 0.25), torch.tensor([0.125]))
