"""HTTP: streams to fast and slow readers, the other pages, and what is refused."""

import asyncio
import json
import socket

import pytest

from natd.errors import BindError, ConfigError, NatdError
from natd.sinks.http import HttpLimits, HttpSink
from natd.wire import Frame, encode
from tests.schema import validate_line
from tests.streams import header, simple


def sink(health=None, limits=None, legend=None, **options):
    healthy = lambda: health or {"ok": True}  # noqa: E731
    return HttpSink("127.0.0.1", 0, lambda: b"natd_up 1\n", healthy, legend, limits=limits, **options)


def publish(to, *events, stream="stage"):
    for event in events:
        to.publish(stream, event, encode(event))


async def get(to, path, *headers, method="GET"):
    """Status, headers and body of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", to.port)
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", *(headers or ("Host: localhost",))))
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    raw = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    top, _, body = raw.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode().lower(), body


class Follow:
    """One reader of a stream, line by line."""

    def __init__(self, to, name="stage", rcvbuf=None):
        self._to, self._name, self._rcvbuf, self._buffer = to, name, rcvbuf, b""

    async def start(self):
        made = socket.socket()
        if self._rcvbuf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._rcvbuf)
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self._to.port))
        self.reader, self.writer = await asyncio.open_connection(sock=made, limit=4096)
        self.writer.write(f"GET /streams/{self._name}.ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def line(self):
        """The next line; None at the end."""
        while b"\n" not in self._buffer:
            size = int(await asyncio.wait_for(self.reader.readline(), 10), 16)
            self._buffer += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            if not size:
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    async def lines(self):
        found = []
        while (line := await self.line()) is not None:
            found.append(line)
        return found

    def close(self):
        self.writer.transport.abort()


async def test_a_reader_gets_header_and_state_then_every_line_to_the_end():
    story = simple(40)
    async with sink() as http:
        publish(http, story.header, *story.events[:20])
        reader = await Follow(http).start()
        assert b"application/x-ndjson" in reader.head and b"chunked" in reader.head
        first = [await reader.line(), await reader.line()]
        publish(http, *story.events[20:])
        rest = await reader.lines()
        reader.close()
    assert first[0] == story.lines[0]
    assert validate_line(first[1])["seq"] == 19
    assert rest == story.lines[21:]


async def test_an_ended_stream_is_told_to_its_end():
    story = simple(5)
    async with sink() as http:
        publish(http, story.header, *story.events)
        reader = await Follow(http).start()
        kinds = [json.loads(line)["event"] for line in await reader.lines()]
        reader.close()
    assert kinds == ["header", "state", "end"]


async def test_leaving_readers_are_forgotten_and_the_exit_ends_the_others():
    async with sink() as http:
        publish(http, header())
        leaver, stayer = await Follow(http).start(), await Follow(http).start()
        for reader in (leaver, stayer):
            await reader.line()
        leaver.close()
        async with asyncio.timeout(10):
            while len(http._clients["stage"]) != 1:
                await asyncio.sleep(0.001)
        await stayer.line()
        ended = asyncio.create_task(stayer.lines())
    assert await ended == []
    stayer.close()


async def test_a_slow_reader_loses_whole_lines_gets_a_state_and_costs_a_fast_one_nothing():
    count = 20_000
    async with sink(limits=HttpLimits(lines=100)) as http:
        publish(http, header(keyframe_interval_s=600.0))
        slow, fast = await Follow(http, rcvbuf=4096).start(), await Follow(http).start()
        await slow.line()
        heard = [await fast.line(), await fast.line()]
        for at in range(0, count, 50):
            events = [Frame(i, i, i * 80.0, (1, 2), (i % 1024, [1, 2]), kf=i == 0) for i in range(at, at + 50)]
            publish(http, *events)
            heard += [await fast.line() for _ in events]
        assert [json.loads(line)["seq"] for line in heard[2:]] == list(range(count))
        assert http.counters["http_dropped"] > count / 2
        assert all(len(client._lines) <= 100 for client in http._clients["stage"])
        publish(http, *[Frame(i, i, i * 80.0, (1, 2), (3, [1, 2])) for i in range(count, count + 3)])
        at, states = None, 0
        while at != count + 2:
            event = validate_line(await slow.line())
            if event["event"] == "state" and at is not None:
                states += 1
            elif event["event"] == "frame":
                assert event["seq"] == at + 1, "after a hole comes a state, and from there every line"
            at = event["seq"]
        assert states >= 1
        for reader in (slow, fast):
            reader.close()


async def test_a_reader_that_stopped_is_cut_after_a_while():
    async with sink(limits=HttpLimits(lines=10, write_s=0.1)) as http:
        publish(http, header())
        stuck = await Follow(http, rcvbuf=4096).start()
        seq = 0
        async with asyncio.timeout(20):
            while not http.counters["http_cut"]:
                publish(http, Frame(seq, seq, 0.0, (1, 2), (3, [1, 2]), kf=seq == 0))
                seq += 1
                await asyncio.sleep(0)
        stuck.close()


async def test_the_other_pages():
    story = simple(5)
    async with sink(health={"ok": False, "why": "x"}) as http:
        publish(http, story.header, *story.events)
        status, head, body = await get(http, "/streams")
        assert (status, json.loads(body)["streams"][0]["last_seq"]) == (200, story.events[-1].seq)
        assert (await get(http, "/metrics"))[2] == b"natd_up 1\n"
        status, head, body = await get(http, "/health")
        assert (status, json.loads(body)) == (503, {"ok": False, "why": "x"})
        assert b"/streams/stage.ndjson" in (await get(http, "/"))[2]
    async with sink() as http:
        assert (await get(http, "/health"))[0] == 200


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/streams/other.ndjson", (), 404, "unknown_stream"),
        ("/streams/..%2Fetc.ndjson", (), 404, "unknown_stream"),
        ("/nothing", (), 404, "bad_request"),
        ("/streams", ("Host: evil.example",), 403, "forbidden"),
        ("/streams", ("Host: evil.example:80",), 403, "forbidden"),
    ],
)
async def test_what_is_not_there_or_not_allowed_is_an_error_line(path, headers, status, code):
    async with sink() as http:
        got, _, body = await get(http, path, *headers)
        assert (got, json.loads(body)["event"], json.loads(body)["code"]) == (status, "error", code)
        assert http.counters["http_refused"] == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8088", "localhost:1", "[::1]:8088"])
async def test_names_of_this_machine_are_let_in(host):
    async with sink() as http:
        assert (await get(http, "/streams", f"Host: {host}"))[0] == 200


async def test_only_so_many_may_follow_and_connect():
    async with sink(limits=HttpLimits(clients=2, connections=4)) as http:
        publish(http, header())
        readers = [await Follow(http).start() for _ in range(2)]
        assert (await get(http, "/streams/stage.ndjson"))[0] == 503
        more = [await asyncio.open_connection("127.0.0.1", http.port) for _ in range(4)]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await more[-1][0].readexactly(1)
        for reader in readers:
            reader.close()
        for _, writer in more:
            writer.close()


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
async def test_a_connection_that_asks_for_nothing_is_cut(said):
    async with sink(limits=HttpLimits(silent_s=0.1)) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(said)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()


async def test_garbage_is_answered_with_400():
    async with sink() as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(b"\x16\x03\x01\x00\xff\r\n\r\n")
        assert b"400" in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        assert (await get(http, "/streams"))[0] == 200


async def test_an_address_in_use_and_one_beyond_loopback_are_refused():
    async with sink() as http:
        with pytest.raises(BindError, match=f"127.0.0.1:{http.port}"):
            async with HttpSink("127.0.0.1", http.port, bytes, dict):
                pass
    with pytest.raises(ConfigError, match="loopback|127.0.0.1"):
        HttpSink("0.0.0.0", 0, bytes, dict)
    assert HttpSink("0.0.0.0", 0, bytes, dict, remote=True).port == 0


async def test_the_legend_of_all_of_a_layer_and_of_a_code():
    def legend(layer, code):
        if layer == "S9":
            raise ConfigError("no layer 'S9'")
        if layer == "S8":
            raise NatdError("the model is being loaded")
        return {"layer": layer, "code": code} if code is not None else {"codes": {layer or "S0": {"0": "silence"}}}

    async with sink(legend=legend) as http:
        for path, told in (
            ("/legend", {"codes": {"S0": {"0": "silence"}}}),
            ("/legend/S1", {"codes": {"S1": {"0": "silence"}}}),
            ("/legend/S1/37", {"layer": "S1", "code": 37}),
        ):
            status, _, body = await get(http, path)
            assert status == 200 and validate_line(body) == {"event": "answer", "op": "legend", **told}
        for path, status, code in (
            ("/legend/S9", 404, "unknown_code"), ("/legend/S8/1", 503, "busy"), ("/legend/X1", 404, "bad_request"),
            ("/legend/S1/-1", 404, "bad_request"), ("/legend/S1/99999999999", 404, "bad_request"),
            ("/legend/S100", 404, "bad_request"),
        ):  # fmt: skip
            found, _, body = await get(http, path)
            assert (found, json.loads(body)["code"]) == (status, code)
    async with sink() as http:
        assert (await get(http, "/legend"))[0] == 404
