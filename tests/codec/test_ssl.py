"""Encoders over a window: the published model's vectors, whatever the arrival, the company and the age of a stream."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk
from natd.codec.ssl import SslEncoder
from natd.codec.state import leaves, scatter
from tests.codec.ssl_models import (
    FRAMES,
    LAYERS,
    MODELS,
    Reference,
    codebooks,
    codes_of,
    heard,
    nearest,
    options,
    reference,
    sounds,
    tokenizer,
    vectors_of,
    windows_of,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "ssl.json"


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Reference:
    return reference(request.param)


@pytest.fixture(scope="module", params=["kept", "anew"])
def encoder(model: Reference, request: pytest.FixtureRequest) -> SslEncoder:
    return model.encoder(f":features={request.param}")


def assert_like(found: torch.Tensor, expected: torch.Tensor, share: float = 2e-5) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < share * float(expected.abs().max())


# ---- what the vectors are


def test_made_anew_they_are_those_of_the_published_model_on_the_window(model: Reference) -> None:
    encoder = model.encoder(":features=anew")
    audio = heard(encoder, 1)
    own = vectors_of(encoder, audio)
    books = codebooks(encoder)
    equal = []
    for step, window in zip(own, windows_of(encoder, audio), strict=True):
        for layer, hidden in enumerate(model.hidden(window)):
            expected = hidden[:, -encoder.plan.per_frame :]
            assert_like(step[f"S{layer}"], expected)
            book = books[f"S{layer}.codes"]
            equal += (nearest(book, step[f"S{layer}"]) == nearest(book, expected)).flatten().tolist()
        assert torch.equal(step["A"], step["S1"])
    assert len(equal) == FRAMES * LAYERS * encoder.plan.per_frame
    assert np.mean(equal) > 0.999


def test_kept_they_are_levelled_by_the_window_that_each_was_heard_in(model: Reference) -> None:
    encoder = model.encoder()
    audio, per_frame = heard(encoder, 2), encoder.plan.per_frame
    convolved = [model.convolved(window)[:, -per_frame:] for window in windows_of(encoder, audio)]
    for i, step in enumerate(vectors_of(encoder, audio)):
        latest = torch.cat(convolved[max(0, i + 1 - encoder.plan.frames) : i + 1], 1)
        for layer, hidden in enumerate(model.transformed(latest)):
            assert_like(step[f"S{layer}"], hidden[:, -per_frame:])


def test_the_published_sizes() -> None:
    """Twelve layers of 768 with a window of 1 s, in WavLM, which has all that the others have and its bias."""
    model = reference("wavlm", {})
    encoder = model.encoder(usual="hop=0.5:window=1:semantic=1,6,11,12:features=anew")
    audio = heard(encoder, 1, 3)
    hidden = model.hidden(windows_of(encoder, audio)[-1])
    step = vectors_of(encoder, audio)[-1]
    for name, layer in {"S0": 1, "S1": 6, "S2": 11, "S3": 12, "A": 2}.items():
        assert_like(step[name], hidden[layer][:, -25:])


def test_looking_ahead_gives_an_earlier_frame_of_the_same_window(model: Reference) -> None:
    hop = options(model.name)[4:].split(":")[0]
    encoder = model.encoder(f":features=anew:lookahead={2 * float(hop):.2f}")
    audio, per_frame = heard(encoder, 1), encoder.plan.per_frame
    for i, (step, window) in enumerate(zip(vectors_of(encoder, audio), windows_of(encoder, audio), strict=True)):
        if i >= 2:
            assert_like(step["S4"], model.hidden(window)[4][:, -3 * per_frame : -2 * per_frame])
    spec = tokenizer(encoder).spec
    assert (spec.delay_frames, spec.info.causal) == (2, False)
    assert spec.info.lookahead_ms == pytest.approx(2000 * float(hop))


def test_half_precision_is_near_and_says_so(model: Reference) -> None:
    exact, half = model.encoder(), model.encoder(":dtype=bfloat16")
    audio = heard(exact, 1)
    for one, other in zip(vectors_of(exact, audio), vectors_of(half, audio), strict=True):
        for name, x in one.items():
            assert other[name].dtype == torch.float32
            assert float((x - other[name]).square().mean() / x.square().mean()) < 0.02
    assert tokenizer(half).spec.info.dtype == "bfloat16"
    assert half.settings() != exact.settings()


@pytest.mark.parametrize("name", ["hubert", "wavlm"])
def test_silence_and_extremes_stay_finite(name: str) -> None:
    encoder = reference(name).encoder()
    size = encoder.frame_samples
    audio = torch.zeros(4, 8 * size)
    audio[1] = 1.0  # nothing but an offset
    audio[2, 3 * size :] = sounds(1, 5 * size, encoder.sr)[0] * 1e-6
    audio[3, ::2], audio[3, 1::2] = 1.0, -1.0
    for step in vectors_of(encoder, audio):
        assert all(bool(torch.isfinite(x).all()) for x in step.values())


def test_loudness_counts_only_where_the_published_extractor_keeps_it() -> None:
    for name, same in (("hubert", True), ("wavlm", False)):
        encoder = reference(name).encoder()
        audio = heard(encoder, 1)
        loud, quiet = vectors_of(encoder, audio)[-1]["S4"], vectors_of(encoder, audio * 0.1)[-1]["S4"]
        far = float((loud - quiet).abs().max() / loud.abs().max())
        assert (far < 1e-3) is same, (name, far)


# ---- what they do not depend on


@pytest.mark.parametrize("more", ["", ":dtype=bfloat16"])
@pytest.mark.parametrize("batch", [2, 7])
def test_alone_equals_in_company(model: Reference, batch: int, more: str) -> None:
    """Not the codes alone: the vectors and the state, bit for bit."""
    encoder = model.encoder(more)
    audio = heard(encoder, 7, 7)[:batch]
    together, single = encoder.initial_state(batch), [encoder.initial_state(1) for _ in range(batch)]
    for frame in audio.split(encoder.frame_samples, 1):
        found = encoder.vectors(frame, together)
        alone = [encoder.vectors(row[None], state) for row, state in zip(frame, single, strict=True)]
        for name, x in found.items():
            assert torch.equal(x, torch.cat([row[name] for row in alone])), name
    for i, leaf in enumerate(leaves(together)):
        assert torch.equal(leaf, torch.cat([leaves(state)[i] for state in single]))


def test_threads_change_nothing() -> None:
    encoder = reference("wavlm").encoder()
    audio = heard(encoder, 2, 3)
    expected = vectors_of(encoder, audio)
    torch.set_num_threads(2)
    for one, two in zip(vectors_of(encoder, audio), expected, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_rows_of_any_age_stand_side_by_side(encoder: SslEncoder) -> None:
    audio = heard(encoder, 3)
    size, state, rows = encoder.frame_samples, encoder.initial_state(3), torch.tensor([1])
    expected = vectors_of(encoder, audio)
    again = vectors_of(encoder, audio[1:2, 7 * size :])
    for i, frame in enumerate(audio.split(size, 1)):
        if i == 7:
            scatter(state, rows, encoder.initial_state(1))
        for name, x in encoder.vectors(frame, state).items():
            assert torch.equal(x[[0, 2]], expected[i][name][[0, 2]])
            assert torch.equal(x[1:2], expected[i][name][1:2] if i < 7 else again[i - 7][name])


def test_what_left_the_window_counts_no_more(encoder: SslEncoder) -> None:
    """`kept` vectors were levelled over the window before their own: two windows are what can count."""
    audio = heard(encoder, 1)
    size, frames = encoder.frame_samples, encoder.plan.frames
    reach = frames if encoder.plan.anew else 2 * frames - 1
    changed = audio.clone()
    changed[:, : size - 80] *= -0.3
    found, expected = vectors_of(encoder, changed), vectors_of(encoder, audio)
    for i in range(FRAMES):
        assert torch.equal(found[i]["S4"], expected[i]["S4"]) is (i >= reach), i


def test_the_future_does_not_change_the_past(encoder: SslEncoder) -> None:
    audio = heard(encoder, 1)
    changed = audio.clone()
    changed[:, 6 * encoder.frame_samples :] *= -0.5
    found, expected = vectors_of(encoder, changed), vectors_of(encoder, audio)
    for i in range(FRAMES):
        assert torch.equal(found[i]["S4"], expected[i]["S4"]) is (i < 6), i


@pytest.mark.parametrize("block_ms", [1, 7, 333])
def test_chunked_equals_whole(block_ms: int) -> None:
    found = tokenizer(reference("mert").encoder())
    sr, size = found.spec.sr, found.spec.frame_samples
    samples = sounds(1, FRAMES * size, sr)[0].numpy()
    block = block_ms * sr // 1000
    assembler = FrameAssembler(Format(sr, 1), sr, size)
    events = [Block(at, samples[at : at + block, None], 0) for at in range(0, len(samples), block)]
    chunks = [c.samples for event in [*events, End("eof")] for c in assembler.feed(event) if isinstance(c, FrameChunk)]
    expected = codes_of(found, torch.from_numpy(samples)[None])
    np.testing.assert_array_equal(codes_of(found, torch.from_numpy(np.concatenate(chunks))[None]), expected)


# ---- codes


def test_codes_are_the_nearest_and_of_what_was_left_over(model: Reference) -> None:
    encoder = model.encoder()
    books, audio = codebooks(encoder), heard(encoder, 2)
    found = codes_of(tokenizer(encoder), audio)
    steps = vectors_of(encoder, audio)
    for layer in range(LAYERS):
        x = torch.cat([step[f"S{layer}"] for step in steps], 1)
        np.testing.assert_array_equal(found[:, layer], nearest(books[f"S{layer}.codes"], x).numpy())
    x = torch.cat([step["A"] for step in steps], 1)
    for level, book in enumerate(books["A.codes"]):
        codes = nearest(book, x)
        np.testing.assert_array_equal(found[:, LAYERS + level], codes.numpy())
        x = x - book[codes]


def golden_codes(model: Reference) -> np.ndarray:
    """[layers, steps]."""
    encoder = model.encoder()
    return codes_of(tokenizer(encoder), heard(encoder, 1))[0]


def test_golden_codes(model: Reference) -> None:
    found = golden_codes(model)
    np.testing.assert_array_equal(found, json.loads(GOLDEN.read_text())[model.name])
    assert all(len(np.unique(layer)) > 3 for layer in found)
