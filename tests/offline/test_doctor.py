"""What the doctor finds, and that it names a cure."""

import socket

import pytest

from natd.codec import ears
from natd.offline import doctor
from natd.offline.doctor import Finding


def test_the_tokenizer_is_whole_and_the_pipeline_runs():
    found = [*doctor.check_weights(), *doctor.check_pipeline()]
    assert [(f.name, f.status) for f in found][:2] == [("tokenizers", "ok"), ("ears", "ok")]
    assert "ears" in found[0].text and "hash right" in found[1].text
    assert found[2].name == "self-test" and found[2].text.startswith("12 of 12 frames")


def test_weights_that_were_changed_are_a_failure(monkeypatch, tmp_path):
    for file in ears.MODELS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = bytearray((tmp_path / "ears.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "ears.safetensors").write_bytes(damaged)
    monkeypatch.setattr(ears.open_tokenizer, "__defaults__", ("cpu", tmp_path))
    _, found = doctor.check_weights()
    assert found.status == "fail" and "pip install" in found.cure


def test_a_port_in_use_is_named_with_the_option_that_moves_it(monkeypatch):
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "--publish"})
        (found,) = doctor.check_ports()
    assert (found.name, found.status) == (f"port {port}", "warn")
    assert "natd --publish" in found.cure
    (found,) = doctor.check_ports()
    assert found.status == "ok"


def test_libraries_are_there():
    found = [*doctor.check_python(), *doctor.check_torch(), *doctor.check_kernels(), *doctor.check_zmq()]
    assert {f.status for f in found} == {"ok"}
    assert {"python", "natd", "torch", "cuda", "kernels", "pyzmq", "msgpack", "aiohttp"} == {f.name for f in found}


def test_sound_cards_are_listed_or_a_cure_is_given():
    (found,) = doctor.check_devices()
    assert found.status == "ok" or (found.status == "warn" and found.cure)


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_only_a_failure_shows_in_the_exit_status(monkeypatch, capsys, status, code):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding("thing", status, "so", "do this")]),))
    assert doctor.examine() == code
    out = capsys.readouterr().out
    assert f"{status:<5}thing       so\n" in out and "→ do this" in out
