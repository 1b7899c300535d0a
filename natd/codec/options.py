"""The words behind a tokenizer's name: `mimi:window=251:codebooks=16` -> {"window": "251", "codebooks": "16"}."""

from __future__ import annotations

from collections.abc import Mapping

from natd.errors import ConfigError

MOST_DIGITS = 18


def parse(name: str, options: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """Every option with its given or default value; `from=` is the last and may hold colons.

    ConfigError for an option that `name` has not, or that is given twice.
    """
    given: dict[str, str] = {}
    text = options
    while text:
        key, equals, rest = text.partition("=")
        if not equals or key not in defaults:
            raise ConfigError(f"{name} has no option {text!r}: {', '.join(f'{k}=' for k in defaults)}")
        if key in given:
            raise ConfigError(f"{name}:{options}: {key}= is given twice")
        given[key], colon, text = (rest, "", "") if key == "from" else rest.partition(":")
        if colon and not text:
            raise ConfigError(f"{name}:{options} ends with a colon: another option follows one")
    return {**defaults, **given}


def named(name: str, found: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """The name for the header: with the options that are not usual, without where the weights came from."""
    asked = [f"{key}={value}" for key, value in found.items() if key != "from" and value != defaults[key]]
    return ":".join([name, *asked])


def number(name: str, key: str, text: str, least: int, most: int) -> int:
    """`text` as a whole number in `least`..`most`, written in one way only; ConfigError else."""
    whole = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    if not whole or text != str(int(text)) or not least <= int(text) <= most:
        raise ConfigError(f"{name}:{key}={text[:40]} is not a number in {least}..{most}")
    return int(text)
