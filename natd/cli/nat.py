"""`nat`: the toolbox; one short function a verb, each importing what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from natd import __version__
from natd.cli import nat_bench, nat_models
from natd.cli.ends import guard_output, interrupted, open_standard_files, settle_output
from natd.cli.verbs import (
    Adds,
    Verb,
    Verbs,
    add_tokenizer,
    count,
    endpoint,
    join_tokenizers,
    positive,
    seed,
    threads,
    verb,
)
from natd.errors import NatdError
from natd.interrupts import interrupts_held

PUBLISH = "tcp://127.0.0.1:5556"
CONTROL = "tcp://127.0.0.1:5557"
INGEST = "tcp://127.0.0.1:5555"
STATUS = """exit status: 0 done, 1 a check found a fault, 2 usage, 65 weights, 66 audio source, 70 failure inside,
71 address in use, 73 output, 76 not the wire format, 78 configuration, 130 interrupted."""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status is that of the first error."""
    open_standard_files(os.O_RDONLY)
    guard_output()
    try:
        parser = build_parser()
        args = parser.parse_args(argv)
        join_tokenizers(parser, args)
        run: Verb = args.run
        if args.with_torch:
            with interrupts_held():
                import_module("natd.codec")
        status = run(args)
        sys.stdout.flush()
        return status
    except NatdError as error:
        print(f"nat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        return 0  # the reader has what it wanted (`| head`)
    finally:
        settle_output()


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    p = argparse.ArgumentParser(
        prog="nat",
        description="Tools around natd: recordings to tokens, devices, a live view, measurements.",
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"nat {__version__}")
    verbs = p.add_subparsers(metavar="VERB", required=True)
    tools: Adds = (
        _add_tokenize, _add_decode, _add_devices, _add_doctor, _add_tail, _add_listen, _add_feed, _add_check,
    )  # fmt: skip
    for add in tools:
        add(verbs)
    for name, about, adds in (
        ("bench", "measure", nat_bench.BENCH),
        ("eval", "score tokenizers", (_add_eval_tokenizer,)),
        ("train", "fit tokenizers", (_add_train_ears,)),
        ("codebook", "fit codebooks and look into them", nat_models.CODEBOOK),
        ("models", "weights that do not come with natd", nat_models.MODELS),
    ):
        group = verbs.add_parser(name, help=about, description=f"{about.capitalize()}.")
        inner = group.add_subparsers(metavar="WHAT", required=True)
        for add in adds:
            add(inner)
    return p


# ---- recordings


def _add_tokenize(verbs: Verbs) -> None:
    about = "recordings to tokens, at full speed; the same codes as live"
    p = verb(verbs, "tokenize", tokenize, about, "nat tokenize concert.flac -o concert.ndjson")
    p.add_argument("files", nargs="+", metavar="FILE", help="audio that libsndfile reads; - for WAV on standard input")
    p.add_argument("-o", "--output", type=Path, metavar="OUT", help="write the lines there, not to standard output")
    add_tokenizer(p, default="ears")
    p.add_argument(
        "--chunk-ms",
        type=positive,
        default=1000.0,
        metavar="MS",
        help="size of the pieces the audio arrives in (default: 1000); the codes are the same for any",
    )


def tokenize(args: argparse.Namespace) -> int:
    """NDJSON on standard output and nothing else; one stream after another, a bad file does not stop the next."""
    from natd.offline.tokenize import tokenize_files

    return tokenize_files(args.files, args.output, args.tokenizer, args.chunk_ms)


def _add_decode(verbs: Verbs) -> None:
    about = "a recording of the stream back to sound: what its acoustic codes hold"
    p = verb(verbs, "decode", decode, about, "nat decode concert.ndjson -o concert.wav")
    p.add_argument("file", metavar="FILE", help="NDJSON; - for standard input")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="WAV file to write")
    p.add_argument("--layers", type=int, metavar="N", help="only the first N of the layers that sound (default: all)")
    p.add_argument("--stream", metavar="NAME", help="which stream of the recording (default: the only one)")
    p.add_argument("--tokenizer", metavar="NAME", help="what made it, if its weights lie in a folder: mimi:from=FOLDER")


def decode(args: argparse.Namespace) -> int:
    """A WAV file; how it went on standard error."""
    from natd.offline.decode import decode_recording

    return decode_recording(args.file, args.output, args.layers, args.stream, args.tokenizer)


def _add_check(verbs: Verbs) -> None:
    about = "check a recording of the stream: every line valid, frames and gaps without hole or overlap"
    p = verb(verbs, "check", check, about, "nat check concert.ndjson", with_torch=False)
    p.add_argument("file", metavar="FILE", help="NDJSON; - for standard input")


def check(args: argparse.Namespace) -> int:
    """Counts and faults; 1 if there are faults."""
    from natd.offline.check import check_recording

    return check_recording(args.file)


# ---- this machine


def _add_devices(verbs: Verbs) -> None:
    verb(verbs, "devices", devices, "list the sound cards, with what to type for each", "nat devices", with_torch=False)


def devices(args: argparse.Namespace) -> int:
    """A table of inputs, each with its natd command."""
    from natd.offline.devices import print_devices

    return print_devices()


def _add_doctor(verbs: Verbs) -> None:
    verb(verbs, "doctor", doctor, "check this machine and the installation, with cures", "nat doctor", with_torch=False)


def doctor(args: argparse.Namespace) -> int:
    """One line a check; 1 if one failed."""
    from natd.offline.doctor import examine

    return examine()


# ---- a running daemon


def _add_tail(verbs: Verbs) -> None:
    about = "watch a running stream: what is heard in words, level, latency, losses"
    p = verb(verbs, "tail", tail, about, "nat tail stage --endpoint tcp://127.0.0.1:5556", with_torch=False)
    p.add_argument("stream", nargs="?", metavar="STREAM", help="name of the stream (default: the only one)")
    p.add_argument("--raw", action="store_true", help="print the lines as they come")
    _add_live(p)


def tail(args: argparse.Namespace) -> int:
    """A live view where standard output is a terminal, plain lines otherwise."""
    from natd.offline.keys import client_keys
    from natd.offline.tail import Address, follow

    address = Address(args.endpoint, args.control, args.http, client_keys(args.server_key, args.key))
    return follow(address, args.stream, raw=args.raw, seconds=args.seconds)


def _add_listen(verbs: Verbs) -> None:
    about = "what is heard as plain text for a language model: a line a second, or only what changes"
    p = verb(verbs, "listen", listen, about, "nat listen concert.flac --brief")
    what = "audio, or a recorded stream (NDJSON); - for a recorded one on standard input (default: a running one)"
    p.add_argument("files", nargs="*", metavar="FILE", help=what)
    p.add_argument(
        "--every", type=positive, default=1.0, metavar="S", help="seconds that a line stands for (default: 1)"
    )
    p.add_argument("--changes", action="store_true", help="tell only what has changed")
    p.add_argument("--brief", action="store_true", help="the same in few words: about 12 tokens a second at most")
    words = "tokenizer for audio files, whose codes have words (default: ears)"
    p.add_argument("--tokenizer", default="ears", metavar="NAME", help=words)
    p.add_argument("--stream", metavar="NAME", help="which running stream (default: the only one)")
    _add_live(p)


def listen(args: argparse.Namespace) -> int:
    """Text on standard output; files in turn, or a running stream until it ends."""
    from natd.llm.view import Style
    from natd.offline.keys import client_keys
    from natd.offline.listen import listen_live, listen_to_files
    from natd.offline.tail import Address

    style = Style(args.every, args.changes, args.brief)
    if args.files:
        return listen_to_files(args.files, args.tokenizer, style)
    address = Address(args.endpoint, args.control, args.http, client_keys(args.server_key, args.key))
    return listen_live(address, args.stream, args.seconds, style)


def _add_feed(verbs: Verbs) -> None:
    about = "send a recording or the microphone to a running natd whose source is zeromq:"
    p = verb(verbs, "feed", feed, about, "nat feed concert.flac --stream stage", with_torch=False)
    p.add_argument("source", metavar="FILE|mic", help="audio that libsndfile reads, or mic")
    p.add_argument("--endpoint", type=endpoint, default=INGEST, help=f"natd's ingest socket (default: {INGEST})")
    p.add_argument("--stream", default="live", metavar="NAME", help="name of the stream (default: live)")
    p.add_argument("--device", metavar="NAME", help="which microphone, as for natd (default: the system's)")
    p.add_argument("--rate", type=int, metavar="HZ", help="capture rate of mic (default: 48000)")
    p.add_argument("--channels", type=int, metavar="N", help="capture channels of mic (default: 1)")
    p.add_argument("--message-ms", type=positive, default=10.0, metavar="MS", help="audio a message (default: 10)")
    p.add_argument("--fast", action="store_true", help="send a file as fast as natd takes it, not at its own speed")
    _add_keys(p)


def feed(args: argparse.Namespace) -> int:
    """Audio to the ingest socket, at its own speed."""
    from natd.offline.feed import Microphone, Target, feed_file, feed_microphone
    from natd.offline.keys import client_keys

    target = Target(args.endpoint, args.stream, args.message_ms, client_keys(args.server_key, args.key))
    if args.source == "mic":
        return feed_microphone(Microphone(args.device, args.rate or 48_000, args.channels or 1), target)
    return feed_file(args.source, target, fast=args.fast)


def _add_live(p: argparse.ArgumentParser) -> None:
    p.add_argument("--endpoint", type=endpoint, default=PUBLISH, help=f"where natd publishes (default: {PUBLISH})")
    its = f"its control socket (default: {CONTROL})"
    p.add_argument("--control", type=endpoint, default=CONTROL, metavar="ENDPOINT", help=its)
    p.add_argument("--http", metavar="URL", help="read from its HTTP server instead, e.g. http://127.0.0.1:8088")
    p.add_argument("--seconds", type=positive, metavar="S", help="stop after S seconds")
    _add_keys(p)


def _add_keys(p: argparse.ArgumentParser) -> None:
    p.add_argument("--server-key", type=Path, metavar="FILE", help="the daemon's public CURVE key, if it asks for keys")
    p.add_argument("--key", type=Path, metavar="FILE", help="your secret CURVE key, if it asks for keys")


# ---- score, fit


def _add_eval_tokenizer(verbs: Verbs) -> None:
    about = "score a tokenizer on recordings it was not fitted on: what its codes carry, each figure beside its null"
    p = verb(verbs, "tokenizer", eval_tokenizer, about, "nat eval tokenizer ears --audio recordings/ --json ears.json")
    p.description = f"{p.description}\nWith ears and two hours of recordings it takes about 5 minutes on two cores."
    p.add_argument("tokenizer", metavar="NAME", help="tokenizer, e.g. ears")
    p.add_argument("--audio", type=Path, required=True, metavar="DIR", help="folder of recordings")
    p.add_argument("--json", type=Path, metavar="OUT", help="also write the figures there as JSON")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw how far its names of kinds can be believed")
    p.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of all that is drawn (default: 0)")


def eval_tokenizer(args: argparse.Namespace) -> int:
    """One table; how it goes on standard error."""
    from natd.offline.evaluate import evaluate_tokenizer

    return evaluate_tokenizer(args.tokenizer, args.audio, args.seed, args.json, args.plot)


def _add_train_ears(verbs: Verbs) -> None:
    about = "train the embedded tokenizer anew, from a folder of recordings and sounds of its own making"
    p = verb(verbs, "ears", train_ears, about, "nat train ears --audio recordings/ --out fitted/")
    p.description = f"""{p.description}
It takes about 45 minutes on two cores. It needs `pip install '.[train]'` and the Debian packages fluidsynth,
fluid-soundfont-gm and espeak-ng. What each stage gives is kept in OUT/work: a run that was stopped goes on behind the
last stage that is there. Weights, legend, manifest, figures and card go to OUT; natd/models holds those in use."""
    p.add_argument("--audio", type=Path, required=True, metavar="DIR", help="folder of recordings")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights, legend and card")
    p.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of all that is drawn (default: 0)")
    p.add_argument(
        "--threads", type=threads, default=2, metavar="N", help="how many (default: 2); they shape the result"
    )
    p.add_argument("--device", default="cpu", metavar="DEVICE", help="where nets learn: cpu (default) or cuda")
    p.add_argument("--scale", type=count, default=1, metavar="N", help="N times the data and the steps (default: 1)")


def train_ears(args: argparse.Namespace) -> int:
    """Weights, legend and card in a folder; how it goes on standard error."""
    from natd.training.ears import train
    from natd.training.stages import Plan

    def told(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    train(args.audio, args.out, args.seed, args.threads, told, Plan().scaled(args.scale), args.device)
    return 0
