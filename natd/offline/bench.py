"""`nat bench latency`: a daemon, a subscriber, and how long every stage between them takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from natd import procfs
from natd.errors import NatdError, SourceError

START_S = 120.0  # until the first frame: a cold start reads torch from disk
CONNECT_S = 10.0  # the same of a daemon that runs
END_S = 30.0  # beyond the measured time
SAMPLE_S = 0.5
MIB = 1 << 20
NAMES = {  # of the stages in the table, in their order
    "resample": "captured → resampled",
    "encode": "resampled → encoded",
    "publish": "encoded → published",
    "end_to_end": "captured → published",
}
TRANSPORT = "published → received (heartbeats)"
RECEIVED = "captured → received"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: `seconds` of a daemon with this source or device, or of one that publishes at `connect`."""

    seconds: float
    source: str | None = None
    device: str | None = None
    connect: str | None = None
    stream: str = "live"
    tokenizer: str | None = None

    def daemon(self, publish: str, control: str) -> list[str]:
        """The daemon's command."""
        heard = ["--device", self.device] if self.device else ["--source", self.source or "demo:"]
        where = ["--publish", publish, "--control", control, "--http", "off", "--stream", self.stream]
        named = ["--tokenizer", self.tokenizer] if self.tokenizer else []
        return [sys.executable, "-m", "natd", *heard, *where, *named, "--seconds", str(self.seconds)]


@dataclass(slots=True)
class Load:
    """Processor time and memory of the daemon and its children, sampled while frames come."""

    daemon: list[tuple[float, procfs.Usage]] = field(default_factory=list)
    children: list[tuple[float, procfs.Usage]] = field(default_factory=list)

    def sample(self, pid: int) -> None:
        """Look once."""
        now, usage = time.monotonic(), procfs.usage(pid)
        if usage is not None:
            self.daemon.append((now, usage))
            self.children.append((now, procfs.together(procfs.children(pid))))

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Name of the process -> cpu (% of one core), rss and rss_growth (MiB)."""
        named = {"daemon": self.daemon, "capture": self.children}
        return {name: _load(samples) for name, samples in named.items() if len(samples) > 1 and samples[-1][1].cpu_s}


def _load(samples: list[tuple[float, procfs.Usage]]) -> dict[str, float | None]:
    (t0, first), (t1, last) = samples[0], samples[-1]
    return {
        "cpu_percent": round(100 * (last.cpu_s - first.cpu_s) / (t1 - t0), 1),
        "rss_mib": round(last.resident_bytes / MIB, 1),
        "rss_growth_mib": round((last.resident_bytes - first.resident_bytes) / MIB, 1),
    }


def bench(plan: Plan, *, as_json: bool) -> int:
    """Measure and print; NatdError if no frame comes."""
    report, load = asyncio.run(_measure(plan))
    result = figures(report, load)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


async def _measure(plan: Plan) -> tuple[dict[str, Any], Load]:
    load = Load()
    publish, control = (plan.connect, "") if plan.connect else _free_endpoints()
    limit = plan.seconds if plan.connect else 0.0
    async with contextlib.AsyncExitStack() as stack:
        listen = [sys.executable, "-m", "natd.offline.probe", publish, control, plan.stream, str(limit)]
        probe = await stack.enter_async_context(_process(listen, None))
        assert probe.stdout is not None
        daemon: Process | None = None
        if not plan.connect:
            log = stack.enter_context(tempfile.TemporaryFile())
            daemon = await stack.enter_async_context(_process(plan.daemon(publish, control), log))
            await _first_line(probe, daemon, log)
        else:
            await _heard(plan, probe.stdout)
        report = asyncio.create_task(probe.stdout.read())
        deadline = time.monotonic() + plan.seconds + END_S
        while not report.done() and time.monotonic() < deadline:
            if daemon is not None and daemon.returncode is None:
                load.sample(daemon.pid)
            await asyncio.wait([report], timeout=SAMPLE_S)
        if not report.done():
            report.cancel()
            raise NatdError(f"the stream did not end within {END_S:.0f} s of its time")
        return json.loads(report.result()), load


async def _heard(plan: Plan, probe: asyncio.StreamReader) -> None:
    """Return once frames come from a daemon that runs; SourceError if none do."""
    try:
        await asyncio.wait_for(probe.readline(), CONNECT_S)
    except TimeoutError as error:
        raise SourceError(
            f"no frame of the stream {plan.stream} came from {plan.connect} in {CONNECT_S:.0f} s:"
            " is natd running there, and is --stream its stream?"
        ) from error


async def _first_line(probe: Process, daemon: Process, log: IO[bytes]) -> None:
    """Return once frames come; NatdError with the daemon's last words if it ends before."""
    assert probe.stdout is not None
    line, gone = asyncio.create_task(probe.stdout.readline()), asyncio.create_task(daemon.wait())
    done, waiting = await asyncio.wait([line, gone], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if line not in done:
        log.seek(0)
        said = log.read()[-2000:].decode(errors="replace").strip()
        error = NatdError(f"no frame came; the daemon said:\n{said or '(nothing)'}")
        error.exit_code = max(daemon.returncode or 0, 0) or error.exit_code  # its status is of the same kinds as ours
        raise error


@contextlib.asynccontextmanager
async def _process(command: list[str], log: IO[bytes] | None) -> AsyncIterator[Process]:
    """A child that does not outlive the block; what it says goes to `log`, or comes back through a pipe."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdout=log or PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C is ours to hand on
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), 5.0)
        except TimeoutError:
            child.kill()
            await child.wait()


def _free_endpoints() -> tuple[str, str]:
    """Two addresses that were free a moment ago."""
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        return (f"tcp://127.0.0.1:{one.getsockname()[1]}", f"tcp://127.0.0.1:{two.getsockname()[1]}")


def figures(report: dict[str, Any], load: Load) -> dict[str, Any]:
    """The result: stages with p50, p99, max (ms) and count, losses, load, and the floor under all of it."""
    if not report["frames"]:
        raise NatdError(f"no frame came: {report['error'] or 'the stream ended at once'}")
    stages = {NAMES[name]: stage for name, stage in _daemon_stages(report).items()}
    stages |= {TRANSPORT: report["published_to_received"], RECEIVED: report["captured_to_received"]}
    header = report["header"]
    return {
        "stages_ms": stages,
        **{name: report[name] for name in ("frames", "gaps", "gap_frames", "lost_events", "epochs")},
        "load": load.figures(),
        "floor": {"frame_ms": header["frame_ms"], "resampler_ms": header["input"]["delay_ms"]},
        "input": header["input"],
        "tokenizer": header["tokenizer"]["name"],
    }


def _daemon_stages(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """From the end of the stream; from its windows (median p50, worst p99 and max) where it still runs."""
    if report["end"]:
        latency: dict[str, dict[str, Any]] = report["end"]["stats"]["latency_ms"]
        return latency
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        windows = [window[name] for window in report["windows"] if window[name]["p50"] is not None]
        if windows:
            found[name] = {key: max(w[key] for w in windows) for key in ("p99", "max")} | {"count": None}
            found[name]["p50"] = statistics.median(w["p50"] for w in windows)
    return found


def show(result: dict[str, Any]) -> None:
    """The result as a table and a few lines."""
    console = Console(highlight=False)
    heard = result["input"]
    table = Table(title=f"{heard['source']} {heard['name']}, {heard['rate']} Hz, tokenizer {result['tokenizer']}; ms")
    table.add_column("stage")
    for column in ("p50", "p99", "max", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, stage in result["stages_ms"].items():
        table.add_row(name, *(_number(stage[key]) for key in ("p50", "p99", "max")), str(stage["count"] or "-"))
    console.print(table)
    names = ("frames", "gaps", "gap_frames", "lost_events", "epochs")
    console.print(", ".join(f"{result[name]} {name.replace('_', ' ')}" for name in names))
    for process, load in result["load"].items():
        grown = f"{load['rss_growth_mib']:+.1f} MiB while measured"
        console.print(f"{process}: {load['cpu_percent']} % of one core, {load['rss_mib']} MiB resident ({grown})")
    floor = result["floor"]
    console.print(
        f"The floor: `captured` is when the last sample of a frame is there; its first has then waited "
        f"{floor['frame_ms']:g} ms. A block of the source must fill (10 ms), and the resampler holds back "
        f"{floor['resampler_ms']:g} ms."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
