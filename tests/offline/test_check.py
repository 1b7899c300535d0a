"""Recordings that follow the wire contract and recordings that do not."""

import io
import sys

import pytest

from natd.errors import SourceError
from natd.offline.check import check_recording
from tests.streams import simple


@pytest.fixture
def lines() -> list[bytes]:
    return simple(100).lines


def write(tmp_path, lines):
    path = tmp_path / "recording.ndjson"
    path.write_bytes(b"".join(lines))
    return str(path)


def test_a_whole_recording(tmp_path, lines, capsys):
    assert check_recording(write(tmp_path, lines)) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{len(lines)} lines, 8.00 s of sample time"
    assert "1 epochs, 100 frames" in out[1] and "1 ends, 0 faults" in out[1]
    assert len(out) == 2


def test_several_streams_one_after_another(tmp_path, lines, capsys):
    assert check_recording(write(tmp_path, lines + simple(50, epoch="e1").lines)) == 0
    assert "12.00 s of sample time\n2 epochs, 150 frames" in capsys.readouterr().out


def test_a_lost_line_is_found_with_its_number(tmp_path, lines, capsys):
    del lines[40]
    assert check_recording(write(tmp_path, lines)) == 1
    out = capsys.readouterr().out
    assert "line 41: seq " in out


def test_garbage_is_a_fault(tmp_path, lines, capsys):
    lines[10] = b"\xff\xfe garbage\n"
    assert check_recording(write(tmp_path, lines)) == 1
    assert "line 11: " in capsys.readouterr().out


def test_what_is_no_recording_at_all(tmp_path, capsys):
    assert check_recording(write(tmp_path, [])) == 1
    assert "no header" in capsys.readouterr().out


def test_a_recording_cut_off_is_said_but_no_fault(tmp_path, lines, capsys):
    assert check_recording(write(tmp_path, lines[:-1])) == 0
    assert "1 of 1 epochs have no end" in capsys.readouterr().out


def test_a_recording_cut_off_within_a_line_is_said_but_no_fault(tmp_path, lines, capsys):
    assert check_recording(write(tmp_path, [*lines[:9], lines[9][:30]])) == 0
    assert "note: cut off within line 10, which is left out" in capsys.readouterr().out
    assert check_recording(write(tmp_path, [lines[0][:30]])) == 1
    assert "line 1: " in capsys.readouterr().out


def test_a_line_within_which_power_was_lost_is_said_but_no_fault(tmp_path, lines, capsys):
    again = [line.replace(b'"epoch":"', b'"epoch":"2') for line in lines]
    assert check_recording(write(tmp_path, [*lines[:9], lines[9][:30] + b"\n", *again])) == 0
    assert "note: cut off within line 10, which is left out" in capsys.readouterr().out
    assert check_recording(write(tmp_path, [*lines[:9], lines[9][:30] + b"\n", *lines[10:]])) == 1
    assert "line 10: " in capsys.readouterr().out


def test_many_faults_are_counted_and_few_are_shown(tmp_path, lines, capsys):
    assert check_recording(write(tmp_path, [lines[0], *([b"{}\n"] * 50)])) == 1
    out = capsys.readouterr().out
    assert "50 faults" in out and "and 30 more faults" in out


def test_standard_input(lines, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines))))
    assert check_recording("-") == 0


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        check_recording(str(tmp_path / "none"))
