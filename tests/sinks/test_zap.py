"""CURVE: who is on the list gets in; nobody else, and nobody at all without an answer from ZAP."""

import json
import threading

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from natd.endpoints import CurveServer
from natd.errors import BindError, ConfigError
from natd.sinks.zap import BAN_S, Doorman, raw_key
from natd.sinks.zeromq_io import ZeromqLimits
from tests.running import ANY_PORT, lines_of, running_sink, until
from tests.streams import header, simple

SERVER = zmq.curve_keypair()
FRIEND, OTHER, STRANGER = (zmq.curve_keypair() for _ in range(3))


def curve(*clients, server=SERVER, domain="natd.listen"):
    return CurveServer(server[0], server[1], domain, frozenset(public for public, _ in clients))


def join(context, running, keys, server=SERVER[0], kind=zmq.SUB):
    made = context.socket(kind)
    if keys is not None:
        made.curve_serverkey, made.curve_publickey, made.curve_secretkey = server, *keys
    if kind == zmq.SUB:
        made.subscribe("stage/")
        made.connect(running.sink.publish_endpoint)
    else:
        made.connect(running.sink.control_endpoint)
    return made


def test_the_listed_get_in_and_the_others_do_not(context):
    story = simple(10)
    with running_sink(curve=curve(FRIEND, OTHER)) as running:
        refused = [
            join(context, running, STRANGER),
            join(context, running, None),
            join(context, running, FRIEND, server=STRANGER[0]),
        ]
        dealers = [join(context, running, keys, kind=zmq.DEALER) for keys in (FRIEND, STRANGER)]
        for dealer in dealers:
            dealer.send(b'{"op":"streams"}')
        welcome = [join(context, running, FRIEND), join(context, running, OTHER)]
        until(lambda: running.sink.subscribers == 2)
        running.publish(story.header, *story.events)
        for sub in welcome:
            assert [line for _, line in lines_of(sub, len(story.lines))] == story.lines
        assert dealers[0].poll(5000) and json.loads(dealers[0].recv())["event"] == "streams"
        until(lambda: running.sink.counters["peers_refused"] >= 2)
        until(lambda: running.sink.counters["handshakes_failed"] >= 4)
        assert not any(peer.poll(20) for peer in [*refused, dealers[1]])


def test_without_zap_nobody_gets_in(context):
    with running_sink(curve=curve(FRIEND)) as running:
        running.publish(header())
        io, silent = running.sink._io, threading.Event()
        io._serve_zap = silent.set  # the handler is asked and never answers
        sub = join(context, running, FRIEND)
        assert silent.wait(5)
        assert not sub.poll(200)


def test_a_revoked_key_is_cut_off_and_the_others_come_back(context):
    with running_sink(curve=curve(FRIEND, OTHER)) as running:
        running.publish(header())
        kept, revoked = join(context, running, FRIEND), join(context, running, OTHER)
        for sub in (kept, revoked):
            lines_of(sub, 2)
        endpoint = running.sink.publish_endpoint
        running.sink.allow(curve(FRIEND))
        assert json.loads(lines_of(kept, 2)[0][1])["event"] == "header", "it joined again"
        until(lambda: running.sink.counters["peers_refused"] >= 1)
        assert running.sink.publish_endpoint == endpoint
        running.publish(*simple(3).events)
        lines_of(kept, 3)
        assert not revoked.poll(50)


def test_a_key_added_while_running_gets_in(context):
    with running_sink(curve=curve(FRIEND)) as running:
        running.publish(header())
        there = join(context, running, FRIEND)
        lines_of(there, 2)
        new = join(context, running, OTHER)
        until(lambda: running.sink.counters["peers_refused"] == 1)
        running.sink.allow(curve(FRIEND, OTHER))
        # libzmq does not try again by itself after a refusal
        lines_of(join(context, running, OTHER), 2)
        new.close()
        assert not there.poll(50), "nobody was cut off"


def test_the_server_key_can_be_changed_while_running(context):
    server = zmq.curve_keypair()
    with running_sink(curve=curve(FRIEND)) as running:
        running.publish(header())
        lines_of(join(context, running, FRIEND), 2)
        running.sink.allow(curve(FRIEND, server=server))
        until(lambda: running.sink.subscribers == 0)
        lines_of(join(context, running, FRIEND, server=server[0]), 2)


def test_domains_do_not_open_each_others_doors(context):
    with running_sink(curve=curve(FRIEND)) as running:
        running.publish(header())
        running.sink.allow(curve(OTHER, domain="natd.feed"))
        sub = join(context, running, OTHER)
        until(lambda: running.sink.counters["peers_refused"] == 1)
        assert not sub.poll(50)
        lines_of(join(context, running, FRIEND), 2)


def test_other_sockets_of_the_context_are_guarded_by_the_same_list(context):
    with running_sink(curve=curve(FRIEND)) as running:
        feed = curve(OTHER, domain="natd.feed")
        running.sink.allow(feed)
        pull = running.sink.context.socket(zmq.PULL)
        pull.linger, pull.curve_server, pull.curve_secretkey = 0, True, SERVER[1]
        pull.zap_domain = b"natd.feed"
        pull.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        for keys in (FRIEND, OTHER):
            push = context.socket(zmq.PUSH)
            push.curve_serverkey, push.curve_publickey, push.curve_secretkey = SERVER[0], *keys
            push.connect(f"tcp://127.0.0.1:{port}")
            push.send(keys[0])
        assert pull.poll(5000) and pull.recv() == OTHER[0]
        until(lambda: running.sink.counters["peers_refused"] == 1)
        assert not pull.poll(20)
        pull.close()


def test_a_flood_of_subscriptions_bans_the_key_that_sent_it(context):
    limits = ZeromqLimits(live_subscriptions=50, joins_per_s=1_000_000)
    with running_sink(curve=curve(FRIEND, OTHER), limits=limits) as running:
        running.publish(header())
        good = join(context, running, FRIEND)
        lines_of(good, 2)
        bad = join(context, running, OTHER)
        for i in range(60):
            bad.subscribe(f"s{i}/")
        until(lambda: running.sink.counters["breaker_trips"] == 1)
        lines_of(good, 2)
        until(lambda: running.sink.counters["peers_refused"] >= 1)
        until(lambda: running.sink.subscribers == 1)


def test_an_address_of_another_machine_is_refused_at_once():
    with pytest.raises(BindError, match=r"tcp://192.0.2.1:5556: Cannot assign requested address"):
        with running_sink("tcp://192.0.2.1:5556", ANY_PORT, curve=curve(FRIEND)):
            pass


def request(key=b"\x01" * 32, domain=b"d", mechanism=b"CURVE", version=b"1.0"):
    return [version, b"7", domain, b"127.0.0.1", b"", mechanism, key]


def doorman(now=lambda: 0.0):
    made = Doorman({"peers_refused": 0}, now)
    made._allowed = {b"d": frozenset([b"\x01" * 32])}
    return made


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(), b"200"),
        (request(key=b"\x02" * 32), b"400"),
        (request(key=b"\x01" * 31), b"400"),
        (request(domain=b"e"), b"400"),
        (request(mechanism=b"NULL")[:6], b"400"),
        (request(mechanism=b"PLAIN"), b"400"),
        ([*request(), b"more"], b"400"),
        (request(version=b"2.0"), b"500"),
        ([], b"500"),
        ([b"1.0"], b"500"),
    ],
)
def test_the_doorman_opens_to_a_listed_curve_key_of_the_domain_alone(asked, status):
    answer = doorman().answer(asked)
    assert (answer[0], answer[2], len(answer)) == (b"1.0", status, 6)


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_the_doorman_answers_any_frames(frames):
    assert doorman().answer(frames)[2] in (b"400", b"500")


def test_a_ban_ends_by_itself_and_there_are_only_so_many():
    clock = [0.0]
    door = doorman(lambda: clock[0])
    door.ban(b"\x01" * 32)
    assert door.answer(request())[2] == b"400"
    clock[0] = BAN_S
    assert door.answer(request())[2] == b"200"
    door.ban(b"\x01" * 32)
    for i in range(300):
        door.ban(i.to_bytes(32, "big"))
    assert len(door._bans) == 256


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_read_as_libzmq_writes_them(raw):
    from zmq.utils import z85

    assert raw_key(z85.encode(raw)) == raw


@pytest.mark.parametrize("key", [b"a" * 39, b"a" * 41, b"#" * 40, b"a" * 39 + b" ", b"\xff" * 40])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ConfigError):
        raw_key(key)
