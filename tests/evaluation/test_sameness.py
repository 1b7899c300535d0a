"""The laws of a tokenizer, kept and broken."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from natd.evaluation import sameness
from natd.evaluation.coding import Coded, encode
from natd.evaluation.material import Material
from tests.evaluation.made import CLASSES, FRAME, SR, Made, material_of, tone


class Mixing(Made):
    """Its first layer depends on who else is in the batch, its last on nothing that was heard."""

    def encode(self, chunk, state):
        codes = super().encode(chunk, state)
        codes[0] = (codes[0] + len(chunk) - 1) % 5
        return codes


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Material:
    clips = [("esc10", f"3-{label}", label) for label in CLASSES]
    return material_of(tmp_path_factory.mktemp("held"), [tone(hz, 1, 2.8) for hz in CLASSES.values()], clips)


def quiet(tokenizer: Made) -> Coded:
    return encode(tokenizer, [np.zeros(12 * SR, np.float32)])


def rows(tokenizer: Made, held: Material) -> dict:
    noise = encode(tokenizer, [(0.1 * np.random.default_rng(0).standard_normal(SR)).astype(np.float32)])
    return {(r.figure, r.of): r for r in sameness.rows(tokenizer, held, noise, quiet(tokenizer), 0)}


def test_a_tokenizer_that_keeps_the_laws(held):
    found = rows(Made(), held)
    for figure in (sameness.ALONE, sameness.CHUNKED):
        assert found[figure, "all"].value == 1.0 and found[figure, "all"].nulls["shuffled"] < 0.7
    assert found[sameness.ALONE, "all"].n == 8 and found[sameness.CHUNKED, "all"].n == 4
    assert [found["codes of 12 s of silence", layer].value for layer in ("S0", "S1", "A0")] == [1.0] * 3
    assert found["codes of 12 s of silence", "A0"].nulls == {"noise": 4.0}


def test_one_that_hears_its_company_does_not(held):
    found = rows(Mixing(), held)
    assert found[sameness.ALONE, "all"].value == pytest.approx(3 / 4)  # S0 is one code of four a frame
    assert found[sameness.CHUNKED, "all"].value == 1.0
    mixing = Mixing()
    mixing.spec = replace(mixing.spec, info=replace(mixing.spec.info, batch_invariant=False))
    assert "not promise" in rows(mixing, held)[sameness.ALONE, "all"].note


def test_pieces_are_what_they_are_said_to_be():
    cuts = list(sameness._cuts(1000, sameness.ODD))
    assert [n for _, n in cuts] == [1, 37, 441, 521] and [at for at, _ in cuts] == [0, 1, 38, 479]
    assert list(sameness._cuts(1000, ())) == [(0, 1000)]


def test_the_pieces_go_through_the_resampler():
    samples = np.stack([tone(500.0, 1), np.zeros(48_000, np.float32)], axis=1)
    whole = sameness.assembled(samples, 48_000, Made().spec, ())
    assert len(whole) == 24_000 // FRAME * FRAME and np.array_equal(
        whole, sameness.assembled(samples, 48_000, Made().spec, sameness.ODD)
    )
    assert encode(Made(), [whole]).codes["S0"][:8].tolist() == [2] * 8  # read at twice the rate, it is an octave up


def test_a_code_that_only_one_side_has_is_not_equal():
    one, other = [[torch.tensor([1, 2, 3, 4])]], [[torch.tensor([1, 2, 9])]]
    assert sameness._equal(one, other).tolist() == [[2.0, 4.0]]
