"""Peers that are slow, gone or hostile: the others lose nothing, and nothing grows without a bound."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import zmq

from natd.endpoints import CurveServer
from natd.sinks.zeromq_bind import PUBLISH, bind, endpoint_of, watch_failures
from natd.sinks.zeromq_io import ZeromqLimits, ZeromqThread
from natd.wire import Frame, StreamEnd, encode
from tests.running import ANY_PORT, lines_of, running_sink, subscriber, until
from tests.streams import header, simple

READER = """
import sys, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.subscribe("stage/")
sub.connect(sys.argv[1])
while True:
    lines = sub.recv_multipart()[1].splitlines(keepends=True)
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
"""
GREETING = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x01NULL" + b"\x00" * 48
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"


def frame(seq):
    return Frame(seq, seq, seq * 80.0, (1, 2), (seq % 1024, [1, 2]), kf=seq == 0)


@contextmanager
def reader(endpoint):
    """A process that prints what it is sent."""
    with subprocess.Popen([sys.executable, "-c", READER, endpoint], stdout=subprocess.PIPE) as child:
        guard = threading.Timer(60, child.kill)  # a failure, not a test that hangs
        guard.start()
        try:
            yield child
        finally:
            guard.cancel()
            child.kill()


def raw(endpoint):
    made = socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=10)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    return made


def shaken(endpoint):
    """A raw connection after its handshake as a SUB."""
    made, got = raw(endpoint), b""
    made.sendall(GREETING)
    while len(got) < 64:
        got += made.recv(64)
    made.sendall(READY)
    while b"Socket-Type" not in got:
        got += made.recv(4096)
    return made


def test_a_stopped_subscriber_costs_a_healthy_one_nothing(running, context):
    running.publish(header())
    with reader(running.sink.publish_endpoint) as stopped:
        assert b'"header"' in stopped.stdout.readline()
        assert b'"state"' in stopped.stdout.readline()
        os.kill(stopped.pid, signal.SIGSTOP)
        healthy = subscriber(context, running.sink.publish_endpoint)
        lines_of(healthy, 2)
        got = []
        while len(got) < 15_000:  # no faster than the healthy one reads, so that only the stopped one is slow
            running.publish(*(frame(seq) for seq in range(len(got), len(got) + 50)))
            got += [line for _, line in lines_of(healthy, 50)]
        assert got == [encode(frame(seq)) for seq in range(15_000)]
        assert running.sink.counters["slow_episodes"] >= 1
        assert running.sink.counters["publish_dropped"] == 0
        os.kill(stopped.pid, signal.SIGCONT)
        until(lambda: running.sink.subscribers == 2)
        seqs = [json.loads(stopped.stdout.readline())["seq"] for _ in range(200)]
        assert seqs == list(range(200)), "what it was sent before its queue was full comes in order"


def test_a_joiner_is_served_while_another_is_stopped(running, context):
    running.publish(header())
    with reader(running.sink.publish_endpoint) as stopped:
        stopped.stdout.readline()
        os.kill(stopped.pid, signal.SIGSTOP)
        running.publish(*map(frame, range(5000)))
        late = [json.loads(line) for _, line in lines_of(subscriber(context, running.sink.publish_endpoint), 2)]
        assert late[0]["event"] == "header"
        os.kill(stopped.pid, signal.SIGCONT)


def test_garbage_on_the_ports_is_counted_and_harms_nobody(running, context):
    story = simple(50)
    healthy = subscriber(context, running.sink.publish_endpoint)
    until(lambda: running.sink.subscribers == 1)
    chance = random.Random(7)
    for i in range(200):
        endpoint = running.sink.control_endpoint if i % 4 == 0 else running.sink.publish_endpoint
        start = [b"", GREETING, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"][i // 2 % 4]
        with raw(endpoint) if i % 2 else shaken(running.sink.publish_endpoint) as peer:
            peer.sendall((start if i % 2 else b"") + chance.randbytes(chance.randrange(1, 200)))
    running.publish(story.header, *story.events)
    assert [line for _, line in lines_of(healthy, len(story.lines))] == story.lines
    until(lambda: running.sink.counters["handshakes_failed"] >= 50)


@pytest.mark.parametrize("size", [b"\x02" + (300).to_bytes(8, "big"), b"\x02" + (2**40).to_bytes(8, "big")])
def test_what_is_declared_too_large_ends_the_connection(running, context, size):
    healthy = subscriber(context, running.sink.publish_endpoint)
    until(lambda: running.sink.subscribers == 1)
    with shaken(running.sink.publish_endpoint) as peer:
        peer.sendall(size + b"\x01" * 300)
        while True:
            try:
                if not peer.recv(4096):
                    break
            except ConnectionResetError:
                break
    running.publish(header())
    lines_of(healthy, 1)


def test_a_peer_that_does_not_finish_its_handshake_is_cut_off(running):
    with raw(running.sink.publish_endpoint) as silent, raw(running.sink.publish_endpoint) as slow:
        slow.sendall(GREETING[:20])
        for peer in (silent, slow):
            while peer.recv(4096):
                pass
    until(lambda: running.sink.counters["handshakes_failed"] == 2)


def test_messages_that_are_no_subscriptions_are_counted(running):
    with shaken(running.sink.publish_endpoint) as peer:
        peer.sendall(b"\x00\x00" + b"\x00\x03\x07hi" + b"\x01\x02\x01a\x00\x02\x01b")
        until(lambda: running.sink.counters["subscriptions_refused"] == 4)


@pytest.mark.parametrize("limits", [{"live_subscriptions": 100}, {"joins_per_s": 100}])
def test_a_flood_of_subscriptions_cuts_everybody_off_and_subscribers_come_back(context, limits):
    with running_sink(limits=ZeromqLimits(**limits)) as running:
        story = simple(20)
        running.publish(story.header, *story.events[:5])
        healthy = subscriber(context, running.sink.publish_endpoint)
        lines_of(healthy, 2)
        endpoint = running.sink.publish_endpoint
        with shaken(endpoint) as peer:
            peer.sendall(b"".join(b"\x00\x05\x01%03d/" % i for i in range(200)))
            until(lambda: running.sink.counters["breaker_trips"] == 1)
        again = [json.loads(line) for _, line in lines_of(healthy, 2)]
        assert [event["event"] for event in again] == ["header", "state"]
        assert running.sink.publish_endpoint == endpoint
        running.publish(*story.events[5:])
        assert [line for _, line in lines_of(healthy, len(story.lines) - 6)] == story.lines[6:]
        until(lambda: running.sink.subscribers == 1)


def test_a_full_queue_drops_events_but_not_headers_and_ends():
    counters = {"publish_dropped": 0}
    with zmq.Context() as context:
        io = ZeromqThread(context, "off", "off", [], None, ZeromqLimits(queue=10), counters)
        events = [header(), *map(frame, range(20)), StreamEnd(20, "eof", 20, 0, {})]
        for event in events:
            io.put("stage", event, encode(event))
        assert [event for _, event, _ in io._queue] == [*events[:10], events[-1]]
        assert counters["publish_dropped"] == 11
        io.open()
        io.stop()
        io.run(lambda call, route: None)
        io.close()


def test_curve_without_a_zap_handler_lets_nobody_in(context):
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    with zmq.Context() as alone:
        xpub = bind(alone, zmq.XPUB, ANY_PORT, PUBLISH, CurveServer(*server, "natd.listen", frozenset(client[:1])), ())
        sub = context.socket(zmq.SUB)
        sub.curve_serverkey, sub.curve_publickey, sub.curve_secretkey = server[0], *client
        sub.subscribe("stage/")
        sub.connect(endpoint_of(xpub))
        assert not xpub.poll(300)
        xpub.close(linger=0)


def test_the_daemon_dies_of_an_error_in_the_thread_and_says_which():
    with pytest.raises(ZeroDivisionError):
        with running_sink() as running:
            running.sink._io._publish_queued = lambda: 1 / 0
            running.publish(header())
            until(lambda: running.sink._ended.done())


class SlowPipe:
    """A pipe end whose owner pauses between deciding to write and writing, as a preempted thread does."""

    def __init__(self, io: ZeromqThread) -> None:
        self.io, self.closed_between = io, False

    def write(self, fd: int, data: bytes) -> int:
        deadline = time.monotonic() + 0.2
        while not self.io._closed and time.monotonic() < deadline:
            time.sleep(0.001)
        self.closed_between = self.io._closed
        return 0


def test_the_pipe_is_not_closed_under_a_writer(monkeypatch):
    with running_sink() as running:
        io = running.sink._io
        slow = SlowPipe(io)
        running.publish(header())
        slow_os = SimpleNamespace(write=slow.write, read=os.read, close=os.close)
        monkeypatch.setattr("natd.sinks.zeromq_io.os", slow_os)
        io._stopping = True  # the thread sees it by itself, at its next turn
        io._awake = False
        io._wake()
        monkeypatch.undo()
        assert slow.closed_between is False


def test_a_socket_that_lies_where_a_closed_one_lay_is_watched():
    """libzmq gives the address of the closed one's watcher up in its own time."""
    with zmq.Context() as context:
        for _ in range(300):
            with context.socket(zmq.ROUTER) as watched, watch_failures(watched):
                watched.disable_monitor()
