"""Steady tones are what their labels say: the loudest frequency of a take is that of its note."""

import numpy as np
import torch

from natd.codec.harmony_net import LOWEST_MIDI, NOTE, HarmonyNet, initial_tensors
from natd.codec.mel import FRAME, SR
from natd.training import harmony_tones
from natd.training.harmony_tones import TAKE_FRAMES, tones


def test_labels_are_the_pitch_that_is_heard() -> None:
    frames = tones(HarmonyNet(initial_tensors(0)), 4, seed=1)
    assert len(frames) == 4 * TAKE_FRAMES and int(frames.clip.max()) == 3
    sure = (frames.weight == 1.0) & (frames.salience > 0.95)
    assert int(sure.sum()) > TAKE_FRAMES
    heard = (frames.f0[sure] - np.log2(440.0)) * 12 + 69 - LOWEST_MIDI + NOTE
    off = (heard - frames.label[sure]).abs()
    assert float((off < 0.5).float().mean()) > 0.9  # the rest are octaves of f0 below the tones that it looks for


def test_pure_tones_have_one_frequency_and_takes_are_drawn_by_seed() -> None:
    rng = np.random.default_rng(3)
    tone = harmony_tones._tone(rng, 69, SR, 1)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert abs(int(spectrum.argmax()) - 440) <= 6
    assert np.sort(spectrum)[-40:].sum() > 0.9 * spectrum.sum()
    net = HarmonyNet(initial_tensors(0))
    one, same, other = (tones(net, 1, seed) for seed in (1, 1, 2))
    assert torch.equal(one.context, same.context) and not torch.equal(one.context, other.context)
    assert one.context.shape[0] * FRAME == TAKE_FRAMES * FRAME
