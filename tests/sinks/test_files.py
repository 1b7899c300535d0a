import os
import resource
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natd.clock import FakeClock
from natd.errors import ConfigError, OutputError
from natd.sinks.files import PathPattern, RecordingFile, check_writable, write_lines

LINE = b'{"event":"frame"}\n'


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Every write beyond `size` bytes of a file fails with EFBIG, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk(size: str) -> Iterator[Path]:
    """A file system of that size; only root may mount one."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def can_mount() -> bool:
    try:
        with full_disk("64k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


DISKS = [full_disk] if can_mount() else []


def recording(path: Path, **options: object) -> RecordingFile:
    return RecordingFile(PathPattern(str(path)), "stage", **options)  # type: ignore[arg-type]


def numbered(n: int) -> bytes:
    return b'{"event":"n","n":%06d}\n' % n


def test_lines_are_appended_and_only_the_group_may_read(tmp_path: Path):
    before = os.umask(0o022)
    try:
        file = recording(tmp_path / "{stream}" / "all.ndjson")
        file.append(LINE)
        file.append(LINE * 2)
        file.close()
    finally:
        os.umask(before)
    path = tmp_path / "stage" / "all.ndjson"
    assert path.read_bytes() == LINE * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path):
    file = recording(tmp_path / "not mounted" / "{stream}.ndjson")
    with pytest.raises(FileNotFoundError):
        file.append(LINE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_appended_to_and_a_torn_line_ended(tmp_path: Path):
    path = tmp_path / "a.ndjson"
    for already, expected in [(LINE, LINE * 2), (LINE + b'{"eve', LINE + b'{"eve\n' + LINE), (b"", LINE)]:
        path.write_bytes(already)
        file = recording(path)
        file.append(LINE)
        file.close()
        assert path.read_bytes() == expected


def test_a_file_that_is_full_already_is_put_aside(tmp_path: Path):
    path = tmp_path / "a.ndjson"
    for _ in range(3):
        path.write_bytes(LINE * 10)
        file = recording(path, max_bytes=100)
        file.append(LINE)
        file.close()
    assert {p.name: len(p.read_bytes()) for p in tmp_path.iterdir()} == {
        "a.ndjson": 18,
        "a.ndjson.1": 180,
        "a.ndjson.2": 180,
        "a.ndjson.3": 180,
    }


def test_rotation_numbers_the_files_and_keeps_the_newest(tmp_path: Path):
    other = [tmp_path / name for name in ("a.ndjson.bak", "b.ndjson.1", "aa.ndjson.1")]
    for path in other:
        path.write_bytes(LINE)
    file = recording(tmp_path / "a.ndjson", keep=2)
    for n in range(12):
        file.append(numbered(n))
        os.utime(tmp_path / "a.ndjson", ns=(n, n))
        file.rotate()
    file.append(numbered(12))
    file.close()
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p not in other}
    assert kept == {"a.ndjson": numbered(12), "a.ndjson.11": numbered(10), "a.ndjson.12": numbered(11)}
    assert all(path.exists() for path in other)


def test_rotation_by_name_follows_the_clock(tmp_path: Path):
    clock = FakeClock()
    file = recording(tmp_path / "{stream}-%Y%m%d-%H%M%S.ndjson", keep=1, clock=clock)
    paths = []
    for n in range(3):
        file.append(numbered(n))
        assert file.path is not None
        paths.append(file.path)
        os.utime(file.path, ns=(n, n))
        clock.advance(61)
        file.rotate()
    file.close()
    assert len(set(paths)) == 3 and all(len(p.name) == len("stage-20231114-221320.ndjson") for p in paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([paths[2].name, file.path.name])


@pytest.mark.parametrize("limit", [18 * 3, 18 * 3 + 1, 18 * 4 - 1])
def test_a_full_disk_leaves_whole_lines(tmp_path: Path, limit: int):
    file = recording(tmp_path / "a.ndjson")
    file.append(LINE)
    with no_file_beyond(limit), pytest.raises(OSError, match="too large"):
        file.append(LINE * 100)
    assert (tmp_path / "a.ndjson").read_bytes() == LINE * 3
    file.append(LINE)
    file.close()
    assert (tmp_path / "a.ndjson").read_bytes() == LINE * 4


@pytest.mark.parametrize("disk", DISKS)
def test_a_really_full_disk_leaves_whole_lines(disk):
    with disk("64k") as folder:
        file = recording(folder / "a.ndjson")
        with pytest.raises(OSError, match="No space left"):
            for n in range(10_000):
                file.append(b"".join(numbered(100 * n + i) for i in range(100)))
        file.close()
        data = (folder / "a.ndjson").read_bytes()
        assert 48_000 < len(data) <= 64 << 10 and data.endswith(b"\n")
        assert data == b"".join(numbered(i) for i in range(data.count(b"\n")))


@pytest.mark.parametrize("disk", DISKS)
def test_writing_stops_above_the_floor_of_free_space(disk):
    with disk("256k") as folder:
        file = recording(folder / "a.ndjson", min_free_bytes=128 << 10)
        with pytest.raises(OSError, match="bytes are free; 131072 are to stay so"):
            for _ in range(10_000):
                file.append(LINE * 100)
        file.close()
        left = os.statvfs(folder)
        assert 128 << 10 <= left.f_bavail * left.f_frsize < 140 << 10


def test_a_floor_above_the_disk_stops_the_first_line(tmp_path: Path):
    file = recording(tmp_path / "a.ndjson", min_free_bytes=1 << 60)
    with pytest.raises(OSError, match="bytes are free"):
        file.append(LINE)
    file.close()
    assert (tmp_path / "a.ndjson").read_bytes() == b""


def test_lines_on_a_device_that_is_full():
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        write_lines(fd, LINE)
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "says"),
    [("a/%Y/x", "file name only"), ("a/", "needs a file name"), ("x-%s", "%s is not allowed"), ("x%", "% is not")],
)
def test_patterns_that_cannot_be_followed(path: str, says: str):
    with pytest.raises(ConfigError, match=says):
        PathPattern(path)


def test_a_pattern_knows_its_own_files():
    pattern = PathPattern("rec/{stream}-%Y%m%d.100%%.ndjson")
    name = pattern.at("stage", FakeClock().unix_ns()).name
    matcher = pattern.matcher("stage")
    assert matcher.fullmatch(name) and matcher.fullmatch(name + ".17")
    for other in ("stage-2023111.100%.ndjson", "stage2-" + name[6:], "x" + name, name + ".x", name.replace("n", "m")):
        assert not matcher.fullmatch(other), other
    assert str(pattern.at("stage", 0)).startswith("rec/stage-19") and not PathPattern("x").names_stream


def test_what_cannot_be_written_is_said_before_the_start(tmp_path: Path):
    check_writable(tmp_path / "new" / "deep" / "a.ndjson")
    (tmp_path / "file").write_bytes(b"")
    check_writable(tmp_path / "file")
    for path in (tmp_path, tmp_path / "file" / "a.ndjson", tmp_path / "file" / "deep" / "a.ndjson"):
        with pytest.raises(OutputError, match=str(path)):
            check_writable(path)
