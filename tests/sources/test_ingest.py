import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.pcm import RawFormat
from natd.sources.ingest import REASONS, STRAY_REASONS, Message, Refused, check
from tests.sources.feeding import GOOD, NAN_PCM, PCM, header, mutations

TABLE = [(what, reason, frames) for what, reason, frames in mutations(b"stage") if reason not in STRAY_REASONS]


def test_a_good_message_is_taken_as_it_is():
    got = check(header(seq=7, first_sample=3360, producer="a"), PCM)
    assert got == Message(7, 3360, 480, RawFormat("s16le", 48_000, 2), "a", PCM)


@pytest.mark.parametrize(
    "changes, size",
    [
        ({"rate": 8000}, 4 * 8000),
        ({"rate": 192_000, "channels": 1}, 2),
        ({"channels": 32, "fmt": "f32le"}, 1 << 20),
        ({"fmt": "s24le"}, 6),
        ({"seq": 2**63 - 1, "first_sample": 2**63 - 1}, 4),
        ({"t_ns": ...}, 4),
        ({"something": {"new": [1]}}, 4),
    ],
)
def test_the_limits_themselves_are_inside(changes, size):
    assert check(header(**changes), bytes(size)).count >= 1


@pytest.mark.parametrize("what, reason, frames", TABLE, ids=[what for what, _, _ in TABLE])
def test_each_fault_is_refused_for_its_reason(what, reason, frames):
    with pytest.raises(Refused) as refused:
        check(frames[1], frames[2])
    assert refused.value.reason == reason


def test_samples_that_are_no_numbers_are_for_the_assembler_to_refuse():
    assert check(header(fmt="f32le", channels=1, rate=96_000), NAN_PCM).count == 960


@given(st.binary(max_size=600), st.binary(max_size=64))
def test_no_bytes_do_anything_but_pass_or_be_refused(noise, pcm):
    try:
        check(noise, pcm)
    except Refused as refused:
        assert refused.reason in REASONS


VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=9)


@given(
    st.dictionaries(st.sampled_from([*GOOD, "producer"]), VALUES | st.lists(VALUES), max_size=3), st.integers(0, 4000)
)
def test_any_value_in_any_field_passes_or_is_refused(changes, size):
    try:
        got = check(header(**changes), bytes(size))
    except Refused as refused:
        assert refused.reason in REASONS
        return
    assert got.count * got.raw.frame_bytes == size > 0
    assert 8000 <= got.raw.rate <= 192_000 and 1 <= got.raw.channels <= 32 and got.seq >= 0 and got.first >= 0
