"""The client: every event once and in order across losses, restarts and slow readers, or `lost` where it is not."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

import natd_client
from natd.endpoints import CurveServer
from natd.sinks.control import ControlDesk
from natd.sinks.replay import StreamLog
from natd.sinks.zeromq_io import ZeromqLimits
from natd.wire import Frame, encode
from natd_client import AsyncListener, Feeder, Follower, Listener, ask
from tests.running import ANY_PORT, running_sink, until
from tests.streams import header, heartbeat, simple, stories

ROOT = Path(__file__).parents[2]


def frame(seq):
    return Frame(seq, seq, seq * 80.0, (1, 2), (seq % 1024, [1, 2]), kf=seq == 0)


class World:
    """A daemon's log and desk, a follower, and whatever happens between them; all within this thread."""

    def __init__(self, replays=True, fill=False):
        self.follower = Follower("stage", replays=replays, fill=fill)
        self.out = []
        self._joined = False

    def begin(self, story):
        """The daemon starts: a new epoch, all peers gone."""
        self.story, self.sent, self._joined = story, 0, False
        self.log = StreamLog(window_s=2.0)
        self.log.append(story.header, encode(story.header))
        counters = dict.fromkeys(("control_requests", "control_refused", "replays", "replayed_events"), 0)
        self.desk = ControlDesk({"stage": self.log}, [], counters, rate=1e9, burst=1e9)

    def step(self, delivered):
        """The next event happens; whether it is delivered is up to the network."""
        if self.sent == len(self.story.events):
            return
        event = self.story.events[self.sent]
        line = encode(event)
        self.log.append(event, line)
        self.sent += 1
        if delivered and self._joined:
            self.follower.published(line, 0)

    def join(self):
        """A new connection: snapshot first."""
        self._joined = True
        if self.follower.rejoin:
            self.follower.rejoined()
        self.follower.published(b"".join(self.log.snapshot()), 0)

    def beat(self):
        if self._joined:
            hb = heartbeat(self.log.last_seq, self.log.last_fi, self.story.header.epoch)
            self.follower.published(encode(hb), 0)

    def answer(self, arrives):
        request = self.follower.request()
        if request is not None and arrives:
            self.follower.answered(self.desk.answer(b"", json.dumps(request).encode(), 0.0), 0)
        elif request is not None:
            self.follower.no_answer()
        return request is not None

    def settle(self):
        """The network heals: heartbeats, answers and new joins until nothing is wanted."""
        if not self._joined:
            self.join()
        for _ in range(20):
            while self.answer(arrives=True):
                pass
            if self.follower.rejoin:
                self.join()
            self.beat()
        assert self.follower.request() is None and not self.follower.rejoin

    def events(self):
        while self.follower.out:
            self.out.append(self.follower.out.popleft()[0])
        return self.out


def tiles(out, lines):
    """Whether `out` (one epoch, header first) is the truth `lines` without repeats, in order, losses said; last seq."""
    assert json.loads(lines[0]) == out[0]
    truth = {json.loads(line)["seq"]: json.loads(line) for line in lines[1:]}
    at = None
    for event in out[1:]:
        if event["event"] == "state":
            assert at is None or event["seq"] == at
            at = event["seq"]
        elif event["event"] == "lost":
            assert event["from_seq"] == (0 if at is None else at + 1) <= event["to_seq"]
            at = event["to_seq"]
        elif "seq" in event:
            assert event == truth[event["seq"]]
            assert event["seq"] == (0 if at is None else at + 1)
            at = event["seq"]
    return -1 if at is None else at


actions = st.lists(
    st.sampled_from(["deliver"] * 12 + ["drop"] * 2 + ["join", "beat", "answer", "answer", "no answer", "restart"]),
    max_size=80,
)


@given(actions, st.booleans(), st.lists(stories(), min_size=1, max_size=3))
def test_whatever_the_network_does_events_come_once_in_order_or_are_lost_aloud(steps, replays, told):
    world = World(replays)
    epochs = []

    def begin():
        story = told[len(epochs) % len(told)]
        epochs.append(f"e{len(epochs)}")
        world.begin(_with_epoch(story, epochs[-1]))

    begin()
    world.join()
    for step in steps:
        match step:
            case "deliver" | "drop":
                world.step(step == "deliver")
            case "join":
                world.join()
            case "beat":
                world.beat()
            case "answer" | "no answer":
                world.answer(step == "answer")
            case "restart":
                begin()
                world.join()
    world.settle()
    out = world.events()
    starts = [i for i, event in enumerate(out) if event["event"] == "header"] + [len(out)]
    assert [out[i]["epoch"] for i in starts[:-1]] == epochs
    last = tiles(out[starts[-2] :], world.story.lines)
    assert last == world.log.last_seq, "nothing is missing in silence at the end"


def _with_epoch(story, epoch):
    return replace(story, header=replace(story.header, epoch=epoch))


@given(stories(), st.lists(st.booleans(), max_size=40))
def test_filled_frames_have_the_codes_the_encoder_chose(story, delivered):
    world = World(fill=True)
    world.begin(story)
    world.join()
    for arrives in [*delivered, *[True] * 60]:
        world.step(arrives)
        world.answer(arrives)
    world.settle()
    for event in world.events():
        if event["event"] == "frame":
            rows = [row if isinstance(row, list) else [row] for row in event.get("S", []) + event.get("A", [])]
            assert rows == [list(row) for row in story.codes[event["fi"]]]


def test_a_hole_is_asked_for_once_and_filled():
    world = World()
    world.begin(simple(20))
    world.join()
    for i in range(20):
        world.step(delivered=i not in (5, 6, 7))
    assert world.follower.request() == {
        "op": "replay", "stream": "stage", "epoch": "e0", "from_seq": 5, "to_seq": 7}  # fmt: skip
    assert world.follower.request() is None
    assert [e["seq"] for e in world.events() if e["event"] not in ("header", "state")] == [0, 1, 2, 3, 4]
    world.follower.answered(b"".join(encode(e) for e in world.story.events[5:8]), 0)
    assert [e["seq"] for e in world.events() if e["event"] not in ("header", "state")] == list(range(20))


def test_a_lost_tail_shows_with_the_next_heartbeat():
    world = World()
    world.begin(simple(10, ended=False))
    world.join()
    for _ in range(10):
        world.step(delivered=False)
    assert world.follower.request() is None
    world.beat()
    assert world.follower.request()["from_seq"] == 0


def test_what_is_too_old_is_lost_aloud_and_the_state_goes_on():
    world = World()
    world.begin(simple(100, ended=False))  # the log of this world keeps 2 s: 25 frames
    world.join()
    for i in range(100):
        world.step(delivered=i < 3 or i == 99)
    world.answer(arrives=True)
    out = world.events()
    last = world.log.last_seq
    assert [e for e in out if e["event"] == "lost"] == [{"event": "lost", "from_seq": 3, "to_seq": last}]
    assert (out[-1]["event"], out[-1]["seq"]) == ("state", last)


def test_without_answers_it_gives_up_and_joins_again():
    world = World()
    world.begin(simple(10, ended=False))
    world.join()
    for i in range(6):
        world.step(delivered=i != 2)
    for _ in range(3):
        assert not world.follower.rejoin
        world.answer(arrives=False)
    assert world.follower.rejoin
    world.join()
    out = world.events()
    assert [e["event"] for e in out[-2:]] == ["lost", "state"] and out[-2]["from_seq"] == 2


def test_garbage_is_counted_and_shows_as_a_hole():
    follower = Follower("stage")
    for body in (b"{", b"\xff", b"7\n", b'{"no":"event"}\n', b"null"):
        follower.published(body, 0)
    assert not follower.out and follower.garbage == 4


# ---- over sockets


def listen(running, **options):
    return Listener(running.sink.publish_endpoint, "stage", running.sink.control_endpoint, timeout=10, **options)


def test_a_listener_hears_header_state_and_events_with_their_receipt_times():
    story = simple(30)
    with running_sink() as running:
        running.publish(story.header, *story.events[:10])
        with listen(running, until_end=True) as listener:
            heard = [next(listener), next(listener)]
            running.publish(*story.events[10:])
            before = time.monotonic_ns()
            for event in listener:
                heard.append(event)
                assert 0 < before - listener.recv_mono_ns + 10**10
        assert [e["event"] for e in heard[:2]] == ["header", "state"]
        assert heard[2:] == [json.loads(line) for line in story.lines[11:]]
        assert heard[0] == json.loads(story.lines[0])


def test_the_async_twin_hears_the_same():
    story = simple(200)

    async def hear(running):
        heard = []
        async with AsyncListener(
            running.sink.publish_endpoint, "stage", running.sink.control_endpoint, until_end=True, timeout=10
        ) as listener:
            async for event in listener:
                heard.append(event)
                if len(heard) == 2:
                    await asyncio.to_thread(running.publish, *story.events[10:])
        return heard

    with running_sink() as running:
        running.publish(story.header, *story.events[:10])
        heard = asyncio.run(hear(running))
    assert heard[2:] == [json.loads(line) for line in story.lines[11:]]


def test_silence_is_a_timeout_and_the_listener_goes_on():
    with running_sink() as running, listen(running) as listener:
        listener._timeout = 0.05
        with pytest.raises(TimeoutError):
            next(listener)
        running.publish(header())
        until(lambda: _next_or_none(listener))
    with pytest.raises(StopIteration):
        next(listener)


def _next_or_none(listener):
    try:
        return next(listener)
    except TimeoutError:
        return None


def test_a_cut_connection_is_mended_by_a_replay():
    story = simple(100)
    limits = ZeromqLimits(live_subscriptions=3)
    with running_sink(limits=limits) as running, listen(running, until_end=True) as listener:
        running.publish(story.header, *story.events[:20])
        heard = [next(listener) for _ in range(2)]
        with zmq.Context() as context:  # a flood makes the sink cut everybody off
            flood = context.socket(zmq.SUB)
            flood.linger = 0
            for i in range(10):
                flood.subscribe(f"s{i}/")
            flood.connect(running.sink.publish_endpoint)
            until(lambda: running.sink.counters["breaker_trips"] >= 1)
            running.publish(*story.events[20:60])
            flood.close()
        running.publish(*story.events[60:])
        heard += listener
        assert [e["event"] for e in heard[:2]] in (["header", "state"], ["header", "frame"], ["header", "gloss"])
        assert tiles(heard, story.lines) == story.events[-1].seq
        assert not [e for e in heard if e["event"] == "lost"]


def test_without_control_a_loss_is_said_and_the_state_given():
    story = simple(100)
    limits = ZeromqLimits(live_subscriptions=3)
    with running_sink(limits=limits) as running:
        running.publish(story.header, *story.events[:20])
        with Listener(running.sink.publish_endpoint, "stage", timeout=10, until_end=True) as listener:
            heard = [next(listener) for _ in range(2)]
            with zmq.Context() as context:
                flood = context.socket(zmq.SUB)
                flood.linger = 0
                for i in range(10):
                    flood.subscribe(f"s{i}/")
                flood.connect(running.sink.publish_endpoint)
                until(lambda: running.sink.counters["breaker_trips"] >= 1)
                running.publish(*story.events[20:60])
                flood.close()
            until(lambda: running.sink._io._logs["stage"].last_seq == 59 and not running.sink._io._queue)
            until(lambda: _pumped(listener, heard) and heard[-1]["event"] == "state" and len(heard) > 2)
            running.publish(*story.events[60:])
            heard += listener
        assert tiles(heard, story.lines) == story.events[-1].seq
        assert {"event": "lost", "from_seq": 20, "to_seq": 59} in heard


def _pumped(listener, heard):
    listener._timeout = 0.02
    event = _next_or_none(listener)
    if event:
        heard.append(event)
    listener._timeout = 10
    return event


DAEMON = """
import sys, time
sys.path.insert(0, sys.argv[1])
from natd.wire import Frame, Heartbeat
from tests.running import running_sink
from tests.streams import header, heartbeat
with running_sink(sys.argv[2], sys.argv[3]) as running:
    running.publish(header(epoch=sys.argv[4]))
    print(running.sink.publish_endpoint, running.sink.control_endpoint, flush=True)
    for seq in range(100000):
        running.publish(Frame(seq, seq, seq * 80.0, (1, 2), (seq % 1024, [1, 2]), kf=seq == 0))
        if seq % 50 == 0:
            running.publish(heartbeat(seq, seq, epoch=sys.argv[4]))
        time.sleep(0.005)
"""


def daemon(publish, control, epoch):
    child = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(ROOT), publish, control, epoch], stdout=subprocess.PIPE, text=True
    )
    return child, child.stdout.readline().split()


def test_a_killed_daemon_is_heard_again_with_its_new_epoch_from_the_first_event():
    first, (publish, control) = daemon(ANY_PORT, ANY_PORT, "e1")
    second = None
    try:
        with Listener(publish, "stage", control, timeout=10) as listener:
            heard = [next(listener) for _ in range(30)]
            first.kill()
            first.wait()
            second, _ = daemon(publish, control, "e2")
            while sum(e.get("epoch") == "e2" for e in heard) == 0 or heard[-1].get("seq", 0) < 100:
                heard.append(next(listener))
    finally:
        for child in (first, second):
            if child:
                child.kill()
                child.communicate()
    new = next(i for i, e in enumerate(heard) if e["event"] == "header" and e["epoch"] == "e2")
    truth = [encode(header()), *map(encode, map(frame, range(2000)))]
    assert tiles(heard[:new], [encode(header(epoch="e1")), *truth[1:]]) > 0
    assert tiles(heard[new:], [encode(header(epoch="e2")), *truth[1:]]) >= 100
    seqs = [e["seq"] for e in heard[new:] if "seq" in e]
    assert seqs == list(range(len(seqs))), "nothing of the new epoch was missed while it was away"


def test_a_stopped_listener_catches_up_without_a_hole():
    head = header(frame_samples=48)  # 2 ms: 15 000 frames fit into the minute that can be replayed
    with running_sink() as running:
        running.publish(head)
        argv = [sys.executable, str(ROOT / "clients" / "natd_client.py"), running.sink.publish_endpoint, "stage"]
        argv += ["--control", running.sink.control_endpoint]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
            guard = threading.Timer(60, child.kill)  # a failure, not a test that hangs
            guard.start()
            try:
                heard = [json.loads(child.stdout.readline()) for _ in range(2)]
                os.kill(child.pid, signal.SIGSTOP)
                for at in range(0, 15_000, 100):
                    running.publish(*map(frame, range(at, at + 100)))
                    until(lambda: not running.sink._io._queue)
                os.kill(child.pid, signal.SIGCONT)
                # Its buffers overflowed, so some of these are lost on the way; silence makes it join anew.
                while heard[-1].get("seq") != 14_999:
                    heard.append(json.loads(child.stdout.readline()))
            finally:
                guard.cancel()
                child.kill()
        assert running.sink.counters["replayed_events"] > 0
    assert tiles(heard, [encode(head), *map(encode, map(frame, range(15_000)))]) == 14_999
    assert not [e for e in heard if e["event"] == "lost"]


def test_a_mute_connection_is_left_for_a_new_one():
    with zmq.Context() as context:
        mute = context.socket(zmq.XPUB)
        mute.linger = 0
        port = mute.bind_to_random_port("tcp://127.0.0.1")
        with Listener(f"tcp://127.0.0.1:{port}", "stage", timeout=10) as listener:
            thread = threading.Thread(target=_next_or_none, args=(listener,))
            thread.start()
            topics = [mute.recv(), mute.recv(), mute.recv()]
            assert topics == [b"\x01stage/", b"\x00stage/", b"\x01stage/"], "it left and came back on a new connection"
            mute.send_multipart([b"stage/f/", encode(header())])
            thread.join()
        mute.close()


def test_a_reader_that_was_away_finds_what_came_meanwhile():
    story = simple(20, ended=False)
    with running_sink() as running:
        running.publish(story.header, *story.events[:5])
        with Listener(running.sink.publish_endpoint, "stage", timeout=10) as listener:
            assert [next(listener)["event"] for _ in range(2)] == ["header", "state"]
            running.publish(*story.events[5:])
            assert listener._link._sub.poll(5000)
            listener._link._heard -= 60  # its owner was busy for a minute
            heard = [next(listener) for _ in story.events[5:]]
        assert running.sink.counters["joins"] == 1
    assert heard == [json.loads(line) for line in story.lines[6:]]


def test_after_the_end_it_waits_quietly():
    story = simple(3)
    with running_sink() as running, listen(running) as listener:
        running.publish(story.header, *story.events)
        while next(listener)["event"] != "end":
            pass
        assert natd_client.SILENCE_S < listener._link.wait_s() <= 4 * natd_client.SILENCE_S + 0.001


def test_the_listener_never_beats():
    """libzmq 4.3.5 aborts on a connecting SUB with heartbeats."""
    with Listener("tcp://127.0.0.1:1", "stage", "tcp://127.0.0.1:1") as listener:
        assert listener._link._sub.heartbeat_ivl == 0


def test_curve_keys_open_a_guarded_stream():
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    keys = CurveServer(*server, "natd.listen", frozenset(client[:1]))
    mine = (server[0].decode(), client[0].decode(), client[1].decode())
    story = simple(5)
    with running_sink(curve=keys) as running:
        running.publish(story.header, *story.events)
        with listen(running, curve=mine, until_end=True) as listener:
            assert [event["event"] for event in listener] == ["header", "state", "end"]
        assert ask(running.sink.control_endpoint, {"op": "streams"}, curve=mine)[0]["event"] == "streams"


def test_ask_gives_every_line_or_says_that_nobody_answers():
    story = simple(5)
    with running_sink() as running:
        running.publish(story.header, *story.events)
        endpoint = running.sink.control_endpoint
        request = {"op": "replay", "stream": "stage", "epoch": "e0", "from_seq": 1}
        until(lambda: ask(endpoint, request) == [json.loads(line) for line in story.lines[2:]])
    with pytest.raises(TimeoutError, match=endpoint):
        ask(endpoint, {"op": "streams"}, timeout=0.05)


# ---- the feeder


@pytest.fixture
def ingest():
    with zmq.Context() as context:
        pull = context.socket(zmq.PULL)
        pull.bind(ANY_PORT)
        yield pull
        pull.close(linger=0)


def fed(pull, count):
    messages = []
    for _ in range(count):
        assert pull.poll(5000)
        stream, head, pcm = pull.recv_multipart()
        messages.append((stream, msgpack.unpackb(head), pcm))
    return messages


def test_the_feeder_counts_samples_and_splits_what_is_long(ingest):
    samples = np.arange(2 * 2500, dtype="<i2").reshape(2500, 2)
    with Feeder(ingest.last_endpoint.decode(), "stage", 10_000, 2) as feeder:
        assert feeder.send(samples) == 2500
        feeder.skip(70)
        assert feeder.send(samples[:10].tobytes(), t_ns=5) == 10
        messages = fed(ingest, 4)
    assert b"".join(pcm for _, _, pcm in messages[:3]) == samples.tobytes()
    assert [(s, h["v"], h["rate"], h["channels"], h["fmt"]) for s, h, _ in messages] == [
        (b"stage", 1, 10_000, 2, "s16le")] * 4  # fmt: skip
    assert [(h["seq"], h["first_sample"]) for _, h, _ in messages] == [(0, 0), (1, 1000), (2, 2000), (3, 2570)]
    assert messages[3][1]["t_ns"] == 5
    assert len({h["producer"] for _, h, _ in messages}) == 1


def test_two_feeders_are_two_producers(ingest):
    for _ in range(2):
        with Feeder(ingest.last_endpoint.decode(), "stage", 8000, 1) as feeder:
            feeder.send(bytes(16))
    assert len({h["producer"] for _, h, _ in fed(ingest, 2)}) == 2


def test_the_feeder_says_how_much_was_taken_when_natd_is_away():
    with Feeder("tcp://127.0.0.1:1", "stage", 8000, 1) as feeder:
        assert feeder.send(bytes(1600), timeout=0.05) == 0
        assert (feeder.seq, feeder.first_sample) == (0, 0)


@pytest.mark.parametrize(
    ("fmt", "samples"),
    [("s16le", np.zeros((4, 2), "<f4")), ("f32le", np.zeros((4, 2))), ("s16le", bytes(7)), ("f32le", bytes(12))],
)
def test_what_is_not_in_the_format_is_refused(ingest, fmt, samples):
    with Feeder(ingest.last_endpoint.decode(), "stage", 8000, 2, fmt) as feeder, pytest.raises(ValueError, match=fmt):
        feeder.send(samples)


def test_an_unknown_format_is_refused_at_once():
    with pytest.raises(ValueError, match="u8"):
        Feeder("tcp://127.0.0.1:1", "stage", 8000, 1, "u8")


def test_the_names_of_a_header():
    names = {
        "S0": [[0, "silence"], [1, "rain"], [3, ""]],
        "S1": [
            [0, "silence"],
            {"first": 1, "form": "note {}", "axes": [{"lowest": 69, "count": 2}]},
            {"first": 3, "form": "{}, {} onset", "axes": [["slow"], ["no", "soft"]]},
        ],
    }
    head = json.loads(encode(header()))
    assert natd_client.names(head) == {}
    assert natd_client.names(head | {"legend": {"names": names}}) == {
        "S0": {0: "silence", 1: "rain", 2: "rain"},
        "S1": {0: "silence", 1: "note A4", 2: "note A#4", 3: "slow, no onset"},  # the layer has four codes
    }
