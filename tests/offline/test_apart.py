"""Work in a process of its own: results, errors, and an end with the one that asked."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from natd.errors import ModelError, NatdError
from natd.offline.apart import apart

WAITING = """
import signal, sys, tempfile
from natd.offline.apart import apart

def work():
    tempfile.mkdtemp()  # of weights, say
    wait("at work")

def wait(where):
    print(where, flush=True)
    while True:
        signal.pause()

if __name__ == "__main__":
    try:
        apart(work)
    except KeyboardInterrupt:
        raise SystemExit(130)
elif sys.argv[1] == "importing":
    wait("importing")
"""


def told(number: int, word: str = "") -> tuple[int, str, int]:
    return number, word, os.getpid()


def fails(error: Exception) -> None:
    raise error


def leaves() -> str:
    return tempfile.mkdtemp()


def test_it_gives_what_the_work_gives():
    number, word, process = apart(told, 3, word="b")
    assert (number, word) == (3, "b") and process != os.getpid()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_errors(capfd):
    with pytest.raises(ModelError, match="^no weights$"):
        apart(fails, ModelError("no weights"))
    assert capfd.readouterr().err == ""
    with pytest.raises(NatdError, match="ended with status 1 and said nothing"):
        apart(fails, ValueError("a fault inside"))
    assert "ValueError: a fault inside" in capfd.readouterr().err


def test_its_temporary_files_go_with_it():
    assert not Path(apart(leaves)).exists()


@pytest.mark.parametrize("where", ["importing", "at work"])
def test_an_interrupt_from_the_terminal_ends_both_without_a_word(tmp_path, where):
    program, temporary = tmp_path / "program.py", tmp_path / "temporary"
    program.write_text(WAITING)
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, program, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().decode() == f"{where}\n"
        os.killpg(process.pid, signal.SIGINT)
        assert (process.stdout.read(), process.stderr.read(), process.wait(60)) == (b"", b"", 130)  # both have ended
    assert not [*temporary.iterdir()]


def test_it_ends_with_the_process_that_waits_for_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WAITING)
    with subprocess.Popen([sys.executable, program, "at work"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"at work\n"
        process.kill()
        assert process.stdout.read() == b""  # nobody holds the other end any more
