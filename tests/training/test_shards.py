"""Shards: a stopped run goes on where it was, a file is whole or not there, and what is read is what was heard."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from natd.codec.descriptors import FrontEnd
from natd.codec.mel import FRAME
from natd.errors import SourceError
from natd.training import corpus, shards
from natd.training.corpus import Amounts, Job, Take
from tests.training import toy_recordings

FEW = Amounts(copies=1, made=0, pieces=0, spoken=0, crowds=0, odd=2)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_recordings.folder(tmp_path_factory.mktemp("audio"), seconds=1.0)


@pytest.fixture(scope="module")
def made(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    said: list[str] = []
    return shards.make(audio, tmp_path_factory.mktemp("cache"), 3, 1, said.append, FEW), said


def test_every_job_leaves_a_file_in_the_order_of_the_jobs(audio: Path, made: tuple[list[Path], list[str]]) -> None:
    paths, said = made
    assert [path.name.rsplit("-", 1)[0] for path in paths] == [str(job) for job in corpus.jobs(audio, FEW)]
    assert all(path.is_file() for path in paths) and not list(paths[0].parent.glob("*.part"))
    assert said[0] == "corpus: 0 of 4 parts are there" and said[-1].endswith("(4 of 4)")


def test_a_second_run_makes_nothing_and_a_lost_part_alone_is_made_again(
    audio: Path, made: tuple[list[Path], list[str]]
) -> None:
    paths, _ = made
    before = [path.stat().st_mtime_ns for path in paths]
    said: list[str] = []
    assert shards.make(audio, paths[0].parent, 3, 1, said.append, FEW) == paths
    assert said == ["corpus: 4 of 4 parts are there"] and [p.stat().st_mtime_ns for p in paths] == before
    content = paths[1].read_bytes()
    paths[1].unlink()
    shards.make(audio, paths[0].parent, 3, 1, said.append, FEW)
    assert paths[1].read_bytes() == content and len(said) == 3
    assert [p.stat().st_mtime_ns for i, p in enumerate(paths) if i != 1] == [t for i, t in enumerate(before) if i != 1]


def test_another_seed_or_amount_has_files_of_its_own(audio: Path, made: tuple[list[Path], list[str]]) -> None:
    folder = made[0][0].parent
    for seed, amounts in ((4, FEW), (3, Amounts(copies=1, made=0, pieces=0, spoken=0, crowds=0, odd=3))):
        with pytest.raises(Stopped, match="0 of 4 parts are there"):
            shards.make(audio, folder, seed, 1, stop, amounts)


class Stopped(Exception):
    """A run that was ended by what it said first."""


def stop(line: str) -> None:
    raise Stopped(line)


def test_what_is_read_is_what_was_heard(audio: Path, made: tuple[list[Path], list[str]]) -> None:
    takes = list(corpus.takes(Job("recorded", 0), audio, 3, FEW))
    found = shards.read(made[0][0], mel=True)
    assert found.kinds == [t.kinds for t in takes] and found.group == [t.group for t in takes]
    assert found.origin == [t.origin for t in takes] and found.name.startswith("recorded-000")
    front = FrontEnd()
    mels = []
    with torch.no_grad():
        for i, take in enumerate(takes):
            chunks, (count,) = shards.framed([take.samples])
            state = front.initial_state(1)
            heard = [front(chunks[:, f].contiguous(), state) for f in range(count)]
            of_take = found.take == i
            assert int(of_take.sum()) == count == max(1, len(take.samples) // FRAME)
            assert torch.equal(found.scene[of_take], torch.cat([h.scene for h in heard]).half())
            assert torch.equal(found.descriptors[of_take], torch.cat([h.descriptors for h in heard]))
            assert torch.equal(found.silent[of_take], torch.cat([h.silent for h in heard]))
            mels.append(torch.cat([h.log_mel for h in heard])[:: shards.MEL_STRIDE].half().flatten(1))
    assert torch.equal(found.log_mel, torch.cat(mels))
    assert bool(found.silent.any()) and not bool(found.silent.all())
    assert len(shards.read(made[0][0]).log_mel) == 0 and len(shards.read(made[0][-1], mel=True).log_mel) == 0


def test_takes_side_by_side_are_heard_as_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    takes = [Take((0.1 * torch.randn(n, generator=draw)).numpy(), ("hiss",), "g", "o") for n in (9000, 100, 30_000)]
    together = shards.hear_takes(takes)
    for take, heard in zip(takes, together, strict=True):
        (alone,) = shards.hear_takes([take])
        assert torch.equal(alone.scene, heard.scene) and torch.equal(alone.log_mel, heard.log_mel)
    assert [len(h.silent) for h in together] == [4, 1, 15]


def test_a_killed_write_leaves_no_file(audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        save_file({"scene": tensors["scene"]}, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        shards._write(Job("odd", 0), audio, tmp_path / "odd-000-x.safetensors", 3, FEW)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


def test_a_recording_that_cannot_be_read_ends_the_run(tmp_path: Path) -> None:
    audio = toy_recordings.folder(tmp_path / "audio", seconds=0.2)
    (audio / toy_recordings.SHORT).write_bytes(b"not audio")
    with pytest.raises(SourceError, match="bd_808"):
        shards.make(audio, tmp_path / "cache", 3, 1, str, FEW)
