import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.audio.demo import CYCLE, FORMAT, NOTE_NAMES, SECTIONS, Demo, ScoreEvent, note_name

RATE = FORMAT.rate


def sections(seed: int = 0, cycle: int = 0) -> dict[str, ScoreEvent]:
    found = [e for e in Demo(seed).score(cycle * CYCLE, (cycle + 1) * CYCLE) if e.kind == "section"]
    return {e.name: e for e in found}


def mono(event: ScoreEvent, seed: int = 0) -> np.ndarray:
    return Demo(seed).render(event.first, event.count).mean(axis=1)


def loudest_hertz(sound: np.ndarray, low: float, high: float) -> float:
    size = 1 << 17
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size)) ** 2
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    inside = (hertz >= low) & (hertz <= high)
    return float(hertz[inside][power[inside].argmax()])


def events_of(kind: str, section: str, seed: int = 0) -> list[ScoreEvent]:
    part = sections(seed)[section]
    return [e for e in Demo(seed).score(part.first, part.first + part.count) if e.kind == kind]


@given(st.integers(0, 3 * CYCLE), st.lists(st.integers(1, 20_000), min_size=1, max_size=8), st.integers(0, 3))
def test_any_chunk_size_gives_the_same_samples(first, sizes, seed):
    demo = Demo(seed)
    whole = demo.render(first, sum(sizes))
    at = np.cumsum([0, *sizes])
    parts = [demo.render(first + int(a), size) for a, size in zip(at, sizes, strict=False)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_was_played_before_changes_nothing():
    from natd.audio import demo, voices

    before = Demo(5).render(CYCLE + 12_345, 50_000)
    for cache in (demo._tile, demo._section, voices.strike):
        cache.cache_clear()
    Demo(6).render(0, 50_000)
    np.testing.assert_array_equal(Demo(5).render(CYCLE + 12_345, 50_000), before)


def test_seeds_and_cycles_differ():
    first = Demo(0).render(0, RATE * 8)
    assert not np.array_equal(first, Demo(1).render(0, RATE * 8))
    assert not np.array_equal(first, Demo(0).render(CYCLE, RATE * 8))


def test_nothing_clips_and_every_section_sounds_except_silence():
    for seed in range(3):
        for name, section in sections(seed).items():
            sound = Demo(seed).render(section.first, section.count)
            assert sound.dtype == np.float32 and sound.shape == (section.count, 2)
            peak, rms = np.abs(sound).max(), np.sqrt((sound.astype(float) ** 2).mean())
            assert (peak == 0) if name == "silence" else (0.1 < peak < 0.99 and 0.02 < rms < 0.3), (
                seed,
                name,
                peak,
                rms,
            )


def test_the_score_tiles_time_with_sections_in_order():
    found = [e for e in Demo(3).score(0, 2 * CYCLE) if e.kind == "section"]
    assert [(e.name, e.count) for e in found] == [(name, s * RATE) for name, s in SECTIONS * 2]
    assert [e.first for e in found] == list(np.cumsum([0, *(e.count for e in found[:-1])]))


def test_the_score_gives_what_sounds_in_a_range_and_nothing_else():
    everything = Demo(0).score(0, CYCLE)
    for first, end in ((0, 1), (RATE * 3, RATE * 4), (RATE * 25 + 7, RATE * 29), (CYCLE - 1, CYCLE)):
        want = [e for e in everything if e.first < end and e.first + e.count > first]
        assert Demo(0).score(first, end) == want
    assert Demo(0).score(5, 5) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_note_of_the_melody_is_the_one_in_the_score(seed):
    notes = events_of("note", "melody", seed)
    assert len(notes) >= 6
    for note in notes:
        assert note.midi is not None and note.name == note_name(note.midi)
        hertz = 440 * 2 ** ((note.midi - 69) / 12)
        assert loudest_hertz(mono(note, seed), 100, 2000) == pytest.approx(hertz, rel=0.01), note
    assert all(a.first + a.count == b.first for a, b in zip(notes, notes[1:], strict=False))  # one voice, no rests


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_chord_sounds_its_root(seed):
    for chord in events_of("chord", "chords", seed):
        root = chord.name[:2] if chord.name[1:2] == "#" else chord.name[:1]
        sound = np.abs(np.fft.rfft(mono(chord, seed), 1 << 18))
        hertz = np.fft.rfftfreq(1 << 18, 1 / RATE)
        strength = {}
        for midi in range(48, 72):
            f = 440 * 2 ** ((midi - 69) / 12)
            strength[midi] = sound[(hertz > f * 0.99) & (hertz < f * 1.01)].max()
        tones = {NOTE_NAMES[m % 12] for m in sorted(strength, key=lambda m: -strength[m])[:5]}
        assert root in tones, chord


def test_drums_strike_when_the_score_says_at_the_tempo_it_says():
    section = sections()["drums"]
    drums = events_of("drum", "drums")
    eighth = RATE * 30 // section.bpm
    assert {e.name for e in drums} == {"kick", "snare", "hat"}
    assert all((e.first - section.first) % eighth == 0 for e in drums)
    sound = np.abs(mono(section))
    for kick in (e for e in drums if e.name == "kick"):
        at = kick.first - section.first
        before = sound[max(0, at - 500) : at].max(initial=0)
        assert sound[at : at + 2000].max() > 3 * before


def test_note_names_follow_midi():
    assert [note_name(m) for m in (21, 60, 61, 69, 108)] == ["A0", "C4", "C#4", "A4", "C8"]
