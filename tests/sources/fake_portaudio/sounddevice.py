"""Stands in for sounddevice in the capture process: a card whose faults are told by a JSON file (FAKE_PORTAUDIO).

Sample n of its clock is the number n % 2**24, and its clock is the monotonic clock: a reader can tell what it missed.
"""

import json
import os
import sys
import threading
import time

import numpy as np

EPOCH_NS = int(os.environ["FAKE_PORTAUDIO_EPOCH"])
with open(os.environ["FAKE_PORTAUDIO"]) as told:
    FAULTS = json.load(told)
print("ALSA lib: Unknown PCM cards.pcm.rear", file=sys.stderr, flush=True)
if FAULTS.get("import") == "missing":
    raise OSError("PortAudio library not found")
if FAULTS.get("import") == "hangs":
    time.sleep(1000)


class PortAudioError(Exception):
    pass


class default:
    device = (0, 0)


class Flags:
    def __init__(self, input_overflow):
        self.input_overflow = input_overflow


def query_hostapis():
    return ({"name": "Fake"},)


def query_devices():
    names = FAULTS.get("devices", ["card (hw:1,0)", "speakers"])
    return [
        {
            "index": i,
            "name": name,
            "hostapi": 0,
            "max_input_channels": 0 if name == "speakers" else 2,
            "default_samplerate": float(FAULTS.get("rates", [48000])[0]),
        }
        for i, name in enumerate(names)
    ]


class InputStream:
    def __init__(self, device, samplerate, channels, blocksize, dtype, latency, callback, finished_callback):
        if FAULTS.get("open") == "hangs":
            time.sleep(1000)
        if FAULTS.get("open") == "fails":
            raise PortAudioError("Error opening InputStream: Device unavailable", -9985)
        if samplerate not in FAULTS.get("rates", [48000]):
            raise PortAudioError("Error opening InputStream: Invalid sample rate", -9997)
        if channels > 2:
            raise PortAudioError("Error opening InputStream: Invalid number of channels", -9998)
        self.rate, self.channels, self.block = samplerate, channels, blocksize
        self.callback, self.finished = callback, finished_callback

    def start(self):
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        first = start = (time.monotonic_ns() - EPOCH_NS) * self.rate // 10**9
        skip_from, skip_to = FAULTS.get("skips", [1e9, 1e9])
        flagged = False
        while True:
            first += self.block
            due = EPOCH_NS + first * 10**9 // self.rate
            time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
            at = (first - start) / self.rate
            if at > FAULTS.get("ends", 1e9):
                self.finished()
                return
            if at > FAULTS.get("falls_silent", 1e9):
                return
            if skip_from <= at < skip_to:
                flagged = FAULTS.get("flags", False)
                continue
            numbers = np.arange(first - self.block, first) % (1 << 24)
            self.callback(
                np.repeat(numbers.astype(np.float32)[:, None], self.channels, 1), self.block, None, Flags(flagged)
            )
            flagged = False
