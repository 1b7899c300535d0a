"""The README says what is true: its commands, options, files and example."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from natd import errors
from natd.cli import nat, natd
from tests.offline.conftest import free_port

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = {"FILE…": "FILE", "FILE\\|mic": "FILE|mic"}  # how a table writes a metavar


def section(title: str) -> str:
    """The text below a heading."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def rows(title: str) -> list[list[str]]:
    """Cells of the table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def told(cell: str) -> set[str]:
    """The option strings or the metavar of a positional that a cell names."""
    names = re.findall(r"`([^`]*)`", cell)
    if names and not names[0].startswith("-"):
        return {WORDS.get(names[0], names[0])}
    return {name.split()[0] for name in names}


def takes(parser: argparse.ArgumentParser) -> set[str]:
    """The same of every argument that a parser takes."""
    found: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        found |= set(action.option_strings) or {str(action.metavar)}
    return found


def commands(parser: argparse.ArgumentParser, path: str) -> dict[str, set[str]]:
    """`nat tail` -> what it takes, for each command."""
    found = {path: takes(parser)}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= commands(inner, f"{path} {name}")
    return found


def test_the_table_of_natd_is_its_command_line():
    table = [told(row[0]) for row in rows("Options of `natd`")]
    assert set().union(*table) == takes(natd.build_parser())
    assert len(table) == len(takes(natd.build_parser()))


def test_the_table_of_nat_is_its_command_line():
    table: dict[str, set[str]] = {}
    command = ""
    for first, option, _ in rows("Options of `nat`"):
        command = first.strip("`") or command
        table.setdefault(command, set()).update(told(option))
    groups = {"nat bench", "nat eval", "nat train", "nat codebook", "nat models"}  # they take nothing themselves
    real = {name: options for name, options in commands(nat.build_parser(), "nat").items() if name not in groups}
    assert table == real


def test_the_table_of_statuses_holds_every_error():
    table = {int(row[0]) for row in rows("Exit status")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.NatdError)]
    assert table == {kind.exit_code for kind in kinds} | {0, 1, 2, 130}


def test_ci_runs_the_readmes_test_command():
    command = next(block for block in blocks("sh") if "pytest" in block).strip()
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "\n" not in command and "\n" not in blocks("sh")[0].strip()


@pytest.mark.parametrize("block", [b for b in blocks("sh") if "nat " in b or "natd " in b])
def test_its_commands_parse(block):
    for line in block.splitlines():
        for part in re.split(r"\s*(?:&&|\|)\s*", line.split(" #")[0]):
            words = [re.sub(r"^(\.venv/bin/|/opt/natd/bin/)", "", word) for word in part.split()]
            if words and words[0] in ("nat", "natd"):
                (nat if words[0] == "nat" else natd).build_parser().parse_args(words[1:])


def test_what_it_points_at_exists():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    paths = re.findall(r"(?<![\w/])(?:tests|configs|systemd|clients|natd)/[\w./@-]*\w", README)
    missing = [path for path in {*links, *paths} if not (ROOT / path).exists()]
    assert links and paths and not missing


def test_its_subscriber_runs(tmp_path):
    (script,) = blocks("python")
    publish, control = free_port(), free_port()
    for old, new in ((5556, publish), (5557, control)):
        assert script.count(str(old)) == 1
        script = script.replace(str(old), str(new))
    (tmp_path / "subscriber.py").write_text(script)
    options = ["--source", "demo:", "--seconds", "2.4", "--http", "off"]
    where = ["--publish", f"tcp://127.0.0.1:{publish}", "--control", f"tcp://127.0.0.1:{control}"]
    with subprocess.Popen([sys.executable, tmp_path / "subscriber.py"], stdout=subprocess.PIPE) as subscriber:
        try:
            daemon = subprocess.run([sys.executable, "-m", "natd", *options, *where], capture_output=True, timeout=60)
            assert daemon.returncode == 0, daemon.stderr.decode()
            lines = subscriber.communicate(timeout=30)[0].decode().splitlines()
        finally:
            subscriber.kill()
    assert subscriber.returncode == 0
    assert lines[0] == "layers: ['S0', 'S1', 'S2', 'S3', 'A0', 'A1', 'A2', 'A3']"
    assert any(line.startswith("in words: ") for line in lines)
    frames = [line for line in lines if re.match(r"\d+\.0 \[\d+, \d+, \d+, \d+\] \[\d+, \d+, \d+, \d+\]$", line)]
    assert len(frames) >= 10  # of 30: it joined while the daemon was starting
