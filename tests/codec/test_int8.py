"""Fixed point: as the reference kernels are written, number by number; tables near the real function."""

import numpy as np
import pytest
import torch

from natd.codec import int8
from natd.codec.int8 import Quant, Requantizer


def reference(x: int, fixed: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier as gemmlowp has it: a truncating division, a mask, a threshold."""
    x <<= max(shift, 0)
    product = x * fixed
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    high = abs(product + nudge) // 2**31 * (1 if product + nudge >= 0 else -1)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> exponent) + ((high & mask) > threshold)


RATIOS = [0.75, 0.5, 0.0123, 0.00071, 1.5, 3.999999999, 2**-9, 1.0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_multiply_is_the_reference(ratio: float) -> None:
    by = int8.multiplier(ratio)
    assert 2**30 <= by[0] < 2**31
    draw = np.random.default_rng(1)
    for x in [*range(-300, 300), *draw.integers(-(2**24), 2**24, 2000).tolist()]:
        assert int8.multiply(x, by) == reference(x, *by)
        assert abs(int8.multiply(x, by) - x * ratio) <= 1.0


@pytest.mark.parametrize(("reach", "scale"), [(2**22, 1e-3), (800, 0.3)])
def test_requantizer_is_the_reference_in_every_channel(reach: int, scale: float) -> None:
    """Large sums as a layer has them, and small ones that often lie half way between two steps."""
    draw = torch.Generator().manual_seed(2)
    sums = torch.randint(-reach, reach, (3, 500, 8), generator=draw)
    scales = torch.tensor(RATIOS) * scale
    bias = torch.randint(-reach // 800, reach // 800, (8,), generator=draw, dtype=torch.int32)
    given, out, zero = Quant(0.125, 3), torch.full((8,), 0.25), torch.arange(-4, 4).float()
    index = Requantizer(given, scales, bias, out, zero)(sums.float())
    for o in range(8):
        by = int8.multiplier(0.125 * float(scales[o]) / 0.25)
        for x, found in zip(sums[..., o].flatten().tolist(), index[..., o].flatten().tolist(), strict=True):
            expected = min(max(reference(x + int(bias[o]), *by) + o - 4, -128), 127)
            assert found == expected + 128
    assert len(index.unique()) > 100


def test_tables_are_the_real_functions_rounded_twice() -> None:
    a, b, total = Quant(0.11, 20), Quant(0.07, -30), Quant(0.16, 5)
    q = np.arange(-128, 128)
    real = (q - a.zero) * a.scale
    leaky = np.where(real >= 0, real, 0.3 * real) / b.scale + b.zero
    table = int8.leaky_table(a, b, 0.3).numpy() + b.zero
    assert np.abs(table - leaky.clip(-128, 127)).max() <= 0.76
    sums = (real[:, None] + ((q - b.zero) * b.scale)[None]) / total.scale + total.zero
    table = int8.sum_table(a, b, total).numpy().reshape(256, 256) - 128
    assert np.abs(table - sums.clip(-128, 127)).max() <= 0.76


def test_quantize_rounds_halves_away_from_zero_and_saturates() -> None:
    x = torch.tensor([0.0, 0.25, -0.25, 0.75, -0.75, 0.24, -0.24, 99.0, -99.0], dtype=torch.float64)
    index = int8.quantize(x, Quant(0.5, 10))
    assert (index - 128 - 10).tolist() == [0, 1, -1, 2, -2, 0, 0, 117, -138]
    real = int8.dequantize(index[:7], Quant(0.5, 10), torch.float64)
    assert real.tolist() == [0.0, 0.5, -0.5, 1.0, -1.0, 0.0, 0.0]
