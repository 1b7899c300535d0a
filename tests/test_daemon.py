"""The daemon as a process: the streams it publishes, signals, reload, exit statuses, what systemd hears."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import soundfile
import zmq

import natd_client
from tests.daemon import Daemon, free_ports, full_codes
from tests.schema import validate_line


@pytest.fixture
def music(tmp_path):
    """Five seconds of chords and noise at 48 kHz, stereo."""
    rng = np.random.default_rng(5)
    t = np.arange(5 * 48000) / 48000
    left = sum(np.sin(2 * np.pi * f * t * (1 + (t > 2.5))) for f in (220.0, 277.2, 329.6)) / 6
    right = left + 0.05 * rng.standard_normal(len(t)) * (t % 0.5 < 0.1)
    path = tmp_path / "music.wav"
    soundfile.write(path, np.stack([left, right], 1), 48000, subtype="PCM_16")
    return path


def test_demo_ends_by_itself_and_tiles_the_axis():
    with Daemon("--source", "demo:", "--seconds", "2") as natd:
        events = natd.events()
        assert natd.wait() == 0
    assert [e["event"] for e in events][0] == "header"
    assert [e["fi"] for e in events if e["event"] == "frame"] == list(range(25))
    sequenced = [e["seq"] for e in events if e["event"] in ("frame", "gap", "gloss", "format", "end")]
    assert sequenced == list(range(len(sequenced)))
    assert events[-1]["event"] == "end"
    assert (events[-1]["reason"], events[-1]["frames"], events[-1]["gaps"]) == ("eof", 25, 0)


def test_a_file_a_pipe_and_a_tokenized_file_give_the_same_codes(music):
    with Daemon("--source", f"file:{music}") as natd:
        by_file = full_codes(natd.events())
        assert natd.wait() == 0
    with music.open("rb") as wav, Daemon("--source", "-", stdin=wav) as natd:
        by_pipe = full_codes(natd.events())
        assert natd.wait() == 0
    command = [sys.executable, "-c", "from natd.cli.nat import main; main()", "tokenize", str(music)]
    done = subprocess.run(command, capture_output=True, check=True)
    offline = full_codes([json.loads(line) for line in done.stdout.splitlines()])
    assert len(by_file) == 5000 // 80
    assert by_file == by_pipe == offline


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends(number):
    with Daemon("--source", "demo:") as natd:
        natd.event("frame", fi=5)
        natd.signal(number)
        events = natd.events()
        assert natd.wait() == 0
    assert events[-1]["event"] == "end"
    assert events[-1]["reason"] == "shutdown"
    frames = [e["fi"] for e in events if e["event"] == "frame"]
    assert frames == list(range(6, 6 + len(frames)))
    assert events[-1]["frames"] == 6 + len(frames)


def test_a_silent_pipe_does_not_keep_the_daemon_from_ending():
    with Daemon("--source", "-", stdin=subprocess.PIPE) as natd:
        natd.wait_for_log("live (-)")
        natd.signal(signal.SIGTERM)
        assert natd.wait() == 0


def test_a_reader_that_goes_ends_the_daemon_cleanly():
    command = [*Daemon("--source", "demo:").command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as natd:
        assert b'"header"' in natd.stdout.readline()
        natd.stdout.close()
        assert natd.wait(30) == 0
        assert b"Traceback" not in natd.stderr.read()


def test_an_output_that_hangs_does_not_keep_the_daemon_from_ending(tmp_path):
    fifo = tmp_path / "stuck"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # and never read
    config = tmp_path / "fast.toml"
    config.write_text('[[stream]]\nsource = "demo:"\npaced = false\n')
    with open(fifo, "wb") as stuck:
        command = Daemon("--config", str(config)).command
        with subprocess.Popen(command, stdout=stuck, stderr=subprocess.PIPE) as natd:
            while b"by ears" not in natd.stderr.readline():
                assert natd.poll() is None
            natd.send_signal(signal.SIGTERM)
            assert natd.wait(60) in (0, 70)
    os.close(reader)


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--source", "demo:", "--seconds", "-1"], 78, "seconds"),
        (["--config", "/nonexistent.toml"], 78, "/nonexistent.toml"),
        (["--source", "file:/nonexistent.wav"], 66, "/nonexistent.wav"),
        (["--source", "demo:", "--tokenizer", "nonesuch"], 78, "no tokenizer is called 'nonesuch'"),
        (["--source", "demo:", "--tokenizer", "nonesuch", "--check"], 78, "no tokenizer is called 'nonesuch'"),
        (["--source", "demo:", "--tokenizer", "mimi:", "--check"], 78, "'mimi:' ends with a colon"),
        (["--source", "demo:", "--publish", "tcp://0.0.0.0:5999"], 78, "CURVE"),
        (["--source", "demo:", "--http", "0.0.0.0:8099"], 78, "loopback"),
        (["--nonsense"], 2, "unrecognized"),
    ],
)
def test_exit_statuses_name_the_fault(args, status, words):
    with Daemon(*args) as natd:
        assert natd.wait() == status
        natd.events()
    assert words in "".join(natd.log)


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with Daemon("--source", "demo:", "--publish", endpoint) as natd:
            assert natd.wait() == 71
        assert endpoint in "".join(natd.log)


@pytest.mark.parametrize(("closed", "status"), [("0<&-", 66), ("1>&-", 0)])
def test_a_standard_file_that_is_closed_is_never_another(closed, status):
    source = ["--source", "-"] if status else ["--source", "demo:", "--seconds", "0.5"]
    shell = ["bash", "-c", f'"$@" {closed}', "bash", *Daemon(*source).command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Invalid argument" not in done.stderr


def test_check_says_what_would_run_and_binds_nothing():
    done = subprocess.run(Daemon("--source", "demo:", "--check").command, capture_output=True, text=True, check=True)
    assert "stream live: built-in synthesiser" in done.stdout
    assert "tokenizer ears on cpu" in done.stdout
    assert done.stderr == ""


CONFIG = """
[publish]
endpoint = "{publish}"
[control]
endpoint = "{control}"
[http]
endpoint = "off"
[[stream]]
name = "one"
source = "demo:"
{more}
"""


def test_reload_starts_and_stops_streams_and_keeps_the_old_config_when_the_new_is_wrong(tmp_path):
    publish, control = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    path, out = tmp_path / "natd.toml", tmp_path / "{stream}.ndjson"
    second = '[[stream]]\nname = "two"\nsource = "demo:"\nseed = 7\n'

    def write(more: str) -> None:
        path.write_text(CONFIG.format(publish=publish, control=control, more=more))

    def lines(stream: str) -> list[dict]:
        file = tmp_path / f"{stream}.ndjson"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def until(condition) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, natd.log
            natd.process.stderr.fileno()

    write("")
    natd = Daemon(output=False)
    natd.command = [sys.executable, "-m", "natd", "--config", str(path), "--output", str(out)]
    with natd:
        until(lambda: len(lines("one")) > 5)
        write("keyframe_interval_s = -3")
        natd.signal(signal.SIGHUP)
        assert "keyframe_interval_s" in natd.wait_for_log("the old configuration stays")
        write(second)
        natd.signal(signal.SIGHUP)
        natd.wait_for_log("reloaded")
        until(lambda: len(lines("two")) > 5)
        write(second.replace("7", "8"))
        natd.signal(signal.SIGHUP)
        until(lambda: [e["event"] for e in lines("two")].count("header") == 2)
        natd.signal(signal.SIGTERM)
        assert natd.wait() == 0
    one, two = lines("one"), lines("two")
    assert [e["event"] for e in one].count("header") == 1
    fi = [e["fi"] for e in one if e["event"] == "frame"]
    assert fi == list(range(len(fi)))
    kinds = [e["event"] for e in two if e["event"] in ("header", "end")]
    assert kinds == ["header", "end", "header", "end"]
    assert len({e["epoch"] for e in two if e["event"] == "header"}) == 2


class Reloaded(Daemon):
    """A daemon whose streams are written anew and reloaded."""

    def __init__(self, path, streams, **options):
        super().__init__(**options)
        self._path = path
        self.be(streams)
        self.command += ["--config", str(path)]

    def be(self, streams):
        self._path.write_text(streams)

    def reload(self, streams, says):
        self.be(streams)
        self.signal(signal.SIGHUP)
        return self.wait_for_log(says)


def test_a_stream_waits_for_those_that_a_reload_stops(tmp_path):
    """The first is stuck in opening its tap, a pipe without a reader; the second must not begin beside it."""
    os.mkfifo(tmp_path / "tap.0.wav")
    old = f'[[stream]]\nname = "one"\nsource = "demo:"\ntap = "{tmp_path}/tap"\n'
    new = '[[stream]]\nname = "two"\nsource = "demo:"\n'
    with Reloaded(tmp_path / "natd.toml", old) as natd:
        natd.event("hb")
        natd.reload(new, "reloaded")
        natd.signal(signal.SIGTERM)
        natd.wait_for_log("two: did not end")  # each is named
        natd.signal(signal.SIGTERM)  # the thread that opens the pipe cannot be ended in any other way
        assert natd.wait() == 128 + signal.SIGTERM
        assert [e for e in natd.events() if e.get("stream") == "two"] == []
    assert "Traceback" not in "".join(natd.log)


def test_standard_input_is_not_read_anew(tmp_path):
    piped = '[[stream]]\nsource = "-"\nraw = {rate = 48000, channels = 1}\n'
    with Reloaded(tmp_path / "natd.toml", piped, stdin=subprocess.PIPE) as natd:
        natd.event("hb")
        natd.reload(piped + "seconds = 1.0\n", "read once only")
        natd.process.stdin.write(bytes(2 * 48000 * 2))
        natd.process.stdin.close()
        assert natd.wait() == 0
        assert natd.events()[-1]["frames"] == 25


def test_a_producer_without_the_channels_of_the_mix_does_not_end_the_stream(tmp_path):
    with Reloaded(tmp_path / "natd.toml", '[[stream]]\nsource = "zeromq:"\nmix = [3]\n') as natd:
        natd.event("hb")
        with natd_client.Feeder(natd.ingest, "live", 24000, 1) as mono:
            mono.send(bytes(2 * 4800))
            while not (hb := natd.event("hb"))["counters"]["ingest_refused_channels"]:
                pass
        with natd_client.Feeder(natd.ingest, "live", 24000, 3) as three:
            three.send(bytes(3 * 2 * 4800))
            natd.event("frame", fi=0)
        assert hb["state"] == "starved"


def test_many_who_ask_for_devices_do_not_disturb_the_streams():
    with Daemon("--source", "demo:") as natd, zmq.Context() as context:
        natd.event("frame", fi=3)
        with context.socket(zmq.DEALER) as asker:
            asker.connect(natd.control)
            for _ in range(60):
                asker.send(b'{"op":"devices"}')
            for _ in range(60):
                assert asker.poll(30_000)
                asker.recv()
        natd.signal(signal.SIGTERM)
        events = natd.events()
    assert [e for e in events if e["event"] == "gap"] == []


def test_every_control_operation_answers_as_the_schema_says():
    with Daemon("--source", "demo:") as natd:
        natd.event("frame", fi=2)
        answers = {}
        for op in ("status", "stats", "keyframe", "legend", "devices", "streams", "header"):
            request = {"op": op} if op in ("devices", "legend", "streams") else {"op": op, "stream": "live"}
            [answer] = natd_client.ask(natd.control, request, timeout=15)
            answers[op] = validate_line(json.dumps(answer).encode() + b"\n")
        assert natd.event("frame", kf=True)["fi"] > 2
        ask = {"op": "legend", "layer": "S1", "code": 37}
        [code] = natd_client.ask(natd.control, ask, timeout=15)
        validate_line(json.dumps(code).encode() + b"\n")
        with urllib.request.urlopen(f"http://{natd.http}/legend/S1/37", timeout=15) as reply:
            assert json.load(reply) == code
        [failed] = natd_client.ask(natd.control, {"op": "stats", "stream": "nobody"}, timeout=15)
        natd.signal(signal.SIGTERM)
        assert natd.wait() == 0
    assert answers["status"]["ok"] is True
    assert answers["status"]["streams"]["live"]["state"] == "live"
    assert answers["stats"]["streams"]["live"]["encode"]["p50"] > 0
    assert answers["keyframe"]["requested"] == ["live"]
    vocab = next(row["vocab"] for row in answers["header"]["layers"] if row["name"] == "S1")
    assert len(answers["legend"]["codes"]["S1"]) == vocab
    assert code["phrase"] == answers["legend"]["codes"]["S1"]["37"]
    assert (code["layer"], code["code"]) == ("S1", 37)
    assert answers["streams"]["streams"][0]["stream"] == "live"
    assert failed["event"] == "error" and "nobody" in failed["message"]


def test_a_recording_into_a_folder_that_is_not_there_is_refused(tmp_path):
    command = [*Daemon(output=False).command, "--source", "demo:", "--output", str(tmp_path / "nowhere" / "x.ndjson")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 73
    assert f"{tmp_path}/nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_is_not_whole_when_the_source_ends_is_an_error(tmp_path):
    config = tmp_path / "full.toml"
    config.write_text(
        f'[output]\npath = "{tmp_path}/live.ndjson"\nfree_mb = 1e9\n[[stream]]\nsource = "demo:"\nseconds = 2\n'
    )
    with Daemon("--config", str(config), output=False) as natd:
        assert natd.wait() == 73
        natd.events()
    assert "recording of live stopped: " in "".join(natd.log)
    assert re.search(r"the recording is not whole: (2[7-9]|3\d) lines are not in it", "".join(natd.log))


def test_systemd_hears_ready_watchdog_reload_and_stopping(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with Daemon("--source", "demo:", env=env) as natd:
            heard = []

            def until(word: str) -> None:
                while not any(word in message for message in heard):
                    heard.append(listener.recv(4096).decode())

            until("READY=1")
            until("WATCHDOG=1")
            heard.clear()
            natd.signal(signal.SIGHUP)
            until("RELOADING=1")
            until("READY=1")
            natd.signal(signal.SIGTERM)
            until("STOPPING=1")
            assert natd.wait() == 0
    order = [word for message in heard for word in ("RELOADING=1", "READY=1", "STOPPING=1") if word in message]
    assert order == ["RELOADING=1", "READY=1", "STOPPING=1"]
