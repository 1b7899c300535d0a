"""Streaming state is a dataclass of tensors whose first axis is the batch; these functions move its rows."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

S = TypeVar("S")


def gather(state: S, rows: Tensor) -> S:
    """A new state holding `rows` [n] of `state`, in that order."""
    return type(state)(**{f.name: _each(getattr(state, f.name), lambda t: t.index_select(0, rows)) for f in fields(state)})  # type: ignore[arg-type]


def scatter(state: S, rows: Tensor, part: S) -> None:
    """Write the rows of `part` back into `rows` [n] of `state`, in place."""
    for f in fields(state):  # type: ignore[arg-type]
        _pair(getattr(state, f.name), getattr(part, f.name), lambda to, of: to.index_copy_(0, rows, of))


def _each(value: Any, fn: Any) -> Any:
    if isinstance(value, Tensor):
        return fn(value)
    if is_dataclass(value):
        return type(value)(**{f.name: _each(getattr(value, f.name), fn) for f in fields(value)})  # type: ignore[arg-type]
    if isinstance(value, list):
        return [_each(v, fn) for v in value]
    raise TypeError(f"streaming state holds tensors, dataclasses and lists of them, not {type(value).__name__}")


def _pair(to: Any, of: Any, fn: Any) -> None:
    if isinstance(to, Tensor):
        fn(to, of)
    elif isinstance(to, list):
        for a, b in zip(to, of, strict=True):
            _pair(a, b, fn)
    else:
        for f in fields(to):
            _pair(getattr(to, f.name), getattr(of, f.name), fn)
