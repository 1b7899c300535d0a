"""The corpus: every job gives the same takes wherever it runs, and never anything of a recording that is held out."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from natd.codebooks.kinds import UNKNOWN, WIDER
from natd.codec.mel import SR
from natd.errors import ConfigError
from natd.training import corpus, midi, speech
from natd.training.corpus import CLIPS_A_JOB, EXCERPT_S, LONGEST_S, Amounts, Job, Part
from natd.training.recordings import clips_of
from tests.training import toy_recordings

FEW = Amounts(copies=2, made=0, pieces=0, spoken=0, crowds=0, odd=3)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is held out cannot even be read."""
    root = toy_recordings.folder(tmp_path_factory.mktemp("audio"))
    for clip in clips_of(root):
        if clip.part == "held":
            clip.path.write_bytes(b"not audio")
    return root


def digest(job: Job, audio: Path, seed: int = 0) -> str:
    found = hashlib.sha256()
    for take in corpus.takes(job, audio, seed, FEW):
        found.update(take.samples.tobytes() + repr((take.kinds, take.group, take.origin)).encode())
    return found.hexdigest()


def test_the_jobs_are_the_parts_of_each_recipe(audio: Path) -> None:
    assert [str(job) for job in corpus.jobs(audio, FEW)] == [
        "recorded-000", "changed-000", "changed-001", "mixed-000", "odd-000",
    ]  # fmt: skip
    usual = corpus.jobs(audio, corpus.USUAL)
    assert {job.name for job in usual} == set(corpus.RECIPES) and len(set(usual)) == len(usual)
    assert str(corpus.USUAL) == "" and str(Amounts(copies=2)) == " copies=2"


@pytest.mark.parametrize("total", [1, 47, 48, 49, 200])
def test_the_parts_together_are_everything_once(total: int) -> None:
    count = -(-total // CLIPS_A_JOB)
    parts = [list(Part(number, Path(), FEW).of(range(total))) for number in range(count)]
    assert sorted(x for part in parts for x in part) == list(range(total))
    assert max(map(len, parts)) <= CLIPS_A_JOB
    assert list(Part(count, Path(), FEW).of(range(total))) == parts[0]  # of another copy


def test_a_job_gives_the_same_in_any_order_and_another_seed_something_else(audio: Path) -> None:
    jobs = corpus.jobs(audio, FEW)
    forwards = {job: digest(job, audio) for job in jobs}
    assert {job: digest(job, audio) for job in reversed(jobs)} == forwards
    assert len(set(forwards.values())) == len(jobs)
    assert digest(jobs[1], audio, seed=1) != forwards[jobs[1]]


def test_a_job_gives_the_same_in_another_process(audio: Path) -> None:
    job = Job("changed", 1)
    text = (
        "from pathlib import Path; from natd.training.corpus import Job; from tests.training.test_corpus import digest;"
        f"print(digest({job!r}, Path({str(audio)!r})))"
    )
    out = subprocess.run([sys.executable, "-c", text], cwd=Path(__file__).parents[2], capture_output=True, check=True)
    assert out.stdout.decode().strip() == digest(job, audio)


def test_only_recordings_to_fit_on_are_read(audio: Path) -> None:
    clips = corpus.fit_clips(audio)
    assert len(clips) == toy_recordings.FITTED and all(clip.part == "fit" for clip in clips)
    assert sorted(clips, key=lambda c: c.path) == [c for c in clips_of(audio) if c.part == "fit"]
    origins = [take.origin for take in corpus.takes(Job("recorded", 0), audio, 0, FEW)]
    assert sorted(origins) == sorted(corpus.origin(clip) for clip in clips)
    for name in ("changed", "mixed"):
        assert len(list(corpus.takes(Job(name, 0), audio, 0, FEW))) == len(clips)
    assert len(corpus.backgrounds(audio)) == 4


def test_samples_are_finite_and_no_longer_than_they_should_be(audio: Path) -> None:
    for job in corpus.jobs(audio, FEW):
        for take in corpus.takes(job, audio, 0, FEW):
            assert take.samples.dtype == np.float32 and take.samples.ndim == 1 and np.isfinite(take.samples).all()
            longest = LONGEST_S if job.name == "recorded" else EXCERPT_S + 1.0
            assert 0 < len(take.samples) <= longest * SR, job


def test_what_a_recording_may_be_called(audio: Path) -> None:
    found = {str(c.path.relative_to(audio)): corpus.allowed(c) for c in corpus.fit_clips(audio)}
    assert found["esc10/dog/1-000-A.wav"] == ("dog",) and found["sounds/train/wind__Cy0_howl.wav"] == ("wind",)
    assert found["recordings/speech_198.wav"] == ("speech",) and found["music/train/rock_0__ada.wav"] == ("band",)
    named = corpus.Clip(Path("music/train/strange_thing.wav"), "music", "fit", "music")
    assert corpus.allowed(named) == WIDER["music"]
    assert corpus.allowed(corpus.Clip(Path("elsewhere/x.wav"), "elsewhere", "fit", "environment")) == (UNKNOWN,)


def test_recordings_of_one_author_or_source_are_one_group() -> None:
    def group(name: str, folder: str) -> str:
        return corpus.group_of(corpus.Clip(Path(name), folder, "fit", "environment"))

    assert group("1-26143-A.wav", "esc10") == group("1-26143-B.wav", "esc10") != group("1-26144-A.wav", "esc10")
    ada, bob = group("dog__Ada_bark.ogg", "sounds"), group("dog__Bob_bark.ogg", "sounds")
    assert ada == group("wind__Ada_x.ogg", "sounds") != bob
    assert group("bd_808.wav", "sonic-pi") != group("bd_boom.wav", "sonic-pi")


def test_a_mixture_may_be_called_as_either_unless_one_is_soft(audio: Path) -> None:
    known = {corpus.origin(clip): corpus.allowed(clip) for clip in corpus.fit_clips(audio)}
    either, first = 0, 0
    for seed in range(2):
        for take in corpus.takes(Job("mixed", 0), audio, seed, FEW):
            one, other = (known[name] for name in take.origin.split(" + "))
            assert set(take.kinds) in (set(one), {*one, *other})
            either += set(one) < set(take.kinds)
            first += set(take.kinds) == set(one) and not set(other) <= set(one)
    assert either > first > 0


def test_an_excerpt_is_a_part_and_a_short_sound_comes_again() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(5 * SR, dtype=np.float32)
    part = corpus.excerpt(x, 2.0, rng)
    assert len(part) == 2 * SR and np.array_equal(part, x[int(part[0]) : int(part[0]) + 2 * SR])
    assert corpus.excerpt(x, 5.0, rng) is x and corpus.staged(x, rng) is x
    click = np.full(SR // 10, 0.5, np.float32)
    counts = {np.count_nonzero(corpus.staged(click, rng)) / len(click) for _ in range(40)}
    assert counts == {1.0, 2.0, 3.0, 4.0}


def missing(*needed: object) -> bool:
    try:
        for program in needed:
            program()  # type: ignore[operator]
    except ConfigError:
        return True
    return False


@pytest.mark.skipif(missing(midi.soundfont, speech.program), reason="fluidsynth, its font or espeak-ng is missing")
def test_made_played_and_spoken_takes_are_named_by_their_recipe(audio: Path) -> None:
    amounts = Amounts(made=0, pieces=1, spoken=2, crowds=1, odd=0)
    spoken = list(corpus.takes(Job("spoken", 0), audio, 0, amounts))
    assert [take.kinds for take in spoken] == [("speech",), ("speech",), ("crowd",)]
    played = list(corpus.takes(Job("played", 0), audio, 0, amounts))
    assert [take.origin for take in played] == [f"soundfont/{style}" for style in midi.STYLES]
    assert all(take.kinds == WIDER["music"] or take.kinds[0] in WIDER["music"] for take in played)
    assert len({take.group for take in (*spoken, *played)}) == len(spoken) + len(played)
    assert all(int(take.group.split()[1]) >= corpus.FIRST_SEED for take in played)
