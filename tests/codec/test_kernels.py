"""The kernels in C are what they say, to the bit the same for a row in any company, on any thread and processor."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from natd.codec import kernels
from natd.codec.kernels import library
from natd.codec.packed import Linear
from natd.codec.transformer import Layout, RingState, _masks, attention
from natd.errors import ModelError

EXACT = {"none": lambda x: x, "relu": torch.relu, "gelu": functional.gelu, "elu": functional.elu}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_where_there_is_a_compiler_there_are_kernels() -> None:
    assert kernels.available() == (shutil.which("cc") is not None)


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(64, 7), (1, 448), (48, 80), (33, 513)])
def test_a_product_is_exact_to_the_rounding_of_its_sums(activation: str, shape: tuple[int, int]) -> None:
    weight, bias, x, plus = (
        drawn(*shape),
        drawn(shape[0], seed=1),
        drawn(5, shape[1], seed=2),
        drawn(5, shape[0], seed=3),
    )
    weight = weight / shape[1] ** 0.5
    exact = EXACT[activation](x.double() @ weight.double().T + bias.double() + plus.double())
    found = kernels.Matrix(weight, bias, activation)(x, plus)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("shape", [(64, 7), (33, 513), (1, 448)])
def test_a_matrix_of_bfloat16_gives_the_bits_of_the_same_numbers_in_float32(shape: tuple[int, int]) -> None:
    weight, bias, x = drawn(*shape).bfloat16(), drawn(shape[0], seed=1), drawn(14, shape[1], seed=2)
    for path in library.builds():
        built = library.opened(path)
        halves, floats = (kernels.Matrix(w, bias, "gelu", of=built) for w in (weight, weight.float()))
        assert halves.panels.element_size() == 2
        for rows in range(1, 15):
            assert torch.equal(halves(x[:rows]), floats(x[:rows])), rows


def test_what_bfloat16_holds_is_stored_as_such() -> None:
    weight = drawn(40, 64)
    for matrix, size in ((weight, 4), (weight.bfloat16().float(), 2)):
        product = Linear(matrix)._product
        assert isinstance(product, kernels.Matrix) and product.panels.element_size() == size


@pytest.mark.parametrize("rows", [1, 2, 5, 11, 12, 13, 29])
def test_windows_of_a_batch_are_the_windows_one_by_one(rows: int) -> None:
    """Where they lie evenly in memory, where they cross from one signal to the next, and a page apart."""
    for channels, kernel, stride in ((16, 3, 1), (1024, 2, 1), (5, 4, 3)):
        signal = drawn(3, channels * (kernel + stride * (rows - 1)), seed=rows)
        windows = signal.unfold(1, channels * kernel, channels * stride)
        matrix = kernels.Matrix(drawn(40, channels * kernel, seed=1))
        found = matrix(windows)
        assert found.shape == (3, rows, 40)
        for b in range(3):
            for r in range(rows):
                assert torch.equal(found[b, r], matrix(windows[b, r].clone()[None])[0])


def test_builds_for_other_processors_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = drawn(13, 300), drawn(70, 300, seed=1) / 17
    rings = {"keys": drawn(2, 3, 32, 48, seed=2), "values": drawn(2, 3, 48, 32, seed=3)}
    results = []
    for path in library.builds():
        built = library.opened(path)
        monkeypatch.setattr(library, "chosen", lambda built=built: built)
        keys, values = rings["keys"].clone(), rings["values"].clone()
        mixed, seen = drawn(2, 2, 3, 3, 32, seed=4), torch.tensor([5, 100])
        hidden, cell = drawn(3, 32, seed=5), drawn(3, 32, seed=6)
        gates = kernels.Matrix(drawn(128, 32, seed=7))
        books = [(book := drawn(50, 300, seed=s), -0.5 * (book * book).sum(1)) for s in (8, 9)]
        parts = [kernels.Matrix(weight, None, activation)(x) for activation in kernels.ACTIVATIONS]
        parts += [kernels.elu(x), kernels.snake(x, x[0].abs(), x[1]), kernels.depthwise(x[None], x[:3], x[0], 2)]
        parts += [kernels.ring_attention(mixed, drawn(2, 2, 32, seed=10), seen, keys, values, 40), keys, values]
        parts += [
            kernels.lstm(drawn(3, 4, 128, seed=11), gates, hidden, cell),
            hidden,
            cell,
            kernels.Residual(books)(x),
        ]
        results.append(parts)
    assert len(results) >= 1
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_a_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "sources", lambda: "0" * 64)
    with pytest.raises(ModelError, match="other sources than lie beside it: install natd again"):
        library.opened(library.builds()[0])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda so, about: so.write_bytes(so.read_bytes()[:30_000]), "is damaged"),
        (lambda so, about: so.write_bytes(b""), "is damaged"),
        (lambda so, about: about.unlink(), "cannot be compared"),
        (lambda so, about: about.write_text("[]"), "cannot be compared"),
        (
            lambda so, about: about.write_text(about.read_text().replace('"sources": "', '"sources": "0')),
            "other sources",
        ),
    ],
)
def test_a_damaged_library_is_refused_before_it_is_loaded(
    fault: Callable[[Path, Path], object], said: str, tmp_path: Path
) -> None:
    built = library.builds()[0]
    library.opened(built)  # never the copy: pages that a fault takes from a loaded library are missed when we exit
    so, about = (Path(shutil.copy(path, tmp_path)) for path in (built, built.with_suffix(".json")))
    fault(so, about)
    with pytest.raises(ModelError, match=f"{said}.*: install natd again"):
        library.opened(so)


def test_another_library_is_refused(tmp_path: Path) -> None:
    other = Path(shutil.copy(Path(torch.__file__).parent / "lib" / "libshm.so", tmp_path / "other.so"))
    known = {"library": hashlib.sha256(other.read_bytes()).hexdigest(), "sources": library.sources()}
    other.with_suffix(".json").write_text(json.dumps(known))
    with pytest.raises(ModelError, match=r"other\.so cannot be loaded .*natd_product.*: install natd again"):
        library.opened(other)
    other.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="cannot be compared with what was built"):
        library.opened(other)


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.so").write_bytes(b"junk")
    known = {"library": hashlib.sha256(b"junk").hexdigest(), "sources": library.sources()}
    (tmp_path / "junk.json").write_text(json.dumps(known))
    with pytest.raises(ModelError, match=r"junk\.so cannot be loaded .*: install natd again"):
        library.opened(tmp_path / "junk.so")


@pytest.mark.parametrize("make", [
    lambda x: x.t(), lambda x: x[None].transpose(1, 2), lambda x: x[None, None].transpose(2, 3),
    lambda x: x.repeat(1, 2)[:, ::2].t(), lambda x: x.t()[None].expand(3, 5, 48), lambda x: x.t()[None, ::2],
    lambda x: x.t()[:, :1].expand(5, 48),
])  # fmt: skip
def test_a_product_of_a_signal_that_lies_in_pieces(make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x, matrix = make(drawn(48, 5)), kernels.Matrix(drawn(70, 48, seed=1))
    assert torch.equal(matrix(x), matrix(x.clone(memory_format=torch.contiguous_format)))


def test_what_does_not_fit_is_refused() -> None:
    x, w, other = drawn(2, 8, 48), drawn(64, 48, seed=1), drawn(2, 8, 32)
    matrix, memory = kernels.Matrix(w), kernels.Matrix(drawn(128, 32))
    rings = drawn(2, 1, 16, 32), drawn(2, 1, 32, 16)
    mixed, turn, seen = drawn(2, 3, 1, 3, 16), drawn(2, 3, 16), torch.zeros(2, dtype=torch.int64)
    for wrong in (
        lambda: matrix(x.bfloat16()), lambda: matrix(x.double()), lambda: matrix(other), lambda: matrix(x, x),
        lambda: matrix(x, drawn(2, 8, 64).double()), lambda: kernels.elu(x.double()),
        lambda: kernels.snake(x, drawn(32), drawn(32)), lambda: kernels.snake(x, drawn(96)[::2], drawn(48)),
        lambda: kernels.depthwise(x, drawn(3, 32), drawn(32), 1),
        lambda: kernels.depthwise(x, drawn(10, 48), drawn(48), 1),
        lambda: kernels.lstm(drawn(2, 4, 128), memory, drawn(1, 32), drawn(1, 32)),
        lambda: kernels.lstm(drawn(2, 4, 128), matrix, drawn(2, 32), drawn(2, 32)),
        lambda: kernels.Residual([(w, drawn(64))])(other), lambda: kernels.Residual([(w, drawn(1))]),
        lambda: kernels.Residual([(w, drawn(64)), (drawn(64, 32), drawn(64))]),
        lambda: kernels.Matrix(w, drawn(1)), lambda: kernels.Matrix(w, drawn(64, 1)),
        lambda: kernels.ring_attention(mixed, turn, seen.int(), *rings, 8),
        lambda: kernels.ring_attention(mixed, turn[:1], seen, *rings, 8),
        lambda: kernels.ring_attention(mixed, turn, seen, rings[1], rings[0], 8),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="a tensor of "):
            wrong()


@pytest.mark.parametrize("threads", [2, 3])
def test_a_large_product_shared_among_threads(threads: int) -> None:
    x, matrix = drawn(300, 512), kernels.Matrix(drawn(200, 512, seed=1))
    assert 300 * 512 * 200 > kernels.WORTH_SHARING
    alone = matrix(x)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(matrix(x), alone)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0, 1e5])
def test_snake_far_from_zero(size: float) -> None:
    x, a = size * drawn(50, 21), drawn(21, seed=1).abs() + 0.1
    exact = x.double() + torch.sin((x * a).double()) ** 2 / a.double()
    found = kernels.snake(x, a, 1 / a)
    torch.testing.assert_close(found.double(), exact, rtol=2e-7, atol=1e-5)
    assert bool(torch.isfinite(kernels.snake(torch.full((1, 21), 1e30), a, 1 / a)).all())


def test_the_depthwise_convolution_is_torch_s() -> None:
    x, taps, bias = drawn(2, 40, 21), drawn(5, 21, seed=1), drawn(21, seed=2)
    exact = functional.conv1d(
        x.double().transpose(1, 2), taps.double().T[:, None], bias.double(), dilation=3, groups=21
    )
    torch.testing.assert_close(
        kernels.depthwise(x, taps, bias, 3).double(), exact.transpose(1, 2), rtol=1e-6, atol=2e-6
    )


def test_residual_codes_are_the_nearest_of_what_is_left() -> None:
    x, books = drawn(2, 15, 24), [drawn(count, 24, seed=count) for count in (40, 32, 7)]
    codes = kernels.Residual([(book, -0.5 * (book * book).sum(1)) for book in books])(x)
    assert codes.shape == (3, 2, 15) and codes.dtype == torch.int64
    left = x.double()
    for code, book in zip(codes, books, strict=True):
        assert torch.equal(code, torch.cdist(left.flatten(0, 1), book.double()).argmin(1).view(2, 15))
        left = left - book.double()[code]


def test_of_equally_near_codes_the_lowest() -> None:
    book = drawn(100, 16)
    book[[9, 40, 99]] = book[70].clone()
    assert kernels.Residual([(book, -0.5 * (book * book).sum(1))])(book[70:71])[0].tolist() == [9]


@pytest.mark.parametrize("ring", [16, 48, 80, 256])
@pytest.mark.parametrize("depth", [16, 64, 80])
def test_attention_is_that_of_torch(ring: int, depth: int) -> None:
    batch, steps, heads = 3, 2, 2
    window, seen = ring - 3, torch.tensor([0, 5, 1000])
    mixed, turn = drawn(batch, steps, heads, 3, depth), drawn(batch, steps, depth, seed=1)
    mixed[:, :, :, 0] /= depth**0.5
    states = [
        RingState(drawn(batch, heads, depth, ring, seed=2), drawn(batch, heads, ring, depth, seed=3)) for _ in "ab"
    ]
    at = seen[:, None] + torch.arange(steps)
    age = torch.where(at[:, -1] < ring, at[:, -1], ring + at[:, -1] % ring)
    mask = _masks(Layout(1, heads, window, steps), ring)[age][:, None]
    theirs = attention(mixed, turn, at % ring, mask, states[0])
    found = kernels.ring_attention(mixed, turn, seen, states[1].keys, states[1].values, window)
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(states[1].keys, states[0].keys)
    assert torch.equal(states[1].values, states[0].values)
