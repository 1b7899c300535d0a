"""Encoders over a window: the published model's vectors, whatever the arrival, the company and the age of a stream."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk
from natd.codec import open_tokenizer
from natd.codec.ssl import Ssl, SslEncoder, open_encoder
from natd.codec.state import leaves, scatter
from natd.errors import ConfigError, ModelError
from tests.codec.ssl_models import (
    LAYERS,
    MODELS,
    Reference,
    codebooks,
    nearest,
    options,
    reference,
    sounds,
    store_codebooks,
    tokenizer,
    vectors_of,
    windows_of,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "ssl.json"
FRAMES = 12  # more than twice the window


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Reference:
    return reference(request.param)


@pytest.fixture(scope="module", params=["kept", "anew"])
def encoder(model: Reference, request: pytest.FixtureRequest) -> SslEncoder:
    return model.encoder(f":features={request.param}")


def heard(encoder: SslEncoder, batch: int, frames: int = FRAMES) -> torch.Tensor:
    return sounds(batch, frames * encoder.frame_samples, encoder.sr)


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


def codes_of(found: Ssl, audio: torch.Tensor) -> np.ndarray:
    """[B, N] -> [B, layers, steps of all frames]."""
    state = found.initial_state(len(audio))
    steps = [torch.stack(found.encode(frame, state), 1) for frame in audio.split(found.spec.frame_samples, 1)]
    return torch.cat(steps, 2).numpy()


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


# ---- opening


@pytest.fixture
def folder(model: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint as it is published, and an empty models folder beside it."""
    monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
    (tmp_path / "config.json").write_text(json.dumps(model.checkpoint.config))
    save_file(dict(model.checkpoint.tensors), tmp_path / "model.safetensors")
    return tmp_path


def test_opened_by_name(model: Reference, folder: Path) -> None:
    name = f"{model.name}:{options(model.name)}:from={folder}"
    with pytest.raises(ModelError, match=f"no codebooks .* run `nat codebook fit {model.name} --audio DIR`") as caught:
        open_tokenizer(name)
    assert caught.value.exit_code == 65
    encoder = open_encoder(model.name, options=name.partition(":")[2])
    identity = store_codebooks(folder / "models", encoder)
    found = open_tokenizer(name)
    info, layers = found.spec.info, found.spec.layers
    assert (info.name, info.codebook_id) == (f"{model.name}:{options(model.name)}", identity)
    assert (info.causal, info.lookahead_ms, info.dtype, info.batch_invariant) == (True, 0.0, "float32", True)
    assert [layer.name for layer in layers] == ["S0", "S1", "S2", "S3", "S4", "A0", "A1", "A2", "A3"]
    assert {(layer.vocab, layer.per_frame) for layer in layers} == {(24, 6 if model.name == "mert" else 5)}
    assert found.glossary["S0"] == {3: "soft, tonal"}
    audio = heard(encoder, 1)
    np.testing.assert_array_equal(codes_of(found, audio), codes_of(tokenizer(encoder), audio))


def test_a_head_and_older_names_change_nothing(model: Reference) -> None:
    encoder = model.encoder()
    kind, old = model.checkpoint.config["model_type"], {}
    for key, tensor in model.checkpoint.tensors.items():
        key = key.replace("parametrizations.weight.original0", "weight_g")
        old[f"{kind}.{key}".replace("parametrizations.weight.original1", "weight_v")] = tensor
    other = Reference(model.name, None, type(model.checkpoint)(model.checkpoint.config, old, "sha256:0")).encoder()
    audio = heard(encoder, 1)
    for one, two in zip(vectors_of(encoder, audio), vectors_of(other, audio), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_option_shapes_the_settings() -> None:
    model = reference("hubert")
    usual = "hop=0.1:window=0.5:semantic=1,2:acoustic=1"
    others = ["hop=0.1:window=0.6:semantic=1,2:acoustic=1", "hop=0.02:window=0.5:semantic=1,2:acoustic=1",
              "hop=0.1:window=0.5:semantic=2,1:acoustic=1", "hop=0.1:window=0.5:semantic=1,2:acoustic=2",
              f"{usual}:lookahead=0.1", f"{usual}:dtype=bfloat16", f"{usual}:features=anew"]  # fmt: skip
    found = [json.dumps(model.encoder(usual=each).settings()) for each in [usual, *others]]
    assert len(set(found)) == len(found)
    model.checkpoint = type(model.checkpoint)(model.checkpoint.config, model.checkpoint.tensors, "sha256:1")
    assert json.dumps(model.encoder(usual=usual).settings()) != found[0]


def test_the_usual_frames_hold_whole_numbers_of_vectors() -> None:
    for name in MODELS:
        encoder = reference(name).encoder(usual="semantic=4:acoustic=1")
        seconds = encoder.frame_samples / encoder.sr
        assert (encoder.plan.per_frame, seconds) == ((72, 0.96) if name == "mert" else (25, 0.5))
        assert encoder.plan.frames == (5 if name == "mert" else 10)


@pytest.mark.parametrize("asked, said", [
    ("hop=0.51", "multiple of 0.02 s"), ("hop=0", "multiple of 0.02 s"), ("hop=half", "not a number of seconds"),
    ("hop=0.5:window=1.2", "multiple of 0.5 s"), ("lookahead=5", "leaves nothing of the window"),
    ("hop=inf", "seconds"), ("semantic=5", "number in 0..4"), ("semantic=", "number in 0..4"),
    ("acoustic=-1", "number in 0..4"),
    ("dtype=float16", "none of float32, bfloat16"), ("features=new", "none of kept, anew"), ("layers=3", "no option"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused(asked: str, said: str) -> None:
    base = "" if "semantic" in asked or "acoustic" in asked else ":semantic=4:acoustic=1"
    with pytest.raises(ConfigError, match=said):
        reference("hubert").encoder(usual=asked + base)


@pytest.mark.parametrize("fault", [
    {"model_type": "wavlm"}, {"sample_rate": 24_000}, {"do_stable_layer_norm": True}, {"feat_extract_norm": "layer"},
    {"feature_extractor_cqt": True}, {"deepnorm": True}, {"hidden_act": "relu"}, {"conv_pos_batch_norm": True},
    {"num_hidden_layers": 9}, {"conv_kernel": [10, 3, 3, 3, 3, 2, 4]},
])  # fmt: skip
def test_another_model_never_runs_under_this_name(fault: dict[str, object]) -> None:
    model = reference("hubert")
    checkpoint = type(model.checkpoint)({**model.checkpoint.config, **fault}, model.checkpoint.tensors, "sha256:0")
    more = ":semantic=9:acoustic=1" if "num_hidden_layers" in fault else ":semantic=4:acoustic=1"
    with pytest.raises(ModelError, match="hubert: "):
        SslEncoder("hubert", checkpoint, f"hop=0.1:window=0.5{more}")
