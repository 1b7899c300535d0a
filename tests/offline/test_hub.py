"""Downloads from a hub: whole or refused, and on behind what came before the connection broke."""

import hashlib
import json
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.errors import ConfigError, ModelError, OutputError
from natd.offline import hub
from tests.offline.hub_server import Hub, serving

DATA = random.Random(3).randbytes(300_000)
NO_WAIT = (0.0,) * 3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        hub.files["some/toy/main/big"] = DATA
        hub.files["some/toy/main/small"] = b"{}"
        monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
        monkeypatch.setattr("natd.offline.hub.BLOCK", 10_000)
        yield hub


def url(file: str = "big") -> str:
    return hub.url_of("some/toy", "main", file)


def get(
    path: Path, most: int = 1 << 20, waits: tuple[float, ...] = NO_WAIT
) -> tuple[hub.Remote, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    return hub.download(url(), path, most, lambda have, total: seen.append((have, total)), waits), seen


def test_the_hub_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/x/")
    assert hub.url_of("a/b", "v1", "config.json") == "https://hub.example/x/a/b/resolve/v1/config.json"
    for unset in ("", None):
        monkeypatch.setenv("HF_ENDPOINT", "") if unset == "" else monkeypatch.delenv("HF_ENDPOINT")
        assert hub.url_of("a/b", "main", "f") == "https://huggingface.co/a/b/resolve/main/f"


@pytest.mark.parametrize("wrong", ["garbage", "file:///etc", "hub.example"])
def test_what_is_no_hub_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", wrong)
    with pytest.raises(ConfigError, match=f"HF_ENDPOINT={wrong} is not the address of a hub"):
        hub.url_of("some/toy", "main", "x")


def test_a_file_comes_whole_with_what_the_hub_says_of_it(server: Hub, tmp_path: Path) -> None:
    remote, seen = get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA and [path.name for path in tmp_path.iterdir()] == ["big"]
    digest = hashlib.sha256(DATA).hexdigest()
    assert (remote.bytes, remote.sha256, remote.etag, remote.commit) == (300_000, digest, f'"{digest}"', "c0ffee")
    assert seen[0] == (0, 300_000) and seen[-1] == (300_000, 300_000) and len(seen) == 31


def test_a_look_downloads_nothing(server: Hub) -> None:
    seen = hub.look(url())
    assert seen is not None and (seen.bytes, seen.sha256) == (300_000, hashlib.sha256(DATA).hexdigest())
    small = hub.look(url("small"))
    assert small is not None and small.sha256 == "" and small.etag != "" and small.bytes == 2
    assert hub.look(url("none")) is None


def test_a_broken_connection_goes_on_behind_what_came(server: Hub, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000]
    _, seen = get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA
    assert server.bodies("big") == [0, 100_000, 150_000]
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)


def test_the_next_command_goes_on_where_the_last_broke_off(server: Hub, tmp_path: Path) -> None:
    server.breaks = [120_000]
    with pytest.raises(ModelError, match="broke off: the connection ended .*keeps 120000 bytes, and the same command"):
        get(tmp_path / "big", waits=())
    assert (tmp_path / "big.part").stat().st_size == 120_000 and not (tmp_path / "big").exists()
    get(tmp_path / "big", waits=())
    assert (tmp_path / "big").read_bytes() == DATA and server.bodies("big") == [0, 120_000]
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_a_connection_that_brings_nothing_is_given_up(server: Hub, tmp_path: Path) -> None:
    server.breaks = [0] * 20
    with pytest.raises(ModelError, match="broke off"):
        get(tmp_path / "big")
    assert len(server.bodies("big")) == 4


def test_a_file_that_has_changed_meanwhile_is_begun_anew(server: Hub, tmp_path: Path) -> None:
    server.breaks = [120_000]
    with pytest.raises(ModelError, match="broke off"):
        get(tmp_path / "big", waits=())
    server.files["some/toy/main/big"] = other = bytes(reversed(DATA))
    get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == other


@pytest.mark.parametrize("note", [None, "{", "[]", "{}", '{"etag": "other"}'])
def test_a_part_of_unknown_origin_is_not_gone_on_with(server: Hub, tmp_path: Path, note: str | None) -> None:
    (tmp_path / "big.part").write_bytes(b"x" * 5000)
    if note is not None:
        (tmp_path / "big.part.json").write_text(note)
    get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA


def test_a_hub_without_ranges_begins_anew(server: Hub, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [100_000]
    get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA and server.bodies("big") == [0, 100_000]


def test_a_part_that_is_the_whole_file_is_not_asked_for_again(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "big.part").write_bytes(DATA)
    (tmp_path / "big.part.json").write_text(json.dumps({"etag": f'"{hashlib.sha256(DATA).hexdigest()}"'}))
    _, seen = get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA and seen == []
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_a_part_longer_than_the_file_is_thrown_away(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "big.part").write_bytes(DATA + b"more")
    (tmp_path / "big.part.json").write_text(json.dumps({"etag": f'"{hashlib.sha256(DATA).hexdigest()}"'}))
    get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA


def test_other_bytes_than_the_hub_promises_are_thrown_away(server: Hub, tmp_path: Path) -> None:
    server.lie = "0" * 64
    with pytest.raises(ModelError, match="the hub says 000000000000….*thrown away"):
        get(tmp_path / "big")
    assert list(tmp_path.iterdir()) == []


def test_a_file_above_the_limit_is_not_begun(server: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 300000 bytes, 1000 are the most"):
        get(tmp_path / "big", most=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_beforehand(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="has room for 1000 bytes"):
        get(tmp_path / "big")


@pytest.mark.parametrize(("status", "said"), [(404, "there is nothing"), (401, "permission"), (403, "permission")])
def test_what_is_not_there_is_not_asked_for_again(server: Hub, tmp_path: Path, status: int, said: str) -> None:
    server.errors = [status]
    with pytest.raises(ModelError, match=rf"{said} \(HTTP {status}\)"):
        get(tmp_path / "big")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_is_asked_again(server: Hub, tmp_path: Path, status: int) -> None:
    server.errors = [status, status]
    get(tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == DATA
    server.errors = [status] * 20
    with pytest.raises(ModelError, match=f"HTTP {status}"):
        get(tmp_path / "other")


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="broke off: .*refused"):
        get(tmp_path / "big")
    with pytest.raises(ModelError, match="cannot be reached: .*refused"):
        hub.look(url())


def test_a_way_from_https_to_http_is_not_gone() -> None:
    hops = hub._Hops()
    request = urllib.request.Request("https://hub.example/a")
    with pytest.raises(ModelError, match="leads to http://store.example/a, which is not encrypted"):
        hops.redirect_request(request, None, 302, "", {}, "http://store.example/a")
    assert hops.redirect_request(request, None, 302, "", {}, "https://store.example/a") is not None
