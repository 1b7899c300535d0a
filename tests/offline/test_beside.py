"""What `nat decode` replaces: the file that was there is kept until the new one is whole."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from natd.errors import OutputError, WireError
from natd.offline.beside import beside
from natd.offline.decode import decode_recording
from natd.offline.tokenize import tokenize_files

NAT = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())"]


@pytest.fixture(scope="module")
def tokens(recording, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.ndjson"
    assert tokenize_files([str(recording)], path, "ears", 1000.0) == 0
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "sounds"
    path.mkdir()
    return path


def held(folder: Path) -> dict[str, tuple[bool, bytes]]:
    return {path.name: (path.is_symlink(), path.read_bytes()) for path in folder.iterdir()}


def put(folder: Path, there: str) -> Path:
    out = folder / "out.wav"
    if there == "file":
        out.write_bytes(b"dear")
    elif there == "link":
        (folder / "own.wav").write_bytes(b"dear")
        out.symlink_to("own.wav")
    return out


@pytest.mark.parametrize("there", ["nothing", "file", "link"])
def test_a_damaged_recording_takes_nothing_away(tokens, tmp_path, folder, there):
    out = put(folder, there)
    before = held(folder)
    damaged = tmp_path / "damaged.ndjson"
    lines = tokens.read_bytes().splitlines(keepends=True)
    damaged.write_bytes(b"".join(lines)[: -len(lines[-1]) // 2] + b"\n")
    with pytest.raises(WireError, match=f"damaged.ndjson: line {len(lines)}: "):
        decode_recording(str(damaged), out, None, None)
    assert held(folder) == before


def test_an_interrupt_takes_nothing_away(tokens, folder):
    out = put(folder, "file")
    command = [*NAT, "decode", "-", "-o", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, 4096)
        process.stdin.write(b"".join(tokens.read_bytes().splitlines(keepends=True)[:-1]))
        process.stdin.write(b'{"event":"to come"}\n' * 10_000)  # more than pipe and buffers hold: the sound has begun
        process.stdin.flush()
        assert len(held(folder)) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130 and b"Traceback" not in process.stderr.read()
    assert held(folder) == {"out.wav": (False, b"dear")}


@pytest.mark.parametrize("there", ["nothing", "file", "link"])
def test_what_was_there_is_replaced_as_a_whole(tokens, tmp_path, folder, there):
    out = put(folder, there)
    own = out.resolve()
    if there != "nothing":
        own.chmod(0o640)
    assert decode_recording(str(tokens), out, None, None) == 0
    other = tmp_path / "other.wav"
    assert decode_recording(str(tokens), other, None, None) == 0
    assert own.read_bytes() == other.read_bytes() and len(own.read_bytes()) > 100_000
    assert own.stat().st_mode & 0o777 == (other.stat().st_mode & 0o777 if there == "nothing" else 0o640)
    assert out.is_symlink() == (there == "link") and {*held(folder)} == {"out.wav", own.name}


def test_what_is_no_file_is_not_replaced(tokens, folder):
    assert decode_recording(str(tokens), Path("/dev/null"), None, None) == 0 and Path("/dev/null").is_char_device()
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError, match="pipe cannot hold a WAV file: .*does not support pipe write"):
        decode_recording(str(tokens), pipe, None, None)
    os.close(reader)
    assert pipe.is_fifo() and [path.name for path in folder.iterdir()] == ["pipe"]


def test_an_error_of_what_is_read_is_not_one_of_what_is_written(folder):
    with pytest.raises(OSError, match="torn tape"), beside(folder / "out.wav") as place:
        place.write_bytes(b"half")
        raise OSError("torn tape")
    assert held(folder) == {}
