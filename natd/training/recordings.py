"""Which recordings are fitted on, which are held out, and what kind of sound each is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from natd.codec.mel import SR
from natd.errors import SourceError

HELD_RECORDINGS = ("hungarian_dance_strings", "karissa_hobbs_song", "solo_trumpet_F_90bpm", "speech_5703", "robin")
# ESC-10 clips whose sources are under CC Sampling Plus, which does not cover weights shipped for any use.
UNCLEAR_LICENCE = ("1-40730-A", "2-96460-A")
AUDIO = (".wav", ".flac", ".ogg")


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording: `part` is fit or held, `kind` music, speech or environment; ESC-10 also has label and fold."""

    path: Path
    folder: str
    part: str
    kind: str
    label: str = ""
    fold: int = 0


def clips_of(audio_dir: Path) -> list[Clip]:
    """Every recording below the known folders, in order of path; SourceError if none is to fit or none held out."""
    if not audio_dir.is_dir():
        raise SourceError(
            f"{audio_dir} is a file, not a folder" if audio_dir.exists() else f"there is no folder {audio_dir}"
        )
    clips = [
        c for path in sorted(audio_dir.rglob("*")) if path.suffix in AUDIO and (c := _clip(path, audio_dir)) is not None
    ]
    for part in ("fit", "held"):
        if not any(c.part == part for c in clips):
            raise SourceError(
                f"{audio_dir} holds no recording of the {part!r} part: see the folders in natd/models/ears.md"
            )
    return clips


def samples_of(path: Path, sr: int = SR, seconds: float | None = None) -> NDArray[np.float32]:
    """Mono samples (of the first `seconds`) at `sr` float32: mean of the channels, soxr HQ; SourceError if bad."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            rate = file.samplerate
            data = file.read(-1 if seconds is None else int(seconds * rate), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    mono = data.mean(axis=1, dtype=np.float32)
    return np.asarray(soxr.resample(mono, rate, sr, quality="HQ"), dtype=np.float32)


def _clip(path: Path, audio_dir: Path) -> Clip | None:
    folder, *rest = path.relative_to(audio_dir).parts
    if path.stem in UNCLEAR_LICENCE:
        return None
    if folder == "esc10":
        fold = int(path.name[0])
        return Clip(path, folder, "held" if fold == 3 else "fit", "environment", rest[0], fold) if fold <= 3 else None
    if folder in ("sonic-pi", "drums"):
        return Clip(path, folder, "fit", "music")
    if folder == "recordings":
        kind = (
            "speech"
            if path.stem.startswith("speech")
            else "environment"
            if path.stem in ("robin", "humpback")
            else "music"
        )
        return Clip(path, folder, "held" if path.stem in HELD_RECORDINGS else "fit", kind)
    if folder in ("music", "sounds"):
        kind = "music" if folder == "music" else "speech" if path.name.startswith("speech") else "environment"
        return Clip(path, folder, {"train": "fit", "dev": "held"}[rest[0]], kind)
    return None
