"""The words behind a tokenizer's name."""

import pytest

from natd.codec import open_tokenizer
from natd.codec.options import named, number, parse
from natd.errors import ConfigError

DEFAULTS = {"window": "250", "codebooks": "8", "from": ""}


def test_what_is_not_given_has_its_default() -> None:
    assert parse("mimi", "", DEFAULTS) == DEFAULTS
    assert parse("mimi", "codebooks=16", DEFAULTS) == {**DEFAULTS, "codebooks": "16"}
    assert parse("mimi", "codebooks=16:window=251", DEFAULTS) == {"window": "251", "codebooks": "16", "from": ""}


def test_the_defaults_are_not_touched() -> None:
    parse("mimi", "codebooks=16", DEFAULTS)["window"] = "1"
    assert DEFAULTS["window"] == "250" and DEFAULTS["codebooks"] == "8"


@pytest.mark.parametrize("folder", ["/a/b", "rel", "C:/x", "/a:b=c:window=9", "/with space/=x", ""])
def test_a_folder_is_last_and_may_hold_anything(folder: str) -> None:
    found = parse("mimi", f"window=251:from={folder}", DEFAULTS)
    assert (found["from"], found["window"]) == (folder, "251")


def test_a_value_may_be_empty_or_hold_an_equals_sign() -> None:
    assert parse("mimi", "window=:codebooks=a=b", DEFAULTS) == {"window": "", "codebooks": "a=b", "from": ""}


@pytest.mark.parametrize(
    "options", ["16", "books=16", "codebooks", "Codebooks=16", "=16", ":", "codebooks=16:x", "codebooks=1::window=2"]
)
def test_what_is_no_option_is_refused_and_those_there_are_named(options: str) -> None:
    with pytest.raises(ConfigError, match="mimi has no option .*: window=, codebooks=, from="):
        parse("mimi", options, DEFAULTS)


@pytest.mark.parametrize("name", ["ears:", "mimi:", "ears:+mimi"])
def test_a_colon_with_nothing_behind_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name.partition('+')[0]}' ends with a colon: options follow one"):
        open_tokenizer(name)


def test_a_colon_after_the_last_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="^mimi:codebooks=8: ends with a colon: another option follows one$"):
        parse("mimi", "codebooks=8:", DEFAULTS)


@pytest.mark.parametrize("again", ["8", "4", "", "16:window=9"])
def test_an_option_given_twice_is_refused(again: str) -> None:
    with pytest.raises(ConfigError, match=f"^mimi:codebooks=8:codebooks={again}: codebooks= is given twice$"):
        parse("mimi", f"codebooks=8:codebooks={again}", DEFAULTS)


def test_the_name_for_the_header_holds_what_is_not_usual_and_no_folder() -> None:
    for options, told in (
        ("", "mimi"),
        ("window=250", "mimi"),
        ("codebooks=9:window=251:from=/a", "mimi:window=251:codebooks=9"),
    ):
        assert named("mimi", parse("mimi", options, DEFAULTS), DEFAULTS) == told


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("32", 32)])
def test_a_number_within_its_bounds(text: str, value: int) -> None:
    assert number("mimi", "codebooks", text, 1, 32) == value


@pytest.mark.parametrize(
    "text", ["0", "33", "", "-1", "+3", "1.5", "1e1", " 4", "four", "4_0", "007", "08", "½", "9" * 5000]
)
def test_what_is_no_number_within_the_bounds_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mimi:codebooks=.* is not a number in 1..32"):
        number("mimi", "codebooks", text, 1, 32)
