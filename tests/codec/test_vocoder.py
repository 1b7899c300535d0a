"""The vocoder: the mel that went in comes out, notes keep their pitch, clicks their time, silence is silent."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from natd.codec.mel import BANDS, FRAME, HISTORY, HOPS, SR, Mel
from natd.codec.state import gather, scatter
from natd.codec.vocoder import DELAY_SAMPLES, Vocoder
from tests.codec import sounds

MEL, VOCODER = Mel(), Vocoder()


def analysed(audio: Tensor) -> Tensor:
    """Samples [B, T * 1920] -> log-mel [B, T, 8, 128]."""
    padded = torch.nn.functional.pad(audio, (HISTORY - FRAME, 0))
    starts = range(0, audio.shape[1], FRAME)
    return torch.stack([MEL.log_mel(MEL.power(padded[:, at : at + HISTORY].contiguous())) for at in starts], dim=1)


def vocoded(log_mel: Tensor) -> Tensor:
    """Log-mel [B, T, 8, 128] -> samples [B, T * 1920]."""
    state = VOCODER.initial_state(len(log_mel))
    return torch.cat([VOCODER(log_mel[:, t].contiguous(), state) for t in range(log_mel.shape[1])], dim=1)


def apart_db(found: Tensor, truth: Tensor) -> float:
    return float((found.clamp(min=-80.0) - truth.clamp(min=-80.0)).abs().mean())


def aligned(audio: Tensor) -> Tensor:
    """Without the delay and the part of the last frame that it cut off: whole frames."""
    return audio[:, DELAY_SAMPLES : audio.shape[1] - FRAME + DELAY_SAMPLES]


def sine(hz: float, seconds: float, level: float = 0.3) -> Tensor:
    t = torch.arange(int(seconds * SR), dtype=torch.float64) / SR
    return (level * torch.sin(2 * math.pi * hz * t)).float()[None]


def check_against_noise(audio: Tensor, most_db: float) -> None:
    """The mel comes back within `most_db`; noise with each frame's level and without any phase are further off."""
    truth = analysed(audio)[:, :-1]
    found = apart_db(analysed(aligned(vocoded(analysed(audio)))), truth)
    level = audio.view(1, -1, FRAME).square().mean(2, keepdim=True).sqrt()
    noise = torch.randn(1, level.shape[1], FRAME, generator=torch.Generator().manual_seed(0)) * level
    null = apart_db(analysed(noise.view(1, -1))[:, :-1], truth)
    assert found < most_db and found < 0.2 * null


def test_the_mel_comes_back():
    check_against_noise(torch.from_numpy(sounds.score()).view(1, -1), 1.5)


@pytest.mark.parametrize("path", sounds.recordings()[:4], ids=lambda p: p.stem)
def test_the_mel_of_a_recording_comes_back(path):
    check_against_noise(torch.from_numpy(sounds.frames_of(path, 40)).view(1, -1), 1.5)


@pytest.mark.parametrize("hz", [110.0, 261.63, 880.0, 1975.53])
def test_a_note_keeps_its_pitch_within_three_cents(hz):
    audio = vocoded(analysed(sine(hz, 2.0)))[0, SR // 2 :][: 1 << 15].double()
    size = 1 << 20
    spectrum = torch.fft.rfft(audio * torch.hann_window(len(audio), dtype=torch.float64), n=size).abs()
    found = float(spectrum.argmax()) * SR / size
    assert abs(1200 * math.log2(found / hz)) < 3.0
    assert float(audio.square().mean()) == pytest.approx(0.3**2 / 2, rel=0.15)


def test_a_click_stays_where_it_is():
    at = 9_000
    audio = torch.zeros(1, 12 * FRAME)
    audio[0, at] = 0.9
    energy = vocoded(analysed(audio))[0].square()
    centre = at + DELAY_SAMPLES
    total = float(energy.sum())
    assert float(energy[centre - 120 : centre + 120].sum()) > 0.8 * total
    assert float(energy[centre - 512 : centre + 512].sum()) > 0.95 * total


def test_silence_is_exactly_silent_also_after_sound():
    silence = torch.full((1, 6, HOPS, BANDS), -80.0)
    assert not vocoded(silence).any() and not vocoded(silence - 20.0).any()
    after = vocoded(torch.cat([analysed(sine(440.0, 0.4)), silence], dim=1))[0]
    assert after[: 5 * FRAME].abs().max() > 0.2
    assert not after[-4 * FRAME :].any()


def test_alone_equals_in_company_and_a_repeat():
    log_mel = analysed(torch.from_numpy(sounds.streams(5, 10)).view(5, -1))
    together = vocoded(log_mel)
    assert torch.equal(together, vocoded(log_mel))
    for row in range(5):
        assert torch.equal(vocoded(log_mel[row : row + 1].contiguous())[0], together[row])


def test_a_state_can_be_kept_and_taken_up_again():
    log_mel = analysed(torch.from_numpy(sounds.streams(4, 8)).view(4, -1))
    whole, state = vocoded(log_mel), VOCODER.initial_state(4)
    for t in range(4):
        VOCODER(log_mel[:, t].contiguous(), state)
    other = VOCODER.initial_state(2)
    scatter(other, torch.tensor([0, 1]), gather(state, torch.tensor([2, 0])))
    out = [VOCODER(log_mel[[2, 0], t].contiguous(), other) for t in range(4, 8)]
    assert torch.equal(torch.cat(out, dim=1), whole[[2, 0], 4 * FRAME :])


def test_amplitudes_hold_the_power_of_the_bands():
    log_mel = analysed(torch.from_numpy(sounds.score()[:30]).reshape(1, -1))[:, 16]
    again = 10 * torch.log10((VOCODER.amplitudes(log_mel.contiguous()) ** 2 @ VOCODER.bank).clamp(min=1e-8))
    loud = log_mel > -60.0
    assert float((again - log_mel)[loud].abs().mean()) < 0.3
    assert np.isfinite(again.numpy()).all()
