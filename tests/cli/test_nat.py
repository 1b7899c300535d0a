"""The toolbox's command line: help, errors, exit statuses."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from natd import __version__
from natd.cli import nat
from natd.cli.nat import build_parser, main
from natd.errors import SourceError
from tests.running import ENDLESS_WAV

NAT = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())"]


def verbs(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as the words to type."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in inner:
        for name, below in action.choices.items():
            yield from verbs(below, (*path, name))
    if not inner:
        yield path


VERBS = sorted(verbs(build_parser()))


def test_the_verbs_that_others_rely_on():
    assert VERBS == [
        ("bench", "encode"), ("bench", "latency"), ("bench", "streams"), ("check",), ("codebook", "backups"),
        ("codebook", "fit"), ("codebook", "show"), ("codebook", "verify"), ("decode",), ("devices",), ("doctor",),
        ("eval", "tokenizer"), ("feed",), ("listen",), ("models", "convert"), ("models", "fetch"), ("models", "list"),
        ("models", "verify"), ("tail",), ("tokenize",), ("train", "ears"),
    ]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_ends_with_an_example_that_parses(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([*verb, "--help"])
    assert done.value.code == 0
    example = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert example[: 1 + len(verb)] == ["nat", *verb]
    build_parser().parse_args(example[1:])


def test_version(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert (done.value.code, capsys.readouterr().out) == (0, f"nat {__version__}\n")


@pytest.mark.parametrize(
    "words", [[], ["sing"], ["bench"], ["tokenize"], ["tokenize", "--chunk-ms", "0", "a"], ["tail", "--seconds", "-1"]]
)
def test_usage_errors_are_two(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("usage: nat")


def test_an_error_is_a_line_on_standard_error_and_its_status(capsys, tmp_path):
    assert main(["check", str(tmp_path / "none")]) == SourceError.exit_code
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"nat: {tmp_path / 'none'}: No such file or directory\n"


def test_an_interrupt_is_130_without_a_traceback(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(nat, "doctor", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == ""


def test_an_interrupt_while_standard_input_is_awaited():
    command = [*NAT, "tokenize", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(ENDLESS_WAV + bytes(2 * 24_000))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "header"  # it is at work
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()


def test_a_reader_that_leaves_is_no_error(tmp_path):
    # A glossary is longer than a pipe holds.
    command = [*NAT, "codebook", "show", "ears"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"S0")
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (0, b"")


@pytest.mark.parametrize("verb", [["models", "list"], ["check", "-"], ["codebook", "show", "ears"]], ids=" ".join)
@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_standard_output_that_cannot_be_written_is_an_error(verb, where):
    shell = ["bash", "-c", f'"$@" {where}', "bash", *NAT, *verb]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith("nat: standard output cannot be written: ") and done.stderr.count("\n") == 1
    assert done.returncode == 73


def test_a_terminal_that_cannot_show_all_letters_is_no_error(tmp_path):
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NATD_MODELS": str(tmp_path)}
    done = subprocess.run([*NAT, "codebook", "show", "ears", "S1"], env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.isascii()


@pytest.mark.parametrize("heavy", ["torch", "zmq", "rich", "numpy", "pydantic"])
def test_the_command_line_itself_loads_nothing_heavy(heavy):
    code = (
        f"import sys; from natd.cli.nat import build_parser; build_parser(); raise SystemExit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_two_tokenizers_are_one_name(capsys, monkeypatch):
    from natd.cli import nat

    seen = []
    monkeypatch.setattr(nat, "tokenize", lambda args: seen.append(args.tokenizer) or 0)
    assert nat.main(["tokenize", "a.wav", "--semantic", "ears", "--acoustic", "soundstream:6.0"]) == 0
    assert nat.main(["tokenize", "a.wav"]) == 0
    assert seen == ["ears+soundstream:6.0", "ears"]
    with pytest.raises(SystemExit) as done:
        nat.main(["tokenize", "a.wav", "--semantic", "ears"])
    assert done.value.code == 2 and "--semantic and --acoustic belong together" in capsys.readouterr().err
    for given in ("mimi", "ears"):
        with pytest.raises(SystemExit) as done:
            nat.main(["tokenize", "a.wav", "--tokenizer", given, "--semantic", "ears", "--acoustic", "dac"])
        assert done.value.code == 2 and "give one or the other" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["train", "ears", "--audio", "a", "--out", "b", "--seed", "-1"],
        ["train", "ears", "--audio", "a", "--out", "b", "--threads", "0"],
        ["train", "ears", "--audio", "a", "--out", "b", "--scale", "0.5"],
        ["codebook", "fit", "ears", "--audio", "a", "--seed", "-1"],
        ["codebook", "fit", "ears", "--audio", "a", "--codes", "9" * 5000],
        ["eval", "tokenizer", "ears", "--audio", "a", "--seed", "99999999999"],
        ["bench", "encode", "ears", "--threads", "100000"],
    ],
)
def test_numbers_that_are_none_or_too_large_are_usage(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    said = capsys.readouterr().err
    assert done.value.code == 2 and re.search(r"is not a whole number from [01] to \d+\n$", said)


@pytest.mark.parametrize("verb", [["tail"], ["listen"], ["feed", "a.wav"], ["bench", "latency"]])
@pytest.mark.parametrize("address", ["nope", "tcp://127.0.0.1", "tcp://127.0.0.1:0x", "http://127.0.0.1:5556", ""])
def test_addresses_that_are_none_are_usage(verb, address, capsys):
    with pytest.raises(SystemExit) as done:
        main([*verb, "--connect" if "bench" in verb else "--endpoint", address])
    said = capsys.readouterr().err
    assert done.value.code == 2 and f"{address!r} is not an address such as tcp://127.0.0.1:5556" in said
