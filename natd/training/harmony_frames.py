"""Music with a known score and sounds without pitch, as the frames that the net of S1 is trained on.

Every piece is heard twice: as it was rendered, and through a room or a filter, with noise, with drums or with another
piece. Frames whose answer is open, such as the ringing after a note, have no weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from natd.codec.descriptors import SILENCE_DBFS
from natd.codec.harmony import SLOW_HISTORY, Harmony, Tonal
from natd.codec.harmony_net import CHORD, LOWEST_MIDI, MIX, NO_PITCH, NOTE, QUALITIES, HarmonyNet
from natd.codec.mel import FRAME, HISTORY, SR
from natd.training import midi
from natd.training.labels import kind_of
from natd.training.recordings import Clip, samples_of
from natd.training.score import CHORD_TONES, DRUM, Chord, Note, Piece

Samples = NDArray[np.float32]
GROUP = 8  # pieces heard side by side, and kept in one file
ORDER = ("solo", "band", "chords", "solo", "ensemble", "chords", "band", "drums", "solo", "chords")
FRAME_S = FRAME / SR
MIDDLE_S = FRAME_S / 2
PAST_S = 0.7  # the longest window: a chord whose tones came one by one still stands in it
NEW_S = 0.1  # a younger note is hardly heard yet
RINGING_S = 0.4
UNSURE = 0.3  # weight
NO_PITCH_KINDS = (
    "rain", "sea waves", "wind", "water", "fire", "thunder", "applause", "footsteps", "clock tick", "knock", "gun",
    "explosion", "impact",
)  # fmt: skip
RECORDED_S = 10.0
# Pitch classes of every chord that has a name.
SPELLED = frozenset(
    frozenset((root + step) % 12 for step in steps) for root in range(12) for steps in CHORD_TONES.values()
)


@dataclass(slots=True)
class Frames:
    """Frames one after the other: contexts [N, 90, 16] float16, chroma [N, 12], silent [N], clip [N], f0 and salience.

    `label` [N] is a class of the net, `weight` [N] how much it counts.
    """

    context: Tensor
    chroma: Tensor
    silent: Tensor
    clip: Tensor
    f0: Tensor
    salience: Tensor
    label: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.label)


def joined(parts: Sequence[Frames]) -> Frames:
    """All frames of `parts`; clips are counted on."""
    clips, begin = [], 0
    for part in parts:
        clips.append(part.clip + begin)
        begin += int(part.clip.max()) + 1
    found = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Frames)}
    return Frames(**(found | {"clip": torch.cat(clips)}))


# ---- hearing


@torch.no_grad()
def hear(net: HarmonyNet, takes: Sequence[Samples]) -> Frames:
    """The whole frames of the takes (of a shorter one its only frame), each a stream of its own, without labels."""
    front = Harmony()
    heard = [_spectra(front, _whole_frames(take)) for take in takes]
    longest = max(len(silent) for _, _, _, silent in heard)
    state = net.initial_state(len(takes))
    columns = [torch.stack([_longer(x, longest) for x in column]) for column in zip(*map(_flat, heard), strict=True)]
    steps = []
    for t in range(longest):
        size, peaks, chroma, tonalness, f0, salience = (c[:, t].contiguous() for c in columns)
        steps.append(net.listen(Tonal(size, peaks, chroma, tonalness), f0, salience, state).half())
    context = torch.stack(steps, dim=1)
    counts = [len(silent) for _, _, _, silent in heard]
    frames = sum(counts)
    return Frames(
        context=torch.cat([context[i, :n] for i, n in enumerate(counts)]),
        chroma=torch.cat([tonal.chroma for tonal, _, _, _ in heard]),
        silent=torch.cat([silent for _, _, _, silent in heard]),
        clip=torch.repeat_interleave(torch.arange(len(takes)), torch.tensor(counts)),
        f0=torch.cat([f0 for _, f0, _, _ in heard]),
        salience=torch.cat([salience for _, _, salience, _ in heard]),
        label=torch.zeros(frames, dtype=torch.int64),
        weight=torch.zeros(frames),
    )


def _whole_frames(take: Samples) -> Samples:
    short = np.pad(take, (0, max(0, FRAME - len(take))))
    return short[: len(short) // FRAME * FRAME]


def _spectra(front: Harmony, samples: Samples) -> tuple[Tonal, Tensor, Tensor, Tensor]:
    """Tonal spectra, f0 in log2 Hz, salience and silence of every frame of one take, each window ending with it."""
    audio = torch.from_numpy(samples)
    past = torch.cat([torch.zeros(HISTORY - FRAME), audio]).unfold(0, HISTORY, FRAME).contiguous()
    slow = front.decimated(past).flatten()
    slow = torch.cat([torch.zeros(SLOW_HISTORY - FRAME // 4), slow]).unfold(0, SLOW_HISTORY, FRAME // 4).contiguous()
    tonal, lag, salience = front(past, slow)
    level = audio.view(-1, FRAME).double().var(1, correction=0)
    return tonal, math.log2(SR) - torch.log2(lag), salience, level < 10.0 ** (SILENCE_DBFS / 10)


def _flat(heard: tuple[Tonal, Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    tonal, f0, salience, _ = heard
    return tonal.size, tonal.peaks, tonal.chroma, tonal.tonalness, f0, salience


def _longer(x: Tensor, count: int) -> Tensor:
    return torch.cat([x, x.new_zeros(count - len(x), *x.shape[1:])])


# ---- what is right


def labels(notes: Sequence[Note], chords: Sequence[Chord], frames: int) -> tuple[Tensor, Tensor]:
    """Class [T] and weight [T] of each frame by what sounds at its middle."""
    found, weight = np.full(frames, NO_PITCH), np.zeros(frames)
    pitched = [n for n in notes if n.program != DRUM]
    start, end, key = (np.array([getattr(n, f) for n in pitched]) for f in ("start_s", "end_s", "midi"))
    drums = np.array([n.start_s for n in notes if n.program == DRUM])
    for t in range(frames):
        at, last = t * FRAME_S + MIDDLE_S, (t + 1) * FRAME_S
        on = (start <= at) & (at < end)
        if not on.any():
            ringing = bool(((start <= at) & (end > at - RINGING_S)).any())
            weight[t] = float(not ringing and bool(((drums <= at) & (drums > at - RINGING_S)).any()))
            continue
        young = float(last - start[on].max()) < NEW_S
        chord = next((c for c in chords if c.start_s <= at < c.end_s), None)
        if chord is not None:
            tones = {int(k) % 12 for k in key[(start <= at) & (end > max(at - PAST_S, chord.start_s))]}
            carried = {(chord.root + step) % 12 for step in CHORD_TONES[chord.quality]} & tones
            found[t] = CHORD + chord.root * len(QUALITIES) + QUALITIES.index(chord.quality)
            complete = len(carried) >= min(3, len(CHORD_TONES[chord.quality]))
            weight[t] = UNSURE if not complete or last - chord.start_s < 2 * NEW_S else 1.0
        elif len(set(key[on])) == 1:
            found[t], weight[t] = NOTE + int(key[on][0]) - LOWEST_MIDI, UNSURE if young else 1.0
        elif len({int(k) % 12 for k in key[on]}) > 1:
            past = frozenset(int(k) % 12 for k in key[(start <= at) & (end > at - PAST_S)])
            # Tones that happen to form a chord leave open which of the two it is.
            found[t], weight[t] = MIX, 0.0 if young or past in SPELLED else 0.5
    return torch.from_numpy(found), torch.from_numpy(weight).float()


# ---- pieces


def pieces(net: HarmonyNet, numbers: Sequence[int], seed: int, font: Path | None = None) -> Frames:
    """Pieces of these numbers, each heard as it is and changed."""
    rng = np.random.default_rng((seed, numbers[0], 7))
    scores = [midi.compose(ORDER[n % len(ORDER)], seed * 10_000 + n) for n in numbers]
    sounds = [midi.render(score, font) for score in scores]
    takes, truth = [], []
    for i, (score, sound) in enumerate(zip(scores, sounds, strict=True)):
        takes.append(_within(sound))
        truth.append(labels(score.notes, score.chords, len(sound) // FRAME))
        changed, notes, chords = _changed(rng, score, sound, scores[i - 1], sounds[i - 1])
        takes.append(_within(changed))
        truth.append(labels(notes, chords, len(changed) // FRAME))
    heard = hear(net, takes)
    heard.label = torch.cat([label for label, _ in truth])
    heard.weight = torch.cat([weight for _, weight in truth]) * (~heard.silent).float()
    return heard


Score = tuple[Sequence[Note], Sequence[Chord]]


def _changed(
    rng: np.random.Generator, score: Piece, sound: Samples, other: Piece, beside: Samples
) -> tuple[Samples, Sequence[Note], Sequence[Chord]]:
    """Another sound of the piece with the score that now holds: noisy, filtered, in a room, or with another piece."""
    notes, chords = score.notes, score.chords
    if rng.random() < 0.4 and score.style != "drums":
        n = min(len(sound), len(beside))
        level = 10.0 ** (-float(rng.uniform(0, 12 if other.style == "drums" else 4)) / 20)
        sound = sound[:n] + np.float32(level * _rms(sound) / max(_rms(beside), 1e-6)) * beside[:n]
        if other.style != "drums":
            chords = ()
        notes = tuple(sorted((*notes, *other.notes), key=lambda note: note.start_s))
    if rng.random() < 0.6:
        sound = filtered(rng, sound)
    if rng.random() < 0.4:
        sound = _in_room(rng, sound)
    if rng.random() < 0.6:
        snr_db = float(rng.uniform(3, 35))
        noise = made_noise(rng, len(sound))
        sound = sound + np.float32(_rms(sound) / max(_rms(noise), 1e-6) * 10.0 ** (-snr_db / 20)) * noise
    return sound.astype(np.float32), notes, chords


def filtered(rng: np.random.Generator, sound: Samples) -> Samples:
    """Another balance of frequencies: a tilt and two broad humps."""
    size = 1 << len(sound).bit_length()
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1.0 / SR), 20.0) / 500.0)
    db = rng.uniform(-4, 4) * octaves
    for _ in range(2):
        db = db + rng.uniform(-12, 12) * np.exp(-0.5 * ((octaves - rng.uniform(-4, 4)) / rng.uniform(0.3, 1.0)) ** 2)
    return np.fft.irfft(np.fft.rfft(sound, size) * 10.0 ** (db / 20), size)[: len(sound)].astype(np.float32)


def _in_room(rng: np.random.Generator, sound: Samples) -> Samples:
    seconds = float(rng.uniform(0.1, 0.8))
    n = int(seconds * SR)
    tail = rng.standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / n)
    tail *= rng.uniform(0.1, 0.8) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = 1 << (len(sound) + n).bit_length()
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)].astype(np.float32)


def made_noise(rng: np.random.Generator, count: int) -> Samples:
    """Noise of a random colour, at times a band of it, at times swelling."""
    size = 1 << count.bit_length()
    hz = np.fft.rfftfreq(size, 1.0 / SR)
    octaves = np.log2(np.maximum(hz, 20.0) / 500.0)
    db = -rng.uniform(0, 7) * octaves
    if rng.random() < 0.4:
        db = db - 6.0 * np.maximum(np.abs(octaves - rng.uniform(-2, 4)) - rng.uniform(0.5, 2.0), 0.0) ** 2
    spectrum = rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
    noise = np.fft.irfft(spectrum * 10.0 ** (np.maximum(db, -80) / 20), size)[:count]
    if rng.random() < 0.4:
        rate = float(rng.uniform(0.1, 8.0))
        noise *= 10.0 ** (np.sin(2 * np.pi * rate * np.arange(count) / SR) * rng.uniform(0, 12) / 20)
    return np.asarray(0.1 * noise / np.sqrt((noise**2).mean()), dtype=np.float32)


def _rms(x: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _within(x: Samples) -> Samples:
    return np.ascontiguousarray(np.clip(x, -8.0, 8.0), dtype=np.float32)


# ---- recordings and noise


def recordings(net: HarmonyNet, clips: Sequence[Clip]) -> Frames:
    """Recordings: those of kinds without pitch say so; the others, if not music, say their f0 where it is clear."""
    heard = hear(net, [samples_of(c.path, seconds=RECORDED_S) for c in clips])
    pitch = ((heard.f0 - math.log2(440.0)) * 12.0 + 69.0 - LOWEST_MIDI).round().long().clamp(0, CHORD - NOTE - 1)
    same = torch.cat([torch.zeros(1, dtype=torch.bool), pitch[1:] == pitch[:-1]])
    clear = (heard.salience >= 0.9) & same
    for i, clip in enumerate(clips):
        here = (heard.clip == i) & ~heard.silent
        if kind_of(clip) in NO_PITCH_KINDS:
            heard.weight[here] = 1.0
        elif clip.kind != "music":
            heard.label[here & clear] = NOTE + pitch[here & clear]
            heard.weight[here & clear] = UNSURE
            heard.weight[here & (heard.salience < 0.5)] = UNSURE
    return heard


def noises(net: HarmonyNet, count: int, seed: int) -> Frames:
    """Made noises of 5 s: no pitch."""
    rng = np.random.default_rng((seed, 11))
    heard = hear(net, [made_noise(rng, 62 * FRAME) for _ in range(count)])
    heard.weight[:] = 1.0
    return heard


def kept(path: Path | None, make: Callable[[], Frames]) -> Frames:
    """What `make` gives, or what an earlier run left at `path`."""
    if path is not None and path.exists():
        return Frames(**load_file(path))
    found = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")  # a run that is cut off leaves nothing half written
        save_file({f.name: getattr(found, f.name).contiguous() for f in fields(Frames)}, part)
        part.replace(path)
    return found
