"""A stream told in lines: what stands in them, when they come, and how many tokens they take."""

import json

import numpy as np
import pytest

from natd.errors import ConfigError
from natd.llm.budget import tokens
from natd.llm.view import BRIEF_TOKENS, FULL_TOKENS, SAVED_S, Style, View
from natd.wire import Layer, encode
from tests.llm.heard import LAYERS, WORDS, Scene, told
from tests.streams import Teller, header


def lines(scene: Scene, style: Style | None = None, **legend) -> list[str]:
    return told(View(style, **legend), [scene.story.header, *scene.story.events])


def test_a_line_a_second():
    scene = Scene().hear(1, 4, 4, 1).hear(1, 4, 5, 1, frames=11).hear(5, 1, 1, 2).hear(5, 3, 2, 2, frames=5)
    assert lines(scene) == [
        "0:00  scene: rain | harmony: unpitched | rhythm: irregular events, 1 soft onset | "
        "level -18 dBFS, bright 3.1 kHz, noisy",
        "0:01  scene: piano | harmony: A4 0.1, chord Am7 0.4 s | rhythm: tempo 120 bpm, 5 strong onsets | "
        "level -20 dBFS, bright, noisy",
    ]  # 12 frames of 80 ms end at 0.96 s; the middle of the 13th lies at 1.0 s


def test_lines_of_other_lengths():
    scene = Scene().hear(1, 4, 6, 1, frames=25)
    assert [line[:7] for line in lines(scene, Style(0.5))] == ["0:00.0 ", "0:00.5 ", "0:01.0 ", "0:01.5 "]
    assert [line[:5] for line in lines(scene, Style(10))] == ["0:00 "]
    assert [line[:5] for line in lines(Scene().hear(1, 4, 6, 1, frames=45_013))][-1] == "1:00:"


def test_confidence_and_other_kinds_from_the_legend():
    def entry(layer, code):
        return {"confidence": 0.82, "closest": {"rain": 0.8, "sea waves": 0.1}} if (layer, code) == ("S0", 1) else {}

    assert lines(Scene().hear(1, 4, 6, 1, frames=12), entry=entry) == [
        "0:00  scene: rain (0.82; also sea waves 0.1) | harmony: unpitched | rhythm: no onsets | "
        "level -18 dBFS, bright 3.1 kHz, noisy"
    ]


def test_silence_is_one_word():
    assert lines(Scene().hear(0, 0, 0, 0, frames=24)) == ["0:00  silence", "0:01  silence"]
    scene = Scene().hear(0, 0, 0, 0, frames=37).hear(1, 4, 8, 1, frames=13).hear(0, 0, 0, 0, frames=25)
    assert lines(scene, Style(changes=True)) == [
        "0:00  silence",
        "0:03  scene: rain | harmony: unpitched | rhythm: syllabic | level -18 dBFS, bright 3.1 kHz, noisy",
        "0:04  silence",
    ]


def test_only_changes():
    scene = Scene().hear(1, 4, 6, 1, frames=25).hear(1, 1, 6, 2, frames=12).hear(5, 1, 6, 2, frames=13)
    assert lines(scene, Style(changes=True)) == [
        "0:00  scene: rain | harmony: unpitched | rhythm: no onsets | level -18 dBFS, bright 3.1 kHz, noisy",
        "0:02  harmony: A4",
        "0:03  scene: piano",
    ]
    assert lines(scene, Style(brief=True)) == ["0:00 rain; unpitched; rhythm: no onsets; -18 dBFS, bright, noisy",
                                               "0:02 A4", "0:03 piano"]  # fmt: skip


def test_a_loss_is_told_in_its_place_and_all_is_said_afresh():
    scene = Scene().hear(1, 4, 8, 1, frames=6)
    scene.gap(12, "device_lost", 900.0)
    scene.hear(1, 4, 8, 1, frames=7)
    scene.end()
    assert lines(scene, Style(brief=True)) == [
        "0:00 rain; unpitched; rhythm: syllabic; -18 dBFS, bright, noisy",
        "0:00  gap: 12 frames lost, 900 ms of audio: device lost",
        "0:01 rain; unpitched; rhythm: syllabic; -18 dBFS, bright, noisy",
        "0:02  end: eof: 13 frames, 12 lost",
    ]


def test_a_line_is_complete_with_its_last_frame():
    view, scene = View(), Scene().hear(1, 4, 6, 1, frames=12)
    events = [json.loads(encode(event)) for event in (scene.story.header, *scene.story.events)]
    counts = [len(view.feed(event)) for event in events]
    assert counts[0] > 5 and counts[1:-1] == [0] * (len(events) - 2) and counts[-1] == 1
    assert view.finish() == []


def test_a_joiner_begins_with_the_next_frame():
    scene = Scene().hear(1, 4, 6, 1, frames=20)
    view = View()
    assert told(view, [scene.story.header, scene.packer.state()]) == []
    scene.hear(1, 4, 6, 1, frames=5)
    assert told(view, scene.story.events[-5:]) == [
        "0:01  scene: rain | harmony: unpitched | rhythm: no onsets | level -18 dBFS, bright 3.1 kHz, noisy"
    ]


def test_the_head_says_what_follows():
    head = View().feed(json.loads(encode(header(LAYERS))))
    assert len(head) <= 12 and all(line.startswith("# ") for line in head)
    text = " ".join(head)
    assert "stage (device hw:1) by natd, tokenizer ears 1; one line stands for 1 s" in text
    assert all(
        word in text for word in ("scene:", "harmony:", "rhythm:", "level:", "may be wrong", "unknown", "silence")
    )
    many = tuple(Layer(f"S{i}", "semantic", f"sense {i}", 4) for i in range(30))
    assert len(View().feed(json.loads(encode(header(many))))) <= 12


def test_a_stream_without_words_is_refused():
    with pytest.raises(ConfigError, match="the codes of ears have no words"):
        View().feed(json.loads(encode(header((Layer("A0", "acoustic", "residual", 4),)))))
    scene = Scene(words={}).hear(1, 4, 6, 1, frames=12)
    with pytest.raises(ConfigError, match="the codes of ears have no words; those of ears have: --tokenizer ears"):
        lines(scene)
    assert lines(Scene(words={"S2": WORDS["S2"]}).hear(1, 4, 6, 1, frames=12)) == [
        "0:00  scene: code 1 | harmony: code 4 | rhythm: no onsets | dynamics: code 1"
    ]


def test_a_brief_line_does_not_say_that_it_is_too_early_to_say():
    scene = Scene().hear(4, 10, 9, 1, frames=3).hear(4, 4, 10, 1, frames=10).hear(1, 4, 10, 1, frames=12)
    assert lines(scene, Style(brief=True)) == [
        "0:00 unpitched; rhythm: 9 onsets; -18 dBFS, bright, noisy",
        "0:01 rain",
    ]
    assert lines(scene)[0].startswith("0:00  scene: not heard long enough | harmony: not heard long enough 0.2,")
    early = Scene().hear(4, 10, 9, 1, frames=25)
    assert lines(early, Style(brief=True)) == ["0:00 rhythm: no onsets; -18 dBFS, bright, noisy"]
    assert "long enough" in " ".join(View().feed(json.loads(encode(header(LAYERS)))))
    assert "long enough" not in " ".join(View(Style(brief=True)).feed(json.loads(encode(header(LAYERS)))))


def test_names_of_the_header_stand_in_for_glosses():
    scene = Scene().hear(9, 4, 8, 3, frames=12)
    head = json.loads(encode(scene.story.header)) | {"legend": {"names": {"S0": [[0, "silence"], [7, "wind"]]}}}
    view = View()
    view.feed(head)
    assert told(view, scene.story.events)[0].startswith("0:00  scene: wind | ")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hold", [1, 2, 5, 40])
def test_the_budget_is_kept_whatever_is_heard(seed, hold):
    rng = np.random.default_rng(seed)
    scene, seconds = Scene(), 40
    for _ in range(round(12.5 * seconds / hold)):
        scene.hear(*(int(rng.integers(0, n)) for n in (7, 9, 9, 4)), frames=hold)
    full = lines(scene)
    assert len(full) >= seconds - 1 and max(map(tokens, full)) <= FULL_TOKENS
    brief = lines(scene, Style(brief=True))
    assert 2 < sum(map(tokens, brief)) <= BRIEF_TOKENS * (seconds + SAVED_S)
    if hold == 40:
        assert len(brief) >= 10  # one scene each 3.2 s


def test_layers_with_many_codes_a_frame_are_told_by_what_is_said_most():
    """As the encoders of speech have them: phrases of their own for every 20 ms, too long to be told one by one."""
    layers = tuple(Layer(f"S{i}", "semantic", f"hubert layer {i + 7}", 64, 25, "rle") for i in range(4))
    phrases = {code: f"p -{code} dBFS, mid {code}00 Hz, pure, near A{code}" for code in range(64)}
    teller = Teller(header(layers, sr=16_000, frame_samples=8000), {layer.name: phrases for layer in layers})
    for first in (0, 25, 0):
        teller.frame([[*range(first, first + 15), *[first + 20] * 10]] * 4)
    for style in (Style(), Style(changes=True), Style(brief=True)):
        found = told(View(style), [teller.story.header, *teller.story.events])
        assert found and all(tokens(line) <= FULL_TOKENS for line in found)
        assert "p -20 dBFS, mid 2000 Hz, pure, near A20" in found[0]
    assert [line[:9] for line in told(View(), [teller.story.header, *teller.story.events])] == [
        "0:00  S0:",
        "0:01  S0:",
    ]


def test_the_head_names_layers_that_are_about_the_same_by_their_names():
    layers = tuple(Layer(f"S{i}", "semantic", f"mert layer {i + 5}", 64, 25, "rle") for i in range(2))
    assert [line for line in View().feed(json.loads(encode(header(layers)))) if "mert" in line][-2:] == [
        "# S0: mert layer 5.", "# S1: mert layer 6.",
    ]  # fmt: skip
