"""The device source on a virtual card: every sample as it was played, every fault declared as long as it was."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing

import numpy as np
import pytest
import soundfile

from natd.audio.chunks import Block, Loss
from natd.errors import SourceError
from natd.sources.device import DeviceSource, list_devices
from natd.sources.tap import Tap

RATE, FRAME_S = 48000, 0.08


def noise(seconds, seed=1, channels=2):
    return (np.random.default_rng(seed).standard_normal((int(seconds * RATE), channels)) * 0.1).astype(np.float32)


def write(path, samples):
    soundfile.write(path, samples, RATE, "FLOAT")
    return path


def place(piece, played):
    """Where in `played` the `[n]` samples of `piece` come from; fails if they do not."""
    size = 1 << (len(played) + len(piece)).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(piece, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(played)]))
    np.testing.assert_array_equal(piece, played[at : at + len(piece)])
    return at


async def capture(source, until, deadline_s=40):
    """Events until `until(events)`; their numbers leave no hole."""
    events, at = [], 0
    async with asyncio.timeout(deadline_s), aclosing(aiter(source)) as stream:
        async for event in stream:
            events.append(event)
            assert event.first == at
            at += len(event.samples) if isinstance(event, Block) else event.count
            if until(events):
                return events


def blocks_of(events):
    return [e for e in events if isinstance(e, Block)]


def losses(events):
    return [e for e in events if isinstance(e, Loss)]


def off_time(events):
    """How far the count of samples has moved against the clock from the first half second to the last, s."""
    blocks = blocks_of(events)
    late = [b.mono_ns / 1e9 - (b.first + len(b.samples)) / RATE for b in blocks]
    return min(late[-50:]) - min(late[:50])


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (16000, 1), (44100, 2)])
def test_every_sample_is_captured_as_it_was_played(cards, tmp_path, rate, channels):
    card = cards(rate=rate, channels=channels)
    played = (np.random.default_rng(3).standard_normal((rate, channels)) * 0.1).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", played, rate, "FLOAT")

    async def scenario():
        async with Tap(DeviceSource("hw:1", rate, channels), tmp_path / "tap") as source:
            started = False

            def until(events):
                nonlocal started
                if not started and len(events) > 20:
                    started = True
                    threading.Thread(target=card.play, args=(tmp_path / "noise.wav",)).start()
                return len(events) > 200

            return await capture(source, until), source.files

    events, files = asyncio.run(scenario())
    assert losses(events) == []
    samples = np.concatenate([b.samples for b in events])
    heard = np.flatnonzero(samples.any(axis=1))
    np.testing.assert_array_equal(samples[heard[0] : heard[-1] + 1], played)
    [file] = files
    np.testing.assert_array_equal(soundfile.read(file, dtype="float32", always_2d=True)[0], samples)


def test_names(cards):
    cards(10)
    cards(1)
    devices = {d.name: d for d in list_devices()}
    assert {"hw:1,0", "hw:10,0"} <= set(devices)

    async def first(selector):
        async with DeviceSource(selector, RATE, 2) as source:
            await capture(source, lambda events: len(events) == 3)

    for selector in ("hw:1", "hw:1,0", "HW:10,0", "hw:10", devices["hw:1,0"].index):
        asyncio.run(first(selector))
    with pytest.raises(SourceError, match="hw:1,0.*hw:10,0"):
        asyncio.run(first("HW:1"))


# How a card goes away, and for how many seconds at least
FAULTS = [("kill", 0.5), ("unload", 0.2), ("suspend", 1.5), ("stall", 1.5)]


@pytest.mark.parametrize(("how", "seconds"), FAULTS)
def test_a_fault_of_the_card_is_declared_as_long_as_it_was(card, how, seconds):
    """The card's clock is the machine's: after the gap the count of samples must be in step with it again."""

    async def scenario():
        async with DeviceSource("hw:1", RATE, 2) as source:
            faults = threading.Thread(target=fault, args=(card, how, seconds))

            def until(events):
                if len(events) == 60:
                    faults.start()
                seen = next((i for i, e in enumerate(events) if isinstance(e, Loss)), None)
                return seen is not None and len(events) - seen > 100

            events = await capture(source, until)
            faults.join()
            assert source.state == "live"
            return events

    events = asyncio.run(scenario())
    declared = sum(e.count for e in losses(events)) / RATE
    print(f"{how}: declared {declared * 1000:.1f} ms, {off_time(events) * 1000:+.1f} ms off")
    assert {e.cause for e in losses(events)} == {"device_lost"}
    assert abs(off_time(events)) < FRAME_S, (off_time(events), losses(events))
    assert declared > seconds


def fault(card, how, seconds):
    card.unplug(how)
    time.sleep(seconds)
    card.replug()


def test_a_card_that_comes_back_at_another_rate(card):
    """The sound server converts: the source goes on in its own format."""

    async def scenario():
        async with DeviceSource("hw:1", RATE, 2) as source:
            change = threading.Thread(target=card.replug, args=("--rate", 44100))

            def until(events):
                if len(events) == 60:
                    change.start()
                return bool(losses(events)) and isinstance(events[-1], Block) and len(blocks_of(events)) > 160

            events = await capture(source, until)
            change.join()
            return events

    events = asyncio.run(scenario())
    assert abs(off_time(events)) < FRAME_S


def test_a_short_stall_is_caught_up_and_nothing_is_declared(card, tmp_path):
    played = noise(5)
    file = write(tmp_path / "noise.wav", played)

    def stall():
        card.unplug("stall")
        time.sleep(0.4)
        card.replug()

    async def scenario():
        card.play(file)
        async with DeviceSource("hw:1", RATE, 2) as source:
            thread = threading.Thread(target=stall)

            def until(events):
                if len(events) == 50:
                    thread.start()
                return len(events) == 300

            events = await capture(source, until)
            thread.join()
            return events

    events = asyncio.run(scenario())
    assert losses(events) == []
    samples = np.concatenate([b.samples[:, 0] for b in events])
    heard = np.flatnonzero(samples)
    place(samples[heard[0] : heard[-1] + 1], played[:, 0])


def lost_by_the_signal(events, played):
    """What is missing between the stretches before and after the one loss, by where they lie in what was played."""
    at = next(i for i, e in enumerate(events) if isinstance(e, Loss))
    before = np.concatenate([b.samples[:, 0] for b in blocks_of(events[:at])])
    behind = np.concatenate([b.samples[:, 0] for b in blocks_of(events[at:])])
    start = np.flatnonzero(before)[0]
    end = place(before[start:], played[:, 0]) + len(before) - start
    return place(behind[: RATE // 2], played[:, 0]) - end


@pytest.mark.parametrize(
    ("how", "seconds"),
    [(signal.SIGSTOP, 2.5), (signal.SIGKILL, 1.5), pytest.param(signal.SIGSTOP, 13, marks=pytest.mark.soak)],
)
def test_a_capture_process_that_is_stopped_or_killed_loses_what_it_says(card, tmp_path, how, seconds):
    """Here the card plays on, so that the signal itself says how much is missing."""
    played = noise(seconds + 4)
    file = write(tmp_path / "noise.wav", played)

    async def scenario():
        card.play(file)
        async with DeviceSource("hw:1", RATE, 2) as source:
            stopped = 0

            def until(events):
                nonlocal stopped
                if len(events) == 100:
                    stopped = time.monotonic()
                    os.kill(source.child_pid, how)
                return len(events) > 200 and time.monotonic() - stopped > seconds + 0.5

            return await capture(source, until)

    events = asyncio.run(scenario())
    [loss] = losses(events)
    true = lost_by_the_signal(events, played)
    print(f"declared {loss.count / RATE * 1000:.1f} ms, truly {true / RATE * 1000:.1f} ms")
    assert loss.cause == "device_lost"
    assert abs(loss.count - true) < FRAME_S * RATE


READER = """
import asyncio, sys
import numpy as np
from natd.audio.chunks import Block
from natd.sources.device import DeviceSource

async def main():
    captured = lost = 0
    parts = []
    async with DeviceSource("hw:1", 48000, 2) as source:
        print(f"reading", flush=True)
        async for event in source:
            if isinstance(event, Block):
                parts.append(event.samples[:, 0])
                captured += len(event.samples)
            else:
                lost += event.count
            if captured + lost > float(sys.argv[1]) * 48000:
                break
        np.save(sys.argv[2], np.concatenate(parts))
        print(f"{lost} {source.counters['device_restarts']}", flush=True)
asyncio.run(main())
"""


def test_a_daemon_that_is_stopped_catches_up_from_the_ring(card, tmp_path):
    played = noise(7)
    card.play(write(tmp_path / "noise.wav", played))
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, "5", tmp_path / "heard.npy"], stdout=subprocess.PIPE, text=True
    )
    with reader:
        assert reader.stdout.readline() == "reading\n"
        time.sleep(0.5)
        reader.send_signal(signal.SIGSTOP)
        time.sleep(3)
        reader.send_signal(signal.SIGCONT)
        assert reader.stdout.readline() == "0 0\n"
    samples = np.load(tmp_path / "heard.npy")
    place(samples[np.flatnonzero(samples)[0] :], played[:, 0])


def test_audio_that_the_server_drops_while_blocks_flow_is_found(cards):
    """A card fed through a pipe, whose feeder leaves out 0.6 s: no callback, no flag, and nothing comes later."""
    card = cards(kind="pipe")
    samples = (noise(6) * 32767).astype("<i2")
    hole = (RATE, int(1.6 * RATE))
    stop = threading.Event()

    def feed():
        with open(card.fifo, "wb", buffering=0) as fifo:
            begun = time.monotonic()
            for at in range(0, len(samples), 480):
                if stop.is_set():
                    return
                time.sleep(max(0, begun + at / RATE - time.monotonic()))
                if not hole[0] <= at < hole[1]:
                    fifo.write(samples[at : at + 480].tobytes())

    async def scenario():
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            async with DeviceSource("hw:1", RATE, 2) as source:
                return await capture(source, lambda e: bool(losses(e)) and isinstance(e[-1], Block))
        finally:
            stop.set()
            await asyncio.to_thread(feeder.join)

    [loss] = losses(asyncio.run(scenario()))
    print(f"declared {loss.count / RATE * 1000:.1f} ms, truly {(hole[1] - hole[0]) / RATE * 1000:.1f} ms")
    assert loss.cause == "overrun"
    assert abs(loss.count - (hole[1] - hole[0])) < FRAME_S * RATE


@pytest.mark.soak
def test_drift_of_a_card(cards, tmp_path):
    card = cards(kind="pipe")
    soundfile.write(tmp_path / "noise.wav", noise(75), RATE, "PCM_16")

    async def scenario():
        card._do("play", "--bg", "--ppm", 300, tmp_path / "noise.wav")
        async with DeviceSource("hw:1", RATE, 2) as source:
            await capture(source, lambda e: len(e) == 6500, 90)
            return source.drift_ppm

    ppm = asyncio.run(scenario())
    print(f"drift {ppm:.1f} ppm")
    assert abs(ppm - 300) < 10
