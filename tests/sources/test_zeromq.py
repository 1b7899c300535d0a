import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import numpy as np
import pytest
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from natd.audio.chunks import Block, End, Format, FormatChange, Loss, SourceEvent
from natd.clock import FakeClock
from natd.endpoints import CurveServer
from natd.errors import BindError, ConfigError, SourceError
from natd.metrics import COUNTERS
from natd.sources.ingest import STRAY_REASONS
from natd.sources.zeromq import Ingest, ZeromqSource
from tests.sources.collect import assert_contiguous
from tests.sources.feeding import GOOD, PCM, floats, header, mutations

LOCAL = "tcp://127.0.0.1:*"
MONO = Format(48_000, 1)


@contextmanager
def pushing(endpoint: str, **options) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        for name, value in {"linger": 0, "sndtimeo": 20_000, **options}.items():
            setattr(push, name, value)
        push.connect(endpoint)
        yield push


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.002)


async def take(source: ZeromqSource, blocks: int) -> list[SourceEvent]:
    events: list[SourceEvent] = []
    async for event in source:
        events.append(event)
        blocks -= isinstance(event, Block)
        if blocks == 0:
            break
    return events


@asynccontextmanager
async def running(*streams: str, format: Format = MONO, **options) -> AsyncIterator[tuple]:
    async with Ingest(LOCAL, **options) as ingest:
        sources = [ingest.source(name, format) for name in streams]
        for source in sources:
            await source.__aenter__()
        with pushing(ingest.endpoint) as push:
            yield ingest, push, *sources
        for source in sources:
            await source.__aexit__(None, None, None)


def counted(ingest: Ingest, *sources: ZeromqSource) -> int:
    """Messages whose fate is counted."""
    names = ("ingest_accepted", "ingest_duplicates")
    refused = [count for part in (ingest, *sources) for name, count in part.counters.items() if "_refused_" in name]
    return sum(refused) + sum(source.counters[name] for source in sources for name in names)


def test_samples_arrive_whole_in_order_and_on_time():
    async def main() -> list[SourceEvent]:
        async with running("stage") as (_, push, source):
            for n in range(100):
                push.send_multipart([b"stage", *floats(480 * n + 7, 480, n)])
            return await take(source, 100)

    before = time.monotonic_ns()
    events = asyncio.run(main())
    after = time.monotonic_ns()
    assert assert_contiguous(events) == 48_000
    np.testing.assert_array_equal(np.concatenate([e.samples for e in events])[:, 0], np.arange(7, 48_007))
    assert all(before <= e.mono_ns <= after for e in events)


def test_streams_share_the_socket_and_nothing_else():
    async def main() -> tuple:
        async with running("left", "right") as (ingest, push, left, right):
            for n in range(20):
                push.send_multipart([b"left", *floats(480 * n, 480, n)])
                if n % 2:
                    push.send_multipart([b"right", *floats(100 * n, 100, n)])
            got = await take(left, 20), await take(right, 10)
            return *got, counted(ingest, left, right), ingest.counters["ingest_messages"]

    left, right, fates, messages = asyncio.run(main())
    assert assert_contiguous(left) == 9600 and not any(isinstance(e, Loss) for e in left)
    assert assert_contiguous(right) == 1900 and sum(isinstance(e, Loss) for e in right) == 9
    assert fates == messages == 30


def test_it_is_there_before_any_producer_and_takes_the_format_from_the_first():
    async def main() -> tuple:
        async with running("stage", format=Format(48_000, 2)) as (_, push, source):
            at_first = source.state, source.format
            push.send_multipart([b"stage", *floats(0, 441, 0, rate=44_100)])
            events = await take(source, 1)
            return at_first, events, source.state, source.format

    at_first, events, state, form = asyncio.run(main())
    assert at_first == ("starved", Format(48_000, 2))
    assert events[0] == FormatChange(Format(44_100, 1), 0.0)
    assert (state, form) == ("live", Format(44_100, 1))


def test_a_silent_producer_starves_the_stream_and_leaves_no_hole():
    clock = FakeClock()

    async def main() -> tuple:
        async with running("stage", clock=clock) as (_, push, source):
            push.send_multipart([b"stage", *floats(0, 480, 0)])
            events = await take(source, 1)
            clock.advance(2.5)
            state = source.state
            push.send_multipart([b"stage", *floats(480, 480, 1)])
            return events + await take(source, 1), state, source.state

    events, before, after = asyncio.run(main())
    assert [type(e) for e in events] == [Block, Block] and assert_contiguous(events) == 960
    assert (before, after) == ("starved", "live")


def test_a_refused_message_is_a_hole_with_its_cause():
    async def main() -> list[SourceEvent]:
        async with running("stage") as (_, push, source):
            push.send_multipart([b"stage", *floats(0, 480, 0)])
            push.send_multipart([b"stage", b"\xc1", PCM])
            push.send_multipart([b"stage", *floats(960, 480, 2)])
            return await take(source, 2)

    assert asyncio.run(main())[1] == Loss(480, 480, "ingest_invalid")


def test_a_slow_reader_gets_the_latest_two_seconds_and_the_loss_before_them():
    async def main() -> tuple:
        async with running("stage") as (ingest, push, source):
            for n in range(50):
                push.send_multipart([b"stage", *floats(4800 * n, 4800, n)])
            await until(lambda: ingest.counters["ingest_messages"] == 50)
            return await take(source, 20), dict(source.counters)

    events, counters = asyncio.run(main())
    assert events[0] == Loss(0, 30 * 4800, "overrun") and assert_contiguous(events) == 50 * 4800
    assert (counters["overruns"], counters["overrun_samples"]) == (1, 30 * 4800)


def test_a_message_beyond_a_mebibyte_costs_its_sender_the_connection_and_nobody_else_anything():
    async def main() -> int:
        async with running("stage") as (ingest, push, source):
            with pushing(ingest.endpoint) as huge:
                monitor = huge.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                huge.send_multipart([b"stage", header(), bytes((1 << 20) + 1)])
                push.send_multipart([b"stage", *floats(0, 480, 0)])
                await take(source, 1)
                assert await asyncio.to_thread(monitor.poll, 20_000), "the sender was not cut off"
                huge.disable_monitor()
                monitor.close(linger=0)
            push.send_multipart([b"stage", *floats(480, 480, 1)])
            await take(source, 1)
            return ingest.counters["ingest_messages"]

    assert asyncio.run(main()) == 2


def test_bytes_that_are_no_zeromq_are_survived():
    async def main() -> int:
        async with running("stage") as (ingest, push, source):
            port = int(ingest.endpoint.rsplit(":", 1)[1])
            dice = random.Random(0)
            for size in (0, 1, 10, 64, 1000):
                with socket.create_connection(("127.0.0.1", port)) as raw:
                    raw.sendall(dice.randbytes(size))
            push.send_multipart([b"stage", *floats(0, 480, 0)])
            return len(await take(source, 1))

    assert asyncio.run(main()) == 1


def test_an_address_in_use_is_named_with_the_cure():
    async def main(endpoint: str) -> None:
        async with Ingest(endpoint, retries_s=(0.0, 0.0, 0.0)):
            pass

    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(BindError, match=rf"cannot bind {endpoint}.*choose another"):
            asyncio.run(main(endpoint))
    asyncio.run(main(endpoint))  # free again


def test_an_address_beyond_this_machine_needs_keys():
    with pytest.raises(ConfigError, match="CURVE"):
        Ingest("tcp://0.0.0.0:5555")


def test_one_name_has_one_source():
    async def main() -> None:
        async with running("stage") as (ingest, _, _source):
            async with ingest.source("stage"):
                pass

    with pytest.raises(SourceError, match="'stage' has an ingest source already"):
        asyncio.run(main())


def test_leaving_the_ingest_ends_its_streams():
    async def main() -> SourceEvent:
        async with Ingest(LOCAL) as ingest:
            source = ingest.source("stage")
            await source.__aenter__()
            waiting = asyncio.ensure_future(anext(aiter(source)))
            await asyncio.sleep(0)
        return await waiting

    assert asyncio.run(main()) == End("shutdown")


def test_when_the_context_is_taken_away_the_streams_hear_of_it():
    async def main() -> None:
        context = zmq.Context()
        async with Ingest(LOCAL, context) as ingest, ingest.source("stage") as source:
            threading.Thread(target=context.term).start()  # returns once the ingest has closed its sockets
            await take(source, 1)

    with pytest.raises(SourceError, match="failed .ContextTerminated"):
        asyncio.run(main())


def test_curve_lets_in_who_has_a_key_and_nobody_else():
    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    curve = CurveServer(server_public, server_secret, "natd.feed", frozenset({client_public}))
    key = {"curve_publickey": client_public, "curve_secretkey": client_secret, "curve_serverkey": server_public}
    stranger = dict(zip(("curve_publickey", "curve_secretkey"), zmq.curve_keypair(), strict=True))

    async def main() -> int:
        context = zmq.Context()
        doorman = ThreadAuthenticator(context)
        doorman.start()
        doorman.configure_curve_callback("natd.feed", credentials_provider=Allowed(client_public))
        try:
            async with Ingest(LOCAL, context, curve) as ingest, ingest.source("stage") as source:
                with (
                    pushing(ingest.endpoint) as plain,
                    pushing(ingest.endpoint, **{**key, **stranger}) as other,
                    pushing(ingest.endpoint, **key) as known,
                ):
                    plain.send_multipart([b"stage", *floats(0, 480, 100)])
                    other.send_multipart([b"stage", *floats(0, 480, 100)])
                    for n in range(20):
                        known.send_multipart([b"stage", *floats(480 * n, 480, n)])
                    await take(source, 20)
                    return ingest.counters["ingest_messages"]
        finally:
            doorman.stop()
            context.term()

    assert asyncio.run(main()) == 20


class Allowed:
    def __init__(self, key: bytes) -> None:
        self.key = key

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self.key


def test_every_counter_is_declared():
    ingest = Ingest(LOCAL)
    assert COUNTERS.keys() >= ingest.counters.keys() | ingest.source("stage").counters.keys()


# ---- the table of mutations, and as many messages as wanted


@pytest.mark.parametrize("what, reason, frames", mutations(b"stage"), ids=[what for what, _, _ in mutations(b"stage")])
def test_each_fault_through_the_socket_is_counted_for_its_reason_and_the_stream_goes_on(table, what, reason, frames):
    ingest, push, source, loop = table
    name = f"ingest_refused_{reason}"
    part = ingest if reason in STRAY_REASONS else source

    async def main() -> tuple[int, int, int]:
        before, messages = part.counters[name], ingest.counters["ingest_messages"]
        push.send_multipart(frames)
        seq = source.counters["ingest_accepted"]
        push.send_multipart([b"stage", *floats(480 * seq, 480, seq)])
        events = await take(source, 1)
        return part.counters[name] - before, ingest.counters["ingest_messages"] - messages, len(events)

    assert loop.run(main()) == (1, 2, 1)
    assert counted(ingest, source) == ingest.counters["ingest_messages"]


@pytest.fixture(scope="module")
def table() -> Iterator[tuple]:
    with asyncio.Runner() as loop:
        made = running("stage")
        ingest, push, source = loop.run(made.__aenter__())
        yield ingest, push, source, loop
        loop.run(made.__aexit__(None, None, None))


def fuzz_frames(dice: random.Random, table: list[list[bytes]]) -> list[bytes]:
    """One message: from the table, random bytes, a good one with flipped bytes, or good with a wild count."""
    match dice.randrange(4):
        case 0:
            return dice.choice(table)
        case 1:
            name = dice.choice([b"stage", dice.randbytes(4)])
            return [name, dice.randbytes(dice.randrange(64)), dice.randbytes(dice.randrange(64))]
        case 2:
            spoiled = bytearray(header(seq=dice.randrange(2**32)))
            for _ in range(dice.randrange(1, 4)):
                spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
            return [b"stage", bytes(spoiled), PCM]
    wild = {name: dice.choice([0, 1, 480, 2**31, 2**63 - 1, dice.randrange(2**40)]) for name in ("seq", "first_sample")}
    return [b"stage", header(**{**GOOD, **wild, "producer": dice.choice([..., "a", "b"])}), PCM]


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fuzz(messages: int, seed: int = 0) -> dict[str, int]:
    """Send wild messages to one stream and good ones to another beside it; figures of what became of them."""
    dice = random.Random(seed)
    table = [frames for _, _, frames in mutations(b"stage") if len(frames) < 100 and len(frames[0]) < 1000]
    heard: list[int] = [0, 0]
    at_first = at_end = 0

    async with running("stage", "calm") as (ingest, push, wild, calm):

        def send() -> None:
            nonlocal at_first, at_end
            for n in range(messages // 2):
                push.send_multipart(fuzz_frames(dice, table))
                push.send_multipart([b"calm", *floats(16 * n, 16, n)])
                if n == messages // 20:
                    at_first = resident_bytes()
            at_end = resident_bytes()

        async def hear(source: ZeromqSource, place: int) -> None:
            async for event in source:
                heard[place] += len(event.samples) if isinstance(event, Block) else 0

        readers = [asyncio.create_task(hear(wild, 0)), asyncio.create_task(hear(calm, 1))]
        await asyncio.to_thread(send)
        await until(lambda: ingest.counters["ingest_messages"] == messages // 2 * 2)
        await until(lambda: heard[1] + calm.counters["overrun_samples"] == 16 * (messages // 2))
        for reader in readers:
            assert not reader.done()
            reader.cancel()
        return {
            "sent": messages // 2 * 2,
            "seen": ingest.counters["ingest_messages"],
            "counted": counted(ingest, wild, calm),
            "accepted": wild.counters["ingest_accepted"] + calm.counters["ingest_accepted"],
            "repeats": wild.counters["ingest_duplicates"] + calm.counters["ingest_duplicates"],
            "quarantines": wild.counters["ingest_quarantines"],
            "calm_lost": calm.counters["ingest_lost_samples"],
            "rss_growth_kib": (at_end - at_first) // 1024,
        }


def assert_unharmed(figures: dict[str, int]) -> None:
    assert figures["seen"] == figures["counted"] == figures["sent"]
    assert figures["calm_lost"] == 0
    assert figures["accepted"] > figures["sent"] // 2  # the calm ones all, and some of the wild


def test_wild_messages_are_all_counted_and_hurt_no_other_stream():
    assert_unharmed(asyncio.run(fuzz(20_000)))


@pytest.mark.soak
def test_soak_of_wild_messages():
    """Prints the figures; NATD_MESSAGES says how many (1 000 000), NATD_SEED from which seed."""
    messages, seed = int(os.environ.get("NATD_MESSAGES", "1000000")), int(os.environ.get("NATD_SEED", "0"))
    began = time.monotonic()
    figures = asyncio.run(fuzz(messages, seed))
    uncounted = figures["sent"] - figures["counted"]
    print(f"\ningest, {time.monotonic() - began:.0f} s: crashes 0, uncounted {uncounted}, {figures}")
    assert_unharmed(figures)
    assert figures["rss_growth_kib"] < 16 * 1024
