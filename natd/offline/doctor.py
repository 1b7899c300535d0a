"""Check this machine and the installation: one line a check, each failure with its cure."""

from __future__ import annotations

import asyncio
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from natd import __version__
from natd.errors import ModelError, NatdError, SourceError
from natd.interrupts import interrupts_held

PORTS = {5555: "--ingest", 5556: "--publish", 5557: "--control", 8088: "--http"}
SELF_TEST_S = 1.0
BUSY = 0.5  # share of real time from which the encoder leaves too little room
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: `status` is ok, warn or fail; `cure` is empty where nothing is wrong."""

    name: str
    status: str
    text: str
    cure: str = ""


def examine() -> int:
    """Print the findings as they come; 1 if one is a fail."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    failed = 0
    for check in CHECKS:
        for finding in check():
            failed += finding.status == "fail"
            console.print(f"{finding.status:<5}", style=STYLES[finding.status], end="")
            console.print(f"{finding.name:<12}{finding.text}")
            if finding.cure:
                console.print(f"{'':<17}→ {finding.cure}")
    console.print(f"{failed} failed" if failed else "all is well enough to run")
    return 1 if failed else 0


def check_python() -> Iterator[Finding]:
    """What runs here."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok", found)
    yield Finding("natd", "ok", __version__)


def check_torch() -> Iterator[Finding]:
    """The libraries torch and torchaudio import beside each other; whether there is a GPU."""
    again = f"{sys.executable} -m pip install --force-reinstall 'torch>=2.11,<2.15' 'torchaudio==2.11.*'"
    try:
        with interrupts_held():
            import torch
            import torchaudio
    except (ImportError, OSError) as error:
        yield Finding("torch", "fail", str(error), again)
        return
    yield Finding("torch", "ok", f"{torch.__version__}, torchaudio {torchaudio.__version__}")
    if torch.cuda.is_available():
        yield Finding("cuda", "ok", torch.cuda.get_device_name())
    else:
        yield Finding("cuda", "ok", "no GPU; none is needed")


def check_kernels() -> Iterator[Finding]:
    """The kernels for the CPU were compiled from these sources."""
    from natd.codec.kernels import library

    again = "sudo apt-get install gcc libc6-dev, then install natd again"
    try:
        found = library.chosen()
    except ModelError as error:
        yield Finding("kernels", "fail", str(error), again)
        return
    if found is None and library.fits_none():
        text = "this processor has no AVX2: the tokenizers of other authors cost twice as much as they could"
        yield Finding("kernels", "ok", text)
    elif found is None:
        text = "natd was installed without a C compiler: the tokenizers of other authors cost twice as much"
        yield Finding("kernels", "warn", text, again)
    elif library.builds()[0].stem != library.fastest():
        text = f"there is none as fast as this processor, {library.fastest()}: {library.builds()[0].name} is taken"
        yield Finding("kernels", "warn", text, "install natd again, with gcc 11 or newer")
    else:
        yield Finding("kernels", "ok", f"compiled for this processor: {library.builds()[0].name}")


def check_zmq() -> Iterator[Finding]:
    """The messaging libraries are there."""
    for package in ("pyzmq", "msgpack", "aiohttp"):
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "fail", "not installed", f"{sys.executable} -m pip install {package}")


def check_devices() -> Iterator[Finding]:
    """PortAudio loads, in a child process, and sees an input."""
    from natd.sources.device import list_devices

    try:
        inputs = list_devices()
    except SourceError as error:
        # Everything but a sound card works without it.
        yield Finding("portaudio", "warn", str(error), "sudo apt-get install libportaudio2   (only for sound cards)")
        return
    if inputs:
        yield Finding("portaudio", "ok", f"{len(inputs)} inputs; `nat devices` lists them")
    else:
        cure = "plug one in, or run without: natd --source demo:"
        yield Finding("portaudio", "warn", "works, but there is no input", cure)


def check_ports() -> Iterator[Finding]:
    """The default ports can be bound."""
    for port, option in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                cure = f"is natd running already? another port: natd {option} ADDRESS"
                yield Finding(f"port {port}", "warn", error.strerror or str(error), cure)
            else:
                yield Finding(f"port {port}", "ok", f"free for {option}")


def check_weights() -> Iterator[Finding]:
    """What is installed; the embedded tokenizer opens, which compares its hash."""
    from natd.codec import names, open_tokenizer

    yield Finding("tokenizers", "ok", ", ".join(names()))
    try:
        spec = open_tokenizer("ears").spec
    except NatdError as error:
        yield Finding("ears", "fail", str(error), f"{sys.executable} -m pip install --force-reinstall --no-deps natd")
    else:
        yield Finding("ears", "ok", f"version {spec.info.version}, {spec.info.codebook_id[:19]}…, hash right")
    from natd.offline.models import states

    for name, state in states():
        if isinstance(state, ModelError):
            yield Finding(name, "fail", str(state), "nat models list tells what to do about others' weights")


def check_pipeline() -> Iterator[Finding]:
    """One second of the built-in synthesiser through the whole pipeline."""
    try:
        frames, expected, ms = asyncio.run(_self_test())
    except NatdError as error:
        yield Finding("self-test", "fail", str(error), "see the lines above")
        return
    frame_ms = SELF_TEST_S * 1000 / max(1, expected)
    text = f"{frames} of {expected} frames, {ms:.2f} ms each ({ms / frame_ms:.1%} of real time)"
    if frames != expected:
        yield Finding("self-test", "fail", text, "frames are missing: please report this")
    elif ms > frame_ms:
        yield Finding("self-test", "fail", text, "this machine cannot encode in real time: a faster one, or --config")
    elif ms > BUSY * frame_ms:
        yield Finding("self-test", "warn", text, "little room: stop what else runs here")
    else:
        yield Finding("self-test", "ok", text)


async def _self_test() -> tuple[int, int, float]:
    """Frames that came, frames that were due, and ms for each."""
    import io

    from natd.engine import Engine
    from natd.metrics import Metrics
    from natd.offline.tokenize import QUIET, Lines
    from natd.settings import StreamSettings
    from natd.sources.demo import DemoSource
    from natd.stream import Stream

    async with Engine("ears") as engine, Lines(io.BytesIO()) as lines:
        source = DemoSource(paced=False, seconds=SELF_TEST_S)
        stream = Stream(StreamSettings(name="doctor"), source, engine, [lines], Metrics(), QUIET)
        started = time.perf_counter()
        await stream.run()
        wall_ms = (time.perf_counter() - started) * 1000
        expected = int(SELF_TEST_S * engine.spec.sr // engine.spec.frame_samples)
    return lines.frames, expected, wall_ms / max(1, lines.frames)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python, check_torch, check_kernels, check_zmq, check_devices, check_ports, check_weights, check_pipeline,
)  # fmt: skip
