"""The publish and control sockets, with real peers: good, slow, gone and hostile."""

import json
import random
import socket
import threading
import time

import pytest
import zmq

from natd.errors import BindError, ConfigError
from natd.sinks.zeromq_io import ZeromqLimits
from natd.wire import Frame, Heartbeat
from tests.running import ANY_PORT, lines_of, running_sink, subscriber, until
from tests.schema import validate_line
from tests.streams import header, heartbeat, simple

# ---- joins


def test_a_joiner_gets_header_and_state_on_a_topic_of_its_own_then_every_event(running, context):
    story = simple(40)
    running.publish(story.header, *story.events[:20])
    sub = subscriber(context, running.sink.publish_endpoint)
    (first, header_line), (second, state_line) = lines_of(sub, 2)
    assert first == second == "stage/s/0/"
    assert header_line == story.lines[0]
    assert validate_line(state_line)["seq"] == 19
    running.publish(*story.events[20:])
    live = lines_of(sub, len(story.events) - 20)
    assert {topic for topic, _ in live} == {"stage/f/"}
    assert [line for _, line in live] == story.lines[21:]


def test_a_subscriber_that_is_there_before_the_stream_gets_all_of_it(running, context):
    sub = subscriber(context, running.sink.publish_endpoint)
    until(lambda: running.sink.subscribers == 1)
    story = simple(10)
    running.publish(story.header, *story.events)
    assert [line for _, line in lines_of(sub, len(story.lines))] == story.lines


def test_who_joins_an_ended_stream_gets_its_end(running, context):
    story = simple(5)
    running.publish(story.header, *story.events)
    lines = [line for _, line in lines_of(subscriber(context, running.sink.publish_endpoint), 3)]
    assert [json.loads(line)["event"] for line in lines] == ["header", "state", "end"]
    assert lines[2] == story.lines[-1]


def test_streams_do_not_mix_even_if_a_name_begins_like_another(running, context):
    sub = subscriber(context, running.sink.publish_endpoint, "st")
    until(lambda: running.sink.subscribers == 1)
    long, short = simple(3, stream="stage"), simple(3, stream="st")
    running.publish(long.header, *long.events, stream="stage")
    running.publish(short.header, *short.events, stream="st")
    assert [line for _, line in lines_of(sub, len(short.lines))] == short.lines
    assert not sub.poll(50)


def test_heartbeats_come_on_the_live_topic(running, context):
    sub = subscriber(context, running.sink.publish_endpoint)
    until(lambda: running.sink.subscribers == 1)
    running.publish(header(), heartbeat(-1, -1))
    lines = lines_of(sub, 2)
    assert lines[1][0] == "stage/f/" and json.loads(lines[1][1])["event"] == "hb"
    assert isinstance(heartbeat(-1, -1), Heartbeat)


def test_leaving_and_vanishing_end_the_subscription(running, context):
    running.publish(header())
    polite, rude = (subscriber(context, running.sink.publish_endpoint) for _ in range(2))
    for sub in (polite, rude):
        lines_of(sub, 2)
    until(lambda: running.sink.subscribers == 2)
    polite.unsubscribe("stage/")
    until(lambda: running.sink.subscribers == 1)
    rude.close()
    until(lambda: running.sink.subscribers == 0)
    polite.subscribe("stage/")
    assert json.loads(lines_of(polite, 2)[0][1])["event"] == "header"


@pytest.mark.parametrize("topic", [b"", b"stage", b"Stage/", b"stage/f/", b"stage/s/0/", b"\xff/", b"a" * 65 + b"/"])
def test_topics_that_are_no_stream_get_nothing_and_are_counted(running, context, topic):
    sub = context.socket(zmq.SUB)
    sub.subscribe(topic)
    sub.connect(running.sink.publish_endpoint)
    until(lambda: running.sink.counters["subscriptions_refused"] == 1)
    running.publish(header(), *simple(3).events)
    assert not sub.poll(50)


def joins(context, running, count, seed):
    """Join `count` times, at most 20 at once, leaving at random; (snapshot first, gapless) counts."""
    chance, poller = random.Random(seed), zmq.Poller()
    active: dict[zmq.Socket, list] = {}
    begun = first = gapless = 0
    deadline = time.monotonic() + 60
    while begun < count or active:
        assert time.monotonic() < deadline, f"{len(active)} joins of {begun} never came to an end"
        while begun < count and len(active) < 20:
            sub = subscriber(context, running.sink.publish_endpoint)
            poller.register(sub, zmq.POLLIN)
            active[sub], begun = [], begun + 1
        for sub, _ in poller.poll(1000):
            seen = active[sub]
            topic, body = sub.recv_multipart()
            seen += [(topic, json.loads(line)) for line in body.splitlines()]
            if len(seen) < 5 + chance.randrange(30):
                continue
            first += [e["event"] for _, e in seen[:2]] == ["header", "state"] and seen[0][0].startswith(b"stage/s/")
            seqs = [e["seq"] for _, e in seen[1:]]
            gapless += seqs == list(range(seqs[0], seqs[0] + len(seqs)))
            poller.unregister(sub)
            sub.close(linger=0)
            del active[sub]
    return first, gapless


def test_joins_under_load_are_snapshot_first_and_gapless_while_others_leave(context):
    with running_sink(limits=ZeromqLimits(joins_per_s=1_000_000)) as running:
        over = threading.Event()

        def load():
            running.publish(header())
            for seq in range(10**9):
                if over.is_set():
                    return
                time.sleep(0.001)
                running.publish(Frame(seq, seq, seq * 80.0, (1, 2), (seq % 1024, [1, 2]), kf=seq == 0))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            assert joins(context, running, 1000, seed=1) == (1000, 1000)
        finally:
            over.set()
            thread.join()
        assert running.sink.counters["joins"] == 1000
        assert running.sink.counters["publish_dropped"] == 0
        until(lambda: running.sink.subscribers == 0)


# ---- binding


def test_an_address_in_use_is_refused_by_name_with_the_cure(running):
    began = time.monotonic()
    for publish, control in ((running.sink.publish_endpoint, ANY_PORT), (ANY_PORT, running.sink.control_endpoint)):
        with pytest.raises(BindError, match=r"tcp://127.0.0.1:\d+: Address already in use; stop the program"):
            with running_sink(publish, control):
                pass
    assert time.monotonic() - began > 2 * 1.7, "it tries again before it gives up"


def test_an_address_that_is_freed_in_time_is_taken(context):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        timer = threading.Timer(0.4, holder.close)
        timer.start()
        with running_sink(f"tcp://127.0.0.1:{holder.getsockname()[1]}") as running:
            running.publish(header())
            lines_of(subscriber(context, running.sink.publish_endpoint), 2)


def test_beyond_loopback_needs_curve():
    for endpoints in (("tcp://0.0.0.0:*", ANY_PORT), (ANY_PORT, "tcp://*:5557")):
        with pytest.raises(ConfigError, match="CURVE"), running_sink(*endpoints):
            pass


def test_off_binds_nothing():
    with running_sink("off", "off") as running:
        running.publish(*simple(3).events)
        assert (running.sink.publish_endpoint, running.sink.control_endpoint) == ("off", "off")


def test_what_was_published_goes_out_before_the_end(context):
    story = simple(100)
    with running_sink() as running:
        sub = subscriber(context, running.sink.publish_endpoint)
        until(lambda: running.sink.subscribers == 1)
        running.publish(story.header, *story.events)
    assert [line for _, line in lines_of(sub, len(story.lines))] == story.lines


def test_events_after_the_end_are_counted_not_raised():
    with running_sink() as running:
        sink = running.sink
    sink.publish("stage", header(), b"{}\n")
    assert sink.counters["publish_dropped"] == 1
