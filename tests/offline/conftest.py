"""Recordings made here, and a daemon that runs."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from natd_client import ask

START_S = 60.0


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    """2.5 s of two channels at 44.1 kHz: tones, noise and a silence."""
    rate, rng = 44_100, np.random.default_rng(7)
    t = np.arange(int(2.5 * rate)) / rate
    left = 0.3 * np.sin(2 * np.pi * 220 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    right = 0.05 * rng.standard_normal(len(t)) * (t > 1.0)
    path = tmp_path_factory.mktemp("audio") / "Two Channels.wav"
    soundfile.write(path, np.stack([left, right], axis=1), rate, subtype="PCM_16")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, which is not there yet; nothing is in the hub's cache."""
    monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "models"


@dataclass(frozen=True)
class Running:
    """A daemon of its own process, and where it is."""

    process: subprocess.Popen[bytes]
    publish: str
    control: str
    ingest: str
    http: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*options: str) -> Running:
    """A daemon on free ports, once it answers; end it with `stop`."""
    publish, control, ingest = (f"tcp://127.0.0.1:{free_port()}" for _ in range(3))
    http = f"127.0.0.1:{free_port()}"
    where = ["--publish", publish, "--control", control, "--ingest", ingest, "--http", http]
    process = subprocess.Popen([sys.executable, "-m", "natd", *options, *where], stderr=subprocess.PIPE)
    deadline = time.monotonic() + START_S
    while True:
        try:
            if ask(control, {"op": "streams"}, timeout=0.2)[0].get("streams"):
                return Running(process, publish, control, ingest, f"http://{http}")
        except TimeoutError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"natd {options} did not start: {process.communicate()[1].decode()}")


def stop(running: Running) -> int:
    """End it as a service manager does; its exit status."""
    running.process.send_signal(signal.SIGTERM)
    try:
        running.process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        running.process.kill()
        running.process.communicate()
    return running.process.returncode


@pytest.fixture(scope="module")
def daemon() -> Iterator[Running]:
    """A daemon that plays the built-in synthesiser as the stream `stage`."""
    running = start("--source", "demo:", "--stream", "stage")
    try:
        yield running
    finally:
        stop(running)
