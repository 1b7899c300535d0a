"""EnCodec as a stream: the codes and samples of transformers, golden codes, the same in any steps and any company."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import EncodecModel

from natd.codec import open_tokenizer
from natd.codec.checkpoint import Checkpoint
from natd.codec.encodec import EnCodec
from natd.codec.state import leaves, scatter
from natd.errors import ConfigError, ModelError
from tests.codec.encodec_models import (
    HOP,
    SMALL,
    checkpoint,
    codes_of,
    published,
    sound,
    sound_of,
    their_codes,
    their_sound,
)  # fmt: skip

GOLDEN = Path(__file__).parent.parent / "golden" / "encodec.json"


@pytest.fixture(scope="module")
def model() -> EncodecModel:
    return published(**SMALL)


@pytest.fixture(scope="module")
def held(model: EncodecModel) -> Checkpoint:
    return checkpoint(model)


@pytest.fixture(scope="module")
def tokenizer(held: Checkpoint) -> EnCodec:
    return EnCodec(held)


def test_golden_codes(tokenizer: EnCodec) -> None:
    """A change of any code is a change of the arithmetic: `python -m tests.codec.write_golden encodec` on purpose."""
    golden = json.loads(GOLDEN.read_text())
    assert codes_of(tokenizer, sound(1, 32), 8)[0].tolist() == golden
    assert all(len(set(layer)) > 8 for layer in golden)


@pytest.mark.parametrize(("bandwidth", "books"), [("1.5", 2), ("6", 8), ("12", 16)])
def test_codes_and_samples_are_those_of_transformers(
    model: EncodecModel, held: Checkpoint, bandwidth: str, books: int
) -> None:
    tokenizer, samples = EnCodec(held, f"bandwidth={bandwidth}"), sound(2, 128)
    theirs = their_codes(model, samples, books)
    assert torch.equal(codes_of(tokenizer, samples, 8), theirs)
    heard = their_sound(model, theirs)
    torch.testing.assert_close(sound_of(tokenizer, theirs), heard, rtol=0, atol=1e-5 * float(heard.abs().max()))
    assert float(heard[:, HOP:].std()) > 0.01


def test_the_published_configuration_is_that_of_transformers() -> None:
    model = published(books=8)
    tokenizer, samples = EnCodec(checkpoint(model)), sound(1, 160)
    theirs = their_codes(model, samples, 8)
    equal = (codes_of(tokenizer, samples, 8) == theirs).double().mean(2)[0]
    assert [layer.vocab for layer in tokenizer.spec.layers] == [1024] * 8
    assert equal[0] == 1.0
    assert equal.mean() > 0.99  # of 1024 codes some are as near as float32 can tell
    heard = their_sound(model, theirs[:, :, :40])
    found = sound_of(tokenizer, theirs[:, :, :40])
    torch.testing.assert_close(found, heard, rtol=0, atol=1e-5 * float(heard.abs().max()))


@pytest.mark.parametrize("steps", [(7, 6), (7, 1), (16, 3), (75,)])
def test_steps_change_nothing(tokenizer: EnCodec, steps: tuple[int, ...]) -> None:
    samples = sound(1, 80)
    codes = codes_of(tokenizer, samples, 8)
    assert torch.equal(codes_of(tokenizer, samples, *steps), codes)
    assert torch.equal(sound_of(tokenizer, codes, max(steps)), sound_of(tokenizer, codes))


@pytest.mark.parametrize(("batch", "threads"), [(2, 1), (7, 2), (32, 1)])
def test_alone_equals_in_company_at_any_age(tokenizer: EnCodec, batch: int, threads: int) -> None:
    """Row i begins i % 3 steps late: codes, samples and states, bit for bit."""
    samples = sound(batch, 32).split(8 * HOP, 1)
    together, decoders = tokenizer.initial_state(batch), tokenizer.initial_decoder_state(batch)
    single = [(tokenizer.initial_state(1), tokenizer.initial_decoder_state(1)) for _ in range(min(batch, 6))]
    for step, chunk in enumerate(samples):
        begin = torch.tensor([i for i in range(batch) if i % 3 == step], dtype=torch.int64)
        scatter(together, begin, tokenizer.initial_state(len(begin)))
        scatter(decoders, begin, tokenizer.initial_decoder_state(len(begin)))
        torch.set_num_threads(threads)
        codes = tokenizer.encode(chunk, together)
        heard = tokenizer.decode(codes, decoders)
        torch.set_num_threads(1)
        for i, (own, decoder) in enumerate(single):
            if step < i % 3:
                continue
            alone = tokenizer.encode(chunk[i : i + 1], own)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, codes, strict=True))
            assert torch.equal(tokenizer.decode(alone, decoder)[0], heard[i])
            for one, all_ in ((own, together), (decoder, decoders)):
                assert all(torch.equal(a[0], b[i]) for a, b in zip(leaves(one), leaves(all_), strict=True))


def test_the_future_does_not_change_the_past(tokenizer: EnCodec) -> None:
    samples = sound(1, 48)
    changed = samples.clone()
    changed[:, 24 * HOP :] *= -0.5
    codes, found = codes_of(tokenizer, samples, 8), codes_of(tokenizer, changed, 8)
    assert torch.equal(found[:, :, :24], codes[:, :, :24])
    assert int((found != codes).any(1)[0, 24:].sum()) >= 20


def test_the_first_step_of_a_row_holds_seven_latents(tokenizer: EnCodec) -> None:
    samples = sound(1, 16)
    with pytest.raises(ValueError, match="a first step of 6 inputs has no mirror image of 6"):
        codes_of(tokenizer, samples, 6)


def test_the_first_layers_are_the_same_and_can_be_heard_alone(held: Checkpoint, tokenizer: EnCodec) -> None:
    samples = sound(1, 16)
    few, many = (EnCodec(held, f"bandwidth={b}") for b in ("3", "12"))
    codes = codes_of(many, samples, 8)
    assert torch.equal(codes_of(few, samples, 8), codes[:, :4])
    assert torch.equal(codes_of(tokenizer, samples, 8), codes[:, :8])
    assert torch.equal(sound_of(many, codes[:, :4]), sound_of(few, codes[:, :4]))
    assert not torch.equal(sound_of(many, codes), sound_of(few, codes[:, :4]))


def test_the_spec_says_what_is_there(held: Checkpoint) -> None:
    spec = EnCodec(held).spec
    assert (spec.sr, spec.frame_samples, spec.delay_frames) == (24_000, 2560, 0)
    assert [(layer.name, layer.vocab, layer.per_frame) for layer in spec.layers] == [(f"A{i}", 64, 8) for i in range(8)]
    assert (spec.info.name, spec.info.causal, spec.info.lookahead_ms) == ("encodec", True, 0.0)
    other = EnCodec(held, "bandwidth=1.5:frames=12:from=/a:b").spec
    assert (other.info.name, other.frame_samples) == ("encodec:bandwidth=1.5:frames=12", 12 * HOP)
    assert [layer.per_frame for layer in other.layers] == [12, 12]
    ids = {EnCodec(held, options).spec.info.codebook_id for options in ("", "frames=9", "bandwidth=3")}
    ids |= {EnCodec(Checkpoint(held.config, held.tensors, "sha256:1")).spec.info.codebook_id}
    assert len(ids) == 3  # how many latents make a frame shapes no code


@pytest.mark.parametrize(
    ("options", "message"),
    [("bandwidth=5", "none of 1.5, 3, 6, 12, 24"), ("frames=6", "7..75"), ("mono", "has no option 'mono'")],
)
def test_options_that_it_has_not_are_refused(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_tokenizer(f"encodec:{options}")


def written(folder: Path, config: dict, tensors: dict[str, torch.Tensor]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return f"encodec:from={folder}"


def test_a_folder_with_the_older_names_of_the_weights_is_read(
    held: Checkpoint, tokenizer: EnCodec, tmp_path: Path
) -> None:
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in held.tensors.items()
    }
    keys = ("upsampling_ratios", "num_residual_layers", "dilation_growth_rate", "pad_mode", "sampling_rate")
    opened = open_tokenizer(written(tmp_path, {key: held.config[key] for key in keys}, older))
    samples = sound(1, 16)
    assert torch.equal(codes_of(opened, samples, 8), codes_of(tokenizer, samples, 8))


def test_what_cannot_be_streamed_or_is_not_there_is_refused(held: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no .*config.json; run `nat models fetch encodec`"):
        open_tokenizer(f"encodec:from={tmp_path}")
    tensors = dict(held.tensors)
    stereo = held.config | {"audio_channels": 2, "normalize": True}
    with pytest.raises(ModelError, match="audio_channels=2; only 1 can be streamed"):
        open_tokenizer(written(tmp_path, stereo, tensors))
    del tensors["encoder.layers.0.conv.bias"]
    with pytest.raises(ModelError, match="lacks what the tokenizer needs: .*encoder.layers.0.conv.bias"):
        open_tokenizer(written(tmp_path, dict(held.config), tensors))
