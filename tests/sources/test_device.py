"""The device source against a card whose samples tell the time: every fault of it, and how long each gap really was."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from natd.audio import ring
from natd.audio.chunks import Block, Format, FormatChange, Loss
from natd.errors import SourceError
from natd.metrics import COUNTERS
from natd.sources import device
from natd.sources.device import DeviceSource, list_devices

FAKE = Path(__file__).parent / "fake_portaudio"
FRAME_S = 0.08


class FakeCard:
    def __init__(self, path):
        self.path = path
        self.be()

    def be(self, **faults):
        """From the next opening on."""
        self.path.write_text(json.dumps(faults))


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_PORTAUDIO", str(tmp_path / "faults.json"))
    monkeypatch.setenv("FAKE_PORTAUDIO_EPOCH", str(time.monotonic_ns()))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    return FakeCard(tmp_path / "faults.json")


async def take(source, until, deadline_s=20):
    """Events up to the one that `until` (given all so far) accepts; blocks are checked as they come."""
    events, at = [], None
    async with asyncio.timeout(deadline_s), aclosing(aiter(source)) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, FormatChange):
                at = 0
                continue
            assert at is None or event.first == at
            at = event.first + (len(event.samples) if isinstance(event, Block) else event.count)
            if isinstance(event, Block):
                assert (np.diff(event.samples, axis=0) == 1).all()
            if until(events):
                return events


def losses(events):
    return [e for e in events if isinstance(e, Loss)]


def after(kind, blocks=10):
    """Until `blocks` blocks after the first event of `kind`."""

    def until(events):
        seen = next((i for i, e in enumerate(events) if isinstance(e, kind)), None)
        return seen is not None and len(events) - seen > blocks

    return until


def mended(card, until, **faults):
    """As `until`; after the first event the card is told to behave (but for `faults`)."""

    def until_then(events):
        if len(events) == 1:
            card.be(**faults)
        return until(events)

    return until_then


def missed(events):
    """Samples truly missed at each loss: what the card's clock says beyond the blocks."""
    out = []
    for before, loss, behind in zip(events, events[1:], events[2:], strict=False):
        if isinstance(loss, Loss):
            out.append(int(behind.samples[0, 0] - before.samples[-1, 0]) - 1)
    return out


def declared_rightly(events, cause):
    """The one loss, as long as it truly was within one frame."""
    [loss], [true] = losses(events), missed(events)
    assert loss.cause == cause
    assert abs(loss.count - true) < FRAME_S * 48000, (loss.count, true)
    return loss


async def until_logged(caplog, text):
    async with asyncio.timeout(10):
        while text not in caplog.text:  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0.01)


def run(scenario):
    return asyncio.run(scenario())


def test_every_sample_arrives_in_order(card):
    async def scenario():
        async with DeviceSource("hw:1", 48000, 2) as source:
            assert (source.kind, source.name, source.live, source.format) == ("device", "hw:1", True, Format(48000, 2))
            events = await take(source, lambda e: len(e) == 50)
            assert (source.state, source.drift_ppm) == ("live", None)
            assert set(source.counters) <= set(COUNTERS)
            return events

    events = run(scenario)
    assert all(e.samples.shape == (480, 2) and e.samples.dtype == np.float32 for e in events)
    numbers = np.concatenate([e.samples[:, 0] for e in events])
    assert (np.diff(numbers) == 1).all()
    late = [e.mono_ns - (numbers[0] + e.first + 480) * 1e9 / 48000 for e in events]
    epoch = int(os.environ["FAKE_PORTAUDIO_EPOCH"])
    assert min(late) == pytest.approx(epoch, abs=20e6)


@pytest.mark.parametrize("faults", [{"falls_silent": 0.5}, {"ends": 0.5}])
def test_a_card_that_stops_is_opened_again(card, faults):
    async def scenario():
        card.be(**faults)
        async with DeviceSource("hw:1", 48000, 2) as source:
            return await take(source, mended(card, after(Loss))), source.counters

    events, counters = run(scenario)
    loss = declared_rightly(events, "device_lost")
    assert (counters["device_lost"], counters["device_lost_samples"]) == (1, loss.count)
    assert counters["device_restarts"] >= 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_capture_process_that_dies_or_hangs_is_replaced(card, how):
    async def scenario():
        async with DeviceSource("hw:1", 48000, 2) as source:
            first = source.child_pid

            def until(events):
                if len(events) == 20:
                    os.kill(first, how)
                return after(Loss)(events)

            events = await take(source, until)
            assert source.child_pid != first
            assert source.state == "live"
            with pytest.raises(ProcessLookupError):
                os.kill(first, 0)
            return events

    declared_rightly(run(scenario), "device_lost")


def test_a_source_without_a_card_is_starved_and_waits_for_it(card, caplog):
    async def scenario():
        card.be(devices=["speakers", "webcam"])
        async with DeviceSource("hw:1", 48000, 2) as source:
            assert source.state == "starved"
            reading = asyncio.create_task(take(source, lambda e: len(e) == 3))
            await until_logged(caplog, "trying again")
            card.be()
            events = await reading
            assert source.state == "live"
            return events

    events = run(scenario)
    assert events[0].first == 0  # nothing had begun: nothing is lost
    assert "no capture device matches 'hw:1'; there are: [1] webcam, Fake" in caplog.text


def test_a_card_that_comes_back_in_another_format(card):
    async def scenario():
        card.be(ends=0.5)
        async with DeviceSource("hw:1", 48000, 2) as source:
            events = await take(source, mended(card, after(FormatChange), rates=[16000]))
            assert source.format == Format(16000, 2)
            return events

    events = run(scenario)
    at = next(i for i, e in enumerate(events) if isinstance(e, FormatChange))
    change, before, behind = events[at], events[at - 1], events[at + 1]
    assert change.format == Format(16000, 2)
    assert behind.first == 0 and behind.samples.shape == (160, 2)
    true = behind.samples[0, 0] / 16000 - (before.samples[-1, 0] + 1) / 48000
    assert abs(change.lost_s - true) < FRAME_S


def test_a_format_that_the_card_has_not_is_refused_at_the_start(card):
    async def scenario():
        async with DeviceSource("hw:1", 44100, 2):
            pass

    with pytest.raises(SourceError, match=r"card \(hw:1,0\) \(up to 2 channels, 48000 Hz.*Invalid sample rate"):
        run(scenario)


def test_an_ambiguous_name_is_refused_at_the_start(card):
    async def scenario():
        async with DeviceSource("usb", 48000, 2):
            pass

    card.be(devices=["USB one", "USB two"])
    with pytest.raises(SourceError, match=r"\[0\] USB one, Fake; \[1\] USB two, Fake"):
        run(scenario)


def test_without_portaudio_the_cure_is_named(card):
    async def scenario():
        async with DeviceSource("hw:1", 48000, 2):
            pass

    card.be(**{"import": "missing"})
    with pytest.raises(SourceError, match="apt install libportaudio2"):
        run(scenario)
    with pytest.raises(SourceError, match="apt install libportaudio2"):
        list_devices()


@pytest.mark.parametrize("faults", [{"open": "hangs"}, {"import": "hangs"}, {"open": "fails"}])
def test_an_opening_that_hangs_or_fails_is_given_up_and_tried_again(card, faults, monkeypatch):
    monkeypatch.setattr(device, "OPEN_S", 1.0)

    async def scenario():
        card.be(**faults)
        async with DeviceSource("hw:1", 48000, 2) as source:
            card.be()
            events = await take(source, lambda e: len(e) == 3)
            assert source.counters["device_restarts"] == 1
            return events

    assert losses(run(scenario)) == []


@pytest.mark.parametrize(("flags", "length", "cause"), [(False, 0.6, "overrun"), (True, 0.06, "xrun")])
def test_samples_that_never_come_although_blocks_flow(card, flags, length, cause):
    async def scenario():
        card.be(skips=[1.0, 1.0 + length], flags=flags)
        async with DeviceSource("hw:1", 48000, 2) as source:
            return await take(source, after(Loss)), source.counters

    events, counters = run(scenario)
    [loss] = losses(events)
    assert loss.cause == cause
    blocks = [e for e in events if isinstance(e, Block)]
    true = blocks[-1].samples[-1, 0] - blocks[0].samples[0, 0] + 1 - sum(len(b.samples) for b in blocks)
    assert abs(loss.count - true) < 0.03 * 48000
    assert (counters["xruns"], counters["overruns"], counters["overrun_samples"]) == (int(flags), 1, loss.count)


def test_a_reader_that_is_too_late_loses_the_oldest_audio(card, monkeypatch):
    monkeypatch.setattr(ring, "SECONDS", 0.5)

    async def scenario():
        async with DeviceSource("hw:1", 48000, 2) as source, aclosing(aiter(source)) as stream:
            before = await anext(stream)
            time.sleep(1.5)  # noqa: ASYNC251 - the loop itself is late
            events = [before] + [await anext(stream) for _ in range(150)]
            return events, source.counters

    events, counters = run(scenario)
    lost = sum(e.count for e in losses(events))
    assert {e.cause for e in losses(events)} == {"overrun"}
    numbers = np.concatenate([e.samples[:, 0] for e in events if isinstance(e, Block)])
    assert lost > 0.4 * 48000
    assert numbers[-1] - numbers[0] + 1 == len(numbers) + lost  # to the sample
    assert counters["overrun_samples"] == lost
    assert counters["device_restarts"] == 0


def test_a_reader_that_is_late_within_the_ring_loses_nothing(card):
    async def scenario():
        async with DeviceSource("hw:1", 48000, 2) as source, aclosing(aiter(source)) as stream:
            await anext(stream)
            time.sleep(2)  # noqa: ASYNC251 - the loop itself is late
            events = [await anext(stream) for _ in range(250)]
            assert source.counters["device_restarts"] == 0
            return events

    assert losses(run(scenario)) == []


def test_nothing_is_left_open_or_running(card):
    before = set(os.listdir("/proc/self/fd"))
    pids = []

    async def scenario():
        card.be(ends=0.1)
        async with DeviceSource("hw:1", 48000, 2) as source:
            await take(source, mended(card, lambda e: pids.append(source.child_pid) or len(losses(e)) == 1))

    run(scenario)
    assert len(set(pids)) == 2
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_an_opening_that_is_cancelled_leaves_no_process(card):
    async def scenario():
        card.be(open="hangs")
        source = DeviceSource("hw:1", 48000, 2)
        opening = asyncio.create_task(source.__aenter__())
        await asyncio.sleep(0)  # it has started the process and waits for its word
        pid = source.child_pid
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not alive(pid)

    run(scenario)


def test_an_interrupt_from_the_terminal_is_for_the_parent_alone(card):
    async def scenario():
        async with DeviceSource("hw:1", 48000, 2) as source:
            assert os.getpgid(source.child_pid) != os.getpgid(0)

    run(scenario)


PARENT = """
import asyncio
from natd.sources import device
device.OPEN_S = 0.5
from natd.sources.device import DeviceSource
async def main():
    async with DeviceSource("hw:1", 48000, 2) as source:
        print(source.child_pid, flush=True)
        await asyncio.sleep(100)
asyncio.run(main())
"""


def alive(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("faults", [{}, {"open": "hangs"}])
def test_the_capture_process_dies_with_its_parent(card, faults):
    card.be(**faults)
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with parent:
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_list_devices(card):
    card.be(devices=["speakers", "mic", "line"])
    assert [(d.index, d.name, d.hostapi, d.channels, d.rate) for d in list_devices()] == [
        (1, "mic", "Fake", 2, 48000.0),
        (2, "line", "Fake", 2, 48000.0),
    ]


def test_list_devices_has_a_deadline(card):
    card.be(**{"import": "hangs"})
    with pytest.raises(SourceError, match="within 1 s"):
        list_devices(1.0)


def test_the_capture_process_imports_no_torch():
    code = "import sys, natd.sources.capture; assert not {'torch', 'zmq', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
