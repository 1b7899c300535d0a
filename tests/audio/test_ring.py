"""Two processes: nothing torn, nothing lost that the ring can hold, and a jump where it cannot."""

import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from natd.audio.ring import XRUN, Announcement, RingReader, RingWriter, Shape

WRITER = """
import sys, time
import numpy as np
from natd.audio.ring import RingWriter, Shape
frames, channels, block, count, memory, pipe, pause = (int(a) for a in sys.argv[1:8])
ring = RingWriter(Shape(frames, channels, block), memory, pipe)
sizes = np.random.default_rng(1)
at = 0
while at < count:
    n = min(int(sizes.integers(1, block + 1)), count - at)
    samples = (np.arange(at, at + n) % (1 << 24)).astype(np.float32)
    ring.write(np.repeat(samples[:, None], channels, 1), at)
    at += n
    if pause:
        time.sleep(pause / 1e6)
print("done", flush=True)
sys.stdin.read()
"""


def start(ring, count, pause_us=0):
    shape = ring.shape
    args = [shape.frames, shape.channels, shape.block, count, *ring.writer_fds, pause_us]
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, args)],
        pass_fds=ring.writer_fds,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    ring.attached()
    return child


def follow(ring, child, count, slow=False):
    """Every sample that came, checked; and how many did not. Ends with the writer."""
    at = got = 0
    while at < count:
        select.select([ring.fd], [], [], 10)
        notes = ring.announcements()
        if notes is None:
            break
        for note in notes:
            assert note.first >= at
            at = note.first + note.count
            samples = ring.read(note.first, note.count)
            if samples is None:
                continue
            expected = (np.arange(note.first, at) % (1 << 24)).astype(np.float32)
            np.testing.assert_array_equal(samples, np.repeat(expected[:, None], ring.shape.channels, 1))
            got += note.count
            if slow:
                time.sleep(0.0005)
    return got


def finish(child):
    child.stdin.close()
    assert child.wait(10) == 0  # before its output is closed: it may still be saying its last word
    child.stdout.close()


@pytest.mark.parametrize(("channels", "block"), [(1, 1), (2, 480), (8, 4800)])
def test_a_reader_that_keeps_up_gets_every_sample(channels, block):
    ring = RingReader(Shape(200_000, channels, block))
    count = 1000 if block == 1 else 150_000
    child = start(ring, count)
    assert follow(ring, child, count) == count
    finish(child)
    ring.close()


def test_a_writer_that_laps_the_reader_never_tears_a_block():
    """A ring of 4 blocks and a writer without pause: most blocks are lost, none is half one and half another."""
    ring = RingReader(Shape(2000, 2, 500))
    child = start(ring, 3_000_000)
    got = follow(ring, child, 2_900_000, slow=True)
    assert 0 < got < 2_900_000
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    ring.close()


def test_announcements_that_find_the_pipe_full_are_dropped_and_show_as_a_jump():
    ring = RingReader(Shape(4000, 1, 1000))
    memory, pipe = ring.writer_fds
    writer = RingWriter(ring.shape, memory, pipe)
    block = np.zeros((1000, 1), np.float32)
    told = [writer.write(block, i) for i in range(70_000)]
    fits = told.index(False)
    assert not any(told[fits:])
    notes = []
    while some := ring.announcements():
        notes += some
    assert [n.first for n in notes] == [1000 * i for i in range(fits)]
    assert ring.read(notes[-1].first, 1000) is None  # announced, but overwritten long ago
    assert writer.write(block, 7, XRUN)
    assert ring.announcements() == [Announcement(70_000_000, 1000, 7, XRUN)]
    assert ring.read(70_000_000, 1000) is not None
    writer.close()
    ring.close()


def test_overwritten_is_told_from_intact_to_the_block():
    ring = RingReader(Shape(40, 1, 10))
    writer = RingWriter(ring.shape, *ring.writer_fds)
    for i in range(6):
        writer.write(np.full((10, 1), i, np.float32), 0)
    # Samples 20 to 59 are in memory; 20 to 29 could be under a write that is not yet to be seen.
    assert [ring.read(first, 10) is None for first in range(0, 60, 10)] == [True, True, True, False, False, False]
    assert ring.read(30, 10)[0, 0] == 3
    writer.close()
    ring.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_writer_that_dies_is_seen_and_leaves_nothing(how):
    ring = RingReader(Shape(48000, 1, 480))
    child = start(ring, 48, 0)
    assert child.stdout.readline() == b"done\n"
    child.send_signal(how)
    child.communicate()
    seen = ring.announcements()
    assert sum(n.count for n in seen) == 48
    assert ring.announcements() is None
    ring.close()
    assert not [name for name in os.listdir("/dev/shm") if "natd" in name]


def test_no_descriptor_is_left_open():
    before = len(os.listdir("/proc/self/fd"))
    ring = RingReader(Shape(48000, 1, 480))
    ring.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_room():
    assert Shape.of(48000, 2, 480) == Shape(768_000, 2, 480)
    assert Shape.of(192_000, 32, 1920).bytes <= (128 << 20) + 4096
    assert Shape.of(8000, 1, 80_000).frames == 320_000
