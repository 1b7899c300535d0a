"""Two tokenizers as one: each part's codes are those it gives alone, at the same sample time."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from natd.codebooks import store
from natd.codec import hybrid, open_tokenizer, sounding, soundstream
from natd.codec.hybrid import Hybrid
from natd.codec.rate import RateChange
from natd.errors import ConfigError
from tests.codec import look_ahead_models, soundstream_weights
from tests.codec.sounds import streams

FRAMES = 12


@pytest.fixture(scope="module")
def coder() -> soundstream.SoundStream:
    return soundstream.SoundStream(soundstream_weights.random_weights(), "sha256:0")


def stepped(tokenizer, audio: torch.Tensor) -> list[torch.Tensor]:
    state, n = tokenizer.initial_state(len(audio)), tokenizer.spec.frame_samples
    steps = [tokenizer.encode(part.contiguous(), state) for part in audio.split(n, 1)]
    return [torch.cat(layer, 1) for layer in zip(*steps, strict=True)]


def sound(batch: int, samples: int) -> torch.Tensor:
    frames = streams(max(batch, 4), -(-samples // 1920))
    every = frames.reshape(len(frames), -1)[:batch, :samples]
    return torch.from_numpy(np.ascontiguousarray(every))


def test_each_part_says_what_it_says_alone(coder: soundstream.SoundStream) -> None:
    ears = open_tokenizer("ears")
    both = Hybrid(ears, coder)
    spec = both.spec
    assert (spec.sr, spec.frame_samples, spec.delay_frames) == (24_000, 1920, 0)
    assert [layer.name for layer in spec.layers] == ["S0", "S1", "S2", "S3", *(f"A{i}" for i in range(16))]
    assert [layer.per_frame for layer in spec.layers] == [1] * 4 + [4] * 16
    assert spec.info.name == "ears+soundstream" and set(both.glossary) == {"S0", "S1", "S2", "S3"}
    audio = sound(3, FRAMES * 1920)
    codes = stepped(both, audio)
    for found, alone in zip(codes[:4], stepped(ears, audio)[:4], strict=True):
        assert torch.equal(found, alone)
    change = RateChange(24_000, 16_000)
    narrow = change(audio, change.initial_state(3))
    for found, alone in zip(codes[4:], stepped(coder, narrow), strict=True):
        assert torch.equal(found, alone)
    assert all(torch.equal(a[:1], b) for a, b in zip(codes, stepped(both, audio[:1]), strict=True))


def test_a_part_that_looks_ahead_makes_the_other_wait(coder: soundstream.SoundStream) -> None:
    late = look_ahead_models.published("dac").tokenizer
    ears = open_tokenizer("ears")
    both = Hybrid(ears, late)
    steps, delay = both.parts[1].steps, both.spec.delay_frames
    assert late.spec.delay_frames > 0 and delay == math.ceil(late.spec.delay_frames / steps)
    assert both.spec.info.lookahead_ms == pytest.approx(delay * 1000 * both.spec.frame_samples / both.spec.sr)
    n = both.spec.frame_samples
    audio = sound(2, 6 * n)
    state = both.initial_state(2)
    found = [both.encode(part.contiguous(), state) for part in audio.split(n, 1)]
    both.finish(state)
    found += [both.encode(torch.zeros(2, n), state) for _ in range(delay)]
    codes = [torch.cat(layer, 1) for layer in zip(*found[delay:], strict=True)]
    for mine, alone in zip(codes[:4], stepped(ears, audio)[:4], strict=True):
        assert torch.equal(mine, alone)
    change = RateChange(both.spec.sr, late.spec.sr)
    narrow = change(audio, change.initial_state(2))
    for mine, alone in zip(codes[4:], look_ahead_models.encoded(late, narrow), strict=True):
        assert torch.equal(mine, alone)


def test_it_opens_by_the_names_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    store.save(tmp_path, "soundstream", soundstream.SETTINGS, soundstream_weights.random_weights(), {})
    names = ("ears+soundstream", "ears+soundstream:6.0", "ears+soundstream:6.0:float")
    opened = [open_tokenizer(name) for name in names]
    assert [len(o.spec.layers) for o in opened] == [20, 34, 34]
    assert len({o.spec.info.codebook_id for o in opened}) == 3
    with pytest.raises(ConfigError, match="soundstream has no semantic layers"):
        open_tokenizer("soundstream+ears")
    for name in ("nothing+ears", "ears+nothing", "ears+nothing:codebooks=2"):
        with pytest.raises(ConfigError, match="no tokenizer is called 'nothing'; there is "):
            open_tokenizer(name)


def test_frames_that_hardly_meet_are_refused(coder: soundstream.SoundStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "LONGEST_S", 0.05)
    with pytest.raises(ConfigError, match="frames of 80 and 20 ms meet only every 0.08 s"):
        Hybrid(open_tokenizer("ears"), coder)


@pytest.mark.parametrize("rate, to", [(24_000, 16_000), (16_000, 24_000), (44_100, 16_000), (24_000, 32_000)])
def test_a_changed_rate_keeps_what_both_rates_hold(rate: int, to: int) -> None:
    change = RateChange(rate, to)
    n = change.down * math.ceil(rate / change.down)
    t = torch.arange(n, dtype=torch.float64) / rate
    state = change.initial_state(2)
    tone, high = (torch.sin(2 * math.pi * hz * t) for hz in (1000.0, 0.55 * min(rate, to)))
    found = change(torch.stack([tone, high]).float(), state)
    assert found.shape == (2, n * change.up // change.down)
    at = torch.arange(found.shape[1], dtype=torch.float64) / to - change.delay_s
    inner = slice(to // 10, None)
    expected = torch.sin(2 * math.pi * 1000.0 * at)
    assert float((found[0] - expected)[inner].abs().max()) < 3e-4
    if to < rate:
        assert float(found[1][inner].abs().max()) < 3e-4  # would be an alias
    pieces = change.initial_state(2)
    split = torch.stack([tone, high]).float().split(change.down * 7, 1)
    assert torch.equal(torch.cat([change(part, pieces) for part in split], 1), found)


def test_it_sounds_as_its_acoustic_part(coder: soundstream.SoundStream) -> None:
    ears = open_tokenizer("ears")
    assert sounding(Hybrid(ears, coder)) == (coder, 4) and sounding(coder) == (coder, 1)
    assert sounding(Hybrid(ears, ears)) == (ears, 1)


@pytest.mark.parametrize("name", ["ears+soundstream+soundstream", "ears+ears+ears", "+soundstream", "ears+", "+"])
def test_three_tokenizers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not two tokenizers"):
        open_tokenizer(name)
