"""What every piece holds, whatever its seed."""

import functools

import pytest

from natd.codebooks.kinds import KINDS
from natd.training.midi import DRUM, FAMILIES, QUALITIES, STYLES, compose, kind_of

SEEDS = range(60)


@functools.cache
def pieces(style):
    return [compose(style, seed) for seed in SEEDS]


@pytest.mark.parametrize("style", STYLES)
def test_a_piece_is_whole_and_the_same_again(style):
    made = pieces(style)
    assert made[:5] == [compose(style, seed) for seed in range(5)] and len({p.notes for p in made}) == len(made)
    for piece in made:
        assert 12 <= piece.seconds <= 20 and (piece.bpm == 0 or 50 <= piece.bpm <= 200) and abs(piece.cents) <= 30
        assert len(piece.notes) >= 4 and len({n.program for n in piece.notes} - {DRUM}) <= 15
        assert list(piece.notes) == sorted(piece.notes, key=lambda n: n.start_s)
        for note in piece.notes:
            assert 0 <= note.start_s < note.end_s <= piece.seconds
            assert 0 <= note.midi <= 127 and DRUM <= note.program <= 127 and 1 <= note.velocity <= 127
        for one, two in zip(piece.chords, piece.chords[1:], strict=False):
            assert one.end_s <= two.start_s + 1e-3
        assert all(0 <= c.root < 12 and c.quality in QUALITIES and c.start_s < c.end_s for c in piece.chords)


@pytest.mark.parametrize("style", STYLES)
def test_a_key_is_never_struck_while_it_is_held(style):
    for piece in pieces(style):
        held: dict[tuple[int, int], float] = {}
        for note in piece.notes:
            if note.program != DRUM:
                assert note.start_s >= held.get((note.program, note.midi), 0.0)
                held[note.program, note.midi] = note.end_s


def test_a_solo_is_one_line_of_one_instrument():
    reach = set()
    for piece in pieces("solo"):
        assert len({n.program for n in piece.notes}) == 1 and not piece.chords
        assert all(a.end_s <= b.start_s for a, b in zip(piece.notes, piece.notes[1:], strict=False))
        reach |= {n.midi for n in piece.notes}
    assert min(reach) <= 30 and max(reach) >= 100 and len(reach) > 60


def test_the_tones_of_a_chord_sound_while_it_holds_and_no_others():
    tones = {"": (0, 4, 7), "m": (0, 3, 7), "dim": (0, 3, 6), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10),
             "maj7": (0, 4, 7, 11), "sus4": (0, 5, 7), "5": (0, 7)}  # fmt: skip
    for piece in pieces("chords"):
        for chord in piece.chords[:-1]:
            inside = [n for n in piece.notes if chord.start_s <= n.start_s < chord.end_s - 1e-3]
            expected = {(chord.root + tone) % 12 for tone in tones[chord.quality]}
            assert {n.midi % 12 for n in inside} <= expected, (piece.seed, chord)
            assert len({n.midi % 12 for n in inside}) >= 2


def test_a_band_has_drums_bass_and_a_chord_at_all_times():
    for piece in pieces("band"):
        assert piece.bpm > 0 and any(n.program == DRUM for n in piece.notes)
        assert any(32 <= n.program <= 39 and n.midi <= 60 for n in piece.notes)
        # Every chord begins with its root in the bass.
        for chord in piece.chords[:-1]:
            bass = [n for n in piece.notes if 32 <= n.program <= 39 and chord.start_s - 0.05 <= n.start_s < chord.end_s]
            assert any(n.midi % 12 == chord.root for n in bass) or bass[0].start_s > chord.start_s + 0.05
        assert piece.chords[-1].end_s > piece.seconds - 0.03


def test_hits_lie_on_the_grid_of_the_tempo():
    """Straight or swung: most drums are near a sixteenth or a triplet of the beat that `bpm` says."""
    for piece in pieces("drums")[:20]:
        beats = [n.start_s * piece.bpm / 60 for n in piece.notes]
        near = max(
            sum(abs((b - first) * 12 - round((b - first) * 12)) < 0.45 for b in beats) / len(beats)
            for first in beats[:4]
        )
        assert near > 0.5, piece.seed


def test_every_kind_that_is_named_is_known_and_most_are_met():
    assert set(FAMILIES) == set(range(128)) and {k for k in FAMILIES.values() if k} <= set(KINDS)
    met = {kind_of(piece) for style in STYLES for piece in pieces(style)}
    assert met - {None} <= set(KINDS)
    assert met >= {"piano", "plucked strings", "bowed strings", "woodwind", "brass", "mallets", "organ", "singing"}
    assert met >= {"electronic music", "band", "ensemble", "drums"}


def test_tempi_are_spread():
    tempi = sorted(piece.bpm for piece in pieces("band"))
    assert tempi[10] < 80 and tempi[-10] > 130


def test_no_solo_is_played_on_what_sounds_in_another_octave():
    """Drawbars, the pipes of a church organ and an accordion are for chords and bands."""
    played = {note.program for piece in pieces("solo") for note in piece.notes}
    assert len(played) > 20 and not played & {16, 17, 18, 19, 21, 22, 23}
    assert {16, 17, 18, 19} <= {program for program, kind in FAMILIES.items() if kind == "organ"}
