"""How bands and drummers play: bars written as strings, one character a step.

`X` is loud, `x` plain, `o` soft, `.` nothing. Several bars of a voice are played in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

KEYS = {
    "kick": 36, "snare": 38, "rim": 37, "clap": 39, "hat": 42, "pedal": 44, "open": 46, "ride": 51, "bell": 53,
    "crash": 49, "tom1": 50, "tom2": 47, "tom3": 43, "tambourine": 54, "cowbell": 56, "bongo1": 60, "bongo2": 61,
    "conga0": 62, "conga1": 63, "conga2": 64, "timbale1": 65, "timbale2": 66, "agogo1": 67, "agogo2": 68, "cabasa": 69,
    "maracas": 70, "guiro": 73, "claves": 75, "block1": 76, "block2": 77, "triangle0": 80, "triangle1": 81,
    "shaker": 82, "surdo": 41,
}  # fmt: skip
LOUD = {"X": 112, "x": 88, "o": 52}
STANDARD, ROOM, POWER, ELECTRONIC, TR808, JAZZ, BRUSH, ORCHESTRA = 0, 8, 16, 24, 25, 32, 40, 48
ACOUSTIC = (STANDARD, ROOM, POWER)


@dataclass(frozen=True, slots=True)
class Groove:
    """A manner of playing: its tempi, bar, kits, and the bars of drums, bass and chords.

    `steps` to the beat; `swing` is how far (in steps) every other step may come late; the bass says which tone of the
    chord (`r` root, `5` fifth, `8` octave, `3` third, `w` a step on the way to the next); chords as drums.
    """

    name: str
    low: float
    high: float
    steps: int
    drums: dict[str, tuple[str, ...]]
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    beats: int = 4
    swing: float = 0.0
    kits: tuple[int, ...] = ACOUSTIC
    synth: float = 0.0  # the share of such bands that are synthesisers alone
    manner: str = field(default="any")  # "hand": no band plays it


def bars(text: str) -> dict[str, tuple[str, ...]]:
    """Lines "voice: bar bar" as a table."""
    return {line.split(":")[0].strip(): tuple(line.split(":")[1].split()) for line in text.strip().splitlines()}


GROOVES = (
    Groove("rock", 80, 180, 2, bars("""hat: Xxxxxxxx XxXxXxXx x.x.x.x.
        kick: X...X... X...xx.. X..xX... X.x.X..x
        snare: ..X...X."""),
        ("rrrrrrrr", "r.r.r.r.", "r..rr..r", "r.rrr.55"), ("X.......", "X.x.x.x.", "X..x..x.", "xxxxxxxx")),
    Groove("ride rock", 90, 170, 2, bars("""ride: Xxxxxxxx X.x.X.x.
        kick: X...X.x. X..x.X..
        snare: ..X...X. ..X...Xo
        crash: X....... ........ ........ ........"""),
        ("rrrrrrrr", "r.rr8.5."), ("X.......", "X...X.x.")),
    Groove("pop", 75, 140, 4, bars("""hat: x.x.x.x.x.x.x.x. X.oxX.oxX.oxX.ox
        kick: X.......X.x..... X..x....X....... X.....x.X..x....
        snare: ....X.......X... ....X.......X..o"""),
        ("r.......r.r.....", "r..r....r.....5.", "r...r...r...5..."),
        ("X...............", "X..x..x...x..x..", "x...x...x...x...")),
    Groove("ballad", 50, 90, 4, bars("""hat: x...x...x...x... x.o.x.o.x.o.x.o.
        kick: X.........x..... X.......X.......
        rim: ....x.......x...
        crash: x............... ................ ................ ................"""),
        ("r...........5...", "r.......r......."), ("X...............", "x.x.x.x.x.x.x.x.", "X.......x.......")),
    Groove("funk", 80, 125, 4, bars("""hat: XoxoXoxoXoxoXoxo X.xxX.xxX.xxX.xx
        kick: X..x..x...x..... X.x.......xx..x.
        snare: ....X..o.o..X..o ....X..o.oo.X..."""),
        ("r..r..8...r.5.8.", "r.r...r8..r..58."), ("..x...x...x...x.", "x..x..x.....x.x.", "....X.......X...")),
    Groove("bossa", 100, 170, 2, bars("""hat: xxxxxxxx XoxoXoxo
        kick: X..xX..x
        rim: x..x..x. ..x..x.."""),
        ("r..55..r", "r...5..."), ("x..x..x.", "..x..x.x", "x.x..x.x"), kits=(STANDARD, JAZZ, BRUSH)),
    Groove("waltz", 80, 200, 2, bars("""hat: ..x.x. xxxxxx
        kick: X.....
        snare: ..o.o. ......"""),
        ("r.....", "r...5."), ("..x.x.", "X....."), beats=3, kits=(STANDARD, BRUSH, JAZZ)),
    Groove("jazz waltz", 100, 200, 2, bars("""ride: x.xxx. x.x.xx
        pedal: ..x...
        kick: o....."""),
        ("r.3.5.", "r.5.w."), ("..x..x", "x..x..", "X....."), beats=3, swing=0.33, kits=(JAZZ, BRUSH)),
    Groove("swing", 95, 200, 2, bars("""ride: x.xxx.xx
        pedal: ..x...x.
        kick: o.o.o.o. ........
        snare: ......o. ...o.... ........"""),
        ("r.3.5.w.", "r.5.3.w.", "r.8.5.w."), ("x..x....", "...x..x.", "..x...x.", "x..x..x."), swing=0.33,
        kits=(JAZZ, BRUSH)),
    Groove("shuffle", 80, 170, 3, bars("""hat: X.xX.xX.xX.x
        kick: X.....X..... X....xX.....
        snare: ...X.....X.."""),
        ("r.rr.r5.58.5", "r..5..8..5.."), ("x.xx.xx.xx.x", "..x..x..x..x", "X..........."), kits=(STANDARD, ROOM)),
    Groove("slow twelve", 50, 80, 3, bars("""hat: xxxxxxxxxxxx
        kick: X.....X....x X....xX.....
        snare: ...X.....X.."""),
        ("r....rr..5..", "r.....5....."), ("xxxxxxxxxxxx", "X...........", "x..x..x..x..")),
    Groove("four on the floor", 100, 150, 4, bars("""kick: X...X...X...X...
        open: ..x...x...x...x.
        hat: x.x.x.x.x.x.x.x. xxxxxxxxxxxxxxxx ................
        clap: ....X.......X..."""),
        ("..r...r...r...r.", "r.rrr.rrr.rrr.rr", "r..r..r.r..r..8."),
        ("..x...x...x...x.", "x..x..x..x..x...", "X..............."),
        kits=(ELECTRONIC, TR808, STANDARD), synth=0.65),
    Groove("hip hop", 70, 105, 4, bars("""hat: x.x.x.x.x.x.x.xx x.x.x.xxx.x.x.x.
        kick: X......x..x..... X.x.......x.x...
        snare: ....X.......X..."""),
        ("r......r..r.....", "r.......5......."), ("X...............", "x.....x...x....."), swing=0.2,
        kits=(TR808, ELECTRONIC, ROOM), synth=0.4),
    Groove("reggae", 60, 95, 4, bars("""hat: ..x...x...x...x. x.x.x.x.x.x.x.x.
        kick: ........X.......
        rim: ........X......."""),
        ("r..r..5.....r...", "....r.5.r......."), ("..X...X...X...X.", "....X.......X..."), swing=0.15),
    Groove("train", 120, 200, 2, bars("""snare: xXxxxXxx oXoooXoo
        kick: X.x.X.x. X...X..."""),
        ("r...5...", "r.r.5.5."), ("..x...x.", ".x.x.x.x"), kits=(STANDARD, BRUSH)),
    Groove("punk", 140, 200, 2, bars("""hat: xxxxxxxx X.X.X.X.
        kick: X..xX... X...X.x.
        snare: ..X...X."""),
        ("rrrrrrrr",), ("xxxxxxxx", "X......."), kits=(STANDARD, POWER)),
    Groove("cha-cha", 100, 140, 2, bars("""guiro: X.xxX.xx
        cowbell: x.x.x.x.
        conga0: ..x.....
        conga2: ......xx
        kick: ...x...x"""),
        ("r..5..r.", "r...5.r."), ("x.xx.x.x", "..x...x.")),
    Groove("samba", 85, 130, 4, bars("""shaker: XoxxXoxxXoxxXoxx
        surdo: o...X...o...X...
        agogo1: x.x....x.x.....x
        agogo2: ....x.x.....x.x.
        kick: x..xX..xx..xX..x"""),
        ("r..rr..55..55..r",), ("x.x..x.x..x.x.x.",)),
    Groove("half time", 50, 80, 4, bars("""hat: x.x.x.x.x.x.x.x. xxxxxxxxxxxxxxxx
        kick: X.....x...x..... X..x............
        snare: ........X......."""),
        ("r.....r...r.....", "r..............."), ("X...............", "x...x...x...x...")),
    Groove("congas", 80, 130, 4, bars("""conga0: ..x...x...x...x. ..x...x...x.x...
        conga1: ....X.......X...
        conga2: ......xx......xx ......xx....x.xx
        maracas: xoxoxoxoxoxoxoxo
        claves: x..x..x...x.x... ................"""), (), (), manner="hand"),
    Groove("bongos", 70, 130, 4, bars("""bongo1: X.xxX.xxX.xxX.xx
        bongo2: .x....x..x....x. ......xx......x.
        shaker: x.x.x.x.x.x.x.x. ................"""), (), (), manner="hand"),
    Groove("tambourine", 80, 180, 2, bars("""tambourine: xoXoxoXo
        clap: ..X...X. ........
        block1: x...x.x. ........"""), (), (), manner="hand"),
    Groove("march", 90, 140, 4, bars("""snare: X..xXxx.X..xXxxx X.xxX.xxX.x.xxxx
        kick: X.......X....... X...X...X...X...
        crash: X............... ................"""), (), (), kits=(ORCHESTRA, STANDARD), manner="hand"),
    Groove("toms", 80, 150, 4, bars("""tom3: X..x..x.X..x..x. X.x.X.x.X.x.X.x.
        tom2: ..x...x....x..x.
        tom1: ....x.......x.xx
        kick: X...X...X...X..."""), (), (), kits=(ROOM, POWER, STANDARD), manner="hand"),
    Groove("timbales", 90, 130, 4, bars("""timbale1: ....X.xx....X.x. x..x..xx....X...
        timbale2: x.x.....x.x.....
        cowbell: X.x.x.xxX.x.x.xx
        triangle1: ........x......."""), (), (), manner="hand"),
    Groove("slow waltz", 50, 90, 2, bars("""ride: x.x.x. x.xxx.
        kick: X..... X....o
        rim: ....x. ..x.x."""), ("r.....", "r...5."), ("X.....", "xxxxxx"), beats=3, kits=(STANDARD, BRUSH)),
)  # fmt: skip

FILLS = {  # the last two beats of a bar, by steps to the beat
    2: (("snare", "xxXX"), ("tom1", "xx.."), ("tom3", "..xX")),
    3: (("snare", "xxxxxX"), ("tom2", "...xx."), ("tom3", "x.x..X")),
    4: (("snare", "xxxxxoxX"), ("tom1", "..xx...."), ("tom3", "....xxXX")),
}


def pick(rng: np.random.Generator, bpm: float, hand: bool) -> Groove:
    """A groove that is played at this tempo; `hand`: also those without a band."""
    fit = [g for g in GROOVES if g.low <= bpm <= g.high and (hand or g.manner == "any")]
    return fit[int(rng.integers(len(fit)))]
