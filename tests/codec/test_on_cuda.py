"""Every tokenizer's step on a CUDA device that is not there: all tensors on it, and nothing that waits for it.

A FakeTensor knows its device and shape and has no values: to mix devices or to look at a value is an error.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from natd.codec import dac, ears, snac
from natd.codec.checkpoint import Checkpoint
from natd.codec.encodec import EnCodec
from natd.codec.mimi import Mimi
from natd.codec.packed_conv import Conv
from natd.codec.soundstream import SoundStream
from natd.codec.ssl import Ssl, SslEncoder
from natd.codec.state import gather, leaves, scatter
from tests.codec import encodec_models, look_ahead_models, mimi_models, ssl_models
from tests.codec.soundstream_weights import by_torch, random_weights

CUDA, ROWS = "cuda", 3


def of_mimi() -> Checkpoint:
    return mimi_models.checkpoint(mimi_models.published(**mimi_models.SMALL))


def of_encodec() -> Checkpoint:
    return encodec_models.checkpoint(encodec_models.published(**encodec_models.SMALL))


def with_encoder(name: str) -> Callable[[Checkpoint], Ssl]:
    def opened(checkpoint: Checkpoint) -> Ssl:
        encoder = SslEncoder(name, checkpoint, ssl_models.options(name), CUDA)
        books = {f"S{i}.codes": torch.zeros(24, 64) for i in range(ssl_models.LAYERS)}
        return Ssl(encoder, books | {"A.codes": torch.zeros(4, 24, 64)}, {}, "sha256:0")

    return opened


# A real checkpoint, and what is opened over fake tensors of its shapes.
OPENED: dict[str, tuple[Callable[[], Checkpoint], Callable[[Checkpoint], Any]]] = {
    "mimi": (of_mimi, lambda c: Mimi(c, "", CUDA)),
    "mimi:bfloat16": (of_mimi, lambda c: Mimi(c, "dtype=bfloat16", CUDA)),
    "encodec": (of_encodec, lambda c: EnCodec(c, "", CUDA)),
    "dac": (lambda: look_ahead_models.published("dac").checkpoint, lambda c: dac.build(c, "model=16khz", CUDA)),
    "snac": (lambda: look_ahead_models.published("snac").checkpoint, lambda c: snac.build(c, "model=24khz", CUDA)),
    "snac:32khz": (
        lambda: look_ahead_models.published("snac_attention").checkpoint,
        lambda c: snac.build(c, "model=32khz", CUDA),
    ),
    "hubert": (lambda: ssl_models.reference("hubert").checkpoint, with_encoder("hubert")),
    "wavlm": (lambda: ssl_models.reference("wavlm").checkpoint, with_encoder("wavlm")),
    "mert": (lambda: ssl_models.reference("mert").checkpoint, with_encoder("mert")),
}
# Made of real tensors, at whose values they look, and then moved.
MOVED: dict[str, Callable[[], Any]] = {
    "ears": ears.open_tokenizer,
    "soundstream": lambda: by_torch(SoundStream(random_weights(), "sha256:0")),
    "soundstream:float": lambda: by_torch(SoundStream(random_weights(), "sha256:0", "float")),
}


def moved(value: Any, mode: FakeTensorMode) -> Any:
    """An object of natd, all tensors in it fake and on the device."""
    if isinstance(value, Tensor):
        return mode.from_tensor(value).to(CUDA)
    if isinstance(value, list | tuple):
        return type(value)(moved(one, mode) for one in value)
    if isinstance(value, dict):
        return {key: moved(one, mode) for key, one in value.items()}
    if isinstance(value, torch.device):
        return torch.device(CUDA)
    if type(value).__module__.startswith("natd.codec") and hasattr(value, "__dict__"):
        for name, one in vars(value).items():
            if "recorder" not in name:  # which holds the object again
                setattr(value, name, CUDA if name == "device" else moved(one, mode))
    return value


@pytest.fixture(params=[*OPENED, *MOVED])
def fake(request: pytest.FixtureRequest) -> Iterator[tuple[Any, FakeTensorMode]]:
    """A tokenizer on the device, and the mode that its tensors live in."""
    name = request.param
    real = MOVED[name]() if name in MOVED else OPENED[name][0]()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.inference_mode():
        if isinstance(real, Checkpoint):
            tensors = {key: mode.from_tensor(tensor) for key, tensor in real.tensors.items()}
            yield OPENED[name][1](Checkpoint(real.config, tensors, real.digest)), mode
        else:
            yield moved(real, mode), mode


def test_a_step_stays_on_the_device_and_waits_for_nothing(fake: tuple[Any, FakeTensorMode]) -> None:
    tokenizer, mode = fake
    state, rows = tokenizer.initial_state(ROWS), torch.zeros(ROWS, dtype=torch.int64, device=CUDA)
    assert {leaf.device.type for leaf in leaves(state)} == {CUDA}
    chunk = torch.zeros(ROWS, tokenizer.spec.frame_samples, device=CUDA)
    mode.allow_non_fake_inputs = False  # a tensor that was left on the CPU
    for _ in range(2):
        part = gather(state, rows)
        codes = tokenizer.step(chunk, part)
        scatter(state, rows, part)
    assert [tuple(code.shape) for code in codes] == [(ROWS, layer.per_frame) for layer in tokenizer.spec.layers]
    assert {(code.device.type, code.dtype) for code in codes} == {(CUDA, torch.int64)}
    if hasattr(tokenizer, "finish"):
        tokenizer.finish(state)
    if hasattr(tokenizer, "decode"):
        heard = tokenizer.decode(codes, tokenizer.initial_decoder_state(ROWS))
        assert heard.device.type == CUDA and heard.shape[0] == ROWS


def test_what_waits_for_the_device_would_be_seen() -> None:
    with FakeTensorMode() as mode:
        x = torch.zeros(2, 4, 1, device=CUDA)
        with pytest.raises(DataDependentOutputException):
            bool(x.any())
        with pytest.raises(RuntimeError, match="same device|different devices"):
            x + torch.zeros(2, 4, 1)
        conv = Conv(mode.from_tensor(torch.zeros(1, 1, 3)).to(CUDA), beginning="reflect")
        state = conv.initial_state(2)
        assert conv(x, state).shape == (2, 4, 1)
        with pytest.raises(ValueError, match="no mirror image"):  # whether it is the first step is not looked at
            conv(x[:, :2], state)
