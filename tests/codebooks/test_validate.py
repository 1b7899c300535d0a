"""A codebook that is not right does not pass."""

import math

import pytest
import torch

from natd.codebooks import validate
from natd.errors import ModelError


def test_dead_and_twin_codes_are_refused() -> None:
    centres = torch.eye(4)
    validate.require_live("S0", torch.tensor([1, 2, 3, 4, 0]), centres)
    with pytest.raises(ModelError, match="S0 has 1 codes that no frame chose and 0"):
        validate.require_live("S0", torch.tensor([1, 2, 4, 4]), centres)
    centres[3] = centres[0]
    with pytest.raises(ModelError, match="0 codes that no frame chose and 1"):
        validate.require_live("S0", torch.tensor([1, 2, 3, 4]), centres)


def test_energy_must_fall_strictly_at_every_layer_for_every_kind() -> None:
    good = [9.0, 4.0, 3.0, 2.5, 2.4]
    validate.require_falling({"music": good, "speech": good})
    for bad in ([9.0, 4.0, 4.0, 2.0, 1.0], [9.0, 10.0, 3.0, 2.0, 1.0], [9.0, math.nan, 3.0, 2.0, 1.0]):
        with pytest.raises(ModelError, match="speech does not fall"):
            validate.require_falling({"music": good, "speech": bad})


def test_usage_of_known_distributions() -> None:
    even = validate.usage(torch.arange(8).repeat(10), 16)
    assert even == {"used": 8, "size": 16, "bits": 3.0, "perplexity": 8.0}
    assert validate.usage(torch.zeros(50, dtype=torch.int64), 16)["bits"] == 0.0
