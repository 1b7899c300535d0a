"""Streaming state is a dataclass of tensors whose first axis is the batch; these functions move its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

S = TypeVar("S")  # a dataclass of tensors, of such dataclasses and of lists of either


def gather(state: S, rows: Tensor) -> S:
    """A new state holding `rows` [n] of `state`, in that order."""
    part: S = _each(state, lambda t: t.index_select(0, rows))
    return part


def scatter(state: S, rows: Tensor, part: S) -> None:
    """Write the rows of `part` back into `rows` [n] of `state`, in place."""
    _pair(state, part, lambda to, of: to.index_copy_(0, rows, of))


def leaves(state: Any) -> list[Tensor]:
    """All tensors of a state, in a fixed order."""
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, list) else [getattr(state, name) for name in state.__dataclass_fields__]
    return [leaf for part in parts for leaf in leaves(part)]


def with_leaves(like: S, tensors: Iterable[Tensor]) -> S:
    """A state built as `like` that holds `tensors` in the order of `leaves`."""
    rest = iter(tensors)
    built: S = _each(like, lambda _: next(rest))
    return built


def _each(value: Any, fn: Any) -> Any:
    if isinstance(value, Tensor):
        return fn(value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _each(getattr(value, f.name), fn) for f in fields(value)})
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
