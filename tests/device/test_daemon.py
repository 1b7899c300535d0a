"""The whole daemon on a virtual card: live codes are the offline codes, every fault is a gap as long as it was."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from natd.codebooks import store
from natd.codec import soundstream
from tests.codec.soundstream_weights import random_weights
from tests.daemon import Daemon, full_codes

RATE = 48000
FRAME_MS = 80.0
NAT = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())"]


@pytest.fixture
def take(tmp_path):
    """A recording where recordings are at hand, else a passage of the demo; 8 s at the card's rate, stereo, float."""
    shared = os.environ.get("NATD_SHARED")
    if shared:
        samples, rate = soundfile.read(f"{shared}/audio/recordings/vibe_ace_jazz.ogg", dtype="float32", always_2d=True)
        samples = np.repeat(samples[: 8 * rate, :1], RATE // rate if RATE % rate == 0 else 2, 0)[: 8 * RATE]
        samples = np.repeat(samples, 2, 1)
    else:
        from natd.audio.demo import Demo

        samples = Demo(4).render(8 * RATE, 8 * RATE)
    path = tmp_path / "take.wav"
    soundfile.write(path, samples, RATE, "FLOAT")
    return path


@pytest.fixture
def models(tmp_path):
    """A models folder with SoundStream in it: the real weights where they are at hand, else random ones."""
    folder, shared = tmp_path / "models", os.environ.get("NATD_SHARED")
    env = os.environ | {"NATD_MODELS": str(folder)}
    if shared:
        convert = [*NAT, "models", "convert", "soundstream", "--from", f"{shared}/models/soundstream"]
        subprocess.run(convert, env=env, check=True, capture_output=True)
    else:
        store.save(folder, soundstream.NAME, soundstream.SETTINGS, random_weights(), {})
    return {"NATD_MODELS": str(folder)}


@pytest.mark.parametrize("tokenizer, frame_ms", [("ears", 80), ("soundstream", 20), ("ears+soundstream", 80)])
def test_live_codes_are_the_codes_of_the_captured_samples(card, take, tmp_path, models, tokenizer, frame_ms):
    tap, env = tmp_path / "tap", card.env | models
    flags = ("--device", card.name, "--tap", str(tap), "--seconds", "9", "--tokenizer", tokenizer)
    with Daemon(*flags, env=env) as natd:
        live = [natd.event() for _ in range(5)]
        card.play(take)
        live += natd.events()
        assert natd.wait() == 0
    assert [e for e in live if e["event"] == "gap"] == []
    offline = [*NAT, "tokenize", f"{tap}.0.wav", "--tokenizer", tokenizer]
    done = subprocess.run(offline, capture_output=True, check=True, env=os.environ | models)
    offline = full_codes([json.loads(line) for line in done.stdout.splitlines()])
    codes = full_codes(live)
    print(f"{len(codes)} live frames, {len({repr(c[1:]) for c in codes})} different ones")
    assert len(codes) == 9000 // frame_ms
    assert codes == offline[: len(codes)]
    assert len({repr(c[1:]) for c in codes}) > 30


def clock_offset_ms(frames: list[dict]) -> float:
    """Monotonic time against sample time of the earliest frames; received less `lat` is the capture."""
    return min(f["received_ns"] / 1e6 - f["lat"] - f["ts"] for f in frames)


FAULTS = {
    "kill": (lambda card, child: card.unplug("kill"), lambda card, child: card.replug(), 1.0),
    "unload": (lambda card, child: card.unplug("unload"), lambda card, child: card.replug(), 1.0),
    "suspend": (lambda card, child: card.unplug("suspend"), lambda card, child: card.replug(), 2.0),
    "stall": (lambda card, child: card.unplug("stall"), lambda card, child: card.replug(), 2.0),
    "rate change": (lambda card, child: None, lambda card, child: card.replug("--rate", 44100), 0.0),
    "SIGSTOP of the child": (lambda card, child: os.kill(child, signal.SIGSTOP), lambda card, child: None, 13.0),
    "SIGKILL of the child": (lambda card, child: os.kill(child, signal.SIGKILL), lambda card, child: None, 0.0),
}


def capture_child(daemon_pid: int) -> int:
    """The daemon's capture process."""
    with open(f"/proc/{daemon_pid}/task/{daemon_pid}/children") as children:
        return int(children.read().split()[0])


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_gap_as_long_as_it_was(card, fault):
    strike, mend, seconds = FAULTS[fault]
    with Daemon("--device", card.name, env=card.env) as natd:
        before = [natd.event("frame") for _ in range(40)]
        rss = natd.rss()

        def strike_and_mend():
            strike(card, capture_child(natd.process.pid))
            time.sleep(seconds)
            mend(card, 0)

        thread = threading.Thread(target=strike_and_mend)
        thread.start()
        gap = natd.event("gap", timeout=60)
        after = [natd.event("frame") for _ in range(40)]
        thread.join()
        grown = natd.rss() - rss
        natd.signal(signal.SIGTERM)
        rest = natd.events()
        assert natd.wait() == 0
    off = clock_offset_ms(after) - clock_offset_ms(before)
    length = gap["frames"] * FRAME_MS
    print(
        f"\n{fault}: gap of {gap['frames']} frames = {length:.0f} ms ({gap['cause']}), lost {gap['lost_ms']:.1f} ms, "
        f"sample time against the clock moved by {off:+.1f} ms, RSS {grown / 2**20:+.2f} MiB"
    )
    assert after[0]["kf"] is True
    assert after[0]["fi"] == gap["fi"] + gap["frames"]
    assert abs(off) < FRAME_MS
    assert abs(length - gap["lost_ms"]) <= 2 * FRAME_MS  # rounded out to whole frames at both edges
    assert grown < 8 * 2**20
    assert rest[-1]["event"] == "end"
