"""S1: a transposed sound gives a transposed name, a stream alone the same codes as in a batch; names can be read."""

import dataclasses

import pytest
import torch

from natd.codec.harmony import LOG_BINS, PER_SEMITONE, WIDTH, Tonal
from natd.codec.harmony_net import (
    CHORD,
    EARLY,
    EARLY_FRAMES,
    FIRST_CHORD,
    FIRST_MIX,
    FIRST_NOISE,
    FIRST_NOTE,
    MIX,
    NO_PITCH,
    NOTE,
    QUALITIES,
    SILENCE,
    SIZE,
    HarmonyNet,
    initial_tensors,
)
from natd.evaluation import words

A4 = 3 * 48 + 1  # its middle bin


@pytest.fixture(scope="module")
def net() -> HarmonyNet:
    tensors = initial_tensors(3)
    cells = torch.rand(tensors["S1.cells"].shape, generator=torch.Generator().manual_seed(1))
    tensors["S1.cells"] = torch.nn.functional.normalize(cells, dim=0)
    return HarmonyNet(tensors)


def heard(seed: int, batch: int, bins: slice = slice(0, LOG_BINS)) -> tuple[Tonal, torch.Tensor, torch.Tensor]:
    """A random spectrum within the bins, f0 in log2 Hz and salience."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.zeros(batch, 1, WIDTH)
    size[..., bins] = torch.rand(batch, 1, bins.stop - bins.start, generator=generator) ** 4
    chroma = torch.rand(batch, 12, generator=generator)
    tonal = Tonal(size, (size - 0.1).clamp(min=0.0), chroma, torch.rand(batch, generator=generator))
    return tonal, 8.0 + torch.rand(batch, generator=generator), torch.rand(batch, generator=generator)


def raised(tonal: Tonal, semitones: int) -> Tonal:
    by = PER_SEMITONE * semitones
    size, peaks = (torch.roll(x, by, dims=2) for x in (tonal.size, tonal.peaks))
    return dataclasses.replace(tonal, size=size, peaks=peaks, chroma=torch.roll(tonal.chroma, semitones, dims=1))


@pytest.mark.parametrize("semitones", [1, 2])
def test_a_sound_raised_by_semitones_raises_notes_and_chords(net: HarmonyNet, semitones: int) -> None:
    tonal, f0, salience = heard(5, 2, slice(A4 - 12, A4 + 13))
    low = net.logits(net.listen(tonal, f0, salience, net.initial_state(2)))
    high = net.logits(net.listen(raised(tonal, semitones), f0 + semitones / 12, salience, net.initial_state(2)))
    torch.testing.assert_close(high[:, NOTE + semitones : CHORD], low[:, NOTE : CHORD - semitones], atol=1e-3, rtol=0)
    torch.testing.assert_close(high[:, :NOTE], low[:, :NOTE], atol=1e-3, rtol=0)
    assert not torch.allclose(low[:, NO_PITCH], low[:, MIX])
    assert not torch.allclose(low[:, NOTE], low[:, NOTE + 40])


def test_gain_changes_nothing(net: HarmonyNet) -> None:
    tonal, f0, salience = heard(7, 2)
    quiet = dataclasses.replace(tonal, size=tonal.size * 0.01, peaks=tonal.peaks * 0.01)
    first, second = (net.listen(t, f0, salience, net.initial_state(2)) for t in (tonal, quiet))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def codes_of(net: HarmonyNet, rows: slice, frames: int = 24) -> torch.Tensor:
    state, out = net.initial_state(rows.stop - rows.start), []
    for t in range(frames):
        tonal, f0, salience = heard(t, 8)
        silent = torch.arange(8) == t % 8
        parts = [x[rows].clone() for x in (tonal.size, tonal.peaks, tonal.chroma, tonal.tonalness)]
        out.append(net(Tonal(*parts), f0[rows].clone(), salience[rows].clone(), silent[rows].clone(), state))
    return torch.stack(out, dim=1)


def test_a_stream_alone_gives_what_it_gives_among_eight(net: HarmonyNet) -> None:
    together = codes_of(net, slice(0, 8))
    for row in range(8):
        assert torch.equal(codes_of(net, slice(row, row + 1))[0], together[row])
    assert len(together.unique()) > 10


def test_silence_is_0_and_the_first_frames_are_1(net: HarmonyNet) -> None:
    state = net.initial_state(2)
    silent = torch.tensor([True, False])
    for t in range(EARLY_FRAMES + 3):
        code = net(*heard(t, 2), silent, state)
        assert code[0] == SILENCE
        assert (code[1] == EARLY) == (t < EARLY_FRAMES)
    zero = Tonal(torch.zeros(2, 1, WIDTH), torch.zeros(2, 1, WIDTH), torch.zeros(2, 12), torch.zeros(2))
    for _ in range(3):
        code = net(zero, torch.full((2,), 8.0), torch.zeros(2), torch.tensor([True, True]), state)
        assert code.tolist() == [SILENCE, SILENCE]
    assert all(bool(torch.isfinite(x.float()).all()) for x in dataclasses.asdict(state).values())


def test_a_new_name_must_lead_clearly(net: HarmonyNet) -> None:
    state = net.initial_state(1)
    chroma, sounding = torch.full((1, 12), 1 / 12), torch.tensor([False])
    logits = torch.zeros(1, CHORD + 96)
    found = []
    for lead in [0.0] * 8 + [1.0] * 6 + [8.0] * 6:
        logits[0, NOTE + 10], logits[0, NOTE + 11] = 5.0, 5.0 + lead - (lead == 0.0)
        found.append(int(net.decide(logits, chroma, torch.full((1,), 8.0), torch.zeros(1), sounding, state)))
    assert found[8:14] == [FIRST_NOTE + 10] * 6
    assert found[-1] == FIRST_NOTE + 11


def test_to_leave_for_another_group_takes_longer(net: HarmonyNet) -> None:
    state = net.initial_state(1)
    chroma, sounding = torch.full((1, 12), 1 / 12), torch.tensor([False])
    logits = torch.zeros(1, CHORD + 96)
    found = []
    for lead in [-5.0] * EARLY_FRAMES + [4.0] * 6:
        logits[0, NO_PITCH], logits[0, NOTE + 11] = 5.0, 5.0 + lead
        found.append(int(net.decide(logits, chroma, torch.full((1,), 8.0), torch.zeros(1), sounding, state)))
    note = FIRST_NOTE + 11
    assert [code == note for code in found[EARLY_FRAMES:]] == [False] * 4 + [True] * 2
    assert min(found[EARLY_FRAMES : EARLY_FRAMES + 4]) >= FIRST_NOISE


def test_cells_follow_a_slow_chroma(net: HarmonyNet) -> None:
    state = net.initial_state(1)
    logits, sounding = torch.zeros(1, CHORD + 96), torch.tensor([False])
    logits[0, NO_PITCH] = 9.0
    rng = torch.Generator().manual_seed(4)
    found = []
    for t in range(60):
        chroma = torch.eye(12)[t % 2 * 6][None] + 0.1 * torch.rand(1, 12, generator=rng)
        found.append(int(net.decide(logits, chroma, torch.full((1,), 8.0), torch.zeros(1), sounding, state)))
    assert len(set(found[EARLY_FRAMES:])) == 1
    torch.testing.assert_close(state.chroma[0, [0, 6]], torch.full((2,), 0.55), atol=0.06, rtol=0)


def test_a_clear_f0_doubts_notes_that_are_not_its_octaves(net: HarmonyNet) -> None:
    chroma, sounding = torch.full((1, 12), 1 / 12), torch.tensor([False])
    a4 = torch.tensor([8.78136])
    for salience, lead, expected in ((0.5, 55, 55), (0.9, 55, 48), (0.9, 60, 60), (0.9, 3, 3)):
        state, logits = net.initial_state(1), torch.zeros(1, CHORD + 96)
        logits[0, NOTE + 48], logits[0, NOTE + lead] = 5.0, 7.0
        for _ in range(EARLY_FRAMES + 2):
            code = net.decide(logits, chroma, a4, torch.tensor([salience]), sounding, state)
        assert code.tolist() == [FIRST_NOTE + expected]


def test_names_can_be_read(net: HarmonyNet) -> None:
    names = net.names()
    assert sorted(names) == list(range(SIZE))
    assert names[SILENCE] == "silence"
    for code, phrase in names.items():
        note, chord = words.note(phrase), words.chord(phrase)
        if FIRST_NOTE <= code < FIRST_CHORD:
            assert (note, chord) == (code - FIRST_NOTE + 21, None)
        elif FIRST_CHORD <= code < FIRST_MIX:
            assert note is None
            root, quality = divmod(code - FIRST_CHORD, len(QUALITIES))
            assert chord == (root, QUALITIES[quality])
        else:
            assert (note, chord, words.pitch_class(phrase)) == (None, None, None)
    assert names[FIRST_NOTE + 48] == "note A4"
    assert names[FIRST_CHORD + 9 * 8 + 4] == "chord Am7"
    assert names[FIRST_CHORD + 9 * 8 + 7] == "chord A5"
    assert names[FIRST_MIX].startswith("mix of ")
    assert names[FIRST_NOISE].startswith("unpitched")
