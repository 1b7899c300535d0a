"""Faults of a config in plain words: the key's path, what is wrong, and the nearest key that exists."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_WORDS = {
    "string_type": "text", "int_type": "a whole number", "float_type": "a number", "bool_type": "true or false",
    "path_type": "a path in quotes", "tuple_type": "a list", "model_type": "a section",
    "finite_number": "a finite number", "int_from_float": "a whole number", "model_attributes_type": "a section",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"), "less_than_equal": ("le", "at most"),
}  # fmt: skip


def explain(error: ValidationError, data: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """One line a fault of `data` against `model`, in the order of the file, without repeats."""
    faults = [e for e in error.errors(include_url=False) if not _consequence(e)]
    lines = [f"{_key(e, data)}: {_message(e, model)}" for e in faults]
    return list(dict.fromkeys(lines))


def _consequence(error: Any) -> bool:
    """Whether a list only counts as too short because its faulty items were not counted."""
    return bool(error["type"] == "too_short" and error["input"])


def _key(error: Any, data: Mapping[str, Any]) -> str:
    """`engine.threads`, `stream[stage].rate`: as the file says it, so without the tags of unions."""
    at: Any = data
    words = ""
    loc = error["loc"]
    for i, step in enumerate(loc):
        if isinstance(step, int):
            at = at[step] if isinstance(at, list) and step < len(at) else None
            name = at.get("name") if isinstance(at, Mapping) else None
            words += f"[{name}]" if isinstance(name, str) and name.isprintable() else f"[#{step + 1}]"
        elif i == 2 and loc[0] == "stream":
            continue  # the kind of stream, which the file says by its source
        elif isinstance(at, Mapping) and step in at:
            at, words = at[step], f"{words}.{step}"
        elif error["type"] == "missing" and i == len(loc) - 1:
            words += f".{step}"
    return words.lstrip(".") or "the file"


def _message(error: Any, model: type[BaseModel]) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), _shown(error.get("input"))
    if kind == "extra_forbidden":
        return _unknown(str(error["loc"][-1]), list(_siblings(error["loc"], model)))
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}, not {value}"
    if kind == "union_tag_invalid":
        return f"source must be 'device', 'demo:', 'file:PATH', 'zeromq:' or '-', not {context['tag']!r}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, not {value}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"must be {words} {context[bound]:g}, not {value}"
    if kind == "tuple_type" and error["loc"] == ("stream",):
        return "must be a list of tables: write [[stream]], in double brackets"
    if kind in _WORDS:
        return f"must be {_WORDS[kind]}, not {value}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} of them"
    if kind == "too_long":
        return f"must have at most {context['max_length']} of them"
    return str(error["msg"])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return "unknown key" + (f"; did you mean {near[0]}?" if near else f"; here are: {', '.join(known)}")


def _siblings(loc: tuple[int | str, ...], model: type[BaseModel]) -> Iterator[str]:
    """Names of the keys that exist where `loc` ends."""
    at: list[type[BaseModel]] = [model]
    for step in loc[:-1]:
        if isinstance(step, str):
            deeper = [m for a in at if step in a.model_fields for m in _models(a.model_fields[step].annotation)]
            tagged = [m for m in at if m.__name__.lower() == f"{step}stream"]  # the tag of a kind of stream
            at = deeper or tagged or at
    yield from dict.fromkeys(name for a in at for name in a.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for inner in typing.get_args(annotation):
            yield from _models(inner)
