"""A tokenizer whose codes are known, and recordings on which they are right: classes are pitches, S1 is the level."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from natd.codec import Spec
from natd.evaluation.material import Material, load
from natd.training.recordings import Clip
from natd.wire import Layer, TokenizerInfo

SR, FRAME = 24_000, 1920
CLASSES = {"dog": 500.0, "rain": 1000.0, "sea_waves": 2000.0, "clock_tick": 4000.0}
PHRASES = {0: "silence", 1: "a dog barks", 2: "rain", 3: "waves of the sea", 4: "a ticking clock, 120 bpm"}


@dataclass(slots=True)
class State:
    """Sounding frames so far [B]."""

    count: torch.Tensor


class Made:
    """S0: which of four pitches (0 silence). S1: level in steps of 4 dB, two codes a frame. A0: counts to four."""

    def __init__(self, device: str = "cpu") -> None:
        layers = (
            Layer("S0", "semantic", "pitch", 5, encoding="rle"),
            Layer("S1", "semantic", "level", 32, per_frame=2),
            Layer("A0", "acoustic", "counter", 4),
        )
        self.spec = Spec(TokenizerInfo("made", "1", "sha256:0"), SR, FRAME, layers)
        self.glossary = {"S0": PHRASES}

    def initial_state(self, batch: int) -> State:
        return State(torch.zeros(batch, dtype=torch.int64))

    def encode(self, chunk: torch.Tensor, state: State) -> list[torch.Tensor]:
        power = chunk.double().var(dim=1, correction=0)
        sounds = power > 1e-7
        hz = torch.fft.rfft(chunk.double()).abs().argmax(1) * SR / FRAME
        pitches = torch.tensor(list(CLASSES.values()), dtype=torch.float64)
        nearest = (hz.clamp(min=1.0).log2()[:, None] - pitches.log2()).abs().argmin(1) + 1
        level = (-2.5 * power.clamp(min=1e-12).log10()).round().long().clamp(0, 31)
        counter = torch.where(sounds, state.count % 4, 0)
        state.count += sounds
        return [torch.where(sounds, nearest, 0)[:, None], level[:, None].repeat(1, 2), counter[:, None]]


class Decoding(Made):
    """Its A0 stands for a log-mel of -10, -20, -30 or -40 dB everywhere."""

    def initial_mel_state(self, batch: int) -> None:
        return None

    def decode_mel(self, codes: list[torch.Tensor], state: None) -> torch.Tensor:
        return -10.0 * (codes[0][:, 0, None, None] + 1).float().expand(-1, 8, 128)


class Bare(Made):
    """Its only layer is acoustic, and there are no words."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.spec = replace(self.spec, layers=(Layer("A0", "acoustic", "pitch", 5),))
        self.glossary = {}

    def encode(self, chunk: torch.Tensor, state: State) -> list[torch.Tensor]:
        return super().encode(chunk, state)[:1]


class Naming(Made):
    """Of its four pitches it names one rightly, one by its wider kind, one wrongly, and one not at all."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.called = {"S0": {0: "", 1: "dog", 2: "nature", 3: "rain", 4: "unknown"}}
        self.kinds = {
            "S0": {
                1: {"dog": 0.9},
                2: {"rain": 0.5, "sea waves": 0.3},
                3: {"rain": 0.6, "sea waves": 0.4},
                4: {"clock tick": 0.3},
            }
        }


class Tuned(Made):
    """S0 is the semitone of the strongest partial and its words say so, from C4 upward; below, they name none."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.spec = replace(self.spec, layers=(Layer("S0", "semantic", "note", 128), *self.spec.layers[1:]))
        names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
        self.glossary = {"S0": {i: f"note {names[i % 12]}{i // 12 - 1}" if i >= 60 else "low" for i in range(128)}}

    def encode(self, chunk: torch.Tensor, state: State) -> list[torch.Tensor]:
        hz = torch.fft.rfft(chunk.double()).abs().argmax(1).clamp(min=1) * SR / FRAME
        note = (69 + 12 * (hz / 440.0).log2()).round().long().clamp(0, 127)
        return [note[:, None], *super().encode(chunk, state)[1:]]


def tone(hz: float, seed: int, seconds: float = 1.6) -> np.ndarray:
    """A pitch that swells from soft to loud by an amount of its own, then 0.4 s of digital silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SR)) / SR
    swell = np.linspace(rng.uniform(0.002, 0.01), rng.uniform(0.1, 0.9), len(t))
    out = (swell * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    return np.concatenate([out, np.zeros(int(0.4 * SR), np.float32)])


def material_of(
    folder: Path, sounds: list[np.ndarray], clips: list[tuple[str, str, str]], tokenizer: Made | None = None
) -> Material:
    """Sounds as if they were the held-out recordings `clips` (folder, name, ESC-10 class)."""
    held = []
    for sound, (where, name, label) in zip(sounds, clips, strict=True):
        path = folder / where / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, SR, subtype="FLOAT")
        held.append(Clip(path, where, "held", "environment", label, 3 if label else 0))
    return load(tokenizer or Made(), held, sorted({c.label for c in held if c.label}), 20.0, str, "")


def write_recordings(root: Path) -> None:
    """Folds 1 to 3 of four classes, three clips each, and one recording of every other part."""
    for label, hz in CLASSES.items():
        for fold in (1, 2, 3):
            for take in range(3):
                path = root / "esc10" / label / f"{fold}-{take}00-A.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone(hz, 100 * fold + take), SR, subtype="FLOAT")
    for number, name in enumerate(("music/train/a", "music/dev/b", "sounds/train/c", "sounds/dev/d")):
        path = root / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(700.0 + 100 * number, number), SR, subtype="FLOAT")
