"""Mimi as a stream: the codes and samples of transformers, golden codes, every row by itself whatever its age."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import MimiConfig, MimiModel

from natd.codec import open_tokenizer
from natd.codec.checkpoint import Checkpoint
from natd.codec.mimi import Mimi
from natd.codec.state import gather, leaves, scatter
from natd.errors import ConfigError, ModelError
from tests.codec.mimi_models import (
    SMALL,
    checkpoint,
    codes_of,
    published,
    sound,
    sound_of,
    their_codes,
    their_sound,
)  # fmt: skip

GOLDEN = Path(__file__).parent.parent / "golden" / "mimi.json"
WINDOW = 5  # frames of SMALL's 10 positions


@pytest.fixture(scope="module")
def model() -> MimiModel:
    return published(**SMALL)


@pytest.fixture(scope="module")
def held(model: MimiModel) -> Checkpoint:
    return checkpoint(model)


@pytest.fixture(scope="module")
def tokenizer(held: Checkpoint) -> Mimi:
    return Mimi(held)


def test_golden_codes(tokenizer: Mimi) -> None:
    """A change of any code is a change of the arithmetic: `python -m tests.codec.write_golden mimi` on purpose."""
    golden = json.loads(GOLDEN.read_text())
    assert codes_of(tokenizer, sound(1, 32))[0].tolist() == golden
    assert all(len(set(layer)) > 12 for layer in golden)


def test_codes_and_samples_are_those_of_transformers(model: MimiModel, tokenizer: Mimi) -> None:
    samples = sound(2, 60)
    theirs = their_codes(model, samples)
    assert torch.equal(codes_of(tokenizer, samples), theirs)
    heard = their_sound(model, theirs)
    torch.testing.assert_close(sound_of(tokenizer, theirs), heard, rtol=0, atol=2e-5)
    assert 0.01 < float(heard.abs().mean()) < 0.9


@pytest.mark.parametrize("window", [10, 11])
def test_the_window_is_the_one_that_is_asked_for(held: Checkpoint, tokenizer: Mimi, window: int) -> None:
    """The default is the checkpoint's; another shows in the codes once the past is longer, and in their identity."""
    samples = sound(1, 60)
    asked = Mimi(held, f"window={window}")
    differ = (codes_of(asked, samples) != codes_of(tokenizer, samples)).any(1)[0]
    assert not differ[:WINDOW].any()
    assert bool(differ[WINDOW:].any()) == (window == 11)
    assert (asked.spec.info.codebook_id == tokenizer.spec.info.codebook_id) == (window == 10)


def test_a_wider_window_is_that_of_transformers(model: MimiModel, held: Checkpoint) -> None:
    wider, samples = MimiModel(MimiConfig(**SMALL | {"sliding_window": 11})).eval(), sound(1, 60)
    wider.load_state_dict(model.state_dict())
    assert torch.equal(codes_of(Mimi(held, "window=11"), samples), their_codes(wider, samples))


@pytest.mark.parametrize(
    ("batch", "dtype", "threads"),
    [(2, "float32", 1), (7, "float32", 2), (32, "float32", 1), (2, "bfloat16", 1), (32, "bfloat16", 1)],
)
def test_alone_equals_in_company_at_any_age(held: Checkpoint, batch: int, dtype: str, threads: int) -> None:
    """Row i begins i % 3 * 4 frames late: codes, samples and states, bit for bit, over more than a window."""
    tokenizer, steps = Mimi(held, f"dtype={dtype}"), 16
    together, decoders = tokenizer.initial_state(batch), tokenizer.initial_decoder_state(batch)
    single = [(tokenizer.initial_state(1), tokenizer.initial_decoder_state(1)) for _ in range(min(batch, 4))]
    for step, chunk in enumerate(sound(batch, steps).split(1920, 1)):
        begin = torch.tensor([i for i in range(batch) if i % 3 * 4 == step], dtype=torch.int64)
        scatter(together, begin, tokenizer.initial_state(len(begin)))
        scatter(decoders, begin, tokenizer.initial_decoder_state(len(begin)))
        torch.set_num_threads(threads if step >= steps - 3 else 1)
        codes = tokenizer.encode(chunk, together)
        heard = tokenizer.decode(codes, decoders)
        torch.set_num_threads(1)
        for i, (own, decoder) in enumerate(single):
            if step < i % 3 * 4:
                continue
            alone = tokenizer.encode(chunk[i : i + 1], own)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, codes, strict=True))
            assert torch.equal(tokenizer.decode(alone, decoder)[0], heard[i])
            for one, all_ in ((own, together), (decoder, decoders)):
                assert all(torch.equal(a[0], b[i]) for a, b in zip(leaves(one), leaves(all_), strict=True))


def test_rows_that_are_moved_go_on_as_they_were(tokenizer: Mimi) -> None:
    samples = sound(3, 16).split(1920, 1)
    state, whole = tokenizer.initial_state(3), codes_of(tokenizer, sound(3, 16))
    for chunk in samples[:8]:
        tokenizer.encode(chunk, state)
    order = torch.tensor([2, 0])
    moved = gather(state, order)
    found = [torch.stack(tokenizer.encode(chunk[order], moved), 1) for chunk in samples[8:]]
    assert torch.equal(torch.cat(found, 2), whole[order, :, 8:])


def test_the_future_does_not_change_the_past(tokenizer: Mimi) -> None:
    samples = sound(1, 24)
    changed = samples.clone()
    changed[:, 12 * 1920 :] *= -0.5
    codes, found = codes_of(tokenizer, samples), codes_of(tokenizer, changed)
    assert torch.equal(found[:, :, :12], codes[:, :, :12])
    assert int((found != codes).any(1)[0, 12:].sum()) >= 10


def test_a_stream_of_months_is_coded_like_a_young_one(tokenizer: Mimi) -> None:
    """Only differences of positions count: once the window holds nothing else, latents agree."""
    young, old = tokenizer.initial_state(1), tokenizer.initial_state(1)
    old.transformer.seen += 16 * 15_000_000  # a multiple of the ring: 111 days
    for step, chunk in enumerate(sound(1, 24).split(1920, 1)):
        a, b = tokenizer.latent(chunk, young), tokenizer.latent(chunk, old)
        if step > 2 * WINDOW + 1:  # two layers, each of a window
            torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_the_first_layers_are_the_same_and_can_be_heard_alone(held: Checkpoint, tokenizer: Mimi) -> None:
    samples = sound(1, 12)
    codes = codes_of(tokenizer, samples)
    for count in (1, 3):
        few = Mimi(held, f"codebooks={count}")
        assert torch.equal(codes_of(few, samples), codes[:, :count])
        assert torch.equal(sound_of(tokenizer, codes[:, :count]), sound_of(few, codes[:, :count]))
    assert not torch.equal(sound_of(tokenizer, codes), sound_of(tokenizer, codes[:, :3]))


def test_the_spec_says_what_is_there(held: Checkpoint) -> None:
    spec = Mimi(held).spec
    assert (spec.sr, spec.frame_samples, spec.delay_frames) == (24_000, 1920, 0)
    assert [layer.name for layer in spec.layers] == ["S0", *(f"A{i}" for i in range(7))]
    assert {(layer.type, layer.vocab, layer.per_frame) for layer in spec.layers} == {
        ("semantic", 64, 1), ("acoustic", 64, 1),
    }  # fmt: skip
    assert (spec.info.name, spec.info.causal, spec.info.lookahead_ms) == ("mimi", True, 0.0)
    other = Mimi(held, "codebooks=1:window=12:dtype=bfloat16:from=/a:b").spec
    assert [layer.name for layer in other.layers] == ["S0"]
    assert (other.info.name, other.info.dtype) == ("mimi:codebooks=1:window=12:dtype=bfloat16", "bfloat16")
    ids = {Mimi(held, options).spec.info.codebook_id for options in ("", "codebooks=2", "window=12", "dtype=bfloat16")}
    ids |= {Mimi(Checkpoint(held.config, held.tensors, "sha256:1")).spec.info.codebook_id}
    assert len(ids) == 4  # how many layers are sent shapes no code


@pytest.mark.parametrize(
    ("options", "message"),
    [("codebooks=9", "1..8"), ("window=0", "1..10000"), ("dtype=int8", "none of float32, bfloat16")],
)
def test_options_that_it_has_not_are_refused(held: Checkpoint, options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mimi(held, options)
    with pytest.raises(ConfigError, match="mimi has no option 'bits=3'"):
        open_tokenizer("mimi:bits=3")


def written(folder: Path, config: dict, tensors: dict[str, torch.Tensor]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return f"mimi:from={folder}"


def test_a_folder_that_transformers_wrote_is_read(model: MimiModel, tokenizer: Mimi, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    samples = sound(1, 8)
    assert torch.equal(codes_of(open_tokenizer(f"mimi:from={tmp_path}"), samples), codes_of(tokenizer, samples))


def test_the_older_way_to_write_the_config_is_read(held: Checkpoint, tokenizer: Mimi, tmp_path: Path) -> None:
    config = dict(held.config) | {"rope_theta": held.config["rope_parameters"]["rope_theta"], "frame_rate": 12.5}
    del config["rope_parameters"]
    samples = sound(1, 8)
    opened = open_tokenizer(written(tmp_path, config, dict(held.tensors)))
    assert torch.equal(codes_of(opened, samples), codes_of(tokenizer, samples))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 2}, "shares keys between heads"),
        ({"pad_mode": "reflect"}, "pad_mode='reflect'; only 'constant' is read here"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rotary positions of type 'yarn'"),
    ],
)
def test_a_model_of_another_kind_is_refused(held: Checkpoint, change: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Mimi(Checkpoint(held.config | change, held.tensors, "sha256:0"))


@pytest.mark.parametrize("wrong", ["codebooks=0", "codebooks=33", "window=0", "dtype=int8", "window=x"])
def test_wrong_options_are_told_before_weights_are_looked_for(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"mimi:{wrong} is "):
        open_tokenizer(f"mimi:{wrong}:from={tmp_path}")


def test_weights_that_are_not_there_are_named(held: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no .*config.json; run `nat models fetch mimi`"):
        open_tokenizer(f"mimi:from={tmp_path}")
    tensors = dict(held.tensors)
    del tensors["encoder.layers.0.conv.weight"]
    with pytest.raises(ModelError, match="lacks what the tokenizer needs: .*encoder.layers.0.conv.weight"):
        open_tokenizer(written(tmp_path, dict(held.config), tensors))
