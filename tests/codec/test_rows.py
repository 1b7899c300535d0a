"""Row-wise operations: right values, equal bits in any batch, refusal of rows that are not aligned."""

import pytest
import torch

from natd.codec import rows


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_product_is_the_matrix_product_and_each_row_its_own() -> None:
    x, w = draw(32, 8, 512), draw(512, 128)
    together = rows.product(x, w)
    torch.testing.assert_close(together, x @ w, rtol=1e-4, atol=1e-3)
    for batch in (1, 2, 7):
        parts = [rows.product(part.contiguous(), w) for part in x[:28].split(batch)]
        assert torch.equal(torch.cat(parts), together[:28])


def test_pair_product_is_the_batched_product() -> None:
    x, y = draw(5, 16, 40), draw(5, 40, 32)
    torch.testing.assert_close(rows.pair_product(x, y), torch.bmm(x, y))


def test_affine_adds_the_bias_and_mixture_multiplies_from_the_left() -> None:
    x, w, bias, mix = draw(5, 4, 32), draw(32, 48), draw(48), draw(3, 4)
    torch.testing.assert_close(rows.affine(x, w, bias), x @ w + bias)
    torch.testing.assert_close(rows.mixture(mix, x), mix @ x)
    for b in range(5):
        one = x[b : b + 1].clone()
        assert torch.equal(rows.affine(one, w, bias)[0], rows.affine(x, w, bias)[b])
        assert torch.equal(rows.mixture(mix, one)[0], rows.mixture(mix, x)[b])


def test_decibel_of_powers_and_their_floor() -> None:
    power = torch.tensor([[1.0, 0.1, 10.0, 0.0] * 4])
    expected = torch.tensor([[0.0, -10.0, 10.0, -100.0] * 4])
    torch.testing.assert_close(rows.decibel(power, -100.0), expected)


@pytest.mark.parametrize(
    "bad", [draw(2, 3, 5), draw(2, 16, 32).transpose(1, 2), draw(3, 16, 16).view(-1)[4:260].view(1, 16, 16)]
)
def test_rows_that_are_not_aligned_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="aligned"):
        rows.product(bad, draw(bad.shape[2], 16))


def test_padded_is_the_next_multiple_of_16() -> None:
    assert [rows.padded(n) for n in (1, 16, 17)] == [16, 16, 32]
