"""k-means and residual k-means: same seed same bits, no dead and no twin codes, less left at every layer."""

import pytest
import torch

from natd.codebooks import books, fit
from natd.errors import ModelError


def blobs(count: int = 3000, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(20, 16, generator=torch.Generator().manual_seed(99)) * 5
    return centres[torch.randint(20, (count,), generator=generator)] + torch.randn(count, 16, generator=generator)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    x, y = blobs(), blobs(500, 1)
    first, again, other = (fit.kmeans(x, y, 24, seed) for seed in (3, 3, 4))
    assert torch.equal(first.centres, again.centres) and first.tried == again.tried
    assert not torch.equal(first.centres, other.centres)


def test_the_start_that_serves_held_out_vectors_best_is_followed() -> None:
    x, y = blobs(), blobs(500, 1)
    found = fit.kmeans(x, y, 20, 0, starts=4)
    assert found.distortion <= 1.01 * min(found.tried) and len(set(found.tried)) == 4
    exact = float((torch.cdist(y.double(), found.centres.double()).min(1).values ** 2).mean())
    assert found.distortion == pytest.approx(exact, rel=1e-4)
    assert found.distortion < 25  # the blobs' own spread leaves 16, one code alone about 400


def test_repeated_vectors_leave_no_dead_and_no_twin_codes() -> None:
    x = torch.cat([torch.zeros(5000, 16), torch.ones(5000, 16), blobs(400)])
    found = fit.kmeans(x, x, 64, 0)
    assert (torch.bincount(fit.nearest(x, found.centres)[0], minlength=64) > 0).all()
    assert len(books.twins(found.centres)) == 0


def test_twins_names_the_later_of_two_equal_codes() -> None:
    centres = blobs(10)
    centres[7] = centres[2]
    assert books.twins(centres).tolist() == [7]


def test_each_residual_layer_leaves_less() -> None:
    said: list[str] = []
    fits = fit.residual(blobs(), blobs(500, 1), 3, 16, 0, said.append)
    distortions = [f.distortion for f in fits]
    assert distortions == sorted(distortions, reverse=True) and len(said) == 3


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ModelError, match="at least 128 frames"):
        fit.kmeans(blobs(100), blobs(100), 64, 0)


def test_averages_are_kept_only_where_unheard_vectors_are_served_better() -> None:
    x, y = blobs(), blobs(2000, 1)
    # Centres that k-means has not settled: the averages move on towards the means.
    start = fit.Fit(x[:20].clone(), float(fit.nearest(y, x[:20])[1].double().mean()), ())
    better = fit.refine(x, y, start, 0)
    assert better.distortion < 0.9 * start.distortion
    assert better.distortion == pytest.approx(float(fit.nearest(y, better.centres)[1].double().mean()))
    assert torch.equal(fit.refine(x, y, start, 0).centres, better.centres)
    assert not torch.equal(fit.refine(x, y, start, 1).centres, better.centres)
    # What is held out lies on the centres: nothing can serve it better.
    exact = fit.Fit(start.centres, 0.0, ())
    assert fit.refine(x, start.centres, exact, 0) is exact


def test_averages_that_would_leave_a_dead_code_are_not_kept() -> None:
    x, y = blobs(), blobs(2000, 1)
    centres = torch.cat([x[:20], torch.full((1, 16), 1000.0)])
    start = fit.Fit(centres, float(fit.nearest(y, centres)[1].double().mean()), ())
    assert fit.refine(x, y, start, 0) is start
