"""The latency benchmark: a real daemon, a real subscriber, one table."""

import json

import pytest

from natd.errors import NatdError, SourceError
from natd.metrics import STAGES
from natd.offline.bench import NAMES, RECEIVED, TRANSPORT, Load, Plan, bench, figures
from natd.procfs import Usage

STAGE = {"p50": 1.0, "p99": 2.0, "max": 3.0, "count": 4}
HEADER = {"frame_ms": 80.0, "input": {"delay_ms": 5.0}, "tokenizer": {"name": "ears"}}


def report(**changes):
    found = {
        "frames": 4, "gaps": 0, "gap_frames": 0, "lost_events": 0, "epochs": 1, "header": HEADER, "windows": [],
        "captured_to_received": STAGE, "published_to_received": STAGE, "error": None,
        "end": {"stats": {"latency_ms": dict.fromkeys(STAGES, STAGE)}},
    }  # fmt: skip
    return found | changes


def test_every_stage_of_the_daemon_has_a_name():
    assert NAMES.keys() == STAGES.keys()


def test_a_daemon_and_a_subscriber_of_its_own(capsys):
    assert bench(Plan(seconds=1.6), as_json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert [*result["stages_ms"]] == [*NAMES.values(), TRANSPORT, RECEIVED]
    for name in NAMES.values():
        stage = result["stages_ms"][name]
        assert stage["count"] == 20  # frames in 1.6 s
        assert 0 <= stage["p50"] <= stage["p99"] <= stage["max"] + 0.1  # of a histogram with three digits
    whole = result["stages_ms"][RECEIVED]
    assert 0 < whole["count"] == result["frames"] <= 20
    assert (result["gaps"], result["lost_events"], result["epochs"]) == (0, 0, 1)
    assert result["load"]["daemon"]["rss_mib"] > 50
    assert result["floor"] == {"frame_ms": 80.0, "resampler_ms": pytest.approx(5, abs=1)}


def test_a_daemon_that_cannot_run_is_quoted():
    with pytest.raises(NatdError, match="(?s)no frame came; the daemon said:.*none.wav") as caught:
        bench(Plan(seconds=1.0, source="file:/none.wav"), as_json=True)
    assert caught.value.exit_code == SourceError.exit_code


def test_where_nobody_publishes_no_frame_comes(monkeypatch):
    monkeypatch.setattr("natd.offline.bench.CONNECT_S", 1.5)
    with pytest.raises(SourceError, match="no frame of the stream hall came from tcp://127.0.0.1:1 in 2 s: is natd"):
        bench(Plan(seconds=1.0, connect="tcp://127.0.0.1:1", stream="hall"), as_json=True)


def test_a_running_daemon_gives_its_windows():
    windows = [
        dict.fromkeys(STAGES, {"p50": 1.0, "p99": 9.0, "max": 10.0}),
        dict.fromkeys(STAGES, {"p50": 3.0, "p99": 4.0, "max": 12.0}),
        dict.fromkeys(STAGES, {"p50": None, "p99": None, "max": None}),
    ]
    stages = figures(report(end=None, windows=windows), Load())["stages_ms"]
    assert stages[NAMES["encode"]] == {"p50": 2.0, "p99": 9.0, "max": 12.0, "count": None}


def test_a_running_daemon_is_left_running(daemon, capsys):
    assert bench(Plan(seconds=1.0, connect=daemon.publish, stream="stage"), as_json=False) == 0
    out = capsys.readouterr().out
    assert RECEIVED in out and "0 lost events, 1 epochs" in out
    assert daemon.process.poll() is None


def test_no_frame_is_no_result():
    with pytest.raises(NatdError, match="no frame came: it broke"):
        figures(report(frames=0, error="it broke"), Load())


def test_load_is_that_of_the_measured_time():
    mib = 1 << 20
    load = Load(daemon=[(10.0, Usage(100 * mib, 5.0)), (12.0, Usage(101 * mib, 5.5))], children=[])
    assert load.figures() == {"daemon": {"cpu_percent": 25.0, "rss_mib": 101.0, "rss_growth_mib": 1.0}}
