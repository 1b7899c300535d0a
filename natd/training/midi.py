"""Synthetic music with a known score: composed by seed, rendered by FluidSynth with a General MIDI sound font.

Training takes seeds below EVALUATION_SEEDS, evaluation that one and those above, with another sound font where there
is one. What is used: `compose`, `render`, `render_many`, `soundfont`, `evaluation_soundfont`, `kind_of`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from natd.codec.mel import SR
from natd.errors import ConfigError
from natd.training.compose import compose
from natd.training.instruments import FAMILIES
from natd.training.score import DRUM, EVALUATION_SEEDS, QUALITIES, STYLES, Chord, Note, Piece

__all__ = [
    "DRUM", "EVALUATION_SEEDS", "FAMILIES", "QUALITIES", "STYLES", "Chord", "Note", "Piece", "compose",
    "evaluation_soundfont", "kind_of", "render", "render_many", "soundfont",
]  # fmt: skip

Samples = NDArray[np.float32]
FONTS = Path("/usr/share/sounds/sf2")
CURE = "on Debian: apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont espeak-ng; pip install '.[train]'"
RATE = 48_000  # rendered at, so that what FluidSynth's interpolation folds back lies above 12 kHz
BEND_CENTS = 200.0  # the General MIDI range of the pitch wheel
RUMBLE_HZ = 8.0  # nothing below, all above twice as much


def soundfont() -> Path:
    """FluidR3 GM, the font of the training; ConfigError if it, FluidSynth or mido is not installed."""
    return _font("FluidR3_GM.sf2")


def evaluation_soundfont() -> Path:
    """TimGM6mb, a font that no training has heard; FluidR3 GM where it is not installed; ConfigError as above."""
    return _font("TimGM6mb.sf2") if (FONTS / "TimGM6mb.sf2").exists() else soundfont()


def _font(name: str) -> Path:
    if shutil.which("fluidsynth") is None:
        raise ConfigError(f"the program fluidsynth is not installed; {CURE}")
    if not (FONTS / name).exists():
        raise ConfigError(f"the sound font {FONTS / name} is not installed; {CURE}")
    _mido()
    return FONTS / name


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise ConfigError(f"the Python package mido is not installed; {CURE}") from error
    return mido


def render(piece: Piece, font: Path | None = None) -> Samples:
    """The piece as mono float32 at 24 kHz, `round(piece.seconds * 24000)` samples, in time with its score."""
    font = soundfont() if font is None else font
    rng = np.random.default_rng((STYLES.index(piece.style), piece.seed, 1))
    reverb, chorus = float(rng.uniform(0.0, 1.0)) ** 2, bool(rng.random() < 0.4)
    peak = 10.0 ** (-float(rng.uniform(1.0, 14.0)) / 20)
    with tempfile.TemporaryDirectory(prefix="natd-midi-") as folder:
        score, sound = Path(folder) / "score.mid", Path(folder) / "sound.raw"
        _write(piece, score, reverb, rng)
        options = {
            "synth.dynamic-sample-loading": 1, "synth.cpu-cores": 1,
            "synth.chorus.active": int(chorus), "synth.reverb.active": int(reverb > 0.1),
            "synth.reverb.room-size": round(0.2 + 0.7 * reverb, 3), "synth.reverb.damp": round(float(rng.random()), 3),
            "synth.reverb.level": 0.7, "synth.reverb.width": 0.6,
        }  # fmt: skip
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        command = ["fluidsynth", "-niq", "-g", "0.4", "-r", str(RATE), *settings, "-F", str(sound), "-T", "raw"]
        command += ["-O", "float", str(font), str(score)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or "error" in done.stderr or not sound.exists():  # it returns 0 without a font
            raise ConfigError(f"fluidsynth cannot render with {font}: {done.stderr.strip() or done.stdout.strip()}")
        stereo = np.fromfile(sound, dtype=np.float32).reshape(-1, 2)
    return _finished(stereo.mean(axis=1, dtype=np.float32), piece.seconds, peak)


def render_many(pieces: Iterable[Piece], font: Path | None = None) -> Iterator[Samples]:
    """Each piece as `render` gives it, in order; a process a piece is quick, as a font's samples are read as needed."""
    font = soundfont() if font is None else font
    for piece in pieces:
        yield render(piece, font)


def kind_of(piece: Piece) -> str | None:
    """The kind of sound of a piece (natd.codebooks.kinds); None where no kind fits its instrument."""
    found = {FAMILIES[note.program] for note in piece.notes if note.program != DRUM}
    if piece.style == "drums":
        return "drums"
    if piece.style == "band":
        return "electronic music" if found == {"electronic music"} else "band"
    if piece.style == "ensemble":
        return "singing" if found == {"singing"} else "ensemble"
    return found.pop() if len(found) == 1 else None


def _finished(mono: Samples, seconds: float, peak: float) -> Samples:
    """At 24 kHz, of the piece's length, without what lies below hearing (some fonts have a direct current)."""
    count = round(seconds * SR)
    out = np.zeros(count)
    found = soxr.resample(mono, RATE, SR, quality="HQ")[:count]
    out[: len(found)] = found
    width = 1 << (count + SR).bit_length()  # a second of silence lies between the end and the beginning
    hz = np.fft.rfftfreq(width, 1.0 / SR)
    out = np.fft.irfft(np.fft.rfft(out, width) * np.clip(hz / RUMBLE_HZ - 1.0, 0.0, 1.0), width)[:count]
    top = float(np.abs(out).max())
    return (out * (peak / top if top > 0 else 1.0)).astype(np.float32)


def _write(piece: Piece, path: Path, reverb: float, rng: np.random.Generator) -> None:
    """A MIDI file of one track whose tick is a millisecond."""
    mido = _mido()
    channels = {DRUM: 9}
    free = iter([c for c in range(16) if c != 9])
    for note in piece.notes:
        if note.program not in channels:
            channels[note.program] = next(free)
    events: list[tuple[int, int, Any]] = []  # tick, order within it, message
    for program, channel in channels.items():
        number = piece.kit if program == DRUM else program
        events.append((0, 0, mido.Message("program_change", channel=channel, program=number)))
        sends = ((91, round(110 * reverb)), (93, int(rng.integers(90))), (10, int(rng.integers(24, 105))))
        for control, value in sends:  # reverb, chorus, place
            events.append((0, 0, mido.Message("control_change", channel=channel, control=control, value=value)))
        if program != DRUM:
            bend = round(piece.cents / BEND_CENTS * 8192)
            events.append((0, 0, mido.Message("pitchwheel", channel=channel, pitch=bend)))
    for note in piece.notes:
        what = {"channel": channels[note.program], "note": note.midi}
        events.append((round(note.start_s * 1000), 2, mido.Message("note_on", velocity=note.velocity, **what)))
        events.append((round(note.end_s * 1000), 1, mido.Message("note_off", **what)))
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=480_000)])
    last = 0
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        track.append(message.copy(time=tick - last))
        last = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, round(piece.seconds * 1000) - last)))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)
