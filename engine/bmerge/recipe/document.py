"""YAML or JSON that a person wrote, read strictly and with line numbers.

Plain scalars mean what they mean in JSON: ``1e-3`` is a number and ``no`` is a word, unlike in
YAML 1.1. Keys that appear twice, aliases and tags are refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bmerge.errors import RecipeError, nearest
from bmerge.reading import read_text

__all__ = ["Node", "parse_document", "read_document"]

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
            RecipeError: if it is no mapping, or has another key.
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
            RecipeError: if it is no list.
        """
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        return self.value

    def text(self, allowed: Collection[str] | None = None) -> str:
        """Return a string.

        Args:
            allowed: the words to choose from; None allows any.

        Raises:
            RecipeError: if it is no string, or another one.
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
        found = repr(self.value)
        if isinstance(self.value, (dict, list)):
            found = "a mapping" if isinstance(self.value, dict) else "a list"
        return self.error(f"{self.name} must be {wanted}, not {found}")


def read_document(path: Path, *, name: str = "the document") -> Node:
    """Read a YAML or JSON file.

    Args:
        path: the file.
        name: what to call its whole content in messages.

    Raises:
        RecipeError: if it cannot be read or is not well-formed.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise RecipeError("not a text file", path=path) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error
    return parse_document(text, path=path, name=name)


def parse_document(text: str, *, path: Path | None = None, name: str = "the document") -> Node:
    """Read YAML or JSON text; see :func:`read_document`."""
    from bmerge.recipe.yaml_reader import read  # yaml takes as long to import as a small merge

    return read(text, path=path, name=name)
