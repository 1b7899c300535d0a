"""Synthetic speech in many languages and voices, by the program espeak-ng."""

from __future__ import annotations

import functools
import io
import math
import shutil
import subprocess
from xml.sax.saxutils import escape

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from natd.codec.mel import SR
from natd.errors import ConfigError
from natd.training.speech_texts import TEXTS

Samples = NDArray[np.float32]
PROGRAM = "espeak-ng"
VARIANTS = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "klatt",
    "klatt2",
    "klatt3",
    "croak",
)
WHISPERS = ("whisper", "whisperf")
SPARE_S = 0.4  # text is asked for this much longer than needed, so that the seconds are filled
LETTERS_PER_S = {"cmn": 4.5, "hi": 11.0, "ar": 8.0}
USUAL_LETTERS_PER_S = 15.0


@functools.cache
def program() -> str:
    """Where espeak-ng is; ConfigError with what to install if it is nowhere."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise ConfigError(f"the program {PROGRAM} is missing: install the Debian package espeak-ng")
    return path


def voices() -> tuple[str, ...]:
    """Every voice as language+variant, as `espeak-ng -v` takes them."""
    return tuple(f"{language}+{variant}" for language in TEXTS for variant in (*VARIANTS, *WHISPERS))


def speak(rng: np.random.Generator, seconds: float, crowd: int = 1) -> Samples:
    """Speech of exactly `seconds` at 24 kHz, peak -1 to -20 dBFS: one speaker, or `crowd` of them at once.

    Two or three speakers take turns and interrupt; more talk all the time (babble). ConfigError without espeak-ng.
    """
    n = max(1, round(seconds * SR))
    if crowd == 1:
        out = _turns(rng, n, 1)
    elif crowd <= 3:
        out = _turns(rng, n, crowd)
    else:
        out = _babble(rng, n, crowd)
    peak = float(np.max(np.abs(out), initial=0.0))
    level = 10.0 ** (-(1 + 19 * rng.random() ** 2) / 20)
    return (out * (level / peak if peak > 0 else 1.0)).astype(np.float32)


def _turns(rng: np.random.Generator, n: int, speakers: int) -> Samples:
    """Speakers one after the other, each for a share of the time."""
    out = np.zeros(n, np.float32)
    each = n / speakers
    for k in range(speakers):
        start = 0 if k == 0 else int(each * (k - 0.25 * rng.random()))
        end = n if k == speakers - 1 else min(n, int(each * (k + 1)))
        if end > start:
            voice = monologue(rng, (end - start) / SR)[: end - start]
            out[start : start + len(voice)] += voice * np.float32(10 ** (-6 * rng.random() / 20))
    return out


def _babble(rng: np.random.Generator, n: int, people: int) -> Samples:
    """Few long monologues cut into many voices: overlapped from other places, each resampled to its own pitch."""
    calls = min(people, 5)
    each = math.ceil(people / calls)
    out = np.zeros(n, np.float32)
    for _ in range(calls):
        long = monologue(rng, (min(each, 2) + 0.3) * n / SR)
        for _ in range(each):
            rate = rng.uniform(0.85, 1.2)
            start = int(rng.integers(0, max(1, len(long) - round(n * rate))))
            part = long[start : start + round(n * rate)]
            voice = np.interp(np.arange(min(n, int(len(part) / rate))) * rate, np.arange(len(part)), part)
            out[: len(voice)] += (voice * 10 ** (-15 * rng.random() / 20)).astype(np.float32)
    return out


def monologue(rng: np.random.Generator, seconds: float) -> Samples:
    """One voice that speaks sentences with pauses for at least `seconds`, 24 kHz; RMS of the speech about 0.1."""
    language = str(rng.choice(list(TEXTS)))
    variant = str(rng.choice(VARIANTS if rng.random() < 0.97 else WHISPERS))
    words_per_minute = int(rng.uniform(115, 230))
    pitch, lilt = int(rng.integers(15, 90)), int(rng.integers(40, 180))
    said: list[str] = []
    need = seconds + SPARE_S
    letters_per_s = LETTERS_PER_S.get(language, USUAL_LETTERS_PER_S) * words_per_minute / 175
    while need > 0:
        sentence = _sentence(rng, language)
        pause_ms = int(rng.exponential(250)) + 40
        said.append(f'{escape(sentence)}<break time="{pause_ms}ms"/>')
        need -= len(sentence) / letters_per_s + pause_ms / 1000
    options = ["-m", "-v", f"{language}+{variant}", "-s", str(words_per_minute), "-p", str(pitch)]
    x = _spoken(f'<prosody range="{lilt}%">{" ".join(said)}</prosody>', options)
    if len(x) < seconds * SR:
        x = np.resize(x, math.ceil(seconds * SR))
    rms = float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))
    return (x * np.float32(0.1 / max(rms, 1e-6))).astype(np.float32)


def _sentence(rng: np.random.Generator, language: str) -> str:
    """A composed sentence, now and then with its words in another order, or some numbers."""
    if rng.random() < 0.15:
        return (
            ", ".join(str(int(rng.integers(0, 10 ** int(rng.integers(1, 5))))) for _ in range(int(rng.integers(2, 5))))
            + "."
        )
    sentence = str(rng.choice(np.array(TEXTS[language], dtype=object)))
    words = sentence.split()
    if len(words) > 3 and rng.random() < 0.4:
        sentence = " ".join(words[int(i)] for i in rng.permutation(len(words)))
    return sentence


def _spoken(text: str, options: list[str]) -> Samples:
    """What espeak-ng says, at 24 kHz, without the silence before the first word."""
    done = subprocess.run(
        [program(), *options, "--stdin", "--stdout"],
        input=f"<speak>{text}</speak>".encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0 or not done.stdout or b"Error" in done.stderr:  # an unknown voice is another, and rc 0
        raise ConfigError(f"{PROGRAM} {' '.join(options)} failed: {done.stderr.decode(errors='replace').strip()}")
    x, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    loud = np.flatnonzero(np.abs(x) > 1e-3)
    x = x[loud[0] :] if len(loud) else x
    return np.asarray(soxr.resample(x, rate, SR, quality="HQ"), dtype=np.float32)
