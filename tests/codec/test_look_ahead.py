"""DAC and SNAC as streams: the codes and samples of the published packages, to the bit in any company."""

import json
from pathlib import Path

import pytest
import torch

from natd.codec import open_tokenizer
from natd.codec.state import gather, leaves, scatter
from natd.errors import ConfigError, ModelError
from tests.codec.look_ahead_models import KINDS, Published, decoded, encoded, published, save, sound

GOLDEN = Path(__file__).parent.parent / "golden"
DELAYS = {"dac": 2, "snac": 3, "snac_attention": 6}


@pytest.fixture(scope="module", params=KINDS)
def codec(request: pytest.FixtureRequest) -> Published:
    return published(request.param)


def golden_codes(kind: str) -> list[list[int]]:
    """Per layer the codes of five frames."""
    tokenizer = published(kind).tokenizer
    return [layer[0].tolist() for layer in encoded(tokenizer, sound(1, 5 * tokenizer.spec.frame_samples))]


@pytest.mark.parametrize("kind", KINDS)
def test_golden_codes(kind: str) -> None:
    """A change of any code is a change of the arithmetic: `python -m tests.codec.write_golden` on purpose."""
    golden = json.loads((GOLDEN / f"{kind.partition('_')[0]}.json").read_text())[kind]
    assert golden_codes(kind) == golden
    assert all(len(set(layer)) > 2 for layer in golden)


@pytest.mark.parametrize("frames", [1, 8, 13])
def test_codes_are_those_of_the_package(codec: Published, frames: int) -> None:
    samples = sound(2, frames * codec.tokenizer.spec.frame_samples)
    found, theirs = encoded(codec.tokenizer, samples), codec.encode(samples)
    for mine, other in zip(found, theirs, strict=True):
        # The package fills up the last window of attention and gives the codes of that as well.
        assert torch.equal(mine, other[:, : mine.shape[1]])


def test_samples_are_those_of_the_package(codec: Published) -> None:
    codes = codec.encode(sound(2, 12 * codec.tokenizer.spec.frame_samples))
    theirs, found = codec.decode(codes), decoded(codec.tokenizer, codes)
    assert float(theirs.std()) > 0.01
    torch.testing.assert_close(found[:, : theirs.shape[1]], theirs, rtol=0, atol=1e-5)
    assert not found[:, theirs.shape[1] :].any()  # odd strides lose the last samples of a sound


@pytest.mark.parametrize("batch", [2, 7, 32])
def test_alone_equals_in_company_at_any_age(codec: Published, batch: int) -> None:
    """Row i begins i % 3 steps later and ends after four frames: codes and states, bit for bit."""
    tokenizer, frame = codec.tokenizer, codec.tokenizer.spec.frame_samples
    samples = sound(batch, 4 * frame).split(frame, 1)
    together = tokenizer.initial_state(batch)
    single = [tokenizer.initial_state(1) for _ in range(min(batch, 4))]
    for step in range(7):
        begins = torch.tensor([i for i in range(batch) if i % 3 == step], dtype=torch.int64)
        scatter(together, begins, tokenizer.initial_state(len(begins)))
        ends = torch.tensor([i for i in range(batch) if i % 3 == step - 4], dtype=torch.int64)
        part = gather(together, ends)
        tokenizer.finish(part)
        scatter(together, ends, part)
        silence = torch.zeros(frame)
        rows = [samples[step - i % 3][i] if 0 <= step - i % 3 < 4 else silence for i in range(batch)]
        codes = tokenizer.encode(torch.stack(rows), together)
        for i, own in enumerate(single):
            if step < i % 3:
                continue
            if step - i % 3 == 4:
                tokenizer.finish(own)
            alone = tokenizer.encode(rows[i][None], own)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, codes, strict=True))
            assert all(torch.equal(a[0], b[i]) for a, b in zip(leaves(own), leaves(together), strict=True))


def test_decoding_alone_equals_in_company(codec: Published) -> None:
    codes = codec.encode(sound(7, 5 * codec.tokenizer.spec.frame_samples))
    together = decoded(codec.tokenizer, codes)
    for i in range(7):
        assert torch.equal(decoded(codec.tokenizer, [layer[i : i + 1] for layer in codes]), together[i : i + 1])


def test_codes_need_no_more_than_the_declared_delay(codec: Published) -> None:
    tokenizer, frame, delay = codec.tokenizer, codec.tokenizer.spec.frame_samples, codec.tokenizer.spec.delay_frames
    samples = sound(1, (delay + 2) * frame)
    theirs = zip(codec.encode(samples), tokenizer.spec.layers, strict=True)
    first = [layer[:, : spec.per_frame] for layer, spec in theirs]
    info = tokenizer.spec.info
    assert not info.causal
    assert info.lookahead_ms == pytest.approx(delay * frame * 1000 / tokenizer.spec.sr)
    state = tokenizer.initial_state(1)
    for chunk in samples[:, : (delay + 1) * frame].split(frame, 1):
        codes = tokenizer.encode(chunk, state)
    assert all(torch.equal(a, b) for a, b in zip(codes, first, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_tokenizer_promises(kind: str) -> None:
    tokenizer = published(kind).tokenizer
    layers = [(layer.name, layer.vocab, layer.per_frame) for layer in tokenizer.spec.layers]
    rates = {"dac": [4, 4, 4, 4], "snac": [1, 2, 4], "snac_attention": [1, 2, 4, 8]}[kind]
    assert layers == [(f"A{i}", 64, rate) for i, rate in enumerate(rates)]
    assert tokenizer.spec.delay_frames == DELAYS[kind]
    assert tokenizer.spec.frame_samples == {"dac": 4 * 320, "snac": 4 * 512, "snac_attention": 8 * 96}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_codebooks_are_the_first_of_all(kind: str) -> None:
    whole, few = published(kind).tokenizer, published(kind, ":codebooks=2").tokenizer
    samples = sound(1, 3 * whole.spec.frame_samples)
    for a, b in zip(encoded(few, samples), encoded(whole, samples), strict=False):
        assert torch.equal(a, b)
    assert len(few.spec.layers) == 2
    assert few.spec.info.codebook_id != whole.spec.info.codebook_id


def test_dac_s_frames_cut_time_otherwise_and_change_no_code() -> None:
    four, eight = published("dac").tokenizer, published("dac", ":frames=8").tokenizer
    samples = sound(1, 4 * eight.spec.frame_samples)
    assert (eight.spec.frame_samples, eight.spec.delay_frames) == (2 * four.spec.frame_samples, 1)
    assert all(torch.equal(a, b) for a, b in zip(encoded(four, samples), encoded(eight, samples), strict=True))


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("dac", "dac:model=16khz", "dac:model=16khz"),
        ("dac", "dac:codebooks=3:model=16khz", "dac:model=16khz:codebooks=3"),
        ("snac", "snac:model=24khz", "snac"),
        ("snac", "snac", "snac"),
    ],
)
def test_it_is_opened_by_name_and_does_not_tell_where_its_weights_lie(
    kind: str, name: str, told: str, tmp_path: Path
) -> None:
    here = published(kind)
    save(here.checkpoint, tmp_path)
    opened = open_tokenizer(f"{name}:from={tmp_path}")
    samples = sound(1, 2 * opened.spec.frame_samples)
    both = zip(encoded(opened, samples), encoded(here.tokenizer, samples), strict="codebooks" not in name)
    assert all(torch.equal(a, b) for a, b in both)
    assert opened.spec.info.name == told
    other = "model=44khz"
    with pytest.raises(ModelError, match="config.json is of a .* not of 44100 Hz"):
        open_tokenizer(f"{kind}:{other}:from={tmp_path}")


@pytest.mark.parametrize("kind", ["dac", "snac"])
def test_what_it_cannot_do_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{kind}:model=8khz is none of"):
        open_tokenizer(f"{kind}:model=8khz")
    with pytest.raises(ConfigError, match=f"{kind}:codebooks=99 is not a number in 1..."):
        open_tokenizer(f"{kind}:codebooks=99")
    with pytest.raises(ModelError, match="nat models fetch"):
        open_tokenizer(f"{kind}:from={tmp_path}")
    here = published(kind)
    tensors = {name: tensor for name, tensor in here.checkpoint.tensors.items() if "quantizers.1.in_proj" not in name}
    save(type(here.checkpoint)(here.checkpoint.config, tensors, ""), tmp_path)
    with pytest.raises(ModelError, match="lacks what the tokenizer needs"):
        open_tokenizer(f"{kind}:model={'16khz' if kind == 'dac' else '24khz'}:from={tmp_path}")
