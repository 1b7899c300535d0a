"""What a view says of a stream."""

import json

import pytest

from natd.llm.follow import Change, Following
from natd.wire import Event, Layer, encode
from tests.llm.heard import Scene
from tests.streams import Teller, header, heartbeat


def feed(view: Following, *events: Event) -> list[Change]:
    """Feed events as a listener gives them; all changes."""
    return [change for event in events for change in view.feed(json.loads(encode(event)))]


@pytest.fixture
def teller() -> Teller:
    return Teller(header(), {"S0": {0: "quiet", 1: "a band", 2: "a band"}, "S1": {3: "A minor"}})


def kinds(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.kind, change.text) for change in changes]


def test_a_header_says_what_is_listened_to():
    view = Following()
    assert kinds(feed(view, header())) == [("epoch", "listening to stage: device hw:1, 48000 Hz, 2 ch, tokenizer ears")]
    assert [row.about for row in view.layers] == ["scene", "harmony"]
    assert view.frame_ms == 80.0
    assert feed(view, header()) == []  # the snapshot of a joiner repeats it


def test_words_are_said_when_they_change_and_held_otherwise(teller):
    view = Following()
    for row in ([0, 3], [0, 3], [0, 2], [0, 2]):
        teller.frame([[row[0]], [row[1]], [0], [0, 0]])
    said = feed(view, teller.story.header, *teller.story.events)[1:]
    assert said == [
        Change(0.0, "words", "scene: quiet · harmony: A minor"),
        Change(160.0, "words", "harmony: code 2"),
    ]
    assert (view.words["S0"].text, view.words["S0"].since_ms) == ("quiet", 0.0)
    assert (view.words["S1"].text, view.words["S1"].since_ms) == ("code 2", 160.0)
    assert list(view.ribbon) == [((0,), (3,))] * 2 + [((0,), (2,))] * 2
    assert view.ts == 320.0


def test_another_code_of_the_same_meaning_is_no_change_of_words(teller):
    view = Following()
    for code in (1, 2):
        teller.frame([[code], [3], [0], [0, 0]])
    said = feed(view, teller.story.header, *teller.story.events)[1:]
    assert kinds(said) == [("words", "scene: a band · harmony: A minor")]
    assert view.ribbon[-1] == ((2,), (3,))


@pytest.mark.parametrize(
    "lost_ms, said",
    [(None, "1 frame lost"), (80.0, "1 frame lost, 80 ms of audio"), (0.0, "1 frame without codes, no audio lost")],
)
def test_a_gap_says_what_was_lost(teller, lost_ms, said):
    teller.frame([[0], [3], [0], [0, 0]])
    teller.gap(1, "device_lost", lost_ms)
    assert feed(Following(), teller.story.header, *teller.story.events)[-1].text == f"{said}: device lost"


def test_a_gap_is_said_with_its_cause_and_empties_the_words(teller):
    view = Following()
    teller.frame([[0], [3], [0], [0, 0]])
    teller.gap(6, "device_lost", 412.0)
    said = feed(view, teller.story.header, *teller.story.events)[-1]
    assert said == Change(80.0, "gap", "6 frames lost, 412 ms of audio: device lost")
    assert (view.gaps, view.gap_frames, view.words, view.ts) == (1, 6, {}, 560.0)
    assert list(view.ribbon)[1:] == [(None, None)] * 6


def test_events_that_never_came_are_counted(teller):
    view = Following()
    for code in (0, 1, 2, 3, 0):
        teller.frame([[0], [code], [0], [0, 0]])
    events = teller.story.events
    assert view.lost_events == 0
    said = feed(view, teller.story.header, *events[:2], *events[4:])
    assert ("loss", "2 events lost on the way here") in kinds(said)
    assert view.lost_events == 2
    assert kinds(view.feed({"event": "lost", "from_seq": 9, "to_seq": 11})) == [
        ("loss", "3 events lost on the way here")
    ]
    assert view.lost_events == 5


def test_a_snapshot_brings_words_without_counting_a_loss(teller):
    teller.frame([[0], [3], [0], [0, 0]])
    teller.frame([[1], [3], [0], [0, 0]])
    view = Following()
    said = feed(view, teller.story.header, teller.packer.state())
    assert said[-1] == Change(160.0, "words", "scene: a band · harmony: A minor")
    teller.frame([[1], [2], [0], [0, 0]])
    assert kinds(feed(view, teller.story.events[-1])) == [("words", "harmony: code 2")]
    assert view.lost_events == 0


def test_latency_is_that_of_the_last_ten_seconds(teller):
    view = Following()
    assert view.latency_ms() is None
    for i in range(300):
        teller.frame([[0], [3], [0], [0, 0]], lat=1000.0 if i < 150 else float(i % 100))
    feed(view, teller.story.header, *teller.story.events)
    # Frames 174 to 299 lie in the last 10 s: 74 … 99 twice, 0 … 73 once; the slow ones before are forgotten.
    assert view.latency_ms() == (62.0, 99.0)


def test_a_heartbeat_brings_state_level_and_drift():
    view = Following()
    feed(view, header(), heartbeat(-1, -1))
    assert (view.state, view.level, view.drift_ppm) == ("live", {"peak": -3.0, "rms": -20.5}, None)


def test_a_new_epoch_begins_afresh(teller):
    view = Following()
    teller.frame([[0], [3], [0], [0, 0]])
    teller.gap(2)
    feed(view, teller.story.header, *teller.story.events)
    said = feed(view, header(epoch="e1"))
    assert said[0].text.startswith("a new epoch of stage")
    assert (view.epochs, view.frames, view.gaps, view.words, view.ts) == (2, 0, 0, {}, 0.0)


def test_the_end_and_errors_are_said(teller):
    view = Following()
    teller.frame([[0], [3], [0], [0, 0]])
    teller.end()
    said = feed(view, teller.story.header, *teller.story.events)
    assert kinds(said)[-1] == ("end", "eof: 1 frames, 0 lost")
    assert view.state == "ended"
    assert kinds(view.feed({"event": "error", "code": "x", "message": "broken"})) == [("error", "x: broken")]


def test_events_of_later_versions_are_passed_over():
    view = Following()
    assert view.feed({"event": "novelty", "n": 1}) == []


def test_phrases_are_said_whole_with_how_sure_they_are():
    view, scene = Following(), Scene().hear(2, 3, 7, 1).hear(6, 3, 8, 1)
    assert kinds(feed(view, scene.story.header, *scene.story.events)[1:]) == [
        ("words", "scene: unknown, closest to: train 0.35, wind 0.2: steady dark noise · harmony: chord Am7 · "
                  "rhythm: regular ticks every 0.50 s, no onset · dynamics: loud -18 dBFS, bright 3.1 kHz, noisy"),
        ("words", "scene: sea waves 0.62 · rhythm: syllabic"),
    ]  # fmt: skip


def test_a_code_without_a_gloss_has_its_name_from_the_header():
    view, scene = Following(), Scene().hear(9, 3, 8, 1)
    named = json.loads(encode(scene.story.header)) | {"legend": {"names": {"S0": [[0, "silence"], [7, "wind"]]}}}
    view.feed(named)
    assert feed(view, *scene.story.events)[0].text.startswith("scene: wind · harmony: chord Am7")


def test_of_many_codes_a_frame_what_is_said_most_often_is_told():
    layers = (Layer("S0", "semantic", "mert layer 5", 64, 6, "rle"),)
    teller = Teller(header(layers), {"S0": {1: "low", 2: "high"}})
    teller.frame([[2, 1, 2, 3, 2, 2]])
    teller.frame([[1] * 6])
    changes = feed(Following(), teller.story.header, *teller.story.events)
    assert kinds(changes)[1:] == [("words", "mert: high (4 of 6) + 2 others"), ("words", "mert: low (6 of 6)")]
