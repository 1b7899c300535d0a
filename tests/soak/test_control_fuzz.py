"""Garbage on the control socket: every message is answered, every refusal counted, nothing falls over.

NATD_MESSAGES=200000 pytest -m soak -s tests/soak/test_control_fuzz.py
"""

import json
import os
import random

import pytest
import zmq

from tests.running import running_sink, until
from tests.streams import header

pytestmark = pytest.mark.soak

MESSAGES = int(os.environ.get("NATD_MESSAGES", "100000"))
SEED = int(os.environ.get("NATD_SEED", "1"))
GOOD = {"op": "replay", "stream": "stage", "epoch": "x", "from_seq": 0}

TABLE: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{op}",
    "a number": b"7",
    "a list": b'["replay"]',
    "null": b"null",
    "cut short": json.dumps(GOOD).encode()[:-2],
    "two objects": b'{"op":"streams"}{"op":"streams"}',
    "no op": b"{}",
    "op is a number": b'{"op":1}',
    "op is null": b'{"op":null}',
    "op is unknown": b'{"op":"shutdown"}',
    "op is long": json.dumps({"op": "x" * 100}).encode(),
    "stream is a number": b'{"op":"header","stream":1}',
    "stream is a path": b'{"op":"header","stream":"../etc"}',
    "stream is unknown": b'{"op":"header","stream":"nobody"}',
    "stream is long": json.dumps({"op": "header", "stream": "x" * 65}).encode(),
    "no stream": b'{"op":"replay","epoch":"x","from_seq":0}',
    "no epoch": b'{"op":"replay","stream":"stage","from_seq":0}',
    "from_seq is -1": json.dumps(GOOD | {"from_seq": -1}).encode(),
    "from_seq is 2^63": json.dumps(GOOD | {"from_seq": 2**63}).encode(),
    "from_seq is 1e400": b'{"op":"replay","stream":"stage","epoch":"x","from_seq":1e400}',
    "from_seq is NaN": b'{"op":"replay","stream":"stage","epoch":"x","from_seq":NaN}',
    "from_seq is text": json.dumps(GOOD | {"from_seq": "0"}).encode(),
    "from_seq is true": json.dumps(GOOD | {"from_seq": True}).encode(),
    "nested 400 deep": b'{"op":' + b"[" * 400 + b"]" * 400 + b"}",
    "not UTF-8": b'{"op":"\xff\xfe"}',
    "a lone surrogate": b'{"op":"\\ud800"}',
    "NUL": b"\x00" * 64,
    "msgpack": b"\x81\xa2op\xa6replay",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "an op that fails": b'{"op":"broken"}',
    "good replay": json.dumps(GOOD).encode(),
    "good streams": b'{"op":"streams"}',
    "good header": b'{"op":"header","stream":"stage"}',
    "good answer": b'{"op":"status"}',
}


def mutated(dice: random.Random) -> bytes:
    """One of the table as it stands, or with bytes changed, or mere bytes."""
    kind = dice.random()
    if kind < 0.3:
        return dice.choice(list(TABLE.values()))
    if kind < 0.9:
        body = bytearray(dice.choice(list(TABLE.values())) or b"x")
        for _ in range(dice.randint(1, 4)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        return bytes(body)
    return dice.randbytes(dice.randint(0, 200))


def rss() -> int:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def broken(request):
    raise RuntimeError("this answer always fails")


@pytest.mark.filterwarnings("ignore")
def test_every_message_is_answered_and_every_refusal_counted():
    dice = random.Random(SEED)
    answers = {"status": lambda request: {"ok": True}, "broken": broken}
    with running_sink(answers=answers) as running, zmq.Context() as context:
        running.publish(header(epoch="x"))
        replies = refusals = failures = 0
        before = rss()
        for round_ in range(0, MESSAGES, 150):  # a new peer each time: the bucket of one lets 200 through at once
            with context.socket(zmq.DEALER) as peer:
                peer.linger, peer.sndhwm, peer.rcvhwm = 0, 1000, 1000
                peer.connect(running.sink.control_endpoint)
                count = min(150, MESSAGES - round_)
                for _ in range(count):
                    peer.send(mutated(dice))
                for _ in range(count):
                    assert peer.poll(10_000), f"no answer to a message of round {round_}; seed {SEED}"
                    line = peer.recv_multipart()[-1].split(b"\n")[0]
                    first = json.loads(line) if line else {}  # a replay with nothing to replay is empty
                    replies += 1
                    refusals += first.get("event") == "error" and first.get("code") != "failed"
                    failures += first.get("event") == "error" and first.get("code") == "failed"
        counters = running.sink.counters
        refused, failed = counters["control_refused"], counters["control_failed"]
        until(lambda: counters["control_requests"] == MESSAGES)
        print(
            f"\ncontrol: {MESSAGES} messages from {-(-MESSAGES // 150)} peers, {replies} answered, {refusals} refused "
            f"({refused} counted), {failures} answers failed ({failed} counted), "
            f"crashes 0, RSS {(rss() - before) / 2**20:+.1f} MiB"
        )
        assert replies == MESSAGES
        assert refused == refusals
        assert failed == failures > 0
