"""YAML or JSON that a person wrote, read strictly and with line numbers.

Plain scalars mean what they mean in JSON: ``1e-3`` is a number and ``no`` is a word, unlike in
YAML 1.1. Keys that appear twice, aliases and tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from bmerge.errors import RecipeError, nearest

__all__ = ["Node", "parse_document", "read_document"]

Scalar: TypeAlias = "str | int | float | bool | None"

_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


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
            RecipeError: if it is none, or too small.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self._wrong("a whole number")
        if least is not None and self.value < least:
            raise self.error(f"{self.name} must be {least} or more, not {self.value}")
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
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError("not a text file", path=path) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error
    return parse_document(text, path=path, name=name)


def parse_document(text: str, *, path: Path | None = None, name: str = "the document") -> Node:
    """Read YAML or JSON text; see :func:`read_document`."""
    try:
        # A tab is space in JSON and an error in YAML; inside JSON's strings it cannot stand.
        tabless = text.replace("\t", " ") if text.lstrip()[:1] in "{[" else text
        root = yaml.compose(tabless, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise RecipeError(f"not well-formed: {error.problem}", path=path, line=line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"not well-formed: {error}", path=path) from error
    if root is None:
        raise RecipeError(f"{name} is empty", path=path, line=1)
    return _Converter(path).convert(root, name)


class _Converter:
    """Turns PyYAML's tree into nodes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: set[int] = set()

    def convert(self, node: yaml.Node, name: str) -> Node:
        value: Scalar | list[Node] | dict[str, Node]
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise RecipeError("aliases (*name) are not allowed", path=self._path, line=line)
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value, start=1)
            value = [self.convert(item, f"item {number} of {name}") for number, item in items]
        else:
            assert isinstance(node, yaml.ScalarNode)
            value = _scalar(node)
        return Node(value, line, self._path, name)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError("a key must be a word", path=self._path, line=line)
            key = _joined(key_node.value)
            if key in nodes:
                raise RecipeError(f"{key!r} is given twice", path=self._path, line=line)
            converted = self.convert(value_node, key)
            nodes[key] = Node(converted.value, line, self._path, key)
        return nodes


def _scalar(node: yaml.ScalarNode) -> Scalar:
    text = _joined(node.value)
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _joined(text: str) -> str:
    """Return text whose characters beyond U+FFFF came as two escapes, as JSON has them, as one."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:  # half of such a pair: no character, but no harm either
        return text
