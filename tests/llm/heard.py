"""A stream with words of the kinds that tokenizers use, for tests of what is told of it."""

import json
from collections.abc import Iterable

from natd.llm.view import View
from natd.wire import Event, Layer, encode
from tests.streams import Teller, header

LAYERS = (
    Layer("S0", "semantic", "scene: kinds of sound", 16, 1, "rle"),
    Layer("S1", "semantic", "harmony: notes and chords", 16, 1, "rle"),
    Layer("S2", "semantic", "rhythm: tempo, ticks, textures", 16, 1, "rle"),
    Layer("S3", "semantic", "dynamics: level, brightness, noisiness", 16, 1, "rle"),
)
WORDS = {
    "S0": {0: "silence", 1: "rain", 2: "unknown, closest to: train 0.35, wind 0.2: steady dark noise",
           3: "animal, closest to: dog 0.4", 4: "not heard long enough", 5: "piano", 6: "sea waves 0.62"},
    "S1": {0: "silence", 1: "note A4", 2: "note C5", 3: "chord Am7", 4: "unpitched", 5: "mix of C E A",
           6: "note E5", 7: "chord A", 8: "note G5", 10: "not heard long enough"},
    "S2": {0: "silence", 1: "tempo 120 bpm, no onset", 2: "tempo 120 bpm, strong onset",
           3: "tempo 120 bpm, soft onset", 4: "irregular events, soft onset", 5: "irregular events, no onset",
           6: "none, no onset", 7: "regular ticks every 0.50 s, no onset", 8: "syllabic",
           9: "not heard long enough, no onset", 10: "not heard long enough, clear onset"},
    "S3": {0: "silence", 1: "loud -18 dBFS, bright 3.1 kHz, noisy", 2: "loud -20 dBFS, bright 2.6 kHz, noisy",
           3: "soft -42 dBFS, dark 410 Hz, tonal"},
}  # fmt: skip


class Scene(Teller):
    """Frames of four codes."""

    def __init__(self, words: dict[str, dict[int, str]] = WORDS) -> None:
        super().__init__(header(LAYERS), words)

    def hear(self, *codes: int, frames: int = 1) -> "Scene":
        for _ in range(frames):
            self.frame([[code] for code in codes])
        return self


def told(view: View, events: Iterable[Event]) -> list[str]:
    """The lines that events give, without the head."""
    lines = [line for event in events for line in view.feed(json.loads(encode(event)))]
    return [line for line in lines + view.finish() if not line.startswith("#")]
