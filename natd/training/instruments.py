"""General MIDI programs: how low and high they are played, whether they hold a tone, what kind of sound they are."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

HOLDS = 8.0  # seconds: longer than any note


@dataclass(frozen=True, slots=True)
class Instrument:
    """A program, its range in MIDI numbers, and how many seconds a key may be held and still be heard."""

    program: int
    low: int
    high: int
    longest_s: float = HOLDS

    def longest(self, midi: int) -> float:
        """Seconds that a key may be held: what dies away does so sooner above C5, twice as soon every octave."""
        return self.longest_s if self.longest_s == HOLDS else self.longest_s * 2.0 ** (min(0, 72 - midi) / 12)


def _rows(*rows: tuple[int, int, int] | tuple[int, int, int, float]) -> tuple[Instrument, ...]:
    return tuple(Instrument(*row) for row in rows)


FAMILY = MappingProxyType(
    {
        "piano": _rows((0, 21, 108, 2.5), (1, 21, 108, 2.5), (2, 28, 100, 2.5), (3, 28, 100, 2.0), (4, 28, 96, 2.5),
                       (5, 28, 96, 2.5)),
        "harpsichord": _rows((6, 29, 89, 1.5), (7, 36, 84, 1.0)),
        "mallets": _rows((8, 60, 108, 0.8), (9, 79, 108, 1.0), (10, 60, 96, 1.0), (11, 53, 89, 2.0), (12, 45, 96, 0.5),
                         (13, 65, 103, 0.35), (108, 55, 88, 0.3), (114, 55, 90, 0.3)),
        "church organ": _rows((19, 36, 91)),
        "organ": _rows((20, 36, 91)),
        "drawbar organ": _rows((16, 36, 96), (17, 36, 96), (18, 36, 96)),
        "accordion": _rows((21, 41, 91), (22, 55, 91), (23, 41, 91)),
        "guitar": _rows((24, 40, 83, 1.5), (25, 40, 86, 1.5), (26, 40, 86, 1.5), (27, 40, 86, 2.0), (28, 40, 76, 0.4),
                        (29, 40, 86, 2.5), (30, 40, 86, 2.5)),
        "bass": _rows((32, 28, 60, 1.5), (33, 28, 60, 2.5), (34, 28, 60, 2.0), (35, 28, 60, 2.5), (36, 28, 60, 1.0),
                      (37, 28, 60, 1.0)),
        "synth bass": _rows((38, 28, 60, 2.5), (39, 28, 60, 2.5)),
        "strings": _rows((40, 55, 100), (41, 48, 90), (42, 36, 81), (43, 28, 55), (44, 36, 92), (48, 36, 92),
                         (49, 36, 92), (110, 55, 91)),
        "plucked": _rows((45, 36, 91, 0.3), (46, 28, 100, 1.5), (104, 48, 77, 1.5), (105, 48, 84, 0.6),
                         (106, 50, 79, 0.8), (107, 55, 84, 1.2)),
        "voice": _rows((52, 48, 79), (53, 48, 79), (54, 48, 84)),
        "brass": _rows((56, 55, 86), (57, 36, 74), (58, 28, 58), (59, 54, 86), (60, 41, 77), (61, 43, 84)),
        "reed": _rows((64, 54, 87), (65, 49, 81), (66, 42, 75), (67, 37, 69), (68, 58, 91), (69, 52, 81), (70, 34, 72),
                      (71, 50, 91), (109, 55, 79), (111, 58, 84)),
        "pipe": _rows((72, 74, 108), (73, 60, 96), (74, 60, 96), (75, 60, 96), (76, 55, 84), (77, 53, 84),
                      (79, 60, 88)),
        "lead": _rows((62, 40, 84), (63, 40, 84), (80, 36, 96), (81, 36, 90), (82, 48, 96), (84, 36, 90), (85, 48, 88),
                      (87, 33, 84)),
        "pad": _rows((50, 36, 91), (51, 36, 91), (88, 36, 91), (89, 36, 91), (90, 36, 91), (91, 40, 88), (92, 45, 91),
                     (93, 40, 88), (94, 40, 88), (95, 40, 88)),
    }
)  # fmt: skip
# A solo is drawn by family, then by program. Three families have no place there: drawbars sound octaves below the key,
# as the pipes of a church organ do on some keys, and the reeds of an accordion are out of tune in some sound fonts.
SOLO = tuple(name for name in FAMILY if name not in ("drawbar organ", "church organ", "accordion"))
INSTRUMENT = MappingProxyType({one.program: one for rows in FAMILY.values() for one in rows})

_KIND_OF_FAMILY = {
    "piano": "piano", "mallets": "mallets", "organ": "organ", "church organ": "organ", "drawbar organ": "organ",
    "guitar": "plucked strings", "bass": "plucked strings",
    "synth bass": "electronic music", "strings": "bowed strings", "plucked": "plucked strings", "voice": "singing",
    "brass": "brass", "reed": "woodwind", "pipe": "woodwind", "lead": "electronic music", "pad": "electronic music",
}  # fmt: skip
# Program -> kind of sound when it plays alone; None where no kind fits (a harpsichord, an accordion, a noise).
FAMILIES = MappingProxyType(
    dict.fromkeys(range(128))
    | {one.program: _KIND_OF_FAMILY.get(name) for name, rows in FAMILY.items() for one in rows}
)

# What takes which part in chords, bands and ensembles.
CHORDAL = ("piano", "harpsichord", "church organ", "organ", "guitar", "pad")
# vibraphone, marimba, drawbars, harp, strings, choir, brass
CHORDAL_MORE = (11, 12, 17, 18, 46, 48, 49, 52, 61)
COMPING = (0, 1, 2, 4, 5, 7, 17, 18, 24, 25, 26, 27, 28)
DRIVEN = (29, 30)
SYNTHS_COMPING = (50, 62, 80, 81, 88, 90)
LEADS = (0, 4, 11, 22, 24, 25, 26, 27, 40, 56, 57, 59, 61, 64, 65, 66, 71, 73, 52)
SYNTH_LEADS = (80, 81, 82, 84, 85, 87)
BACKING = (48, 49, 50, 51, 52, 89, 91, 95, 17, 18)
# The voices of ensembles, highest first.
SECTIONS = MappingProxyType(
    {
        "string orchestra": (48, 48, 48, 49, 49),
        "string quartet": (40, 40, 41, 42, 43),
        "brass": (56, 56, 60, 57, 58),
        "brass section": (61, 61, 61, 61, 58),
        "woodwind": (73, 68, 71, 69, 70),
        "saxophones": (64, 65, 65, 66, 67),
        "choir": (52, 52, 52, 53, 53),
        "orchestra": (73, 48, 48, 60, 42),
        "wind band": (71, 56, 60, 57, 58),
        "strings and choir": (48, 52, 49, 52, 43),
    }
)
