"""The config: every fault is found and named by its key, flags win, and the examples are complete."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import zmq.auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from natd.config import Config, Overrides, describe, load
from natd.config_faults import _models
from natd.endpoints import CurveServer, check_bind, check_endpoint, is_local, load_clients, load_curve, split_http
from natd.errors import ConfigError
from natd.settings import DemoStream, DeviceStream, FileStream, RawSettings, StdinStream, ZeromqStream

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
STREAMS = {
    "device": DeviceStream, "demo:": DemoStream, "file:a.wav": FileStream, "zeromq:": ZeromqStream, "-": StdinStream,
}  # fmt: skip
SECTIONS = {
    name: next(iter(_models(field.annotation))) for name, field in Config.model_fields.items() if name != "stream"
}


@pytest.fixture
def write(tmp_path):
    def to_file(text: str) -> Path:
        path = tmp_path / "natd.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def faults(path: Path | None, flags: Overrides | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, flags)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_without_a_file_the_default_input_is_heard():
    config = load()
    assert config.stream == (DeviceStream(name="live", device=None, rate=48_000, channels=2),)
    assert config.engine.tokenizer == "ears" and config.engine.device == "cpu"
    assert config.zeromq_endpoints() == {"publish": "tcp://127.0.0.1:5556", "control": "tcp://127.0.0.1:5557"}
    assert config.http.endpoint == "127.0.0.1:8088"


def test_every_fault_is_listed_by_its_key(write):
    path = write("""
bogus = 1
[engin]
[engine]
treads = 2
threads = 0
device = "gpu"
backlog_s = nan
[publish]
endpoint = "tcp://127.0.0.1:99999"
[http]
endpoint = "0.0.0.0:80"
[log]
level = "inof"
[[stream]]
name = "stage"
rat = 44100
channels = "2"
mix = [1, 0, "x"]
[[stream]]
source = "alsa"
[[stream]]
name = "Bad Name"
source = "-"
raw = { fmt = "u8", rate = 1.5 }
seconds = 2020-01-01
""")
    assert faults(path) == [
        "engine.device: must be cpu, cuda, cuda:N or auto",
        "engine.threads: must be at least 1, not 0",
        "engine.backlog_s: must be a finite number, not nan",
        "engine.treads: unknown key; did you mean threads?",
        "publish.endpoint: port 99999 is not in 0 to 65535",
        "http.endpoint: '0.0.0.0:80' is not on the loopback and HTTP has no keys: bind 127.0.0.1 behind a proxy",
        "log.level: must be 'debug', 'info', 'warning' or 'error', not 'inof'",
        "stream[stage].mix[#2]: must be at least 1, not 0",
        "stream[stage].mix[#3]: must be a whole number, not 'x'",
        "stream[stage].channels: must be a whole number, not '2'",
        "stream[stage].rat: unknown key; did you mean rate?",
        "stream[#2]: source must be 'device', 'demo:', 'file:PATH', 'zeromq:' or '-', not 'alsa'",
        "stream[Bad Name].name: must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or a digit, not 'Bad Name'",
        "stream[Bad Name].seconds: must be a number, not {'date': '2020-01-01'}",
        "stream[Bad Name].raw.fmt: must be 's16le', 's24le', 's32le' or 'f32le', not 'u8'",
        "stream[Bad Name].raw.rate: must be a whole number, not 1.5",
        "stream[Bad Name].raw.channels: is required",
        "bogus: unknown key; here are: engine, publish, control, ingest, http, security, output, log, stats, stream",
        "engin: unknown key; did you mean engine?",
    ]


def every_key() -> list[tuple[str, str]]:
    """(start of a file, key) for each key there is."""
    sections = [(f"[{name}]", key) for name, model in SECTIONS.items() for key in model.model_fields]
    streams = [
        (f'[[stream]]\nname = "x"\nsource = "{source}"', key)
        for source, model in STREAMS.items()
        for key in model.model_fields.keys() - {"name", "source"}
    ]
    return sections + sorted(streams)


@pytest.mark.parametrize(("start", "key"), every_key())
def test_a_wrong_value_is_refused_under_its_key(write, start, key):
    found = faults(write(f"{start}\n{key} = [[-1]]\n"))
    assert any(line.split(":")[0].split("[#")[0].endswith(f".{key}") for line in found), found


@pytest.mark.parametrize(("start", "key"), every_key())
def test_a_misspelt_key_is_refused_with_the_right_one(write, start, key):
    found = faults(write(f"{start}\n{key}x = 1\n"))
    assert any(re.search(rf"\.{key}x: unknown key; did you mean {key}\?", line) for line in found), found


@pytest.mark.parametrize("source", STREAMS)
def test_the_source_decides_the_kind_of_stream(write, source):
    stream = load(write(f'[[stream]]\nsource = "{source}"')).stream[0]
    assert type(stream) is STREAMS[source]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[engine", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
        ('a = "\x00"', "is not TOML"),
    ],
)
def test_what_is_not_toml_is_a_config_error(write, text, said):
    with pytest.raises(ConfigError, match=said):
        load(write(text))


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path)


def test_flags_win_over_the_file(write):
    path = write("""
[engine]
tokenizer = "other"
[publish]
endpoint = "tcp://127.0.0.1:1"
[[stream]]
name = "stage"
device = "hw:0"
rate = 44100
channels = 1
seconds = 5.0
""")
    flags = Overrides(
        device="hw:1", stream="hall", tokenizer="ears", rate=16_000, channels=4, publish="off",
        ingest="tcp://127.0.0.1:2", control="tcp://127.0.0.1:3", http="off", output="-", seconds=9.0, tap=Path("t.wav"),
    )  # fmt: skip
    config = load(path, flags)
    assert config.stream == (
        DeviceStream(name="hall", device="hw:1", rate=16_000, channels=4, seconds=9.0, tap=Path("t.wav")),
    )
    assert (config.engine.tokenizer, config.publish.endpoint, config.ingest.endpoint) == (
        "ears",
        "off",
        "tcp://127.0.0.1:2",
    )
    assert (config.control.endpoint, config.http.endpoint, config.output.path) == ("tcp://127.0.0.1:3", "off", "-")
    unchanged = load(path).stream[0]
    assert (unchanged.name, unchanged.device, unchanged.seconds) == ("stage", "hw:0", 5.0)


def test_another_source_drops_the_settings_of_the_first(write):
    path = write('[[stream]]\nname = "a"\ndevice = "hw:0"\nrate = 44100\nmix = [1]\ntap = "t.wav"')
    assert load(path, Overrides(source="demo:")).stream == (
        DemoStream(name="a", source="demo:", mix=(1,), tap=Path("t.wav")),
    )
    assert load(path, Overrides(source="file:x")).stream[0].path == Path("x")
    path = write('[[stream]]\nsource = "file:a"\nloop = true')
    assert load(path, Overrides(device=0)).stream == (DeviceStream(device=0),)
    assert load(path, Overrides(source="file:b")).stream[0].loop


def test_rate_and_channels_declare_raw_sound_on_standard_input():
    assert load(None, Overrides(source="-")).stream[0].raw is None
    stream = load(None, Overrides(source="-", rate=8000, channels=1)).stream[0]
    assert stream.raw == RawSettings(fmt="s16le", rate=8000, channels=1)
    assert faults(None, Overrides(source="-", rate=8000)) == ["stream[#1].raw.channels: is required"]


def test_flags_that_contradict_are_refused():
    assert faults(None, Overrides(device="hw:1", source="demo:")) == [
        "--device and --source demo: contradict each other"
    ]
    found = faults(None, Overrides(source="file:a.wav", rate=3))
    assert len(found) == 1 and found[0].startswith("stream[#1].rate: unknown key")
    assert faults(None, Overrides(stream="A", source="demo:", seconds=-1.0)) == [
        "stream[A].name: must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or a digit, not 'A'",
        "stream[A].seconds: must be above 0, not -1.0",
    ]


def test_of_several_streams_a_flag_chooses_one(write):
    path = write('[[stream]]\nname = "a"\n[[stream]]\nname = "b"\n')
    assert [s.name for s in load(path).stream] == ["a", "b"]
    assert load(path, Overrides(stream="b", device=3)).stream == (DeviceStream(name="b", device=3),)
    assert {s.seconds for s in load(path, Overrides(seconds=2.0)).stream} == {2.0}
    assert faults(path, Overrides(device=3, rate=8000)) == [
        "--device, --rate: the file has 2 streams; choose one by --stream"
    ]
    assert faults(path, Overrides(stream="c")) == ["--stream c: the file has no stream of that name"]


@pytest.mark.parametrize(
    ("rle", "encoded"),
    [("['S']", "S0 S1"), ("['S1', 'A']", "S1 A0 A1"), ("[]", ""), ("['A1']", "A1")],
)
def test_layers_are_sent_when_they_change_by_name_or_by_kind(write, rle, encoded):
    stream = load(write(f"[[stream]]\nrle = {rle}")).stream[0]
    assert [x for x in ("S0", "S1", "A0", "A1") if stream.encoding(x) == "rle"] == encoded.split()
    assert DeviceStream().encoding("S3") == "rle" and DeviceStream().encoding("A3") == "dense"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stream = []", "stream: must have at least 1 of them"),
        ("[stream]\nname = 'a'", "stream: must be a list of tables: write [[stream]], in double brackets"),
        ("[[stream]]\n[[stream]]\n", "stream: 2 streams are called 'live'; names must differ"),
        ("[[stream]]\nmix = [3]\n", "stream[#1]: mix asks for channel 3 but only 2 are captured"),
        ("[[stream]]\nmix = [1, 1]", "stream[#1]: mix must be 'mean' or a list of different channels, counted from 1"),
        ("[[stream]]\nmix = []", "stream[#1]: mix must be 'mean' or a list of different channels, counted from 1"),
        ("[[stream]]\ndevice = 'device'\nrate = 1", "stream[#1].rate: must be at least 1000, not 1"),
        (
            "[[stream]]\nrle = ['Q0']\n",
            "stream[#1]: rle lists layers such as 'S0', or 'S' for all semantic ones, not 'Q0'",
        ),
        (
            "[[stream]]\nname='a'\nsource='-'\n[[stream]]\nname='b'\nsource='-'",
            "stream: only one stream can read standard input",
        ),
        (
            "[publish]\nendpoint='tcp://127.0.0.1:5557'",
            "publish.endpoint, control.endpoint: all are tcp://127.0.0.1:5557; they must differ",
        ),
        (
            "[output]\npath='a.ndjson'\n[[stream]]\nname='a'\n[[stream]]\nname='b'",
            "output.path: several streams need {stream} in the path, or their lines would mix",
        ),
        (
            "[[stream]]\nname='a'\ntap='t'\n[[stream]]\nname='b'\ntap='t'",
            "stream: several streams have the tap t; they must differ",
        ),
    ],
)
def test_what_no_key_can_know_alone(write, text, said):
    assert faults(write(text)) == [said]


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5556",
        "tcp://*:5556",
        "tcp://10.0.0.1:5556",
        "tcp://[::]:5556",
        "tcp://eth0:5556",
    ],
)
def test_a_bind_beyond_this_machine_needs_keys(endpoint):
    assert not is_local(endpoint)
    said = f"publish.endpoint: other machines can reach {endpoint}; that needs [security] with CURVE keys"
    assert faults(None, Overrides(publish=endpoint)) == [said]
    with pytest.raises(ConfigError, match="CURVE"):
        check_bind(endpoint, curve=False)
    check_bind(endpoint, curve=True)


def test_ingest_needs_keys_only_where_it_is_bound(write):
    assert load(None, Overrides(ingest="tcp://0.0.0.0:1")).zeromq_endpoints().keys() == {"publish", "control"}
    assert faults(None, Overrides(ingest="tcp://0.0.0.0:1", source="zeromq:"))[0].startswith(
        "ingest.endpoint: other machines"
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5556",
        "tcp://127.9.9.9:*",
        "tcp://[::1]:0",
        "tcp://localhost:1",
        "ipc:///tmp/x",
    ],
)
def test_loopback_needs_none(endpoint):
    assert load(None, Overrides(publish=endpoint)).publish.endpoint == endpoint
    check_bind(endpoint, curve=False)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "5556",
        "tcp://127.0.0.1",
        "tcp://:5556",
        "tcp://a:b:1",
        "udp://127.0.0.1:1",
        "ipc://",
        "ipc://" + "x" * 108,
        "tcp://127.0.0.1:65536",
        "tcp://[]:1",
        "tcp://127.0.0.1:1\n",
        "inproc://x",
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint):
    with pytest.raises(ValueError, match="."):
        check_endpoint(endpoint)


def test_http_stays_on_the_loopback():
    assert split_http("[::1]:80") == ("::1", 80)
    assert load(None, Overrides(http="[::1]:80")).http.endpoint == "[::1]:80"
    for address in ("0.0.0.0:80", "example.org:80", "10.1.1.1:1"):
        assert "not on the loopback" in faults(None, Overrides(http=address))[0]
    for address in ("8088", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":80"):
        assert faults(None, Overrides(http=address))[0].startswith("http.endpoint: ")


# ---- keys


@pytest.fixture
def keys(tmp_path):
    _, secret = zmq.auth.create_certificates(tmp_path, "server")
    os.chmod(secret, 0o600)
    (tmp_path / "clients").mkdir()
    for name in ("hall", "foyer"):
        zmq.auth.create_certificates(tmp_path / "clients", name)
    return tmp_path


def test_keys_are_those_of_the_certificates(keys):
    curve = load_curve(keys / "server.key_secret", keys / "clients", "natd.listen")
    public, secret = zmq.auth.load_certificate(keys / "server.key_secret")
    clients = {zmq.auth.load_certificate(keys / "clients" / f"{n}.key")[0] for n in ("hall", "foyer")}
    assert curve == CurveServer(public, secret, "natd.listen", frozenset(clients))
    assert secret.decode() not in repr(curve)


def test_a_list_of_keys_serves_as_well_as_a_folder(keys):
    folder = load_clients(keys / "clients")
    listed = keys / "list"
    listed.write_text("# who may listen\n\n" + "\n".join(k.decode() for k in sorted(folder)) + "\n")
    assert load_clients(listed) == folder
    assert len(load_clients(keys / "clients" / "hall.key")) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_secret_that_others_can_reach_is_refused(keys, mode):
    os.chmod(keys / "server.key_secret", mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_curve(keys / "server.key_secret", keys / "clients", "d")


def test_a_systemd_credential_may_carry_the_mask_of_its_access_list(keys, monkeypatch):
    os.chmod(keys / "server.key_secret", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys))
    assert load_curve(keys / "server.key_secret", keys / "clients", "d").zap_domain == "d"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys / "elsewhere"))
    with pytest.raises(ConfigError, match="chmod 600"):
        load_curve(keys / "server.key_secret", keys / "clients", "d")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: (d / "server.key_secret").unlink(), "cannot read"),
        (lambda d: (d / "server.key_secret").write_text("nothing"), "holds no CURVE"),
        (lambda d: (d / "server.key_secret").write_bytes(b"\xff\xfe"), "not a text file"),
        (lambda d: (d / "server.key_secret").write_text('public-key = "x"\nsecret-key = "y"'), "40 characters"),
        (lambda d: (d / "clients" / "hall.key").write_text("short\n"), "40 characters"),
        (lambda d: [f.unlink() for f in (d / "clients").iterdir()], "no client key"),
        (lambda d: (d / "clients" / "big.key").write_text("#\n" * 600_000), "larger than"),
    ],
)
def test_bad_keys_are_refused(keys, spoil, said):
    spoil(keys)
    with pytest.raises(ConfigError, match=said):
        load_curve(keys / "server.key_secret", keys / "clients", "d")


def test_a_bad_key_is_not_repeated_in_the_message(keys):
    (keys / "clients" / "hall.key").write_text("almost-a-secret\n")
    with pytest.raises(ConfigError) as caught:
        load_clients(keys / "clients")
    assert "almost-a-secret" not in str(caught.value)


def test_with_keys_a_bind_beyond_this_machine_is_allowed(keys, write):
    path = write(f"""
[publish]
endpoint = "tcp://0.0.0.0:5556"
[security]
server_key = "{keys}/server.key_secret"
clients = "{keys}/clients"
feeders = "{keys}/clients/hall.key"
""")
    security = load(path).security
    assert len(security.listen_curve().clients) == 2 and len(security.feed_curve().clients) == 1
    assert security.listen_curve().zap_domain != security.feed_curve().zap_domain
    assert "tcp://0.0.0.0:5556 (CURVE)" in describe(load(path))


# ---- what would run


def test_check_says_what_would_run(write, tmp_path):
    (tmp_path / "a.wav").touch()
    path = write(f"""
[control]
endpoint = "off"
[output]
path = "{tmp_path}/{{stream}}.ndjson"
[[stream]]
name = "stage"
device = "hw:1"
mix = [2]
tap = "{tmp_path}/tap.wav"
[[stream]]
name = "tape"
source = "file:{tmp_path}/a.wav"
paced = false
seconds = 3.5
[[stream]]
name = "hall"
source = "zeromq:"
""")
    assert describe(load(path)).splitlines() == [
        "tokenizer ears on cpu, threads 1, backlog 0.5 s",
        "stream stage: device 'hw:1', 48000 Hz, 2 channels, channels 2, keyframe every 5 s, "
        f"captured samples to {tmp_path}/tap.wav",
        f"stream tape: {tmp_path}/a.wav, at full speed, mean of all channels, keyframe every 5 s, ends after 3.5 s",
        "stream hall: audio from the ingest socket, mean of all channels, keyframe every 5 s",
        "publish  tcp://127.0.0.1:5556 (plain)",
        "ingest   tcp://127.0.0.1:5555 (plain)",
        "control  off",
        "http     127.0.0.1:8088",
        f"output   {tmp_path}/stage.ndjson, new file every 256 MB or 86400 s, 14 kept",
        f"output   {tmp_path}/tape.ndjson, new file every 256 MB or 86400 s, 14 kept",
        f"output   {tmp_path}/hall.ndjson, new file every 256 MB or 86400 s, 14 kept",
        "log      info",
    ]


def test_check_lists_the_files_that_cannot_be_used(write):
    path = write("""
[security]
server_key = "/nowhere/key"
clients = "/nowhere/clients"
[output]
path = "/nowhere/{stream}.ndjson"
[[stream]]
name = "demo"
source = "demo:"
[[stream]]
source = "file:/nowhere/a.wav"
tap = "/nowhere/t.wav"
""")
    with pytest.raises(ConfigError) as caught:
        describe(load(path))
    assert str(caught.value).splitlines() == [
        "4 faults",
        "  security: cannot read /nowhere/key: No such file or directory",
        "  output.path: the folder /nowhere does not exist",
        "  stream[live].source: cannot read /nowhere/a.wav",
        "  stream[live].tap: the folder /nowhere does not exist",
    ]


# ---- the examples


def test_there_are_four_examples():
    assert [path.stem for path in CONFIGS] == ["concert", "remote", "room", "speech"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_an_example_loads_as_it_stands_and_with_all_its_keys(path, write):
    assert load(path).stream
    text = re.sub(r"(?m)^#(?=\[?[a-z])", "", path.read_text())
    assert load(write(text)).security is not None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_an_example_has_every_key(path):
    text = path.read_text()
    for name, model in SECTIONS.items():
        block = re.search(rf"(?ms)^#?\[{name}\]\n(.*?)(?=^#?\[|\Z)", text)
        assert block, name
        for key in model.model_fields:
            assert re.search(rf"(?m)^#?{key} = ", block[1]), f"{name}.{key}"
    first = load(path).stream[0]
    for key in type(first).model_fields:
        assert re.search(rf"(?m)^#?{key} = ", text[text.index("[[stream]]") :]), key


# ---- whatever comes


def toml(value: Any) -> str:
    """A value as TOML writes it inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def keys_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


WORDS = st.sampled_from(sorted({"x", "device", "demo:", "file:a", "-", "mean", "off", "tcp://0.0.0.0:1", "ears", "S0"}))
KEYS = st.sampled_from(sorted(set().union(*map(keys_of, [*SECTIONS.values(), *STREAMS.values(), RawSettings])) | {"x"}))
SCALARS = st.none().map(lambda _: True) | st.integers(-3, 50_000) | st.integers() | st.floats() | WORDS | st.text(
    st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=8)
FILES = st.dictionaries(st.sampled_from([*Config.model_fields, "x"]), VALUES, max_size=5)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=FILES)
def test_whatever_the_file_holds_it_loads_or_is_refused(write, data):
    path = write("\n".join(f"{key} = {toml(value)}" for key, value in data.items()))
    try:
        config = load(path)
    except ConfigError as error:
        assert "fault" in str(error)
    else:
        assert Config.model_validate_json(config.model_dump_json()) == config


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(CONFIGS), at=st.integers(0, 5000), byte=st.integers(0, 255))
def test_a_changed_byte_in_an_example_never_crashes(tmp_path, path, at, byte):
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    (tmp_path / "changed.toml").write_bytes(data)
    try:
        load(tmp_path / "changed.toml")
    except ConfigError as error:
        assert "changed.toml" in str(error)
