import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.pcm import SAMPLE_BYTES, decode


@pytest.mark.parametrize("fmt, bits, least", [("s16le", 16, 2**-15), ("s24le", 24, 2**-23), ("s32le", 32, 2**-31)])
def test_integers_are_scaled_by_their_full_range(fmt, bits, least):
    numbers = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]
    data = b"".join(n.to_bytes(bits // 8, "little", signed=True) for n in numbers)
    want = np.array([0, least, -least, np.float32(1 - least), -1], np.float32)
    np.testing.assert_array_equal(decode(data, fmt, 1)[:, 0], want)


@given(st.lists(st.floats(width=32), max_size=20))
def test_floats_pass_bit_by_bit_also_those_that_are_no_numbers(numbers):
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    assert decode(data, "f32le", 1).astype("<f4").tobytes() == data


@pytest.mark.parametrize("fmt", SAMPLE_BYTES)
def test_channels_are_interleaved_and_half_samples_refused(fmt):
    data = bytes(range(6 * SAMPLE_BYTES[fmt]))
    got = decode(data, fmt, 3)
    assert got.shape == (2, 3) and got.dtype == np.float32
    np.testing.assert_array_equal(got.ravel(), decode(data, fmt, 1).ravel())
    with pytest.raises(ValueError, match="not whole"):
        decode(data[:-1], fmt, 3)


def test_the_samples_are_a_copy_that_can_be_written():
    assert decode(bytes(8), "f32le", 1).flags.writeable
