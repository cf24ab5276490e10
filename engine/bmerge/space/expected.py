"""Stored data that may be anybody's: read strictly, and told in one line where it is otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bmerge.errors import BmergeError, StudyError

__all__ = ["expected", "mapping", "number", "numbers", "text"]


@contextmanager
def expected(what: object) -> Iterator[None]:
    """Call ``what`` stored otherwise than expected where reading it fails.

    Raises:
        StudyError: for whatever values of other kinds than expected lead to.
    """
    try:
        yield
    except BmergeError:
        raise
    except (
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        reason = f"{reason} is missing" if isinstance(error, KeyError) else reason
        hint = "was it written by another release of bmerge, or by hand?"
        message = f"{what} is stored otherwise than expected: {reason[:200]}"
        raise StudyError(message, hint=hint) from error


def number(value: Any, name: str) -> Any:
    """Return ``value``, a finite number.

    Raises:
        ValueError: if it is anything else, with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {_short(value)}, not a number")
    return value


def numbers(value: Any, name: str) -> dict[str, Any]:
    """Return ``value``, names with a finite number each; see :func:`number`."""
    found = mapping(value, name)
    return {key: number(each, f"{name}.{key}") for key, each in found.items()}


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return ``value``, a mapping.

    Raises:
        TypeError: if it is anything else, with ``name``.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {_short(value)}, not a mapping")
    return value


def text(value: Any, name: str) -> str:
    """Return ``value``, a text.

    Raises:
        TypeError: if it is anything else, with ``name``.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {_short(value)}, not a text")
    return value


def _short(value: object) -> str:
    found = repr(value)
    return found if len(found) <= 40 else found[:37] + "..."
