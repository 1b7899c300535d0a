"""What codes are called against what the recordings are."""

import numpy as np
import pytest
import torch

from natd.codebooks.kinds import KINDS, WIDER
from natd.evaluation import calling
from natd.evaluation.material import Material
from tests.evaluation.made import CLASSES, SR, Made, Naming, material_of, tone

CLIPS = [("esc10", f"3-{label}", label) for label in CLASSES]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return material_of(tmp_path_factory.mktemp("held"), [tone(hz, 1) for hz in CLASSES.values()], CLIPS)


def figures(rows) -> dict:
    return {(row.figure, row.of): row for row in rows}


def test_each_way_of_naming_is_counted_by_time(held):
    rows = figures(calling.by_time(Naming(), held, 0))
    for answer in calling.ANSWERS:
        line = rows[f"called {answer}, by time", "S0"]
        assert (line.value, line.n) == (0.25, 4) and 0.0 < line.nulls["shuffled"] < 0.6
    right = {of: line.value for (figure, of), line in rows.items() if figure == "called the right kind, by time"}
    assert right == {"S0": 0.25, "S0, animal": 1.0, "S0, nature": 0.0, "S0, object": 0.0}


def test_silent_frames_and_clips_of_no_kind_are_not_asked(tmp_path):
    sounds = [tone(500.0, 1, 0.8), tone(500.0, 2, 1.6)]
    held = material_of(tmp_path, sounds, [CLIPS[0], ("sounds", "foley__x", "")])
    rows = figures(calling.by_time(Naming(), held, 0))
    assert rows["called the right kind, by time", "S0"].value == 1.0
    assert rows["called the right kind, by time", "S0"].n == 1
    assert len(calling.with_kind(held.coded, held.clips, "S0").codes) == 10


def test_music_is_heard_whole_and_other_sounds_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(calling, "WHOLE_S", 1.6)
    tokenizer = Naming()
    tokenizer.called = {"S0": {1: "music", 2: "piano", 3: "rain", 4: "unknown"}}
    tune = np.concatenate([tone(hz, 1)[: int(0.4 * SR)] for hz in (500.0, 1000.0, 2000.0, 4000.0, 500.0, 500.0)])
    sounds = [tune, tone(500.0, 2, 0.4), tone(2000.0, 3, 1.2)]
    clips = [("music", "solo_piano__x", ""), ("sounds", "foley__x", ""), ("sounds", "door__x", "")]
    held = material_of(tmp_path, sounds, clips)
    music, other = calling.music(tokenizer, held, 0)
    assert (music.figure, music.value, music.n) == ("recorded music called music, by time", 0.5, 1)
    assert (other.figure, other.value, other.n) == ("other sounds called music, by time", 0.25, 2)
    # 20 frames each side, 15 of the 40 called music.
    assert music.nulls["shuffled"] + other.nulls["shuffled"] == pytest.approx(0.75)


def test_the_start_of_a_stream_should_have_no_name(held):
    (line,) = calling.starts(Naming(), held, 0)
    assert (line.value, line.n) == (0.75, 4)  # all of the first 7 frames; one of four is unknown
    late = Naming()
    late.called = {"S0": dict.fromkeys(range(5), "")}
    assert calling.starts(late, held, 0)[0].value == 0.0


def test_names_are_numbers():
    (names,) = calling.names_of(Naming())
    nature, animal = calling.WIDERS.index("nature"), calling.WIDERS.index("animal")
    assert names.kind.tolist() == [-1, KINDS.index("dog"), -1, KINDS.index("rain"), -1]
    assert names.wider.tolist() == [-1, animal, nature, nature, -1]
    assert names.wider_shares[:, nature].tolist() == pytest.approx([0.0, 0.0, 0.8, 1.0, 0.0])
    assert tuple(WIDER)[calling.MUSIC] == "music"


def test_a_tokenizer_without_names_is_told_why(held):
    for part in (calling.by_time, calling.music, calling.starts):
        assert all(row.value is None and row.note == calling.UNNAMED for row in part(Made(), held, 0))


def test_a_clip_is_asked_by_what_it_is(held):
    part = calling.with_kind(held.coded, held.clips, "S0")
    assert torch.bincount(part.kind)[KINDS.index("clock tick")] == 20
    assert calling.answers(calling.names_of(Naming())[0], part).tolist() == [0] * 20 + [1] * 20 + [2] * 20 + [3] * 20
