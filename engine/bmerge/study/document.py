"""Strict reading of a YAML file: types are checked and every error knows its line.

A mapping is a :class:`Section`: keys are taken out of it one by one, and what was not taken is
an error with the nearest known key. A :class:`Value` reads itself as one type or complains.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from bmerge.errors import RecipeError, nearest

__all__ = ["Section", "Value", "read_document"]

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but ``1e-3`` is a number, as everybody expects."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Value:
    """One value of the document, with its place.

    Args:
        node: what YAML parsed.
        path: the file.
        name: where it stands, in dots, for messages.
    """

    def __init__(self, node: yaml.Node, path: Path, name: str) -> None:
        self._node = node
        self.path = path
        self.name = name

    @property
    def line(self) -> int:
        """Its line in the file, counted from 1."""
        return int(self._node.start_mark.line) + 1

    def fail(self, message: str, *, hint: str | None = None) -> NoReturn:
        """Raise a RecipeError that names this place."""
        raise RecipeError(f"{self.name} {message}", path=self.path, line=self.line, hint=hint)

    def plain(self) -> Any:
        """Return it as plain Python data, whatever it is."""
        loader = _Loader("")
        try:
            return loader.construct_document(self._node)  # type: ignore[no-untyped-call]
        except yaml.YAMLError as error:
            self.fail(f"cannot be read: {getattr(error, 'problem', error)}")
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]

    def text(self) -> str:
        """Return a string."""
        value = self.plain()
        if not isinstance(value, str):
            self.fail(f"must be text, not {_kind(value)}", hint="put it in quotes")
        return value

    def boolean(self) -> bool:
        """Return true or false."""
        value = self.plain()
        if not isinstance(value, bool):
            self.fail(f"must be true or false, not {_kind(value)}")
        return value

    def integer(self, *, least: int = 0) -> int:
        """Return a whole number, ``least`` or more."""
        value = self.plain()
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(f"must be a whole number, not {_kind(value)}")
        if value < least:
            self.fail(f"must be {least} or more, not {value}")
        return value

    def number(self) -> float:
        """Return a finite number."""
        value = self.plain()
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail(f"must be a number, not {_kind(value)}")
        if not math.isfinite(value):
            self.fail(f"must be finite, not {value}")
        return float(value)

    def choice(self, *allowed: str) -> str:
        """Return one of ``allowed``."""
        value = self.text()
        if value not in allowed:
            hint = nearest(value, allowed)
            self.fail(f"is {value!r}; allowed: {', '.join(allowed)}", hint=hint)
        return value

    def items(self) -> list[Value]:
        """Return the elements of a list."""
        if not self.is_list:
            self.fail(f"must be a list, not {_kind(self.plain())}")
        return [
            Value(node, self.path, f"{self.name}[{i}]") for i, node in enumerate(self._node.value)
        ]

    def section(self) -> Section:
        """Return a mapping."""
        if not self.is_section:
            self.fail(f"must be a mapping, not {_kind(self.plain())}")
        return Section(self)

    def pair(self) -> tuple[float, float]:
        """Return two numbers, the first the lesser."""
        items = self.items()
        if len(items) != 2:
            self.fail(f"must be [low, high], not {len(items)} values")
        low, high = items[0].number(), items[1].number()
        if low >= high:
            self.fail(f"must be [low, high] with low below high, not [{low:g}, {high:g}]")
        return low, high

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    @property
    def is_section(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self._node, yaml.MappingNode)


class Section:
    """A mapping of the document, whose keys are taken out one by one.

    Args:
        value: the mapping.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self._left: dict[str, Value] = {}
        self._taken: list[str] = []
        for key, node in value._node.value:
            place = Value(key, value.path, value.name)
            name = str(place.plain())
            inner = f"{value.name}.{name}" if value.name else name
            if name in self._left:
                place.fail(f"has {name!r} twice")
            self._left[name] = Value(node, value.path, inner)

    def get(self, key: str, read: Callable[[Value], T], default: T) -> T:
        """Take a key and read it; where it is absent or null, return ``default``."""
        self._taken.append(key)
        value = self._left.pop(key, None)
        return default if value is None or value.plain() is None else read(value)

    def need(self, key: str, read: Callable[[Value], T]) -> T:
        """Take a key and read it.

        Raises:
            RecipeError: if it is absent.
        """
        if key not in self._left:
            where = f" in {self.value.name}" if self.value.name else ""
            message = f"the key {key!r} is missing{where}"
            hint = nearest(key, self._left) if self._left else None
            raise RecipeError(message, path=self.value.path, line=self.value.line, hint=hint)
        self._taken.append(key)
        return read(self._left.pop(key))

    def rest(self) -> dict[str, Value]:
        """Take all that is left, whatever the keys."""
        rest, self._left = self._left, {}
        return rest

    def finish(self) -> None:
        """Complain about keys that nobody took.

        Raises:
            RecipeError: with the line of the first and the nearest known key.
        """
        for key, value in self._left.items():
            where = f" in {self.value.name}" if self.value.name else ""
            raise RecipeError(
                f"unknown key {key!r}{where}",
                path=value.path,
                line=value.line,
                hint=nearest(key, self._taken),
            )


def read_document(path: Path) -> Section:
    """Read a YAML file whose top is a mapping.

    Raises:
        RecipeError: if it cannot be read or parsed, with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise RecipeError(f"cannot be read: {reason}", path=path) from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        problem = getattr(error, "problem", None) or "not YAML"
        raise RecipeError(problem, path=path, line=line) from error
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError("must be a mapping with the keys of a study", path=path, line=1)
    return Value(node, path, "").section()


def _kind(value: object) -> str:
    """Say in a word what ``value`` is, with the value where it is short."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return "nothing" if value is None else repr(value)
