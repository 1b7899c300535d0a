"""S3: the nearest cell, kept until another is nearer by the margin; 0 in silence."""

import pytest
import torch
from torch import Tensor

from natd.codec.descriptors import COLUMN, DESCRIPTORS
from natd.codec.dynamics import SIZE, WEIGHTS, WIDTH, Dynamics


def tensors(near: float = 0.0) -> dict[str, Tensor]:
    """Code c stands for a level of c - 100 dBFS; the other descriptors count nothing."""
    scale, shift = torch.zeros(WIDTH), torch.zeros(WIDTH)
    scale[0], shift[0] = 0.5, -100.0
    codes = torch.zeros(SIZE, WIDTH)
    codes[:, 0] = 0.5 * torch.arange(SIZE)
    return {"S3.shift": shift, "S3.scale": scale, "S3.codes": codes, "S3.near": torch.tensor([near])}


def table(*levels: float) -> Tensor:
    out = torch.randn(len(levels), len(DESCRIPTORS), generator=torch.Generator().manual_seed(len(levels)))
    out[:, COLUMN["level"]] = torch.tensor(levels)
    return out


def said(layer: Dynamics, *levels: float | None) -> list[int]:
    """Codes of one stream of levels; None is a silent frame."""
    state = layer.initial_state(1)
    return [int(layer(table(level or -90.0), torch.tensor([level is None]), state)) for level in levels]


def test_the_level_comes_first() -> None:
    assert next(iter(WEIGHTS)) == "level" and all(name in COLUMN for name in WEIGHTS)


def test_the_nearest_cell_is_said_and_silence_is_0() -> None:
    layer = Dynamics(tensors())
    assert said(layer, -80.2, -80.7, None, -80.7, -20.4) == [20, 19, 0, 19, 80]
    assert said(layer, -110.0) == [1]  # 0 is for silence alone


def test_a_cell_is_kept_until_another_is_nearer_by_the_margin() -> None:
    # Half squared distances with the scale 0.5: ((x - 20)^2 - (x - 21)^2) / 8 = (2 x - 41) / 8 is 0.15 at x = 21.1.
    layer = Dynamics(tensors(0.15))
    assert said(layer, -80.0, -79.3, -79.0, -78.8) == [20, 20, 20, 21]
    assert said(layer, -79.0, -79.4, -79.9, -80.2) == [21, 21, 21, 20]


def test_silence_ends_what_was_kept() -> None:
    assert said(Dynamics(tensors(0.15)), -80.0, None, -79.3) == [20, 0, 21]


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_each_descriptor_that_has_a_weight_moves_the_code(name: str) -> None:
    given = tensors()
    place = list(WEIGHTS).index(name)
    given["S3.scale"][:], given["S3.shift"][:] = 0.0, 0.0
    given["S3.scale"][place] = 1.0
    given["S3.codes"][:] = 0.0
    given["S3.codes"][:, place] = torch.arange(SIZE)
    x = torch.zeros(1, len(DESCRIPTORS))
    x[0, COLUMN[name]] = 33.2
    layer = Dynamics(given)
    assert int(layer(x, torch.tensor([False]), layer.initial_state(1))) == 33


def test_a_stream_alone_gives_what_it_gives_in_a_batch() -> None:
    draw = torch.Generator().manual_seed(3)
    given = tensors(0.4)
    given["S3.codes"] = torch.randn(SIZE, WIDTH, generator=draw)
    given["S3.scale"] = torch.rand(WIDTH, generator=draw)
    layer = Dynamics(given)
    together, alone = layer.initial_state(8), [layer.initial_state(1) for _ in range(8)]
    for _ in range(25):
        x, silent = torch.randn(8, len(DESCRIPTORS), generator=draw), torch.rand(8, generator=draw) < 0.2
        codes = layer(x, silent, together)
        assert torch.equal(codes, together.code)
        for b in range(8):
            assert int(layer(x[b : b + 1].clone(), silent[b : b + 1], alone[b])) == int(codes[b])
