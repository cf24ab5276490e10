"""A value in a document that a person wrote: what it is, where it stands, and what it should be."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

from bmerge.errors import RecipeError, nearest
from bmerge.records import dataclass

__all__ = ["Node", "Scalar"]

_LARGEST = 2**64
Scalar: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, and where it stands.

    Args:
        value: a scalar, a list of nodes, or a dict of nodes by key.
        line: where it starts, counted from 1.
        path: the document's file, or None for text.
        name: what to call it in messages.
    """

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    path: Path | None
    name: str

    def error(self, message: str, hint: str | None = None) -> RecipeError:
        """Return an error that points here."""
        return RecipeError(message, path=self.path, line=self.line, hint=hint)

    def mapping(self, known: Collection[str] | None = None) -> dict[str, Node]:
        """Return the nodes of a mapping by key.

        Args:
            known: the keys that are allowed; None allows any.

        Raises:
            RecipeError: if it is not a mapping, or has another key.
        """
        if not isinstance(self.value, dict):
            raise self._wrong("a mapping")
        for key, node in self.value.items():
            if known is not None and key not in known:
                raise node.error(f"unknown key {key!r}", nearest(key, known))
        return self.value

    def sequence(self) -> list[Node]:
        """Return the nodes of a list.

        Raises:
            RecipeError: if it is not a list.
        """
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        return self.value

    def text(self, allowed: Collection[str] | None = None) -> str:
        """Return a string.

        Args:
            allowed: the words to choose from; None allows any.

        Raises:
            RecipeError: if it is not a string, or another one.
        """
        if not isinstance(self.value, str):
            raise self._wrong("text")
        if allowed is not None and self.value not in allowed:
            message = f"{self.name} must be one of {', '.join(allowed)}, not {self.value!r}"
            raise self.error(message, nearest(self.value, allowed))
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Return a list of strings; one alone may stand for itself.

        Raises:
            RecipeError: if it is neither.
        """
        if isinstance(self.value, list):
            return tuple(node.text() for node in self.value)
        return (self.text(),)

    def number(self) -> float:
        """Return a number.

        Raises:
            RecipeError: if it is none.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self._wrong("a number")
        return float(self.value)

    def integer(self, least: int | None = None) -> int:
        """Return a whole number.

        Args:
            least: the smallest allowed.

        Raises:
            RecipeError: if it is none, too small, or larger than anything can be.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self._wrong("a whole number")
        if least is not None and self.value < least:
            raise self.error(f"{self.name} must be {least} or more, not {self.value}")
        if abs(self.value) >= _LARGEST:
            raise self.error(f"{self.name} must be below 2**64")
        return self.value

    def boolean(self) -> bool:
        """Return true or false.

        Raises:
            RecipeError: if it is neither.
        """
        if not isinstance(self.value, bool):
            raise self._wrong("true or false")
        return self.value

    def plain(self) -> Any:
        """Return the value without line numbers: scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def _wrong(self, wanted: str) -> RecipeError:
        if self.value is None:
            return self.error(f"{self.name} must be {wanted}, but it is empty")
        found = str(self.value).lower() if isinstance(self.value, bool) else repr(self.value)
        if isinstance(self.value, (dict, list)):
            found = "a mapping" if isinstance(self.value, dict) else "a list"
        return self.error(f"{self.name} must be {wanted}, not {found}")
