"""`natd`: the daemon's command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from natd import __version__
from natd.cli.ends import interrupted, open_standard_files
from natd.cli.verbs import add_tokenizer, join_tokenizers
from natd.errors import NatdError
from natd.interrupts import interrupts_held

EXAMPLES = """examples:
  natd --source demo: --output -            the built-in synthesiser; no sound card needed; lines on standard output
  natd --device hw:1                        a sound card; `nat devices` lists them
  natd --source file:concert.flac           a file, at its own speed
  natd --source zeromq: --stream stage      audio that another program sends (`nat feed`)
  ffmpeg -i URL -f wav - | natd --source -  WAV on standard input
  natd --config configs/concert.toml        everything from a file; flags override it
  natd --config my.toml --check             say what would run, and stop

exit status: 0 done, 2 usage, 65 weights, 66 audio source, 70 failure inside, 71 address in use, 73 recording,
78 configuration, 130 interrupted before it ran.
"""


def build_parser() -> argparse.ArgumentParser:
    """All options of the daemon."""
    p = argparse.ArgumentParser(
        prog="natd",
        description="Tokenize live audio and publish the tokens.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="TOML file; see configs/")
    p.add_argument("--device", type=_device, metavar="NAME", help="sound card: name, part of a name, hw:N or index")
    p.add_argument("--source", metavar="SOURCE", help="demo:, file:PATH, zeromq:, or - for standard input")
    p.add_argument("--stream", metavar="NAME", help="name of the stream (default: live)")
    add_tokenizer(p)
    p.add_argument("--rate", type=int, metavar="HZ", help="capture rate of a device, or of raw PCM on standard input")
    p.add_argument("--channels", type=int, metavar="N", help="capture channels, likewise")
    p.add_argument("--publish", metavar="ENDPOINT", help="XPUB socket (default: tcp://127.0.0.1:5556), or off")
    p.add_argument("--ingest", metavar="ENDPOINT", help="PULL socket for zeromq: (default: tcp://127.0.0.1:5555)")
    p.add_argument("--control", metavar="ENDPOINT", help="ROUTER socket (default: tcp://127.0.0.1:5557), or off")
    p.add_argument("--http", metavar="ADDR:PORT", help="HTTP on the loopback (default: 127.0.0.1:8088), or off")
    p.add_argument("--output", metavar="FILE", help="also write the lines to a file, or - for standard output")
    p.add_argument("--seconds", type=float, metavar="S", help="end after S seconds of audio")
    p.add_argument("--tap", type=Path, metavar="FILE", help="also write the captured samples, a WAV per contiguous run")
    p.add_argument("--check", action="store_true", help="say what would run and stop; status 78 or 65 if it could not")
    p.add_argument("--version", action="version", version=f"natd {__version__}")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the daemon; the exit status is that of the first error."""
    open_standard_files()
    parser = build_parser()
    args = parser.parse_args(argv)
    join_tokenizers(parser, args)
    try:
        from natd.config import Overrides, describe, load

        flags = {k: v for k, v in vars(args).items() if k not in ("config", "check")}
        overrides = Overrides(**flags)
        config = load(args.config, overrides)
        if args.check:
            told = describe(config)  # with files that it needs and cannot use
            _open_tokenizer(config.engine.tokenizer, config.engine.device)
            print(told)
            return 0
        with interrupts_held():
            from natd.daemon import run

        return run(config, lambda: load(args.config, overrides))
    except NatdError as error:
        print(f"natd: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return interrupted()


def _open_tokenizer(name: str, device: str) -> None:
    """An error if natd could not run with it."""
    with interrupts_held():
        from natd.codec import open_tokenizer

    open_tokenizer(name, device)


def _device(value: str) -> str | int:
    return int(value) if value.isdigit() else value
