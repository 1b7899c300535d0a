"""A private virtual sound card for each test; collected only where PulseAudio is installed (in CI it must be)."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "virtual-device"
MISSING = [tool for tool in ("pulseaudio", "pactl", "paplay") if shutil.which(tool) is None]
if MISSING:
    if os.environ.get("CI"):
        raise pytest.UsageError(f"{', '.join(MISSING)} not found; run: {SCRIPT} install")
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.device)


class Card:
    """One virtual card, `hw:1` unless told otherwise; its faults are those of `virtual-device unplug`."""

    def __init__(self, folder, number, rate, channels, kind):
        self.folder, self.number, self.rate, self.channels = Path(folder), number, rate, channels
        self.name = f"hw:{number}"
        exports = self._do("start", "--rate", rate, "--channels", channels, "--kind", kind)
        lines = subprocess.run(["bash", "-c", exports + "\nenv -0"], check=True, capture_output=True).stdout
        wanted = ("ALSA_CONFIG_PATH", "PULSE_SERVER", "PULSE_CLIENTCONFIG", "PULSE_COOKIE", "VIRTUAL_AUDIO_DIR")
        pairs = (line.split("=", 1) for line in lines.decode().split("\0") if "=" in line)
        self.env = {key: value for key, value in pairs if key in wanted}
        self.fifo = (
            self.folder / f"card{number}" / "fifo"
        )  # of a card of kind "pipe": 16-bit samples, paced by the writer

    def play(self, file):
        """Begin to play a file; it ends by itself, or with the card."""
        self._do("play", "--bg", file)

    def unplug(self, how):
        self._do("unplug", "--how", how)

    def replug(self, *options):
        self._do("replug", *options)

    def stop(self):
        self._do("stop")

    def _do(self, verb, *options):
        command = [SCRIPT, verb, *(() if verb == "stop" else ("--card", str(self.number))), *map(str, options)]
        done = subprocess.run(
            command,
            env=os.environ | {"VIRTUAL_AUDIO_DIR": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def cards(monkeypatch):
    """Make a card: `cards(number=1, rate=48000, channels=2, kind="sink")`; this process then sees it."""
    folder = tempfile.mkdtemp(prefix="natd-card-")  # short: the path of a socket holds 107 bytes
    made = []

    def make(number=1, rate=48000, channels=2, kind="sink"):
        made.append(Card(folder, number, rate, channels, kind))
        for key, value in made[-1].env.items():
            monkeypatch.setenv(key, value)
        return made[-1]

    yield make
    if made:
        made[0].stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def card(cards):
    """A stereo card at 48 kHz, called hw:1."""
    return cards()
