"""A stopped subscriber beside a healthy one: pytest -m soak -s tests/soak/test_subscribers.py"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.running import running_sink
from tests.soak.load import Load

FPS, SECONDS, STOPPED_S = 1200, 60, 20
HEALTHY = """
import json, sys, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.subscribe("stage/")
sub.connect(sys.argv[1])
last, got, lost, worst = None, 0, 0, 0
while True:
    for line in sub.recv_multipart()[1].splitlines():
        event = json.loads(line)
        if event["event"] == "frame":
            lost += 0 if last is None else event["seq"] - last - 1
            last, got = event["seq"], got + 1
            if got % 1000 == 0:
                print(json.dumps({"got": got, "lost": lost, "last": last}), flush=True)
"""


def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def reader(endpoint):
    return subprocess.Popen([sys.executable, "-c", HEALTHY, endpoint], stdout=subprocess.PIPE, text=True)


@pytest.mark.soak
def test_a_stopped_subscriber_costs_the_healthy_one_nothing():
    with running_sink() as running, Load(running, FPS) as load:
        healthy, stopped = reader(running.sink.publish_endpoint), reader(running.sink.publish_endpoint)
        try:
            stopped.stdout.readline()
            began, resident, stops = time.monotonic(), [], 0
            while time.monotonic() < began + SECONDS:
                os.kill(stopped.pid, (signal.SIGSTOP, signal.SIGCONT)[stops % 2])
                stops += 1
                leave = time.monotonic() + STOPPED_S / 2
                while time.monotonic() < leave:
                    report = json.loads(healthy.stdout.readline())
                resident.append(resident_kib())
        finally:
            for child in (healthy, stopped):
                os.kill(child.pid, signal.SIGCONT)
                child.kill()
                child.communicate()
        counters = running.sink.counters
    print(
        f"\n{SECONDS} s at {load.sent / load.took:.0f} frames/s, one subscriber stopped half of the time: healthy got "
        f"{report['got']} frames and lost {report['lost']}; slow episodes {counters['slow_episodes']}, "
        f"dropped before publishing {counters['publish_dropped']}; resident {resident} KiB"
    )
    assert report["lost"] == 0 and report["got"] > FPS * SECONDS * 0.8
    assert counters["publish_dropped"] == 0
    assert resident[-1] - resident[1] < 16 * 1024
