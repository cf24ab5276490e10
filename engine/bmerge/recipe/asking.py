"""Functions that ask one another, however deep, without Python's limit of nested calls.

What would call itself is written as a generator: it yields what it asks, another generator, and
gets what that one returns. So a recipe may have steps in chains of any length, and only what is
asked for is looked at.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Asking", "answered"]

T = TypeVar("T")

Asking: TypeAlias = Generator[Generator[Any, Any, Any], Any, T]


def answered(asking: Asking[T]) -> T:
    """Return what a generator returns, after all that it asks has been answered."""
    waiting: list[Asking[Any]] = [asking]
    answer: Any = None
    while waiting:
        try:
            waiting.append(waiting[-1].send(answer))
        except StopIteration as done:
            waiting.pop()
            answer = done.value
        else:
            answer = None
    result: T = answer
    return result
