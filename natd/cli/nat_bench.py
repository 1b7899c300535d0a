"""`nat bench`: what natd costs on this machine."""

from __future__ import annotations

import argparse

from natd.cli.verbs import Adds, Verbs, count, endpoint, positive, threads, verb


def _add_bench_latency(verbs: Verbs) -> None:
    about = "measure every stage from the microphone to a subscriber, with a daemon and a subscriber of its own"
    p = verb(verbs, "latency", bench_latency, about, "nat bench latency --device hw:1 --seconds 60", with_torch=False)
    p.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="how long (default: 60)")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--source", metavar="SOURCE", help="source of the daemon (default: demo:)")
    where.add_argument("--device", metavar="NAME", help="sound card of the daemon")
    where.add_argument("--connect", type=endpoint, metavar="ENDPOINT", help="a daemon that already publishes there")
    p.add_argument("--stream", metavar="NAME", help="with --connect: which stream (default: live)")
    p.add_argument("--tokenizer", metavar="NAME", help="tokenizer of the daemon (default: ears)")
    p.add_argument("--json", action="store_true", help="the figures as one JSON object")


def bench_latency(args: argparse.Namespace) -> int:
    """One table: stage, p50, p99, max."""
    from natd.offline.bench import Plan, bench

    plan = Plan(args.seconds, args.source, args.device, args.connect, args.stream or "live", args.tokenizer)
    return bench(plan, as_json=args.json)


def _add_bench_encode(verbs: Verbs) -> None:
    about = "measure what a step of each tokenizer costs, beside its limit and other programs of the same model"
    p = verb(verbs, "encode", bench_encode, about, "nat bench encode ears mimi --streams 1 6 --random --peers")
    p.add_argument("names", nargs="*", metavar="NAME", default=["ears"], help="tokenizers (default: ears)")
    p.add_argument("--threads", nargs="+", type=threads, default=[1], metavar="N", help="threads (default: 1)")
    p.add_argument("--streams", nargs="+", type=count, default=[1], metavar="N", help="streams a step (default: 1)")
    p.add_argument("--steps", type=count, default=60, metavar="N", help="steps of each (default: 60)")
    _add_random(p)
    p.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default) or cuda: as a graph and one by one")
    p.add_argument("--peers", action="store_true", help="transformers and others in turn; needs natd[bench]")
    p.add_argument("--json", action="store_true", help="the figures as one JSON list")


def bench_encode(args: argparse.Namespace) -> int:
    """One table: tokenizer, threads, streams, p50, p99, speed, memory, limit; 65 where weights are missing."""
    from natd.offline.bench_encode import Plan, bench

    plan = Plan(args.names, args.threads, args.streams, args.steps, args.random, args.peers, args.device)
    return bench(plan, as_json=args.json)


def _add_bench_streams(verbs: Verbs) -> None:
    about = "find how many live streams one tokenizer keeps up with, none of their frames late"
    p = verb(verbs, "streams", bench_streams, about, "nat bench streams mimi --device cuda --most 2048 --random")
    p.add_argument("name", nargs="?", metavar="NAME", default="ears", help="tokenizer (default: ears)")
    p.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default), cuda or cuda:N")
    p.add_argument("--seconds", type=positive, default=4.0, metavar="S", help="how long a trial counts (default: 4)")
    p.add_argument("--first", type=count, default=1, metavar="N", help="streams of the first trial (default: 1)")
    p.add_argument("--most", type=count, default=64, metavar="N", help="do not look beyond (default: 64)")
    p.add_argument("--threads", type=threads, default=1, metavar="N", help="threads (default: 1)")
    _add_random(p)
    p.add_argument("--json", action="store_true", help="the figures as one JSON object")


def bench_streams(args: argparse.Namespace) -> int:
    """A table of trials and one sentence; 65 where weights are missing."""
    from natd.offline.bench_streams import Plan, bench

    plan = Plan(args.name, args.device, args.seconds, args.first, args.most, args.random, args.threads)
    return bench(plan, as_json=args.json)


def _add_random(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--random",
        action="store_true",
        help="random weights where the real ones are not installed (not of soundstream)",
    )


BENCH: Adds = (_add_bench_latency, _add_bench_encode, _add_bench_streams)
