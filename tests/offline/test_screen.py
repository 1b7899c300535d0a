"""How a view looks."""

import json

import pytest
from rich.console import Console

from natd.llm.follow import Following
from natd.offline.screen import Screen, describe, summary
from natd.wire import encode
from tests.streams import Teller, header, heartbeat


def seen(frames: int = 30) -> Following:
    view = Following()
    teller = Teller(header(), {"S0": {i: f"phrase {i} " + "long " * 30 for i in range(4)}})
    for i in range(frames):
        teller.frame([[i // 4 % 4], [i // 7 % 4], [0], [0, 0]], lat=4.0 + i % 3)
    teller.gap(3, "overrun", 200.0)
    teller.frame([[0], [1], [0], [0, 0]], lat=5.0)
    for event in (teller.story.header, *teller.story.events, heartbeat(40, 33)):
        view.feed(json.loads(encode(event)))
    return view


def drawn(view: Following, width: int = 100, height: int = 24, **how: bool) -> list[str]:
    console = Console(width=width, height=height, **how)
    with console.capture() as capture:
        console.print(Screen(view))
    return capture.get().splitlines()


def test_the_picture_says_what_is_heard():
    text = "\n".join(drawn(seen()))
    assert "● live" in text and "stage" in text and "device hw:1 · 48000 Hz × 2" in text
    assert "scene     phrase 0" in text and "harmony   code 1" in text
    assert " -20.5 dBFS" in text and "peak   -3.0" in text
    assert "p50 5.0 ms  p99 6.0 ms" in text
    assert "gaps 1    frames in gaps 3    lost 0" in text
    assert "GAP 3 frames lost, 200 ms of audio: overrun" in text
    assert "▄×××▄" in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [10, 24, 60])
def test_it_fits_the_terminal(width, height):
    lines = drawn(seen(), width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 15)  # the newest changes are shown even where there is no room


def test_it_can_be_drawn_before_anything_came():
    assert "● waiting" in drawn(Following())[0]


def test_the_same_code_has_the_same_colour_and_a_run_is_one_piece():
    line = next(line for line in drawn(seen(8), force_terminal=True, color_system="truecolor") if "▄" in line)
    assert line.count("▄▄▄▄") == 2  # two runs of four frames
    assert line.count("\x1b[38;2;") == 3  # with the frame after the gap, which has the colour of the first run
    colours = [piece.split("m")[0] for piece in line.split("\x1b[38;2;")[1:]]
    assert colours[0] == colours[2] != colours[1]


def test_lines_for_everything_else():
    view = seen()
    gap = next(change for change in view.changes if change.kind == "gap")
    assert describe(view, gap).plain.endswith("  0:00:02.4  GAP 3 frames lost, 200 ms of audio: overrun")
    assert summary(view).endswith(
        "[live], level -20.5 dBFS, peak -3.0, latency p50 5.0 ms, p99 6.0 ms, gaps 1 (3 frames), lost 0"
    )
    assert summary(Following()) == "--:--:--.-   0:00:00.0  [waiting], level -, latency -, gaps 0 (0 frames), lost 0"
