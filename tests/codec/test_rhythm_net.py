"""S2: each row on its own, silence is 0, nothing is said too early, and the words can be read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from natd.codec.descriptors import FrontEnd
from natd.codec.mel import HISTORY, Mel
from natd.codec.rhythm import PULSE_HOPS, Rhythm
from natd.codec.rhythm_net import (
    CODES,
    FEATURES,
    FIRST_CODE,
    LOGITS,
    ONSETS,
    PERIODS,
    SILENCE,
    SOUNDING_FRAMES,
    STATES,
    TEMPI,
    TEMPO,
    UNHEARD,
    UNHEARD_FRAMES,
    UNHEARD_ONSET,
    Features,
    RhythmNet,
    names,
)
from natd.evaluation import words
from tests.codec.sounds import FRAME, noise, streams


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """Weights by chance: what is tested here holds for any."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((FEATURES, 128), (128, 64), (64, LOGITS))
    out = {f"S2.w{i}": torch.randn(a, b, generator=generator) / a**0.5 for i, (a, b) in enumerate(sizes, 1)}
    out |= {f"S2.b{i}": torch.randn(b, generator=generator) for i, (_, b) in enumerate(sizes, 1)}
    return out | {"S2.levels": torch.tensor([0.5, 1.5, 3.0, 5.5, 9.5, 17.5])}


@torch.no_grad()
def codes(net: RhythmNet, audio: Tensor) -> Tensor:
    """Audio [B, T, 1920] -> codes [B, T]."""
    mel, rhythm = Mel(), Rhythm()
    past, moving, state = (
        torch.zeros(len(audio), HISTORY),
        rhythm.initial_state(len(audio)),
        net.initial_state(len(audio)),
    )
    out = []
    for t in range(audio.shape[1]):
        past = torch.cat([past[:, FRAME:], audio[:, t]], dim=1)
        moved, seen = rhythm(mel.log_mel(mel.power(past)), moving)
        silent = audio[:, t].abs().amax(1) < 1e-4
        out.append(net(seen, moved["onset"], silent, state))
    return torch.stack(out, dim=1)


def test_alone_equals_in_company() -> None:
    net, audio = RhythmNet(tensors()), torch.from_numpy(streams(8, 40))
    together = codes(net, audio)
    assert len(together.unique()) > 4
    for row in range(8):
        assert torch.equal(codes(net, audio[row : row + 1])[0], together[row]), row
    assert torch.equal(codes(net, audio[2:5]), together[2:5])


def test_silence_is_0_and_the_first_frames_say_that_they_are_too_few() -> None:
    audio = torch.from_numpy(noise(2.4, 0.1, 3)).view(1, 30, FRAME).clone()
    audio[0, 3] = 0.0
    audio[0, 20:] = 0.0
    said = codes(RhythmNet(tensors()), audio)[0].tolist()
    assert said[3] == SILENCE and set(said[20:]) == {SILENCE}
    assert {UNHEARD} <= set(said[:3] + said[4:UNHEARD_FRAMES]) <= {UNHEARD, *range(UNHEARD_ONSET, CODES)}
    assert all(FIRST_CODE <= code < UNHEARD_ONSET for code in said[UNHEARD_FRAMES:20])


def test_no_tempo_is_said_before_three_seconds_of_sound() -> None:
    weights = tensors()
    weights["S2.b3"][TEMPO] = 1e3
    audio = torch.from_numpy(noise(4.8, 0.1, 4)).view(1, 60, FRAME).clone()
    audio[0, :10] = 0.0
    phrases = [names()[code] for code in codes(RhythmNet(weights), audio)[0].tolist()]
    first = next(i for i, phrase in enumerate(phrases) if words.tempo(phrase))
    assert first == 10 + SOUNDING_FRAMES - 1 and all(words.tempo(phrase) for phrase in phrases[first:])


def test_what_was_said_stays_until_another_leads_by_the_margin() -> None:
    net = RhythmNet(tensors())
    state = net.initial_state(1)
    state.sounded += 100
    for logit, expected in ((0.5, 0), (0.8, TEMPO), (-0.5, TEMPO), (-0.8, 0)):
        state.logits.zero_()[0, 0, 8:] = -10.0
        state.logits[0, 0, 1:TEMPO] = -10.0
        state.logits[0, 0, TEMPO] = logit
        net._say(torch.zeros(1), state)
        assert state.said[0, 0] == expected, logit


def test_the_onset_level_is_the_nearest_but_for_small_steps() -> None:
    net = RhythmNet(tensors())
    state = net.initial_state(1)
    said = []
    for onset in (0.0, 1.2, 6.0, 40.0, 16.0, 0.2):
        net._say(torch.tensor([onset]), state)
        said.append(ONSETS[int(state.said[0, 3])])
    no, clear, strong = "no onset", "clear onset", "very strong onset"
    assert said == [no, no, clear, strong, strong, no]


def test_every_code_has_its_own_words_and_only_a_tempo_reads_as_one() -> None:
    phrases = names()
    assert sorted(phrases) == list(range(CODES)) and len(set(phrases.values())) == CODES
    bpm = [tempo for phrase in phrases.values() if (tempo := words.tempo(phrase)) is not None]
    assert len(bpm) == len(TEMPI) * len(ONSETS) and len(set(bpm)) == len(TEMPI)
    assert min(bpm) == 41 and max(bpm) == 240 and 120.0 in bpm
    assert sum("regular ticks" in phrase for phrase in phrases.values()) == len(PERIODS) * len(ONSETS)
    assert sum("bpm" in phrase for phrase in phrases.values()) == len(bpm)


def test_heads_and_words_agree() -> None:
    net, phrases = RhythmNet(tensors()), names()
    for state, period, tempo, onset, begin in (
        (0, 3, 5, 0, "steady, no onset"),
        (STATES.index("ticks"), 3, 5, 2, "regular ticks every 0.50 s, soft onset"),
        (TEMPO, 3, 14, 4, "tempo 120 bpm, strong onset"),
        (STATES.index("syllabic"), 0, 0, 1, "syllabic, faint onset"),
    ):
        said = torch.tensor([state, period, tempo, onset])
        assert phrases[int(net.codes[int((said * net.strides).sum())])] == begin


def test_features_see_the_period_the_rate_and_not_the_gain() -> None:
    hops = torch.zeros(3, 5, PULSE_HOPS)
    hops[0, :, ::50] = 10.0  # every half second
    hops[1, 4] = 40.0 + 6.0 * torch.sin(2 * torch.pi * 0.05 * torch.arange(PULSE_HOPS))  # 5 Hz
    hops[2] = hops[1] + torch.tensor([0.0, 0.0, 0.0, 0.0, 15.0])[:, None]
    front = Features()
    out = front(Rhythm().look_back(hops, torch.full((3,), 1000.0)))
    lags = 0.15 * (3.2 / 0.15) ** (torch.arange(112) / 111)
    assert lags[int(out[0, :112].argmax())] == pytest.approx(0.5, rel=0.03)
    begin = 4 * 113 + 4 * 48
    rates = 0.5 * 90.0 ** (torch.arange(48) / 47)
    assert rates[int(out[1, begin : begin + 48].argmax())] == pytest.approx(5.0, rel=0.06)
    torch.testing.assert_close(out[1], out[2], rtol=1e-3, atol=1e-3)


def test_the_front_end_gives_what_the_net_needs() -> None:
    front = FrontEnd()
    state = front.initial_state(1)
    for frame in torch.from_numpy(noise(0.8, 0.1, 5)).view(10, 1, FRAME):
        front(frame, state)
    assert state.rhythm.hops[0, 4, -80:].min() > 0.0 and state.rhythm.hops[0, :, :-80].abs().max() == 0.0
