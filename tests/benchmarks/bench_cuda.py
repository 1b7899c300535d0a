"""Everything that only a GPU can show, in one run: `python -m tests.benchmarks.bench_cuda [--audio DIR] [--budget S]`.

Every part runs in a process of its own, within its share of the time; one that fails does not hide the others. What
they print goes to $OUT (or the temporary folder) as a whole, and to the screen in short; the tables come last.

    check    does each tokenizer run, recorded and not; are its codes those of the CPU, alone those of company
    tests    the tests marked `gpu`
    steps    what a step costs
    streams  how many live streams the engine keeps up with
    profile  where a step's time goes
    train    do the nets of `ears` learn there
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.cuda_parts import HEADS
from tests.benchmarks.cuda_task import MARK

SHOWN = 1500  # characters of what a failed part said last
CHECKED = ("ears", "mimi", "encodec", "soundstream", "dac", "snac", "hubert", "wavlm", "mimi:dtype=bfloat16")
TIMED = ("ears", "mimi", "encodec", "soundstream")
TIMED_LATER = ("mimi:dtype=bfloat16", "snac", "dac", "hubert")
SEARCHED = ("mimi", "ears", "encodec", "soundstream")
PARTS = ("check", "tests", "steps", "streams", "profile", "train")


@dataclass(frozen=True, slots=True)
class Job:
    """A part for one tokenizer, and the seconds it may take."""

    part: str
    name: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    job: Job
    status: str
    taken_s: float
    lines: list[str]  # that the part marked as its result
    said: str


def jobs_of(args: argparse.Namespace) -> list[list[Job]]:
    """One after another; those of one list side by side."""
    chosen = [name for name in args.names.split(",") if name]

    def of(part: str, names: tuple[str, ...], limit_s: float) -> list[Job]:
        kept = [name for name in names if not (chosen and name) or name.partition(":")[0] in chosen]
        return [Job(part, name, limit_s) for name in kept] if part in args.parts.split(",") else []

    def each(jobs: list[Job]) -> list[list[Job]]:
        return [[job] for job in jobs]

    return [
        of("check", CHECKED, 120) + of("tests", ("",), 120),
        *each(of("steps", TIMED, 75)),
        of("profile", TIMED[:3], 60) + of("train", ("",), 90),
        *each(of("streams", SEARCHED, 100)),
        *each(of("steps", TIMED_LATER, 60)),
    ]


def run(job: Job, args: argparse.Namespace, folder: Path, left_s: float) -> Outcome:
    """The part in a process of its own; its whole output in `folder`."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.cuda_parts", job.part, job.name, args.device, args.shared]
    command += [args.audio or "", "small" if args.small else "whole"]
    log = folder / f"{job.part}-{job.name.replace(':', '-').replace('=', '-') or 'all'}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            code = process.wait(min(job.limit_s, left_s))
            status = "ok" if code == 0 else f"exit {code}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "out of time"
    said = log.read_text(errors="replace")
    lines = [line.removeprefix(MARK) for line in said.splitlines() if line.startswith(MARK)]
    return Outcome(job, status, time.monotonic() - began, lines, said)


def told(outcome: Outcome) -> None:
    """How it went; the last of what was said if it failed."""
    job = outcome.job
    print(f"[{job.part} {job.name}] {outcome.status}, {outcome.taken_s:.0f} s", flush=True)
    if outcome.status != "ok":
        print(outcome.said[-SHOWN:], flush=True)


def summary(outcomes: list[Outcome]) -> str:
    """All results, part by part."""
    out = []
    for part in PARTS:
        found = [outcome for outcome in outcomes if outcome.job.part == part]
        if found:
            out.append(f"== {part}: {HEADS[part]}")
        for outcome in found:
            failed = [] if outcome.status == "ok" else [f"{outcome.job.name:12s} {outcome.status.upper()}"]
            out += [*outcome.lines, *failed]
    return "\n".join(out)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--audio", metavar="DIR", help="recordings as .npy, 24 kHz mono int16 (default: made-up sounds)")
    p.add_argument("--budget", type=float, default=360.0, metavar="S", help="seconds in all (default: 360)")
    p.add_argument("--parts", default=",".join(PARTS), help=f"which (default: {','.join(PARTS)})")
    p.add_argument("--names", default="", help="which tokenizers only")
    p.add_argument("--device", default="cuda")
    p.add_argument("--small", action="store_true", help="a few frames of each: to see that the parts run")
    args = p.parse_args()
    folder = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="natd-cuda-"))
    end, outcomes = time.monotonic() + args.budget, list[Outcome]()
    with tempfile.TemporaryDirectory() as shared:
        args.shared = shared  # checkpoints, made once
        for together in jobs_of(args):
            left = end - time.monotonic()
            if left < 5:
                outcomes += [Outcome(job, "no time left", 0.0, [], "") for job in together]
                continue
            with ThreadPoolExecutor(max(1, len(together))) as pool:
                for outcome in pool.map(lambda job: run(job, args, folder, left), together):  # noqa: B023
                    outcomes.append(outcome)
                    told(outcome)
    text = summary(outcomes)
    (folder / "summary.txt").write_text(text + "\n")
    (folder / "summary.json").write_text(
        json.dumps([{"part": o.job.part, "name": o.job.name, "status": o.status, "lines": o.lines} for o in outcomes])
    )
    print(f"\n{text}")
    return 0 if all(outcome.status == "ok" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
