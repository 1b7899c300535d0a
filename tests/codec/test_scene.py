"""What the scene net is given: means and deviations over the sounding frames of three pools, whatever the gain."""

import numpy as np
import pytest
import torch
from torch import Tensor

from natd.codec.mel import BANDS, HOPS
from natd.codec.modulation import RANGES
from natd.codec.scene import (
    FEATURES,
    GROUPS,
    LEVEL_FEATURE,
    LOUD_DB,
    LOUD_POOLS,
    MOTION_BANDS,
    POOLS,
    STATS,
    WIDTH,
    Pooled,
    Scene,
)

Frame = tuple[Tensor, dict[str, Tensor], Tensor, Tensor]
CENTROID = 2 * GROUPS + STATS.index("centroid")


def frames(seed: int, batch: int, count: int, silent: float = 0.3) -> list[Frame]:
    """Random frames, a share of them silent; the last one sounds."""
    draw = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        motion = torch.rand(batch, MOTION_BANDS, RANGES, generator=draw)
        log_mel = -30.0 + 8.0 * torch.randn(batch, HOPS, BANDS, generator=draw)
        values = {name: torch.randn(batch, generator=draw) for name in STATS}
        values["level"] = -30.0 + 6.0 * torch.randn(batch, generator=draw)
        quiet = torch.rand(batch, generator=draw) < (silent if i < count - 1 else 0.0)
        out.append((log_mel, values, motion, quiet))
    return out


def heard(stream: list[Frame]) -> list[Pooled]:
    scene = Scene()
    state = scene.initial_state(len(stream[0][3]))
    return [scene(*frame, state) for frame in stream]


def row(stream: list[Frame], b: int) -> list[Frame]:
    return [
        (m[b : b + 1].clone(), {n: v[b : b + 1].clone() for n, v in values.items()}, p[b : b + 1].clone(), s[b : b + 1])
        for m, values, p, s in stream
    ]


def parts(vector: Tensor) -> list[np.ndarray]:
    """The frame itself, means of three pools, of the loud in two, deviations of three: [F] each."""
    return [part.numpy() for part in vector[0].view(-1, FEATURES)]


@pytest.mark.parametrize("count", [1, 3, 12, 60])
def test_pools_are_means_and_deviations_of_the_sounding_frames(count: int) -> None:
    stream = frames(count, 1, count)
    out = heard(stream)
    assert out[-1].vector.shape == (1, WIDTH)
    now = np.stack([o.vector[0, :FEATURES].numpy() for o in out]).astype(np.float64)
    sounding = np.array([not bool(s) for *_, s in stream])
    found = parts(out[-1].vector)
    n = len(POOLS)
    for i, frames_of in enumerate(POOLS):
        inside = now[-frames_of:][sounding[-frames_of:]]
        np.testing.assert_allclose(found[1 + i], inside.mean(0), atol=1e-3)
        np.testing.assert_allclose(found[1 + n + len(LOUD_POOLS) + i], inside.std(0), atol=2e-2)
    for i, frames_of in enumerate(LOUD_POOLS):
        inside = now[-frames_of:][sounding[-frames_of:]]
        level = inside[:, LEVEL_FEATURE]
        weight = np.clip((level - level.max() + LOUD_DB) / LOUD_DB, 0.0, 1.0)
        np.testing.assert_allclose(found[1 + n + i], weight @ inside / weight.sum(), atol=1e-3)


def test_the_numbers_beside_the_vector_are_those_of_the_level() -> None:
    stream = frames(5, 1, 50)
    out = heard(stream)
    level = np.array([float(v["level"]) for _, v, *_ in stream])
    sounding = np.array([not bool(s) for *_, s in stream])
    of_last = level[-4:][sounding[-4:]]
    assert float(out[-1].trend) == pytest.approx(level[-1] - of_last.mean(), abs=1e-3)
    assert float(out[-1].wavering) == pytest.approx(level[-16:][sounding[-16:]].std(), abs=1e-2)
    assert float(out[-1].duty) == pytest.approx(sounding[-40:].mean())
    assert float(out[9].duty) == pytest.approx(sounding[:10].mean())


def test_another_gain_changes_the_level_and_nothing_else() -> None:
    stream = frames(7, 1, 30)
    softer = [(m - 12.0, v | {"level": v["level"] - 12.0}, p, s) for m, v, p, s in stream]
    one, other = (np.stack(parts(heard(x)[-1].vector)) for x in (stream, softer))
    means = slice(0, 1 + len(POOLS) + len(LOUD_POOLS))
    np.testing.assert_allclose(one[means, LEVEL_FEATURE] - other[means, LEVEL_FEATURE], 12.0, atol=1e-3)
    one[means, LEVEL_FEATURE] = other[means, LEVEL_FEATURE] = 0.0
    np.testing.assert_allclose(one, other, atol=1e-2)


def test_the_loud_pools_follow_what_is_loud() -> None:
    stream = frames(9, 1, 16, silent=0.0)
    for i, (_, values, *_) in enumerate(stream):
        loud = i >= 10
        values["level"] = torch.tensor([-20.0 if loud else -60.0])
        values["centroid"] = torch.tensor([12.0 if loud else 8.0])
    found = parts(heard(stream)[-1].vector)
    plain, loud = found[1 + POOLS.index(16)], found[1 + len(POOLS) + LOUD_POOLS.index(16)]
    assert loud[CENTROID] == pytest.approx(12.0, abs=1e-3)
    assert plain[CENTROID] == pytest.approx((10 * 8.0 + 6 * 12.0) / 16, abs=1e-3)


def test_what_silent_frames_hold_counts_nowhere() -> None:
    stream = frames(11, 1, 40)
    other = [
        (m + 20.0 * s.float(), {n: v + 9.0 * s.float() for n, v in values.items()}, p, s) for m, values, p, s in stream
    ]
    assert any(bool(s) for *_, s in stream)
    assert torch.equal(heard(stream)[-1].vector, heard(other)[-1].vector)


def test_after_three_seconds_of_silence_nothing_is_left() -> None:
    stream = frames(13, 1, 5, silent=0.0)
    quiet = [(m, v, p, torch.tensor([True])) for m, v, p, _ in frames(14, 1, 40)]
    found = parts(heard(stream + quiet)[-1].vector)
    assert not np.any(found[1:])


def test_a_stream_alone_gives_what_it_gives_in_a_batch() -> None:
    stream = frames(15, 8, 20)
    together = heard(stream)
    for b in range(8):
        alone = heard(row(stream, b))
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one.vector[0], many.vector[b])
            assert torch.equal(one.trend[0], many.trend[b]) and torch.equal(one.wavering[0], many.wavering[b])
