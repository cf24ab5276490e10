"""Loggers that import :mod:`logging` when there is something to say, which is seldom.

It takes as long to import as a small merge takes to plan. To whoever listens they are the loggers
of :func:`logging.getLogger`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["logger", "prepared"]

_preparing: list[Callable[[], None]] = []


def logger(name: str) -> logging.Logger:
    """Return the logger of a module, when something is to be said.

    Args:
        name: the module's ``__name__``.
    """
    import logging

    while _preparing:
        _preparing.pop()()
    return logging.getLogger(name)


@contextmanager
def prepared(prepare: Callable[[], None]) -> Iterator[None]:
    """Call ``prepare`` before the first logger is asked for, if one is."""
    _preparing.append(prepare)
    try:
        yield
    finally:
        if prepare in _preparing:
            _preparing.remove(prepare)
