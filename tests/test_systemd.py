"""The units: valid, hardened, and in step with the command line. Collected only where systemd-analyze is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from natd.errors import ConfigError, ModelError

UNITS = sorted((Path(__file__).parent.parent / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
LIMIT = 1.5
PYTHON = "/opt/natd/bin/python"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ANALYZE), *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path):
    """The unit as it is once natd is installed: the interpreter it names exists."""

    def install(unit: Path) -> Path:
        path = tmp_path / unit.name.replace("@.", "@hall.")
        path.write_text(unit.read_text().replace(PYTHON, sys.executable))
        return path

    return install


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_there_are_two_units():
    assert [unit.name for unit in UNITS] == ["natd.service", "natd@.service"]


@pytest.mark.parametrize("unit", UNITS if ANALYZE else [], ids=lambda p: p.name)
def test_systemd_takes_the_unit(unit, installed):
    result = analyze("verify", str(installed(unit)))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS if ANALYZE else [], ids=lambda p: p.name)
def test_the_unit_is_hardened(unit, installed):
    result = analyze("security", "--offline=true", "--no-pager", str(installed(unit)))
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert match and float(match[1]) <= LIMIT, result.stdout + result.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_the_unit_agrees_with_the_daemon(unit):
    found = settings(unit)
    (start,) = found["ExecStart"]
    assert start.startswith(f"{PYTHON} -I -m natd --config /etc/natd/")
    assert found["Type"] == ["notify"] and found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    prevented = {int(code) for code in found["RestartPreventExitStatus"][0].split()}
    assert prevented == {ConfigError.exit_code, ModelError.exit_code}


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_what_would_break_sound_or_torch_is_not_set(unit):
    assert not settings(unit).keys() & {"MemoryDenyWriteExecute", "PrivateDevices", "ProcSubset", "RestrictRealtime"}


def test_the_template_differs_only_where_it_names_its_instance():
    one, many = (unit.read_text() for unit in UNITS)
    instance = many.replace(" %i:", ":").replace("/%i.toml", "/natd.toml").replace("/%i", "").replace("@NAME", "")
    assert instance == one
