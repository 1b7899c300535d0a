"""What is told of one layer, at each level of detail."""

import pytest

from natd.llm.parts import Said, part


def text(about, *said, detail=3, entry=None):
    rows = [Said(words, (code,) * round(ms / 80), ms) for code, (words, ms) in enumerate(said)]
    return part(about, rows, detail, lambda codes: (entry or {}).get(codes[0], {})).text


@pytest.mark.parametrize(
    ("phrase", "told"),
    [
        ("rain", "rain"),
        ("rain 0.82", "rain (0.82)"),
        ("unknown, closest to: train 0.35, wind 0.2: steady dark noise",
         "unknown (also train 0.35, wind 0.2; steady dark noise)"),
        ("animal, closest to: dog 0.4", "animal (closest to dog 0.4)"),
        ("rain 0.82 (or sea waves 0.13)", "rain (0.82; also sea waves 0.13)"),
        ("rain 0.5, closest to: sea waves 0.3, wind 0.04", "rain (0.5; also sea waves 0.3)"),
        ("not heard long enough", "not heard long enough"),
        ("dark tone about 1.0 kHz, 8 onsets/s, -23 dBFS", "dark tone about 1.0 kHz, 8 onsets/s, -23 dBFS"),
    ],
)  # fmt: skip
def test_a_scene_with_what_its_phrase_says_of_itself(phrase, told):
    assert text("scene", (phrase, 960)) == told


def test_a_scene_with_what_the_legend_says():
    entry = {0: {"confidence": 0.82, "closest": {"sea waves": 0.1, "rain": 0.8, "fire": 0.06, "hiss": 0.01}}}
    told = [text("scene", ("rain", 960), detail=detail, entry=entry) for detail in range(4)]
    assert told == ["rain", "rain (0.82; also sea waves 0.1)", "rain (0.82; also sea waves 0.1)",
                    "rain (0.82; also sea waves 0.1, fire 0.06)"]  # fmt: skip


def test_several_scenes_with_their_times():
    said = [("rain", 240), ("dog", 480), ("rain", 240), ("wind", 80), ("door", 80)]
    assert text("scene", *said) == "rain 0.5, dog 0.5, wind 0.1 s"
    assert text("scene", *said, detail=1) == "rain"


def test_notes_and_chords_in_their_order():
    said = [("note A4", 160), ("chord Am7", 480), ("note A4", 240), ("unpitched", 80)]
    assert text("harmony", *said) == "A4 0.2, chord Am7 0.5, A4 0.2, unpitched 0.1 s"
    assert text("harmony", *said, detail=1) == "A4, chord Am7, A4"
    assert text("harmony", *said, detail=0) == "chord Am7"
    assert text("harmony", ("unpitched", 960)) == "unpitched"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([("tempo 120 bpm, no onset", 400), ("tempo 120 bpm, strong onset", 80), ("tempo 120 bpm, soft onset", 160)],
         "tempo 120 bpm, 3 onsets (1 strong)"),
        ([("regular ticks every 0.50 s, no onset", 880), ("regular ticks every 0.50 s, onset", 80)],
         "regular ticks every 0.50 s, 1 onset"),
        ([("irregular events, soft onset", 160), ("irregular events, no onset", 800)],
         "irregular events, 2 soft onsets"),
        ([("none, no onset", 960)], "no onsets"),
        ([("fast flutter", 480), ("syllabic", 480)], "fast flutter, syllabic"),
        ([("none", 960)], "none"),
        ([("irregular events, no onset, 9/s", 960)], "irregular events, 9/s, no onsets"),
    ],
)  # fmt: skip
def test_rhythm_in_words_with_its_onsets_counted(said, told):
    assert text("rhythm", *said, detail=2 if "flutter" not in told else 3) == told


def test_level_and_what_goes_with_it():
    said = [("loud -18 dBFS, bright 3.1 kHz, noisy", 240), ("loud -20 dBFS, bright 2.6 kHz, noisy", 480),
            ("soft -42 dBFS, dark 410 Hz, tonal", 240), ("silence", 80)]  # fmt: skip
    assert text("dynamics", *said) == "-42 to -18 dBFS, bright 2.6 kHz, noisy"
    assert text("dynamics", *said, detail=2) == "-42 to -18 dBFS, bright, noisy"
    assert text("dynamics", *said, detail=0) == "-42 to -18 dBFS"
    assert text("dynamics", *said[:1]) == "-18 dBFS, bright 3.1 kHz, noisy"
    assert text("dynamics", ("silence", 960)) == "silence"


def test_layers_of_other_tokenizers_in_their_own_words():
    assert text("timbre", ("like a bell", 240), ("like glass", 720)) == "like a bell 0.2, like glass 0.7 s"
    assert text("timbre", ("code 7", 960)) == "code 7"


def test_a_part_differs_by_its_name_or_by_six_decibels():
    def level(dbfs, word="noisy"):
        return part("dynamics", [Said(f"loud {dbfs} dBFS, {word}", (1,), 80.0)], 2, lambda codes: {})

    assert level(-20).differs(None)
    assert not level(-20).differs(level(-25)) and level(-20).differs(level(-26))
    scenes = [
        part("scene", [Said(words, (1,), 80.0)], 2, lambda codes: {}) for words in ("rain 0.8", "rain 0.6", "dog")
    ]
    assert not scenes[0].differs(scenes[1]) and scenes[0].differs(scenes[2])
