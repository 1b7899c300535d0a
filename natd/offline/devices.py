"""`nat devices`: what can be captured here, with the exact command for each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from natd.errors import SourceError
from natd.settings import DeviceStream
from natd.sources.device import list_devices
from natd.sources.names import AmbiguousDevice, DeviceInfo, NoSuchDevice, resolve

CURE = "sound cards need PortAudio: sudo apt-get install libportaudio2"


def print_devices() -> int:
    """Print a table; SourceError with the cure where PortAudio is missing or there is nothing to capture from."""
    try:
        devices = list_devices()
    except SourceError as error:
        cure = "" if "apt" in str(error) else f"; {CURE}"
        raise SourceError(f"{error}{cure}") from error
    if not devices:
        raise SourceError("there is no device to capture from; `natd --source demo:` needs none")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "name", "by", "channels", "rate"):
        table.add_column(name, justify="left" if name in ("name", "by") else "right", overflow="fold")
    for device in devices:
        row = (device.index, device.name, device.hostapi, device.channels, f"{device.rate:.0f} Hz")
        table.add_row(*map(str, row))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    Console(highlight=False).print(table)
    console.print("\nto listen to one of them, type:")
    for device in devices:
        console.print(f"  {command(device, devices)}")
    return 0


def command(device: DeviceInfo, devices: Sequence[DeviceInfo]) -> str:
    """The natd command that captures from `device`, by a name that survives replugging where it has one."""
    # No --rate: ALSA devices call 44100 Hz their own where they run at 48000, and natd falls back to it by itself.
    words = ["natd", "--device", _selector(device, devices)]
    if device.channels < DeviceStream().channels:
        words += ["--channels", str(device.channels)]
    return shlex.join(words)


def _selector(device: DeviceInfo, devices: Sequence[DeviceInfo]) -> str:
    for candidate in _candidates(device):
        try:
            if resolve(candidate, devices) == device:
                return candidate
        except (AmbiguousDevice, NoSuchDevice):
            continue  # a longer one may be the only one
    return str(device.index)


def _candidates(device: DeviceInfo) -> Iterator[str]:
    """From the shortest name to the whole one."""
    yield device.name.split(": ")[0].split(" (")[0].strip()
    yield device.name.split(" (hw:")[0].strip()
    yield device.name
    yield f"{device.name}, {device.hostapi}"
