"""The control socket: replay byte for byte, answers, and refusals of everything else."""

import asyncio
import json

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from natd.errors import ConfigError
from natd.sinks.control import MAX_REPLY_BYTES, Call, ControlDesk
from natd.sinks.replay import StreamLog
from natd.wire import encode
from tests.running import Peers, ask, asker, running_sink, until
from tests.schema import validate_line
from tests.streams import header, simple


def test_replay_gives_the_events_byte_for_byte(running, context):
    story = simple(60)
    running.publish(story.header, *story.events)
    dealer = asker(context, running.sink.control_endpoint)
    until(lambda: json.loads(ask(dealer, {"op": "streams"})[0])["streams"] != [])
    replayed = 0
    for first, last in ((0, None), (7, None), (7, 9), (59, 60), (60, 60)):
        request = {"op": "replay", "stream": "stage", "epoch": "e0", "from_seq": first}
        request |= {} if last is None else {"to_seq": last}
        stop = None if last is None else last + 2
        lines = ask(dealer, request)
        assert lines == story.lines[1 + first : stop]
        replayed += len(lines)
    assert running.sink.counters["replays"] == 5
    assert running.sink.counters["replayed_events"] == replayed


def test_long_replays_come_in_bounded_parts_that_join_up(running, context):
    story = simple(3000)
    for at in range(0, len(story.events), 500):
        running.publish(*([story.header] if at == 0 else []), *story.events[at : at + 500])
    dealer = asker(context, running.sink.control_endpoint)
    until(lambda: running.sink._io._logs["stage"].last_seq == story.events[-1].seq)
    oldest = running.sink._io._logs["stage"].oldest_seq
    got = []
    while not got or json.loads(got[-1])["event"] != "end":
        part = ask(dealer, {"op": "replay", "stream": "stage", "epoch": "e0", "from_seq": oldest + len(got)})
        assert len(b"".join(part)) <= MAX_REPLY_BYTES
        got += part
    assert got == story.lines[1 + oldest :]


@pytest.mark.parametrize(
    ("epoch", "from_seq", "reason"), [("e9", 0, "epoch"), ("e0", 99, "future"), ("e0", 2**53 - 1, "future")]
)
def test_what_cannot_be_replayed_is_a_reset_with_header_and_state(running, context, epoch, from_seq, reason):
    story = simple(5, ended=False)
    running.publish(story.header, *story.events)
    dealer = asker(context, running.sink.control_endpoint)
    until(lambda: json.loads(ask(dealer, {"op": "streams"})[0])["streams"] != [])
    lines = ask(dealer, {"op": "replay", "stream": "stage", "epoch": epoch, "from_seq": from_seq})
    reset, head, state = map(validate_line, lines)
    assert (reset["event"], reset["reason"], head["epoch"], state["seq"]) == (
        "reset", reason, "e0", story.events[-1].seq)  # fmt: skip


def test_nothing_new_is_an_empty_answer(running, context):
    story = simple(5)
    running.publish(story.header, *story.events)
    dealer = asker(context, running.sink.control_endpoint)
    request = {"op": "replay", "stream": "stage", "epoch": "e0", "from_seq": story.events[-1].seq + 1}
    until(lambda: ask(dealer, request) == [])


def test_req_clients_and_correlated_ones_are_answered_alike(running, context):
    req = asker(context, running.sink.control_endpoint, zmq.REQ)
    assert json.loads(ask(req, {"op": "streams"})[0]) == {"event": "streams", "streams": []}
    dealer = asker(context, running.sink.control_endpoint)
    dealer.send_multipart([b"my-7", b"", b'{"op":"streams"}'])
    assert dealer.poll(5000)
    assert dealer.recv_multipart()[:2] == [b"my-7", b""]


def test_header_is_the_published_line(running, context):
    story = simple(5)
    running.publish(story.header, *story.events)
    dealer = asker(context, running.sink.control_endpoint)
    until(lambda: ask(dealer, {"op": "header", "stream": "stage"}) == story.lines[:1])


def desk(*ops):
    return ControlDesk({}, ops, dict.fromkeys(("control_requests", "control_refused"), 0))


@pytest.mark.parametrize(
    "request_of", [{}, {"layer": "S1"}, {"layer": "S1", "code": 0}, {"layer": "A15", "code": 2**31 - 1}]
)
def test_a_legend_is_asked_for_by_layer_and_code(request_of):
    request = {"op": "legend", **request_of}
    assert desk("legend").answer(b"x", json.dumps(request).encode(), 0.0) == Call("legend", request)


@pytest.mark.parametrize(
    "wrong", [{"layer": "S1", "code": -1}, {"code": 2**31}, {"code": "3"}, {"code": 1.5}, {"layer": "X1"},
              {"layer": "S100"}, {"layer": "S1\n"}, {"layer": 1}]
)  # fmt: skip
def test_layers_and_codes_that_cannot_be_are_refused(wrong):
    reply = desk("legend").answer(b"x", json.dumps({"op": "legend", **wrong}).encode(), 0.0)
    assert json.loads(reply)["code"] == "bad_request"


def test_answers_are_called_on_the_loop_and_may_wait(context):
    async def slowly(request):
        await asyncio.sleep(0.01)
        return {"asked": request}

    def fails(request):
        raise ValueError("no \x1b[31m card")

    def legend(request):
        if "layer" in request:
            raise ConfigError("no layer S9")
        return b'{"as":"it is"}\n'

    answers = {"status": lambda request: {"loop": asyncio.get_running_loop().is_running()},
               "legend": legend, "devices": slowly, "keyframe": fails}  # fmt: skip
    with running_sink(answers=answers) as running:
        dealer = asker(context, running.sink.control_endpoint)
        assert json.loads(ask(dealer, {"op": "status"})[0]) == {"event": "answer", "op": "status", "loop": True}
        assert ask(dealer, {"op": "legend"}) == [b'{"as":"it is"}\n']
        assert json.loads(ask(dealer, {"op": "devices", "stream": "stage"})[0]) == {
            "event": "answer", "op": "devices", "asked": {"op": "devices", "stream": "stage"}}  # fmt: skip
        assert validate_line(ask(dealer, {"op": "keyframe"})[0]) == {
            "event": "error", "code": "failed", "message": "ValueError: no ?[31m card"}  # fmt: skip
        assert validate_line(ask(dealer, {"op": "legend", "layer": "S9"})[0]) == {
            "event": "error", "code": "unknown_code", "message": "no layer S9"}  # fmt: skip
        assert running.sink.counters["control_failed"] == 2
        assert json.loads(ask(dealer, {"op": "status"})[0])["loop"] is True


def test_only_so_many_answers_may_be_waited_for(context):
    async def never(request):
        await asyncio.Event().wait()

    with running_sink(answers={"status": never}) as running:
        dealer = asker(context, running.sink.control_endpoint)
        for _ in range(64):
            dealer.send(b'{"op":"status"}')
        assert validate_line(ask(dealer, {"op": "status"})[0])["code"] == "busy"


REFUSED = [
    (b"", "bad_request"),
    (b"{", "bad_request"),
    (b"null", "bad_request"),
    (b"[]", "bad_request"),
    (b"\xff\xfe", "bad_request"),
    (b"{}", "bad_request"),
    (b'{"op":1}', "bad_request"),
    (b'{"op":"' + b"a" * 33 + b'"}', "bad_request"),
    (b'{"op":"\\ud800"}', "bad_request"),
    (b'{"op":"no such"}', "unknown_op"),
    (b'{"op":"header"}', "unknown_stream"),
    (b'{"op":"header","stream":"other"}', "unknown_stream"),
    (b'{"op":"header","stream":"../etc"}', "bad_request"),
    (b'{"op":"replay","stream":"stage"}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0"}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":7,"from_seq":0}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0","from_seq":-1}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0","from_seq":1.5}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0","from_seq":"1"}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0","from_seq":18446744073709551616}', "bad_request"),
    (b'{"op":"replay","stream":"stage","epoch":"e0","from_seq":NaN}', "bad_request"),
    (b'{"x":' + b"[" * 2000 + b"]" * 2000 + b',"op":"a"}', "bad_request"),
]


@pytest.mark.parametrize(("request_", "code"), REFUSED)
def test_what_is_no_request_is_refused_and_counted(running, context, request_, code):
    story = simple(3)
    running.publish(story.header, *story.events)
    dealer = asker(context, running.sink.control_endpoint)
    until(lambda: running.sink._io._logs)
    assert validate_line(ask(dealer, request_)[0])["code"] == code
    assert running.sink.counters["control_refused"] == 1


def test_messages_of_many_parts_are_refused(running, context):
    dealer = asker(context, running.sink.control_endpoint)
    for parts in (4, 1000):
        dealer.send_multipart([b"{}"] * parts)
        assert dealer.poll(5000)
        assert json.loads(dealer.recv_multipart()[-1])["code"] == "bad_request"


def test_a_request_that_is_too_large_ends_its_connection_only(running, context):
    good, bad = (asker(context, running.sink.control_endpoint) for _ in range(2))
    bad.send(b'{"op":"streams","x":"' + b"a" * 5000 + b'"}')
    assert json.loads(ask(good, {"op": "streams"})[0])["event"] == "streams"
    assert not bad.poll(100)


def test_a_greedy_peer_is_told_to_wait_and_another_is_served(running, context):
    greedy, modest = (asker(context, running.sink.control_endpoint) for _ in range(2))
    for _ in range(300):
        greedy.send(b'{"op":"streams"}')
    answers = []
    while len(answers) < 300:
        assert greedy.poll(5000)
        answers.append(json.loads(greedy.recv()))
    assert [a["event"] for a in answers[:200]] == ["streams"] * 200
    assert answers[-1].get("code") == "rate_limited"
    assert json.loads(ask(modest, {"op": "streams"})[0])["event"] == "streams"


def test_the_bucket_fills_again_with_time():
    desk = ControlDesk({}, (), dict.fromkeys(("control_requests", "control_refused"), 0), rate=10.0, burst=2.0)
    codes = [b"rate_limited" in desk.answer(b"peer", b'{"op":"streams"}', now) for now in (0.0, 0.0, 0.0, 0.09, 0.11)]
    assert codes == [False, False, True, True, False]


def desk_with(story):
    log = StreamLog()
    log.append(story.header, encode(story.header))
    for event in story.events:
        log.append(event, encode(event))
    counters = dict.fromkeys(("control_requests", "control_refused", "replays", "replayed_events"), 0)
    return ControlDesk({"stage": log}, ["status"], counters, rate=1e9, burst=1e9)


DESK = desk_with(simple(30))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["op", "stream", "epoch", "from_seq", "to_seq", "x"])
likely = st.sampled_from(["replay", "header", "streams", "status", "stage", "e0", "", 0, 5, 29, -1, 2**53, 2**63, None])
requests = st.dictionaries(fields, likely | json_values, max_size=6).map(lambda r: json.dumps(r).encode())


@settings(max_examples=1000)
@given(st.binary(max_size=300) | requests | requests.flatmap(lambda r: st.permutations(r).map(bytes)))
def test_any_bytes_are_answered_by_lines_or_a_call_and_every_refusal_is_counted(body):
    before = DESK.counters["control_refused"]
    reply = DESK.answer(b"peer", body, 0.0)
    if isinstance(reply, Call):
        assert reply.op == "status"
        return
    events = [json.loads(line) for line in reply.splitlines()]
    refused = [event for event in events if event["event"] == "error"]
    assert DESK.counters["control_refused"] - before == len(refused) <= 1
    for line in reply.splitlines(keepends=True):
        if json.loads(line)["event"] != "streams":
            validate_line(line)


@given(st.sampled_from(["e0", "e1"]), st.integers(0, 2**53 - 1) | st.integers(0, 40), st.none() | st.integers(0, 40))
def test_replay_is_the_asked_part_or_a_reset(epoch, from_seq, to_seq):
    story = simple(30)
    request = {"op": "replay", "stream": "stage", "epoch": epoch, "from_seq": from_seq}
    request |= {} if to_seq is None else {"to_seq": to_seq}
    reply = DESK.answer(b"peer", json.dumps(request).encode(), 0.0)
    lines = reply.splitlines(keepends=True)
    if epoch == "e0" and from_seq <= len(story.events):
        stop = None if to_seq is None else max(from_seq, to_seq + 1)
        assert lines == [encode(event) for event in story.events][from_seq:stop]
    else:
        assert json.loads(lines[0])["reason"] == ("epoch" if epoch != "e0" else "future")


def test_fuzz_over_the_socket_leaves_it_answering(running):
    peers = Peers()
    dealer = asker(peers, running.sink.control_endpoint)
    running.publish(header())

    @settings(max_examples=200)
    @given(requests | st.binary(max_size=100))
    def try_one(body):
        dealer.send(body)

    try_one()
    other = asker(peers, running.sink.control_endpoint)
    assert json.loads(ask(other, {"op": "header", "stream": "stage"})[0])["epoch"] == "e0"
    peers.close()
