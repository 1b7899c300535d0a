"""Programs of the authors themselves, where they are installed: moshi, rustymimi, encodec."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.parity.subject import Subject


def of_mimi(subject: Subject, held: Any, books: int, window: int) -> list[Subject]:
    return []


def of_encodec(subject: Subject, model: Any, books: int) -> list[Subject]:
    return []
