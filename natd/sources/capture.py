"""The child process that talks to PortAudio: `python -m natd.sources.capture REQUEST`, REQUEST one JSON object.

PortAudio hangs, when a sound server or a driver does, in every call it has; so it lives alone, where it can be killed.
The child writes samples into a ring and JSON lines of status to a pipe, and ends with its parent. Of what is big it
imports numpy and sounddevice, and never torch.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from natd.audio.ring import XRUN, RingWriter, Shape
from natd.procfs import die_with
from natd.sources.names import AmbiguousDevice, DeviceInfo, NoSuchDevice, resolve

NO_PORTAUDIO = "the PortAudio library is missing: apt install libportaudio2"
_BAD_CHANNELS, _BAD_RATE = -9998, -9997  # paInvalidChannelCount, paInvalidSampleRate


def main(argument: str) -> NoReturn:
    """Serve the request; `fds` in it are inherited descriptors."""
    request = json.loads(argument)
    status = request["status_fd"]
    for fd in (status, *request.get("ring_fds", ())):
        os.set_inheritable(fd, False)  # a sound server started by PortAudio would keep them open
    die_with(request["parent"])  # even while it hangs inside PortAudio
    try:
        import sounddevice  # noqa: PLC0415 - it starts PortAudio, which may hang or be missing
    except OSError as error:
        _leave(status, {"error": "no_portaudio", "message": f"{NO_PORTAUDIO} ({error})"})
    devices = _devices(sounddevice)
    if request["do"] == "list":
        _leave(status, {"devices": [asdict(device) for device in devices]})
    _capture(sounddevice, devices, request, status)


def _devices(sd: Any) -> list[DeviceInfo]:
    """What can capture."""
    apis = [api["name"] for api in sd.query_hostapis()]
    return [
        DeviceInfo(d["index"], d["name"], apis[d["hostapi"]], d["max_input_channels"], d["default_samplerate"])
        for d in sd.query_devices()
        if d["max_input_channels"] > 0
    ]


def _capture(sd: Any, devices: list[DeviceInfo], request: dict[str, Any], status: int) -> NoReturn:
    """Open the device and write until the stream or the parent ends."""
    try:
        device = resolve(request["selector"], devices, sd.default.device[0])
    except (NoSuchDevice, AmbiguousDevice) as error:
        kind = "no_device" if isinstance(error, NoSuchDevice) else "ambiguous"
        _leave(status, {"error": kind, "message": str(error)})
    shape = Shape(*request["shape"])
    ring = RingWriter(shape, *request["ring_fds"])
    finished, finish = os.pipe()

    def callback(block: Any, _frames: int, _time: Any, flags: Any) -> None:
        # PortAudio's own thread. Its time stamps are of a different clock with every driver: ours is taken here.
        ring.write(block, time.monotonic_ns(), XRUN if flags.input_overflow else 0)

    try:
        stream = sd.InputStream(
            device=device.index,
            samplerate=request["rate"],
            channels=shape.channels,
            blocksize=shape.block,
            dtype="float32",
            latency="low",
            callback=callback,
            finished_callback=lambda: os.close(finish),
        )
        stream.start()
    except sd.PortAudioError as error:
        code = error.args[1] if len(error.args) > 1 else 0
        kind = "bad_format" if code in (_BAD_CHANNELS, _BAD_RATE) else "open_failed"
        says = f"{device.name} (up to {device.channels} channels, {device.rate:g} Hz by its own word)"
        _leave(status, {"error": kind, "message": f"{says}: {error}", "device": asdict(device)})
    _say(status, {"opened": device.name})
    # Not stopped, aborted or closed: each of these can hang, and the kernel does it anyway.
    ready, _, _ = select.select([finished, sys.stdin.fileno()], [], [])
    _leave(status, {"error": "ended", "message": f"{device.name} is gone"} if finished in ready else {})


def _say(status: int, message: dict[str, Any]) -> None:
    os.write(status, json.dumps(message).encode() + b"\n")


def _leave(status: int, message: dict[str, Any]) -> NoReturn:
    """End at once: PortAudio's own clean-up at exit may hang."""
    _say(status, message)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
