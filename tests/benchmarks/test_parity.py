"""What parity is judged by: where another code was chosen first, and whether float32 can tell the two apart."""

import pytest
import torch

from tests.benchmarks.parity import cases, report
from tests.benchmarks.parity.audio import sound
from tests.benchmarks.parity.nearest import Chain, Euclidean, Heard, differences

BOOKS = [torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.25, 0.0]])]
CHAINS = [Chain(range(2), Euclidean(BOOKS))]


def heard(x: list[list[float]], *codes: list[int]) -> Heard:
    return Heard([torch.tensor(layer) for layer in codes], {"": torch.tensor(x)})


def test_codes_at_one_distance_are_a_near_tie_and_others_are_not() -> None:
    theirs = heard([[0.5, 0.0], [0.9, 0.0], [1.1, 0.0]], [0, 1, 1], [1, 0, 1])
    ours = heard([[0.5 + 1e-7, 0.0], [0.9, 0.0], [1.1, 0.0]], [1, 0, 1], [0, 0, 0])
    first, second, third = differences(theirs, ours, CHAINS)
    assert (first.at, first.layer, first.near) == (0, 0, True)  # and what follows in the second layer does not count
    assert (second.at, second.layer, second.near) == (1, 0, False)
    assert second.gap.gap == pytest.approx((0.81 - 0.01) / 0.01, rel=1e-5)
    assert (third.at, third.layer, third.near) == (2, 1, False)  # the second layer's own


def test_a_vector_that_is_elsewhere_explains_no_more_than_the_way_to_it() -> None:
    """Off by 0.0002 the distances move by 0.0004: that explains a gap of 0.0003, none of 0.001; off by more, none."""
    for of, off, near in ((0.49985, 2e-4, True), (0.4995, 2e-4, False), (0.49, 0.02, False)):
        theirs, ours = heard([[of, 0.0]], [0], [0]), heard([[of + off, 0.0]], [1], [0])
        assert differences(theirs, ours, CHAINS)[0].near is near


def test_equal_codes_have_no_differences() -> None:
    same = heard([[0.4, 0.0]], [0], [1])
    assert differences(same, same, CHAINS) == []


def test_layers_of_one_share_are_told_together() -> None:
    assert report.shares({"S0": 100.0, "A0": 100.0, "A1": 99.999}) == "S0-A0 100, A1 99.99"


def test_names_are_whole_or_a_first_word() -> None:
    assert cases.chosen(["mimi:window=251", "wavlm"]) == ["mimi:window=251", "wavlm"]
    assert len(cases.chosen(["snac"])) == 3
    assert cases.chosen([]) == list(cases.NAMES)
    with pytest.raises(SystemExit, match="soundstorm: none of mimi"):
        cases.chosen(["soundstorm"])


def test_without_recordings_the_sound_is_made_and_goes_on() -> None:
    samples = sound([], 24_000, 10.0)
    assert samples.shape[1] >= 240_000
    assert float(samples[0, -24_000:].std()) > 0.01
    assert torch.equal(samples, sound([], 24_000, 10.0))
