"""Fitting the acoustic layers: components, residual books, and what is kept for silence."""

import pytest
import torch

from natd.codec import rvq
from natd.training import acoustic

WIDE = 256


def mels(count: int, seed: int) -> torch.Tensor:
    """Log-mel [N, 256] in dB with a few dozen directions of variance."""
    draw = torch.Generator().manual_seed(seed)
    shapes = torch.randn(140, WIDE, generator=torch.Generator().manual_seed(1))
    return (-40.0 + 2.0 * torch.randn(count, 140, generator=draw) @ shapes * 0.6).half()


@pytest.fixture(scope="module")
def fitted() -> dict[str, torch.Tensor]:
    return acoustic.fit_codebooks(mels(1200, 0), mels(200, 2), 5, lambda line: None, size=64)


def test_principal_components_are_those_of_the_covariance() -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(3000, 4, generator=draw) * torch.tensor([5.0, 3.0, 1.0, 0.1]) + torch.tensor([-3.0, 1.0, 0.0, 2.0])
    mean, basis = acoustic.principal(x, 2)
    torch.testing.assert_close(mean, x.mean(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2), atol=1e-5, rtol=0)
    assert basis.abs().argmax(0).tolist() == [0, 1]
    assert float(basis[0, 0]) > 0.99 and float(basis[1, 1]) > 0.99  # the largest entry is positive


def test_what_lies_below_the_floor_is_the_floor() -> None:
    x = torch.full((10, 8), -300.0)
    mean, _ = acoustic.principal(x, 2)
    torch.testing.assert_close(mean, torch.full((8,), acoustic.FLOOR_DB))
    parts = acoustic.components(x, torch.zeros(8), torch.eye(8))
    torch.testing.assert_close(parts, torch.full((10, 8), acoustic.FLOOR_DB))


def test_each_layer_lowers_the_error_on_unheard_frames(fitted: dict[str, torch.Tensor]) -> None:
    mean, basis, books = (fitted[f"A.{name}"].float() for name in ("mean", "basis", "codes"))
    x = acoustic.components(mels(300, 4), mean, basis)
    layers = acoustic.quantized(x, books)
    assert layers.shape == (300, acoustic.LAYERS, acoustic.WIDTH)
    errors = [float(((x - layers[:, :n].sum(1)) ** 2).mean()) for n in range(acoustic.LAYERS + 1)]
    assert all(after < before for before, after in zip(errors, errors[1:], strict=False))


def test_code_0_is_silence_in_the_first_layer_and_nothing_in_the_others(fitted: dict[str, torch.Tensor]) -> None:
    mean, basis, books = (fitted[f"A.{name}"].float() for name in ("mean", "basis", "codes"))
    floor = (torch.full((WIDE,), acoustic.FLOOR_DB) - mean) @ basis
    torch.testing.assert_close(books[0, 0], floor, atol=0.1, rtol=1e-3)
    assert not books[1:, 0].any() and books[:, 1:].abs().sum(2).min() > 0.0


def test_what_is_quantized_is_what_the_codec_would_say(fitted: dict[str, torch.Tensor]) -> None:
    mean, basis, books = (fitted[f"A.{name}"].float() for name in ("mean", "basis", "codes"))
    x = acoustic.components(mels(50, 6), mean, basis)
    codec = rvq.ResidualQuantizer([rvq.Codebook(book) for book in books])
    codes = codec.encode(x, torch.zeros(50, dtype=torch.bool))
    assert torch.equal(acoustic.quantized(x, books), torch.stack([books[i][code] for i, code in enumerate(codes)], 1))


def test_the_same_frames_and_seed_give_the_same_books_in_half_precision(fitted: dict[str, torch.Tensor]) -> None:
    again = acoustic.fit_codebooks(mels(1200, 0), mels(200, 2), 5, lambda line: None, size=64)
    assert all(torch.equal(again[name], fitted[name]) for name in fitted)
    assert {name: tensor.dtype for name, tensor in fitted.items()} == dict.fromkeys(fitted, torch.float16)


def test_frames_are_also_fitted_at_other_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Books of frames as they are lie further from softer ones."""
    monkeypatch.setattr(acoustic, "GAIN_DB", (0.0, 0.0))
    plain = acoustic.fit_codebooks(mels(1200, 0), mels(200, 2), 5, lambda line: None, size=64)
    monkeypatch.undo()
    level = acoustic.fit_codebooks(mels(1200, 0), mels(200, 2), 5, lambda line: None, size=64)
    errors = []
    for found in (plain, level):
        mean, basis, books = (found[f"A.{name}"].float() for name in ("mean", "basis", "codes"))
        x = acoustic.components(mels(300, 4) - 12.0, mean, basis)
        errors.append(float(((x - acoustic.quantized(x, books).sum(1)) ** 2).mean()))
    assert errors[1] < 0.9 * errors[0]
