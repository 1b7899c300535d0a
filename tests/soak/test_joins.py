"""Joins under load: pytest -m soak -s tests/soak/test_joins.py"""

import json
import random
import statistics
import threading
import time

import pytest
import zmq

from natd.sinks.zeromq_io import ZeromqLimits
from tests.running import Peers, running_sink, subscriber
from tests.soak.load import Load

JOINS, AT_ONCE, FPS = 10_000, 20, 1000


class Tally:
    """What joiners saw."""

    def __init__(self):
        self.joins = self.first = self.gapless = 0
        self.ms = []

    def count(self, seen, ms):
        """One joiner's lines, `(topic, event)`, and the time from its connect to its snapshot."""
        self.joins += 1
        kinds = [event["event"] for _, event in seen[:2]]
        self.first += kinds == ["header", "state"] and b"/s/" in seen[0][0]
        seqs = [event["seq"] for _, event in seen if "seq" in event]
        self.gapless += seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        self.ms.append(ms)


def join_and_leave(peers, endpoint, count, seed):
    """Join `count` times, `AT_ONCE` at once; each leaves after 3 to 40 events, so some leave while others join."""
    tally, chance, poller, active = Tally(), random.Random(seed), zmq.Poller(), {}
    begun = 0
    while tally.joins < count:
        while begun < count and len(active) < AT_ONCE:
            sub = subscriber(peers, endpoint)
            poller.register(sub, zmq.POLLIN)
            active[sub] = ([], time.monotonic(), 3 + chance.randrange(38))
            begun += 1
        ready = poller.poll(10_000)
        assert ready, f"{len(active)} joiners got nothing for 10 s"
        for sub, _ in ready:
            seen, began, enough = active[sub]
            topic, body = sub.recv_multipart()
            if not seen:
                active[sub] = (seen, time.monotonic() - began, enough)
            seen += [(topic, json.loads(line)) for line in body.splitlines()]
            if len(seen) > enough:
                tally.count(seen, active[sub][1] * 1000)
                poller.unregister(sub)
                del active[sub]
                peers.leave(sub)
    return tally


@pytest.mark.soak
def test_ten_thousand_joins_are_snapshot_first_and_gapless():
    peers = Peers()
    with running_sink(limits=ZeromqLimits(joins_per_s=1_000_000)) as running, Load(running, FPS) as load:
        began = time.monotonic()
        tally = join_and_leave(peers, running.sink.publish_endpoint, JOINS, seed=1)
        took = time.monotonic() - began
        counters = running.sink.counters
    peers.close()
    quantiles = statistics.quantiles(tally.ms, n=100)
    print(
        f"\n{tally.joins} joins in {took:.1f} s under {load.sent / load.took:.0f} frames/s, {AT_ONCE} at once: "
        f"snapshot first {100 * tally.first / JOINS:.2f} %, gapless {100 * tally.gapless / JOINS:.2f} %; "
        f"connect to snapshot p50 {quantiles[49]:.1f} ms, p99 {quantiles[98]:.1f} ms, max {max(tally.ms):.1f} ms; "
        f"threads {threading.active_count()}"
    )
    assert (tally.first, tally.gapless, counters["joins"]) == (JOINS, JOINS, JOINS)
    assert counters["publish_dropped"] == 0
