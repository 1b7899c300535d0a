"""The front end of ears as an encoder: the components that its acoustic layers quantize, timbre in comparable units."""

import pytest
import torch

from natd.codec import ears, ears_front
from natd.codec.descriptors import DESCRIPTORS
from natd.errors import ConfigError
from tests.codec.sounds import score


@pytest.fixture(scope="module")
def front() -> ears_front.EarsFront:
    return ears_front.open_encoder()


@pytest.fixture(scope="module")
def chunks() -> torch.Tensor:
    """Frames of sound [28, 1, 1920]."""
    return torch.as_tensor(score())[10:38, None]


def heard(front: ears_front.EarsFront, chunks: torch.Tensor) -> dict[str, torch.Tensor]:
    state = front.initial_state(chunks.shape[1])
    steps = [front.vectors(chunk.contiguous(), state) for chunk in chunks]
    return {name: torch.cat([step[name] for step in steps], 1) for name in steps[0]}


def test_acoustic_vectors_are_those_that_ears_quantizes(front: ears_front.EarsFront, chunks: torch.Tensor) -> None:
    found, tokenizer = heard(front, chunks), ears.open_tokenizer()
    state = tokenizer.initial_state(1)
    codes = []
    for chunk in chunks:
        codes.append([code[0, 0] for code in tokenizer.encode(chunk.contiguous(), state)[4:]])
    silent = torch.zeros(len(chunks), dtype=torch.bool)
    again = tokenizer.residual.encode(found["A"][0].contiguous(), silent)
    assert torch.equal(torch.stack(again, 1), torch.tensor(codes))


def test_shapes_and_span(front: ears_front.EarsFront, chunks: torch.Tensor) -> None:
    found = heard(front, chunks)
    assert found["A"].shape == (1, 28, 128) and found["S0"].shape == (1, 28, 21)
    assert set(ears_front.SPAN) < set(DESCRIPTORS)
    assert bool(torch.isfinite(found["S0"]).all()) and float(found["S0"].abs().max()) < 5


def test_a_row_does_not_depend_on_its_company(front: ears_front.EarsFront, chunks: torch.Tensor) -> None:
    alone = heard(front, chunks)
    company = heard(front, torch.cat([chunks.flip(0), chunks, 0.1 * chunks], 1))
    assert all(torch.equal(company[name][1:2], alone[name]) for name in alone)


def test_settings_name_what_shapes_the_vectors(front: ears_front.EarsFront) -> None:
    settings = front.settings()
    assert settings == ears_front.open_encoder().settings() and settings["weights"].startswith("sha256:")
    tensors = torch.zeros(1024), torch.eye(1024)[:, :128]
    assert ears_front.EarsFront(*tensors).settings()["weights"] != settings["weights"]


def test_there_are_no_options() -> None:
    with pytest.raises(ConfigError, match="ears takes no options, not 'a=1'"):
        ears_front.open_encoder(options="a=1")
