"""Quantizers: the nearest code, the lowest of equals, silence apart, residuals that add up."""

import torch

from natd.codec.rvq import Codebook, GramQuantizer, ResidualQuantizer


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_nearest_is_the_nearest_by_euclidean_distance_and_never_silence() -> None:
    codes, x = draw(64, 32), draw(200, 32, seed=1)
    codes[0] = x[0]
    found = Codebook(codes)(x, torch.zeros(200, dtype=torch.bool))
    expected = torch.cdist(x.double(), codes[1:].double()).argmin(1) + 1
    assert torch.equal(found, expected)


def test_of_equal_codes_the_lowest_is_taken_in_any_batch() -> None:
    codes = draw(40, 16)
    codes[7] = codes[23] = codes[31]
    book = Codebook(codes)
    assert book.nearest(codes[[7, 23, 31]] + 0.0).tolist() == [7, 7, 7]
    assert [int(book.nearest(codes[i : i + 1].clone())[0]) for i in (7, 23, 31)] == [7, 7, 7]


def test_silence_is_code_0() -> None:
    book = Codebook(draw(16, 16))
    assert book(draw(3, 16, seed=2), torch.tensor([True, False, True]))[[0, 2]].tolist() == [0, 0]


def test_layers_quantize_what_is_left_and_decode_adds_up() -> None:
    books = [Codebook(draw(128, 16, seed=s) * 2.0**-s) for s in range(4)]
    quantizer = ResidualQuantizer(books)
    x = draw(300, 16, seed=9)
    codes = quantizer.encode(x, torch.zeros(300, dtype=torch.bool))
    left = x.clone()
    for book, code in zip(books, codes, strict=True):
        assert torch.equal(book.nearest(left), code)
        left = left - book.codes[code]
    torch.testing.assert_close(quantizer.decode(codes), x - left)
    energy = [float(((x - quantizer.decode(codes[:n])) ** 2).mean()) for n in range(1, 5)]
    assert energy == sorted(energy, reverse=True)


def test_gram_quantizer_takes_the_nearest_of_what_is_left() -> None:
    draw = torch.Generator().manual_seed(8)
    books = torch.randn(12, 16, 64, generator=draw)
    x = torch.randn(50, 64, generator=draw) * 3
    quantizer = GramQuantizer(books)
    codes = torch.stack(quantizer.encode(x), 1)
    left = x.double()
    for layer, book in enumerate(books.double()):
        nearest = ((left[:, None] - book) ** 2).sum(2).argmin(1)
        assert torch.equal(codes[:, layer], nearest)
        left = left - book[nearest]
    assert torch.equal(torch.stack(GramQuantizer(books[:5]).encode(x), 1), codes[:, :5])
    torch.testing.assert_close(quantizer.decode(list(codes.T)).double(), x.double() - left, rtol=1e-5, atol=1e-5)
    for row in (0, 7, 49):
        assert torch.equal(torch.stack(quantizer.encode(x[row : row + 1]), 1)[0], codes[row])
