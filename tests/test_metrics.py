"""The figures: each declared once, exact where they say so, bounded in memory, and readable by Prometheus."""

import ast
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from natd import procfs
from natd.clock import FakeClock
from natd.metrics import BUCKETS_S, COUNTERS, GAUGES, STAGES, WINDOW_RECORDS, Latency, Metrics

NATD = Path(__file__).parent.parent / "natd"


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    """(sample name, labels) -> value, as a Prometheus server reads them."""
    text = metrics.prometheus_text().decode()
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def label(**labels: str) -> frozenset:
    return frozenset(labels.items())


def test_a_window_is_exact():
    clock = FakeClock()
    metrics = Metrics(window_s=10.0, clock=clock)
    values = list(range(1, 101))
    random.Random(1).shuffle(values)
    for ms in values:
        metrics.record("a", "encode", ms * 1_000_000)
    assert metrics.window("a")["encode"] == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    assert metrics.window("a")["publish"] == {"p50": None, "p99": None, "max": None}
    assert metrics.window("other")["encode"] == {"p50": None, "p99": None, "max": None}
    assert metrics.window("a").keys() == STAGES.keys()


def test_a_window_forgets_what_is_older_than_it():
    clock = FakeClock()
    metrics = Metrics(window_s=10.0, clock=clock)
    metrics.record("a", "encode", 900_000_000)
    clock.advance(9.0)
    metrics.record("a", "encode", 1_000_000)
    assert metrics.window("a")["encode"]["max"] == 900.0
    clock.advance(1.0)
    assert metrics.window("a")["encode"] == {"p50": 1.0, "p99": 1.0, "max": 1.0}
    clock.advance(10.0)
    assert metrics.window("a")["encode"] == {"p50": None, "p99": None, "max": None}
    assert metrics.total("a")["encode"]["max"] == 900.0


def test_a_full_window_keeps_the_latest():
    metrics = Metrics(clock=FakeClock())
    for i in range(WINDOW_RECORDS + 10):
        metrics.record("a", "encode", i * 1000)
    newest = (WINDOW_RECORDS + 9) / 1000
    assert metrics.window("a")["encode"]["max"] == newest
    assert metrics.window("a")["encode"]["p50"] == round((10 + math.ceil(WINDOW_RECORDS / 2) - 1) / 1000, 3)


def test_the_total_holds_three_digits_from_microseconds_to_a_minute():
    rng, metrics = random.Random(2), Metrics(clock=FakeClock())
    values = sorted(round(10 ** rng.uniform(3, 10.7)) for _ in range(5000))
    for ns in values:
        metrics.record("a", "end_to_end", ns)
    total = metrics.total("a")["end_to_end"]
    for name, q in (("p50", 50), ("p99", 99)):
        exact = values[math.ceil(q / 100 * len(values)) - 1] / 1e6
        assert total[name] == pytest.approx(exact, rel=2e-3)
    assert total["max"] == round(values[-1] / 1e6, 3)
    assert total["count"] == 5000
    assert metrics.total("a")["encode"] == {"p50": None, "p99": None, "max": None, "count": 0}


def test_no_latency_is_too_long_to_count():
    metrics = Metrics(clock=FakeClock())
    metrics.record("a", "encode", 3600 * 10**9)
    minute = pytest.approx(60_000, rel=2e-3)
    assert metrics.total("a")["encode"] == {"p50": minute, "p99": minute, "max": 3_600_000.0, "count": 1}
    assert samples(metrics)["natd_latency_seconds_bucket", label(stream="a", stage="encode", le="+Inf")] == 1


def test_a_negative_latency_counts_as_none_and_is_counted():
    metrics = Metrics(clock=FakeClock())
    metrics.record("a", "encode", -5)
    assert metrics.window("a")["encode"]["max"] == 0.0
    assert metrics.counters == {"latencies_negative": 1}


def test_an_unknown_stage_is_refused_and_leaves_nothing():
    metrics = Metrics()
    with pytest.raises(KeyError, match="walk"):
        metrics.record("a", "walk", 1)
    assert metrics.latencies() == []


def test_prometheus_reads_the_histogram():
    metrics = Metrics(clock=FakeClock())
    for ms in (0.4, 0.5, 9, 50, 70, 20_000):
        metrics.record("a", "encode", round(ms * 1e6))
    read = samples(metrics)
    expected = {0.0005: 2, 0.005: 2, 0.01: 3, 0.06: 4, 0.08: 5, 10.0: 5}
    for bound, count in expected.items():
        assert read["natd_latency_seconds_bucket", label(stream="a", stage="encode", le=str(bound))] == count
    assert read["natd_latency_seconds_bucket", label(stream="a", stage="encode", le="+Inf")] == 6
    assert read["natd_latency_seconds_count", label(stream="a", stage="encode")] == 6
    assert read["natd_latency_seconds_sum", label(stream="a", stage="encode")] == pytest.approx(20.1299)
    assert sum(name == "natd_latency_seconds_bucket" for name, _ in read) == len(BUCKETS_S) + 1


def test_counters_are_read_live_and_summed_over_parts():
    metrics = Metrics()
    one, two, other = {"frames": 3}, {"frames": 4, "gaps": 1}, {"frames": 5}
    metrics.watch({"stream": "a"}, one)
    metrics.watch({"stream": "a"}, two)
    metrics.watch({"stream": "b"}, lambda: dict(other))
    one["frames"] += 10
    other["frames"] = 6
    read = samples(metrics)
    assert read["natd_frames_total", label(stream="a")] == 17
    assert read["natd_frames_total", label(stream="b")] == 6
    assert read["natd_gaps_total", label(stream="a")] == 1
    assert read["natd_latencies_negative_total", label()] == 0


def test_a_counter_that_is_not_declared_is_refused():
    with pytest.raises(KeyError, match="surprises"):
        Metrics().watch({}, {"frames": 0, "surprises": 0})
    with pytest.raises(KeyError, match="surprises"):
        Metrics().watch({}, lambda: {"surprises": 0})


def test_gauges_are_asked_at_each_scrape_and_may_have_nothing_to_say():
    metrics, level = Metrics(), {"now": None}
    metrics.gauge("drift_ppm", lambda: level["now"], {"stream": "a"})
    assert ("natd_drift_ppm", label(stream="a")) not in samples(metrics)
    level["now"] = -1.5
    assert samples(metrics)["natd_drift_ppm", label(stream="a")] == -1.5
    with pytest.raises(KeyError, match="mood"):
        metrics.gauge("mood", lambda: 1.0)


def test_labels_from_outside_cannot_break_the_text():
    metrics = Metrics()
    evil = 'a"\n\\natd_frames_total 99\n'
    metrics.watch({"stream": evil}, {"frames": 1})
    assert samples(metrics)["natd_frames_total", label(stream=evil)] == 1
    assert ("natd_frames_total", label()) not in samples(metrics)


def test_a_stream_that_is_over_is_forgotten():
    metrics = Metrics()
    for name in ("a", "b"):
        metrics.record(name, "encode", 1)
        metrics.watch({"stream": name}, {"frames": 1})
        metrics.gauge("live", lambda: 1.0, {"stream": name})
    metrics.forget("a")
    assert {dict(labels).get("stream") for _, labels in samples(metrics)} == {"b", None}


def test_a_stream_that_begins_again_keeps_its_counts_and_not_its_parts():
    metrics = Metrics()
    for run in range(50):
        frames = {"frames": 2}
        metrics.watch({"stream": "a"}, frames)
        metrics.gauge("live", lambda run=run: float(run), {"stream": "a"})
        metrics.settle("a")
        frames["frames"] = 1000  # no longer heard
        metrics.watch({"stream": "b"}, {"gaps": 1})
        metrics.settle("b")
    assert len(metrics._watched) == 3 and metrics._gauges == []
    assert samples(metrics)["natd_frames_total", label(stream="a")] == 100


def test_a_gauge_takes_the_place_of_the_one_before():
    metrics = Metrics()
    for value in (1.0, 2.0):
        metrics.gauge("live", lambda value=value: value, {"stream": "a"})
        metrics.gauge("subscribers", lambda value=value: value)
    text = metrics.prometheus_text().decode()
    assert text.count("natd_live{") == 1 and 'natd_live{stream="a"} 2.0' in text
    assert text.count("\nnatd_subscribers ") == 1


def test_a_latency_keeps_its_size():
    clock, latency = FakeClock(), Latency(10**10)
    size = sys.getsizeof(latency._at), sys.getsizeof(latency._ns), len(latency.buckets)
    for i in range(3 * WINDOW_RECORDS):
        latency.record(i, clock.mono_ns())
    assert (sys.getsizeof(latency._at), sys.getsizeof(latency._ns), len(latency.buckets)) == size


# ---- processes


def test_memory_and_time_of_this_process():
    while time.process_time() < 0.2:
        pass  # something to measure, in user time
    before = time.process_time()
    found = procfs.usage(os.getpid())
    after = time.process_time()
    tick = 1 / os.sysconf("SC_CLK_TCK")  # user and system time are each cut off to whole ticks
    assert before - 3 * tick <= found.cpu_s <= after + 3 * tick
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert found.resident_bytes == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.05)


def test_a_child_is_seen_while_it_runs():
    metrics = Metrics()
    with subprocess.Popen([sys.executable, "-c", "input(1)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.read(1) == b"1"  # it runs
        assert child.pid in procfs.children(os.getpid())
        assert samples(metrics)["natd_process_resident_bytes", label(process="children")] > 1 << 20
        child.communicate(b"\n")
    assert child.pid not in procfs.children(os.getpid())
    assert procfs.usage(child.pid) is None
    assert procfs.together([child.pid]) == procfs.Usage(0, 0.0)


def test_a_child_started_by_another_thread_is_seen():
    found: list[bool] = []

    def start() -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            found.append(child.pid in procfs.children(os.getpid()))
            child.communicate(b"\n")

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert found == [True]


# ---- the table against the code


def counted_names(tree: ast.AST) -> set[str]:
    """Counter names that a module uses: keys of dicts assigned to `counters`, subscripts of it, `_COUNTERS` tuples."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            called = {t.attr if isinstance(t, ast.Attribute) else getattr(t, "id", "") for t in targets}
            if called & {"counters", "_counters", "_counts", "_COUNTERS"} and node.value is not None:
                names |= literals(node.value)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
            if node.value.attr in ("counters", "_counters", "_counts"):
                names |= literals(node.slice)
    return names


def literals(node: ast.AST) -> set[str]:
    """Strings directly in a dict's keys, a tuple, a conditional or a `dict.fromkeys`."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.Dict(keys=keys):
            return set().union(*(literals(k) for k in keys if k))
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return set().union(*map(literals, items))
        case ast.IfExp(body=one, orelse=other):
            return literals(one) | literals(other)
        case ast.Call(func=ast.Attribute(attr="fromkeys"), args=[keys, *_]):
            return literals(keys)
    return set()


MODULES = sorted(NATD.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(NATD)))
def test_every_counter_is_declared(path):
    assert counted_names(ast.parse(path.read_text())) <= COUNTERS.keys()


def test_every_declared_figure_is_counted_somewhere():
    texts = [p.read_text() for p in MODULES if p.name != "metrics.py"]
    texts.append((NATD / "metrics.py").read_text().split("class Latency")[1])
    made = tuple(
        {prefix for text in texts for prefix in re.findall(r'f"(\w+_)\{\w+\}"', text)}
    )  # as in f"refused_{why}"
    declared = {name for name in COUNTERS.keys() | GAUGES.keys() if not name.startswith(made)}
    assert not {name for name in declared if not any(f'"{name}"' in t or f"natd_{name}" in t for t in texts)}


def test_names_and_words_of_the_table():
    for name, figure in {**COUNTERS, **GAUGES}.items():
        assert name.replace("_", "").isalnum() and name.islower(), name
        assert figure.unit and figure.about and not figure.about.endswith("."), name
