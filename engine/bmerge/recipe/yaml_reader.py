"""PyYAML's tree turned into nodes; what YAML allows beyond JSON and comments is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import yaml

from bmerge.errors import RecipeError
from bmerge.reading import SAVE_AS_TEXT
from bmerge.recipe.node import Node, Scalar

__all__ = ["read"]

_DEEPEST = 100
_TOO_DEEP = f"nested too deeply; {_DEEPEST} levels are allowed"
_QUOTES = "text with : # , @ * & ! % or brackets in it goes in single quotes: 'a (b:1.2), c'"
_HINTS = (
    (r"'\t'", "indent with spaces: a tab is not allowed"),
    ("escape", "in double quotes a backslash begins an escape: write a path with / or in ''"),
    ("another document", "a file holds one document: leave '---' out"),
    ("block end", "what belongs together begins in the same column"),
    ("mapping values", f"what belongs together begins in the same column; {_QUOTES}"),
)
"""What a message of PyYAML has in it, and what to do then."""
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read(text: str, *, path: Path | None, name: str) -> Node:
    """Read YAML or JSON text; see :func:`bmerge.recipe.document.read_document`."""
    json = text.lstrip()[:1] in "{["
    try:
        # A tab is space in JSON and an error in YAML; inside JSON's strings it cannot stand.
        root = yaml.compose(text.replace("\t", " ") if json else text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        message = f"not well-formed: {error.problem}"
        hint = next((hint for sign, hint in _HINTS if sign in message), _QUOTES)
        raise RecipeError(message, path=path, line=line, hint=None if json else hint) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"not well-formed: {reason}", path=path, hint=SAVE_AS_TEXT) from error
    except RecursionError as error:
        raise RecipeError(_TOO_DEEP, path=path) from error
    if root is None:
        raise RecipeError(f"{name} is empty", path=path, line=1)
    return _Converter(path).convert(root, name)


class _Converter:
    """Turns PyYAML's tree into nodes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: set[int] = set()
        self._depth = 0

    def convert(self, node: yaml.Node, name: str) -> Node:
        value: Scalar | list[Node] | dict[str, Node]
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            message = "aliases (*name) are not allowed"
            raise RecipeError(message, path=self._path, line=line, hint=_QUOTES)
        self._seen.add(id(node))
        if self._depth == _DEEPEST:
            raise RecipeError(_TOO_DEEP, path=self._path, line=line)
        self._depth += 1
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value, start=1)
            value = [self.convert(item, f"item {number} of {name}") for number, item in items]
        else:
            assert isinstance(node, yaml.ScalarNode)
            value = self._scalar(node)
        self._depth -= 1
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

    def _scalar(self, node: yaml.ScalarNode) -> Scalar:
        text = _joined(node.value)
        if node.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if not _NUMBER.fullmatch(text):
            return text
        if math.isinf(float(text)):
            line = node.start_mark.line + 1
            shown = text if len(text) <= 20 else f"{text[:20]}…"
            raise RecipeError(f"the number {shown} is too large", path=self._path, line=line)
        return int(text) if _INTEGER.fullmatch(text) else float(text)


def _joined(text: str) -> str:
    """Return text whose characters beyond U+FFFF came as two escapes, as JSON has them, as one."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:  # half of such a pair: no character, but no harm either
        return text
