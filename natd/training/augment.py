"""Changes that leave a sound's kind as it is: rooms, microphones, backgrounds, codecs, levels, speed and time."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from natd.codec.mel import FRAME, SR
from natd.evaluation.robustness import through_mp3
from natd.training.procedural_parts import fast_size

Samples = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chances:
    """How often each change is made, 0 to 1."""

    speed: float = 0.5
    shift: float = 0.5
    room: float = 0.5
    microphone: float = 0.5
    background: float = 0.6
    codec: float = 0.3
    hiss: float = 0.4
    fade: float = 0.15
    clip: float = 0.1


USUAL = Chances()


def augmented(x: Samples, rng: np.random.Generator, noises: Sequence[Samples], chances: Chances = USUAL) -> Samples:
    """The sound [T] after some random changes, as long as before; `noises` are backgrounds, at 5 to 40 dB SNR."""
    return coloured(moved(x, rng, chances), rng, noises, chances)


def moved(x: Samples, rng: np.random.Generator, chances: Chances = USUAL) -> Samples:
    """The sound at another speed and pitch (up to 25 % either way) and time; silence fills what becomes free."""
    out = x
    if rng.random() < chances.speed:
        out = fitted(sped(x, float(2 ** rng.uniform(-0.4, 0.32))), len(x))
    if rng.random() < chances.shift:
        out = shifted(out, int(rng.integers(-len(x) // 4, len(x) // 4 + 1)))
    return out


def coloured(x: Samples, rng: np.random.Generator, noises: Sequence[Samples], chances: Chances = USUAL) -> Samples:
    """The sound with changes that leave it where it is in time: room, background, microphone, codec, level."""
    n, out = len(x), x
    steps: tuple[tuple[float, Callable[[Samples], Samples]], ...] = (
        (chances.room, lambda y: in_room(y, rng)),
        (chances.background if noises else 0.0, lambda y: behind(y, rng, noises)),
        (chances.hiss, lambda y: with_hiss(y, rng)),
        (chances.microphone, lambda y: through_microphone(y, rng)),
        (chances.fade, lambda y: faded(y, round(n * 0.3 * rng.random()), round(n * 0.3 * rng.random()))),
        (chances.clip, lambda y: soft_clipped(y, float(rng.uniform(3, 15)))),
        (chances.codec, lambda y: coded(y, rng)),
    )
    for p, change in steps:
        if rng.random() < p:
            out = change(out)
    sign = -1.0 if rng.random() < 0.5 else 1.0
    return limited(out * np.float32(sign * 10.0 ** (rng.uniform(-30, 6) / 20)))


def active_frames(x: Samples, below_db: float = 35.0) -> NDArray[np.bool_]:
    """Which whole frames [T // 1920] of a clean sound hold it: within `below_db` of its loudest, above -75 dBFS."""
    frames = x[: len(x) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    power = np.mean(frames * frames, axis=1)
    least = max(10.0**-7.5, float(np.max(power, initial=0.0)) * 10.0 ** (-below_db / 10))
    return np.asarray(power >= least)


def rms(x: Samples) -> float:
    """Root mean square."""
    return math.sqrt(float(np.mean(x.astype(np.float64) ** 2))) if len(x) else 0.0


def active_rms(x: Samples) -> float:
    """RMS of the half of the 20 ms pieces that is louder: pauses between events do not count."""
    piece = SR // 50
    if len(x) < 2 * piece:
        return rms(x)
    power = np.sort(np.mean(x[: len(x) // piece * piece].reshape(-1, piece).astype(np.float64) ** 2, 1))
    return math.sqrt(float(np.mean(power[len(power) // 2 :])))


def mix(a: Samples, b: Samples, snr_db: float) -> Samples:
    """A + b with b (cut, or repeated to the length of a) so loud that a stands `snr_db` above it (see active_rms)."""
    b = fitted(b, len(a), repeat=True)
    loud = active_rms(b)
    if loud == 0.0:
        return a
    reference = active_rms(a)
    if reference == 0.0:
        return (a + b).astype(np.float32)
    return (a + b * np.float32(reference / loud * 10.0 ** (-snr_db / 20))).astype(np.float32)


def behind(x: Samples, rng: np.random.Generator, noises: Sequence[Samples]) -> Samples:
    """The sound with a random stretch of one of the noises behind it, 5 to 40 dB below."""
    noise = noises[int(rng.integers(len(noises)))]
    if len(noise) == 0:
        return x
    return mix(x, np.roll(noise, -int(rng.integers(len(noise))))[: len(x)], float(rng.uniform(5, 40)))


def with_hiss(x: Samples, rng: np.random.Generator) -> Samples:
    """The sound over the noise of a place or a recorder: white to brown, 15 to 60 dB below it."""
    size = fast_size(len(x))
    f = np.maximum(np.fft.rfftfreq(size, 1 / SR), 15.0)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32)) * (f ** -rng.uniform(0.0, 1.3)).astype(
        np.float32
    )
    return mix(x, np.fft.irfft(spectrum, size)[: len(x)].astype(np.float32), float(rng.uniform(15, 60)))


def fitted(x: Samples, n: int, repeat: bool = False) -> Samples:
    """The first n samples; a shorter sound is followed by silence, or repeated."""
    if len(x) >= n:
        return x[:n]
    if repeat and len(x):
        return np.resize(x, n)
    return np.pad(x, (0, n - len(x)))


def shifted(x: Samples, by: int) -> Samples:
    """Later by so many samples (earlier if negative); silence moves in."""
    if by == 0:
        return x
    out = np.zeros_like(x)
    if by > 0:
        out[by:] = x[:-by]
    else:
        out[:by] = x[-by:]
    return out


def sped(x: Samples, factor: float) -> Samples:
    """Faster and higher by a factor, as a tape would be: the length is divided by it."""
    return np.asarray(soxr.resample(x, factor * SR, SR, quality="MQ"), dtype=np.float32)


def faded(x: Samples, rise: int, fall: int) -> Samples:
    """Faded in over the first `rise` samples and out over the last `fall`."""
    out = x.copy()
    rise, fall = min(rise, len(x)), min(fall, len(x))
    out[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    out[len(x) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return out


def soft_clipped(x: Samples, drive_db: float) -> Samples:
    """Overdriven by so many dB at its peak into a tanh; the peak stays."""
    peak = float(np.max(np.abs(x), initial=0.0))
    if peak == 0.0:
        return x
    drive = 10.0 ** (drive_db / 20)
    return np.asarray(np.tanh(x * np.float32(drive / peak)) * np.float32(peak / math.tanh(drive)), dtype=np.float32)


def limited(x: Samples) -> Samples:
    """As it is up to 0.9, then bent so that it never leaves -1 to 1."""
    over = np.abs(x) > 0.9
    if not over.any():
        return np.asarray(x, dtype=np.float32)
    out = np.array(x, dtype=np.float32)
    out[over] = np.sign(out[over]) * (0.9 + 0.1 * np.tanh((np.abs(out[over]) - 0.9) / 0.1))
    return out


def convolved(x: Samples, kernel: Floats) -> Samples:
    """Linear convolution, as long as x."""
    size = fast_size(len(x) + len(kernel) - 1)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel.astype(np.float32), size), size)[: len(x)].astype(
        np.float32
    )


def impulse_response(rng: np.random.Generator, rt60_s: float, wet: float) -> Floats:
    """A room: the direct sound, some early reflections, a tail of noise that falls by 60 dB in `rt60_s`.

    `wet` is the energy of all reflections relative to the direct sound; the treble dies first.
    """
    n = max(2, round(min(rt60_s, 1.6) * SR))
    t = np.arange(n) / SR
    noise = rng.standard_normal(n)
    dull = np.convolve(noise, np.full(8, 0.35))[:n]
    fade = np.exp(-t / (0.15 * rt60_s))
    tail = (noise * fade + dull * (1 - fade)) * np.exp(-6.9 * t / rt60_s)
    tail[: min(n, round(rng.uniform(0.002, 0.02) * SR))] = 0.0
    loud = math.sqrt(float(np.mean(tail * tail))) * 20
    for _ in range(int(rng.integers(3, 12))):
        at = round(rng.uniform(0.001, 0.05) * SR)
        if at < n:
            tail[at] += rng.choice([-1.0, 1.0]) * loud * rng.random() / (1 + at / (0.02 * SR))
    energy = float(np.sum(tail * tail))
    kernel = tail * math.sqrt(wet / energy) if energy > 0 else tail
    kernel[0] = 1.0
    return np.asarray(kernel / math.sqrt(1 + wet))


def in_room(x: Samples, rng: np.random.Generator) -> Samples:
    """The sound in a random room of RT60 0.1 to 2.5 s, from close to the source to far into its echo."""
    rt60_s = float(np.exp(rng.uniform(math.log(0.1), math.log(2.5))))
    return convolved(x, impulse_response(rng, rt60_s, float(10.0 ** (rng.uniform(-15, 6) / 10))))


def equalized(x: Samples, response_db: Callable[[Floats], Floats]) -> Samples:
    """The sound with a response (Hz -> dB) laid over its spectrum, zero phase."""
    size = fast_size(len(x) + 1024)
    levels = 10.0 ** (response_db(np.fft.rfftfreq(size, 1 / SR).astype(np.float64)) / 20).astype(np.float32)
    return np.fft.irfft(np.fft.rfft(x, size) * levels, size)[: len(x)].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Microphone:
    """A band between two corners, shelves below and above, and small resonances (Hz, dB, width in octaves)."""

    low_hz: float
    high_hz: float
    slope: float
    bass_db: float
    treble_db: float
    bumps: tuple[tuple[float, float, float], ...] = ()

    def response_db(self, f: Floats) -> Floats:
        """Gain in dB at frequencies in Hz."""
        f = np.maximum(f, 1.0)
        out = -10 * np.log10(1 + (self.low_hz / f) ** (2 * self.slope))
        out -= 10 * np.log10(1 + (f / self.high_hz) ** (2 * self.slope))
        out += self.bass_db / (1 + (f / 250) ** 2) + self.treble_db / (1 + (3000 / f) ** 2)
        for centre, db, width in self.bumps:
            out += db * np.exp(-0.5 * (np.log2(f / centre) / width) ** 2)
        return np.asarray(np.maximum(out, -90.0))


def microphone(rng: np.random.Generator) -> Microphone:
    """A good one, a laptop's, a telephone's, a cheap or a muffled one."""
    kind = str(rng.choice(["good", "good", "laptop", "telephone", "cheap", "muffled"]))
    low, high, slope = {
        "good": (rng.uniform(5, 60), rng.uniform(10_500, 20_000), 2.0),
        "laptop": (rng.uniform(100, 300), rng.uniform(6000, 11_000), 2.0),
        "telephone": (300.0, 3400.0, 6.0),
        "cheap": (rng.uniform(60, 500), rng.uniform(3500, 9000), 1.5),
        "muffled": (rng.uniform(5, 100), rng.uniform(800, 3000), 1.0),
    }[kind]
    spread = 3.0 if kind == "good" else 6.0
    bumps = tuple(
        (
            float(np.exp(rng.uniform(math.log(100), math.log(10_000)))),
            float(spread * rng.standard_normal()),
            float(rng.uniform(0.1, 1)),
        )
        for _ in range(int(rng.integers(0, 5)))
    )
    bass_db, treble_db = spread * rng.standard_normal(2)
    return Microphone(float(low), float(high), slope, float(bass_db), float(treble_db), bumps)


def through_microphone(x: Samples, rng: np.random.Generator) -> Samples:
    """The sound through a random microphone, with its own noise at -90 to -55 dBFS half of the time."""
    out = equalized(x, microphone(rng).response_db)
    if rng.random() < 0.5:
        out = out + np.float32(10.0 ** (rng.uniform(-90, -55) / 20)) * rng.standard_normal(len(x), dtype=np.float32)
    return out


def mu_law(x: Samples) -> Samples:
    """Through the 8 bits of the telephone (G.711 companding, mu = 255)."""
    squeezed = np.log1p(255 * np.abs(np.clip(x, -1, 1))) / math.log(256)
    stepped = np.round(squeezed * 127) / 127
    return np.asarray(np.sign(x) * np.expm1(stepped * math.log(256)) / 255, dtype=np.float32)


def through_vorbis(x: Samples) -> Samples:
    """Encoded as Ogg Vorbis by libsndfile as it does unless told otherwise, and decoded."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(x, -1.0, 1.0), SR, format="OGG", subtype="VORBIS")
    file.seek(0)
    out, _ = soundfile.read(file, dtype="float32")
    return fitted(np.asarray(out, dtype=np.float32), len(x))


def at_rate(x: Samples, rate: int) -> Samples:
    """Down to a lower sample rate and back: nothing is left above half of it."""
    low = soxr.resample(x, SR, rate, quality="MQ")
    return fitted(np.asarray(soxr.resample(low, rate, SR, quality="MQ"), dtype=np.float32), len(x))


def coded(x: Samples, rng: np.random.Generator) -> Samples:
    """MP3 or Vorbis, telephone (8 kHz, mu-law), or a low sample rate."""
    kind = int(rng.integers(6))
    if kind == 0:
        return through_mp3(x, SR)
    if kind <= 2:
        return through_vorbis(x)
    if kind == 3:
        return mu_law(at_rate(x, 8000))
    return at_rate(x, int(rng.choice([8000, 11_025, 12_000, 16_000])))
