"""Training of S1: labels follow the score, a few steps lower the loss, the same arguments give the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from natd.codec.harmony_net import CHORD, MIX, NO_PITCH, NOTE, HarmonyNet, initial_tensors
from natd.codec.mel import FRAME, SR
from natd.training import harmony, harmony_frames
from natd.training.harmony_frames import Frames
from natd.training.score import DRUM, Chord, Note

MELODY = tuple(Note(0.5 * i, 0.5 * i + 0.48, midi, 73) for i, midi in enumerate((60, 64, 67, 72, 69, 65)))
TRIADS = tuple(
    Note(1.0 * i, 1.0 * i + 1.0, root + step, 0) for i, root in enumerate((48, 53, 55)) for step in (0, 4, 7)
)
CHORDS = tuple(Chord(1.0 * i, 1.0 * i + 1.0, root % 12, "") for i, root in enumerate((48, 53, 55)))


def played(notes: tuple[Note, ...], seconds: float) -> np.ndarray:
    """Tones of six harmonics."""
    t = np.arange(round(seconds * SR)) / SR
    out = np.zeros(len(t))
    for note in notes:
        hz = 440.0 * 2.0 ** ((note.midi - 69) / 12)
        tone = sum(np.sin(2 * np.pi * hz * h * t) / h for h in range(1, 7))
        out += 0.1 * tone * ((t >= note.start_s) & (t < note.end_s))
    return out.astype(np.float32)


@pytest.fixture(scope="module")
def frames() -> Frames:
    net = HarmonyNet(initial_tensors(0))
    heard = harmony_frames.hear(net, [played(MELODY, 3.0), played(TRIADS, 3.0)])
    truth = [harmony_frames.labels(MELODY, (), 37), harmony_frames.labels(TRIADS, CHORDS, 37)]
    heard.label = torch.cat([label for label, _ in truth])
    heard.weight = torch.cat([weight for _, weight in truth])
    return heard


def test_labels_say_what_sounds() -> None:
    label, weight = harmony_frames.labels(MELODY, (), 37)
    assert label[5] == NOTE + 60 - 21 and weight[5] == 1.0
    assert label[36] == NOTE + 65 - 21
    label, weight = harmony_frames.labels(TRIADS, CHORDS, 37)
    assert label[10] == CHORD and weight[10] == 1.0  # C major
    assert label[20] == CHORD + 5 * 8  # F major
    label, weight = harmony_frames.labels(TRIADS, (), 37)
    assert weight[10] == 0.0  # a chord that the score does not name
    seconds = [Note(n.start_s, n.end_s, n.midi if n.midi % 12 != 7 else 49, 0) for n in TRIADS]
    label, weight = harmony_frames.labels(seconds, (), 37)
    assert label[10] == MIX and weight[10] > 0
    label, weight = harmony_frames.labels([Note(1.0, 1.1, 38, DRUM)], (), 20)
    assert label[13] == NO_PITCH and weight[13] == 1.0
    assert weight[2] == 0.0


def test_frames_hold_what_was_heard(frames: Frames) -> None:
    assert len(frames) == 2 * (3 * SR // FRAME) and frames.clip.tolist() == [0] * 37 + [1] * 37
    assert frames.f0[5] == pytest.approx(np.log2(261.626), abs=0.01)
    assert frames.context.isfinite().all() and frames.context.dtype == torch.float16
    assert frames.chroma[40:48].mean(0).argmax() in (0, 4, 7)


def loss_of(tensors: dict[str, torch.Tensor], frames: Frames) -> float:
    logits = HarmonyNet(tensors).logits(frames.context.float(), torch.matmul)
    return float((torch.nn.functional.cross_entropy(logits, frames.label, reduction="none") * frames.weight).mean())


def test_training_lowers_the_loss_and_repeats_itself(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harmony, "BATCH", 32)
    said: list[str] = []
    first, second = (harmony.train(frames, 5, 12, said.append) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    before, after = loss_of(initial_tensors(5), frames), loss_of(first, frames)
    assert after < 0.7 * before
    assert not torch.equal(first["S1.note.0"], harmony.train(frames, 6, 12, said.append)["S1.note.0"])
    assert len(said) == 3 * 12


def test_cells_are_directions_of_chroma() -> None:
    chroma = torch.rand(600, 12, generator=torch.Generator().manual_seed(2)) ** 3
    some = torch.zeros(600)
    context = torch.rand(600, 90, 16, generator=torch.Generator().manual_seed(3)).half()
    clip, silent = torch.arange(600) // 100, torch.zeros(600, dtype=torch.bool)
    heard = Frames(context, chroma / chroma.sum(1, keepdim=True), silent, clip, some + 8.0, some, clip * 0, some)
    cells = harmony.cells(initial_tensors(0), heard, 0)
    length = cells.norm(dim=0)
    torch.testing.assert_close(length[:96], torch.full((96,), harmony.CHORD_WEIGHT))
    torch.testing.assert_close(length[96:165], torch.full((69,), harmony.CELL_WEIGHT))
    assert bool((length[165:] == 0).all()) and bool((cells >= 0).all())
    torch.testing.assert_close(cells[:12, 8].roll(-1), cells[:12, 0])  # C# major is C major a semitone up


def test_streams_are_named_clip_by_clip(frames: Frames) -> None:
    net = HarmonyNet(initial_tensors(0))
    codes, slow = harmony.name(net, frames)
    assert codes[:8].tolist() == [1] * 8 and codes[37:45].tolist() == [1] * 8
    assert bool((codes[8:37] > 1).all())
    torch.testing.assert_close(slow[:8].sum(1), torch.ones(8))
    torch.testing.assert_close(slow[40], frames.chroma[37:41].mean(0))  # the first second is a plain mean


def test_what_was_heard_is_kept(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "kept" / "some.safetensors"
    made = harmony_frames.kept(path, lambda: frames)
    again = harmony_frames.kept(path, lambda: pytest.fail("heard again"))
    assert made is frames and torch.equal(again.context, frames.context) and torch.equal(again.label, frames.label)


def test_changed_sounds_are_drawn_by_seed() -> None:
    first, second, other = (harmony_frames.made_noise(np.random.default_rng(s), 4000) for s in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.sqrt(np.mean(first**2)) == pytest.approx(0.1, rel=0.01)
    bright = harmony_frames.filtered(np.random.default_rng(4), first)
    assert bright.shape == first.shape and bright.dtype == np.float32 and np.isfinite(bright).all()
