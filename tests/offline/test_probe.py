"""What the subscriber of the latency benchmark makes of what it receives."""

import json

from natd.offline.probe import Probe, summed_up
from natd.wire import Event, Heartbeat, encode
from tests.streams import Teller, header

T0 = 12_345  # t0_mono_ns of `header()`


def feed(probe: Probe, event: Event, received_ns: int = 0) -> None:
    probe.feed(json.loads(encode(event)), received_ns)


def probed(lates_ms: list[float], drift_ppm: float | None = None) -> Probe:
    """Frame i was received `lates_ms[i]` after its last sample, on a clock that drifts."""
    probe, teller = Probe(), Teller(header())
    feed(probe, teller.story.header)
    for i, late_ms in enumerate(lates_ms):
        teller.frame([[0], [0], [0], [0, 0]])
        pace = 1 - (drift_ppm or 0) * 1e-6
        feed(probe, teller.story.events[-1], T0 + round((i + 1) * 80e6 * pace + late_ms * 1e6))
    feed(probe, Heartbeat("e0", 1, 1, "live", 1_000_000, 2, drift_ppm, {}), 3_500_000)
    return probe


def test_the_way_from_capture_to_receipt():
    report = probed([5.0, 7.0, 6.0]).report()
    assert report["captured_to_received"] == {"p50": 6.0, "p99": 7.0, "max": 7.0, "count": 3}
    assert report["published_to_received"] == {"p50": 2.5, "p99": 2.5, "max": 2.5, "count": 1}
    assert (report["frames"], report["epochs"], report["lost_events"], report["gaps"]) == (3, 1, 0, 0)


def test_drift_does_not_count_as_latency():
    lates = [5.0] * 750  # a minute: 100 ppm would add 6 ms
    assert probed(lates, 100.0).report()["captured_to_received"]["max"] == 5.0
    assert probed(lates, -100.0).report()["captured_to_received"]["max"] == 5.0


def test_losses_are_counted_each_in_its_place():
    probe, teller = Probe(), Teller(header())
    teller.gap(6)
    feed(probe, teller.story.header)
    feed(probe, teller.story.events[-1])
    probe.feed({"event": "lost", "from_seq": 3, "to_seq": 4}, 0)
    report = probe.report()
    assert (report["gaps"], report["gap_frames"], report["lost_events"]) == (1, 6, 2)


def test_percentiles_are_values_that_were_seen():
    assert summed_up([float(i) for i in range(1000, 0, -1)]) == {
        "p50": 500.0,
        "p99": 990.0,
        "max": 1000.0,
        "count": 1000,
    }
    assert summed_up([]) == {"p50": None, "p99": None, "max": None, "count": 0}
