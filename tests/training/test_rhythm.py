"""The net of S2 learns from made-up sounds: the same arguments give the same weights, and it names what it hears."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from natd.codec.mel import FRAME, HISTORY, Mel
from natd.codec.rhythm import Rhythm
from natd.codec.rhythm_net import FIRST_CODE, PERIODS, TEMPI, RhythmNet, names
from natd.evaluation import words
from natd.training import onset_levels, pulses, rhythm
from natd.training.recordings import Clip
from natd.training.rhythm_examples import Example, hops_of, kept, made_up, states_of


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def beats(bpm: float, seconds: float = 9.0) -> Example:
    """Kick and snare in turn over a chord: hops as they would be heard."""
    rng = np.random.default_rng(int(bpm))
    t = np.arange(int(seconds * pulses.SR)) / pulses.SR
    out = 0.05 * np.sin(2 * np.pi * 220 * t) + 0.05 * np.sin(2 * np.pi * 277 * t)
    for i, at in enumerate(np.arange(0.1, seconds - 0.3, 60 / bpm)):
        start, n = int(at * pulses.SR), 6000
        fall = np.exp(-np.arange(n) / 1200)
        hit = np.sin(2 * np.pi * 60 * t[:n]) if i % 2 == 0 else 0.5 * rng.standard_normal(n)
        out[start : start + n] += 0.5 * fall * hit
    return Example(hops_of(out.astype(np.float32)), ("tempo",), bpm=bpm)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    made = [e for kind, count in (("ticks", 30), ("steady", 10)) for e in made_up(kind, range(count))]
    return made + [beats(bpm) for bpm in (60.0, 85.0, 120.0, 150.0)]


@pytest.fixture(scope="module")
def learned(examples: list[Example]) -> tuple[dict[str, torch.Tensor], list[str]]:
    said: list[str] = []
    return rhythm.learned(examples, 3, said.append, rounds=24), said


@torch.no_grad()
def phrases(weights: dict[str, torch.Tensor], samples: np.ndarray) -> list[str]:
    net = RhythmNet(weights | {"S2.levels": torch.tensor([0.5, 1.5, 3.0, 5.5, 9.5, 17.5])})
    mel, front = Mel(), Rhythm()
    past, moving, state = torch.zeros(1, HISTORY), front.initial_state(1), net.initial_state(1)
    out = []
    for chunk in torch.from_numpy(samples[: len(samples) // FRAME * FRAME].astype(np.float32)).view(-1, 1, FRAME):
        past = torch.cat([past[:, FRAME:], chunk], dim=1)
        power = mel.power(past)
        moved, seen = front(mel.log_mel(power), moving)
        code = net(seen, moved["onset"], torch.zeros(1, dtype=torch.bool), state)
        out.append(names()[int(code)])
    return out


def test_learning_is_repeatable_and_lowers_the_loss(examples: list[Example], learned) -> None:
    weights, said = learned
    losses = [float(line.split()[-1]) for line in said]
    assert losses[-1] < 0.5 * losses[0]
    few = examples[::5]
    one, two, other = (rhythm.learned(few, seed, str, rounds=1) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in weights)
    assert not torch.equal(one["S2.w1"], other["S2.w1"])


def test_ticks_are_named_with_their_period_and_noise_is_steady(learned) -> None:
    weights, _ = learned
    rng = np.random.default_rng(5)
    ticks = 1e-3 * rng.standard_normal(pulses.SR * 8)
    click = 0.4 * rng.standard_normal(480) * np.exp(-np.arange(480) / 100)
    for at in range(2000, len(ticks) - 480, pulses.SR // 2):
        ticks[at : at + 480] += click
    assert phrases(weights, ticks)[-1].startswith("regular ticks every 0.50 s")
    assert phrases(weights, 0.1 * rng.standard_normal(pulses.SR * 5))[-1].startswith("steady")


def test_what_is_heard_at_once_is_what_is_heard_frame_by_frame() -> None:
    samples = pulses.sound("dense", 4, 7.0).samples
    whole = hops_of(samples)
    mel, front = Mel(), Rhythm()
    past, state = torch.zeros(1, HISTORY), front.initial_state(1)
    for chunk in torch.from_numpy(samples[: len(samples) // FRAME * FRAME]).view(-1, 1, FRAME):
        past = torch.cat([past[:, FRAME:], chunk], dim=1)
        power = mel.power(past)
        front(mel.log_mel(power), state)
    torch.testing.assert_close(state.hops[0].T, whole[-608:], rtol=1e-4, atol=1e-3)


def test_a_sound_heard_faster_has_a_shorter_period() -> None:
    hops = torch.zeros(400, 5)
    hops[::40, 0] = 1.0
    hops[1::40, 0] = 1.0
    faster = rhythm.stretched(hops, 1.25)[:, 0]
    peaks = (faster > 0.9).nonzero()[:, 0]
    assert len(faster) == 319 and set(torch.diff(peaks).tolist()) <= {1, 31, 32, 33}


def test_soft_labels_are_shares_of_the_nearest_bins() -> None:
    tempi = rhythm._soft(math.log(120.0), TEMPI)
    assert int(tempi.argmax()) == TEMPI.index(120.0) and float(tempi.sum()) == pytest.approx(1.0) and tempi.max() > 0.9
    assert int(rhythm._soft(math.log(0.5), PERIODS).argmax()) == PERIODS.index(0.5)
    assert float(rhythm._soft(math.nan, TEMPI).sum()) == 0.0


@pytest.mark.parametrize("kind", pulses.KINDS)
def test_made_up_sounds_are_the_same_for_a_seed_and_within_full_scale(kind: str) -> None:
    one, two = pulses.sound(kind, 3, 2.0), pulses.sound(kind, 3, 2.0)
    assert np.array_equal(one.samples, two.samples) and not np.array_equal(
        one.samples, pulses.sound(kind, 4, 2.0).samples
    )
    assert one.samples.dtype == np.float32 and len(one.samples) == 2 * pulses.SR
    assert 0.01 < np.abs(one.samples).max() <= 1.0 and (one.period_s is not None) == (kind == "ticks")


def test_onset_levels_rise_and_hold_back_small_steps() -> None:
    rng = np.random.default_rng(1)
    hops = [torch.from_numpy(rng.exponential(3.0, (800, 5)).astype(np.float32)) for _ in range(4)]
    said: list[str] = []
    levels = onset_levels.fit(hops, said.append)
    assert len(levels) == 6 and bool((levels.diff() > 0).all()) and float(said[0].split()[-1]) > 0.8
    table = onset_levels.side_by_side([torch.tensor([0.0, 1.0, 9.0]), torch.tensor([9.0])])
    steps = torch.tensor([0.0, 1.5, 3.0, 6.0, 9.0, 12.0])
    assert onset_levels.encode(table, steps, 2.0).tolist() == [0, 0, 4, 4]
    assert onset_levels.encode(table, steps, 0.0).tolist() == [0, 1, 4, 4]


def test_what_was_heard_is_kept(tmp_path: Path, examples: list[Example]) -> None:
    made = kept(tmp_path, "a b", lambda: examples[:3], str)
    again = kept(tmp_path, "a b", lambda: pytest.fail("heard again"), str)
    assert [e.states for e in again] == [e.states for e in made] and again[0].period_s == examples[0].period_s
    assert all(torch.equal(a.hops, e.hops) for a, e in zip(again, examples, strict=False))


def test_what_a_recording_may_be_called() -> None:
    def clip(name: str, kind: str, label: str = "") -> Clip:
        return Clip(Path(name), "sounds", "fit", kind, label)

    assert "tempo" not in states_of(clip("1.ogg", "environment", "rain"))
    assert states_of(clip("clock__a.ogg", "environment")) == ("ticks",)
    assert states_of(clip("speech_en_x__1.ogg", "speech")) == ("syllabic",)
    assert "tempo" in states_of(clip("song.ogg", "music")) and "tempo" not in states_of(clip("odd.ogg", "environment"))


def test_words_of_the_first_code_with_a_tempo_are_read() -> None:
    assert words.tempo(names()[FIRST_CODE]) is None
