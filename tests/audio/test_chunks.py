"""Frames and gaps tile the frame axis; cutting does not matter; a loss is as long as it was."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.chunks import Block, End, Format, FormatChange, FormatChunk, FrameAssembler, FrameChunk, GapChunk, Loss
from natd.errors import SourceError

SR, F = 24000, 1920
SECOND = 1_000_000_000


def noise(n, channels=1, seed=0):
    return (np.random.default_rng(seed).standard_normal((n, channels)) * 0.1).astype(np.float32)


def block(first, samples, rate):
    return Block(first, samples, 5 * SECOND + (first + len(samples)) * SECOND // rate)


def run(events, rate=48000, channels=1, sr=SR, frame=F, **more):
    assembler = FrameAssembler(Format(rate, channels), sr, frame, **more)
    return [chunk for event in events for chunk in assembler.feed(event)]


def frames(chunks):
    return [c for c in chunks if isinstance(c, FrameChunk)]


def gaps(chunks):
    return [c for c in chunks if isinstance(c, GapChunk)]


def tiles(chunks):
    """Where the axis ends; fails on a hole or an overlap."""
    at = 0
    for chunk in chunks:
        if isinstance(chunk, FrameChunk | GapChunk):
            assert chunk.fi == at
            at += chunk.frames if isinstance(chunk, GapChunk) else 1
    return at


def cut(events, rng):
    """The same events, their blocks cut at random (now and then into single samples)."""
    out = []
    for event in events:
        if not isinstance(event, Block):
            out.append(event)
            continue
        at = 0
        while at < len(event.samples):
            n = 1 if rng.random() < 0.2 else int(rng.integers(1, 4000))
            part = event.samples[at : at + n]
            late = len(event.samples) - at - len(part)
            out.append(Block(event.first + at, part, event.mono_ns - late * SECOND // 48000))
            at += n
    return out


def same(a, b):
    assert [type(c) for c in a] == [type(c) for c in b]
    for x, y in zip(a, b, strict=True):
        if isinstance(x, FrameChunk):
            assert x.fi == y.fi
            np.testing.assert_array_equal(x.samples, y.samples)
        else:
            assert x == y


stretch = st.tuples(st.sampled_from(["audio", "loss", "nan", "format"]), st.integers(1, 12000))


@given(
    st.lists(stretch, max_size=8),
    st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    st.sampled_from([(24000, 1920), (24000, 320), (44100, 512)]),
    st.integers(0, 2**32),
)
def test_any_cutting_gives_the_same_frames_and_they_tile(plan, rate, target, seed):
    sr, frame = target
    rng = np.random.default_rng(seed)
    events, n, origin, lost = [], 0, Fraction(0), Fraction(0)
    start = rate
    for kind, count in plan:
        if kind in ("audio", "nan"):
            samples = noise(count, 2, seed)
            if kind == "nan":
                samples[:: max(1, count // 3), 1] = np.nan
                lost += Fraction(len(samples[:: max(1, count // 3)]), rate)
            events.append(block(n, samples, rate))
            n += count
        elif kind == "loss":
            events.append(Loss(n, count, "overrun"))
            n, lost = n + count, lost + Fraction(count, rate)
        else:
            origin += Fraction(n * sr, rate) + Fraction(count, 10**5) * sr
            lost += Fraction(count, 10**5)
            rate, n = (16000 if rate != 16000 else 48000), 0
            events.append(FormatChange(Format(rate, 2), count / 1e5))
    events.append(End("eof"))
    whole = run(events, start, 2, sr, frame)
    pieces = run(cut(events, rng), start, 2, sr, frame)
    same(frames(pieces), frames(whole))  # bad samples a second apart may be declared in one gap or in two that adjoin
    assert tiles(pieces) == tiles(whole)
    assert abs(tiles(whole) - (origin + Fraction(n * sr, rate)) / frame) < 1 + Fraction(1, frame)
    changed = sum(isinstance(e, FormatChange) for e in events)
    assert changed or tiles(whole) == math.floor(Fraction(n * sr, rate) / frame)
    for chunks in (whole, pieces):
        declared = sum(g.lost_ms for g in gaps(chunks))
        assert declared <= float(lost * 1000) + 1e-6
        # Only a loss that the end cuts short goes unsaid: its last frame, and one more where a gap was given before.
        assert declared >= float(lost * 1000) - (2 + changed) * 1000 * frame / sr - 1e-6
    assert isinstance(whole[-1], End)


@pytest.mark.parametrize("rate", [48000, 44100, 16000, 24000, 192000, 8000])
def test_chunk_sizes_1_ms_to_1_s(rate):
    x = noise(rate * 2, 2)
    reference = run([block(0, x, rate), End("eof")], rate, 2)
    assert len(frames(reference)) == 25
    for ms in (1, 10, 23, 1000):
        n = rate * ms // 1000
        same(run([block(i, x[i : i + n], rate) for i in range(0, len(x), n)] + [End("eof")], rate, 2), reference)


def test_equal_rates_give_the_samples_themselves():
    x = noise(10 * F + 77)
    got = frames(run([block(0, x, SR), End("eof")], SR))
    assert len(got) == 10
    np.testing.assert_array_equal(np.concatenate([f.samples for f in got]), x[: 10 * F, 0])


def test_after_a_loss_frames_start_afresh_at_a_boundary():
    """One sample lost in frame 2: frame 2 is the gap, and frame 3 sounds as if the stream had begun there."""
    x = noise(20 * 3840)
    lost_at = 2 * 3840 + 100
    chunks = run(
        [
            block(0, x[:lost_at], 48000),
            Loss(lost_at, 1, "overrun"),
            block(lost_at + 1, x[lost_at + 1 :], 48000),
            End("eof"),
        ]
    )
    assert gaps(chunks) == [GapChunk(2, 1, "overrun", 1000 / 48000)]
    assert tiles(chunks) == 20
    alone = frames(run([block(0, x[3 * 3840 :], 48000), End("eof")]))
    for a, b in zip(frames(chunks)[2:], alone, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)


def test_loss_at_the_very_start():
    chunks = run([Loss(0, 100, "device_lost"), block(100, noise(3840 * 3 - 100), 48000), End("eof")])
    assert gaps(chunks) == [GapChunk(0, 1, "device_lost", 100 / 48)]
    assert [f.fi for f in frames(chunks)] == [1, 2]


def test_a_stream_that_starts_late_has_lost_what_went_before():
    chunks = run([block(3840, noise(3840 * 2), 48000), End("eof")])
    assert gaps(chunks) == [GapChunk(0, 1, "overrun", 80.0)]


@pytest.mark.parametrize("second", [3840 * 2 + 2000, 3840 * 3 + 5, 3840 * 4 - 1])
def test_losses_in_the_same_or_the_next_frame_become_one_gap(second):
    """The second falls into the first's frame, or spoils the frame after it: either way no frame lies between."""
    first = 3840 * 2 + 10
    events = [
        block(0, noise(first), 48000),
        Loss(first, 20, "xrun"),
        block(first + 20, noise(second - first - 20), 48000),
        Loss(second, 30, "overrun"),
        block(second + 30, noise(3840 * 8 - second - 30), 48000),
        End("eof"),
    ]
    chunks = run(events)
    end = math.ceil((second + 30) / 3840)
    assert gaps(chunks) == [GapChunk(2, end - 2, "overrun", 50 / 48)]
    assert [f.fi for f in frames(chunks)] == [0, 1, *range(end, 8)]


def test_losses_a_frame_apart_are_two_gaps():
    at = 3840 * 4
    chunks = run(
        [
            Loss(0, 10, "xrun"),
            block(10, noise(at - 10), 48000),
            Loss(at, 10, "xrun"),
            block(at + 10, noise(3840), 48000),
            End("eof"),
        ]
    )
    assert [(g.fi, g.frames) for g in gaps(chunks)] == [(0, 1), (4, 1)]
    assert [f.fi for f in frames(chunks)] == [1, 2, 3]


def test_a_loss_of_hours_is_one_gap():
    n = 48000 * 3600 * 5 + 1
    chunks = run(
        [block(0, noise(3840), 48000), Loss(3840, n, "device_lost"), block(3840 + n, noise(9000), 48000), End("eof")]
    )
    assert gaps(chunks) == [GapChunk(1, 225001, "device_lost", n / 48)]
    assert [f.fi for f in frames(chunks)] == [0, 225002]


def test_a_loss_that_goes_on_is_declared_every_second():
    """Blocks of NaN without end: the gap is not kept back until it ends."""
    bad = np.full((480, 1), np.nan, np.float32)
    assembler = FrameAssembler(Format(48000, 1), SR, F)
    out = [chunk for i in range(1000) for chunk in assembler.feed(block(i * 480, bad, 48000))]
    assert [(g.fi, g.frames, g.cause) for g in out] == [(i * 13, 13, "nonfinite") for i in range(9)]
    assert tiles(out + assembler.feed(End("shutdown"))) == 125
    assert assembler.counters["samples_nonfinite"] == assembler.counters["samples_lost"] == 480_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_no_bad_sample_reaches_a_frame(value):
    x = noise(3840 * 5, 2)
    x[3840 * 2 + 7, 1] = value
    chunks = run([block(0, x, 48000), End("eof")], channels=2)
    assert gaps(chunks) == [GapChunk(2, 1, "nonfinite", 1000 / 48000)]
    assert [f.fi for f in frames(chunks)] == [0, 1, 3, 4]
    assert all(np.isfinite(f.samples).all() for f in frames(chunks))


def test_a_bad_sample_in_a_channel_that_is_not_asked_for_does_no_harm():
    x = noise(3840 * 2, 2)
    x[5, 1] = np.nan
    assert len(frames(run([block(0, x, 48000), End("eof")], channels=2, mix=(0,)))) == 2


def test_a_block_that_goes_back_is_refused():
    assembler = FrameAssembler(Format(48000, 1), SR, F)
    assembler.feed(block(0, noise(100), 48000))
    with pytest.raises(SourceError, match="went back to sample 50, expected 100"):
        assembler.feed(block(50, noise(100), 48000))


def test_nothing_comes_after_the_end():
    assembler = FrameAssembler(Format(48000, 1), SR, F)
    assembler.feed(End("eof"))
    with pytest.raises(SourceError, match="after its end"):
        assembler.feed(block(0, noise(100), 48000))


def test_format_change():
    chunks = run(
        [
            block(0, noise(3840 * 2 + 100), 48000),
            FormatChange(Format(16000, 2), 0.5),
            block(0, noise(16000, 2), 16000),
            End("shutdown"),
        ]
    )
    assert gaps(chunks) == [GapChunk(2, 7, "format_change", 500.0)]  # 0.16208 s + 0.5 s: frame 9 is the first whole one
    kinds = [type(c) for c in chunks]
    assert kinds[2:5] == [GapChunk, FormatChunk, FrameChunk]
    assert chunks[3] == FormatChunk(Format(16000, 2), 500.0)
    assert tiles(chunks) == math.floor((3840 * 2 + 100) / 3840 + 1.5 / 0.08)


def test_format_change_on_a_boundary_loses_nothing():
    chunks = run([block(0, noise(3840), 48000), FormatChange(Format(24000, 1)), block(0, noise(F), 24000), End("eof")])
    assert [type(c) for c in chunks] == [FrameChunk, FormatChunk, FrameChunk, End]


@pytest.mark.parametrize("size", [1, 480, 4000, 48000])
def test_captured_when_the_frames_last_sample_was(size):
    """A sample's own capture time, whatever the block it came in: here sample n at 5 s + (n + 1) / rate."""
    x = noise(48000)
    got = frames(
        run([block(i, x[i : i + size], 48000) for i in range(0, 48000, size)] + [End("eof")], now_ns=lambda: 42)
    )
    assert [f.captured_ns - 5 * SECOND for f in got] == [(i + 1) * SECOND * 80 // 1000 for i in range(12)]
    assert {f.resampled_ns for f in got} == {42}


def test_mix():
    x = noise(F, 3)
    mean = frames(run([block(0, x, SR), End("eof")], SR, 3))[0].samples
    np.testing.assert_allclose(mean, x.astype(float).mean(axis=1), atol=1e-7)
    picked = frames(run([block(0, x, SR), End("eof")], SR, 3, mix=(2,)))[0].samples
    np.testing.assert_array_equal(picked, x[:, 2])
    both = frames(run([block(0, x, SR), End("eof")], SR, 3, mix=(0, 2)))[0].samples
    np.testing.assert_allclose(both, (x[:, 0] + x[:, 2]) / 2, atol=1e-7)
    with pytest.raises(SourceError, match=r"channel 4, but the source has 3"):
        FrameAssembler(Format(SR, 3), SR, F, mix=(3,))


def test_level():
    assembler = FrameAssembler(Format(48000, 2), SR, F)
    assert assembler.level is None
    sine = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000).astype(np.float32) * 0.5
    assembler.feed(block(0, np.stack([sine, sine], 1), 48000))
    assert assembler.level.peak == pytest.approx(-6.02, abs=0.01)
    assert assembler.level.rms == pytest.approx(-9.03, abs=0.01)
    assembler.feed(block(48000, np.zeros((48000, 2), np.float32), 48000))
    assert (assembler.level.peak, assembler.level.rms) == (-120.0, -120.0)


def test_what_it_holds_is_bounded():
    """One hour in single-sample-like blocks would show as growth of the lists it keeps."""
    assembler = FrameAssembler(Format(48000, 1), SR, F)
    x = noise(48)
    for i in range(5000):
        assembler.feed(block(i * 48, x, 48000))
        assert len(assembler._blocks) <= 3840 // 48 + 480 // 48 + 2
    assert assembler.delay_ms == 5.0 and assembler.resampler == "soxr-hq"


def test_a_loss_that_the_end_cuts_short_is_no_longer_than_its_frames():
    """12 whole frames of bad samples and half of a thirteenth, which is dropped."""
    bad = np.full((24_000, 1), np.nan, np.float32)
    (gap,) = gaps(run([Block(0, bad, 0), End("eof")], 24_000, 1, 24_000, 1920))
    assert (gap.frames, gap.lost_ms) == (12, 960.0)
