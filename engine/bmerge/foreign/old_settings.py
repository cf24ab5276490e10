"""Settings in the files of another optimiser's folder, checked as they are asked for.

What is missing or empty is the default, as in those tools, whatever it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from bmerge.errors import RecipeError
from bmerge.records import dataclass

__all__ = ["Settings"]

_HINT = "config.yaml and the guide that it names are read as the tool reads them"
_LONGEST = 80
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A mapping or a list in a file.

    Args:
        path: the file.
        data: key → value, as YAML has them; of a list, the number of each entry → the entry.
        at: keys above it, each with a dot after it.
        asked: keys that were asked for; grows.
        inner: key → what is below it, once that was asked for; grows.
    """

    path: Path
    data: Mapping[Any, Any] = field(default_factory=dict)
    at: str = ""
    asked: set[object] = field(default_factory=set)
    inner: dict[object, Settings] = field(default_factory=dict)

    def __contains__(self, key: object) -> bool:
        """Tell whether a setting is there."""
        self.asked.add(key)
        return key in self.data

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys, or the numbers of entries, from 1."""
        return iter(self.data)

    def get(self, key: object, default: object = None) -> Any:
        """Return a value as it is."""
        self.asked.add(key)
        return self.data.get(key, default)

    def skip(self, *keys: object) -> None:
        """Take note that some keys, or all if none is named, have no effect or are told of."""
        self.asked.update(keys or self.data)

    def others(self) -> Iterator[str]:
        """Yield the keys that are set and nobody has asked for, with those above them."""
        for key, value in self.data.items():
            if key in self.inner:
                yield from self.inner[key].others()
            elif key not in self.asked and _is_set(value):
                yield f"{self.at}{key}"

    def text(self, key: object, default: str = "") -> str:
        """Return a word or a number, as text.

        Raises:
            RecipeError: if it is none.
        """
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._error(key, "a text")
        return str(value)

    def number(self, key: object) -> float:
        """Return a number, which may be written as text: YAML takes ``1e3`` for a word.

        Raises:
            RecipeError: if it is none, or not finite.
        """
        value = _number(self.get(key))
        if value is None:
            raise self._error(key, "a number")
        return value

    def whole(self, key: object, default: int) -> int:
        """Return a whole number; what is behind its point is left out.

        Raises:
            RecipeError: if it is none.
        """
        value = _number(self.get(key, default))
        if value is None:
            raise self._error(key, "a whole number")
        return int(value)

    def numbers(self, key: object) -> list[float]:
        """Return a range: two numbers.

        Raises:
            RecipeError: if it is none.
        """
        value = self.get(key)
        found = [_number(each) for each in value] if isinstance(value, list) else []
        numbers = [each for each in found if each is not None]
        if not len(numbers) == len(found) == 2:
            raise self._error(key, "a list of two numbers")
        return numbers

    def within(self, key: object) -> Settings:
        """Return what is below a key; nothing if there is nothing.

        Raises:
            RecipeError: if it is not a mapping.
        """
        value = self.get(key) or {}
        if not isinstance(value, dict):
            raise self._error(key, "a mapping")
        return self._below(key, value)

    def entries(self, key: object) -> Settings:
        """Return the entries of a list by their numbers, from 1; nothing if there is nothing.

        Raises:
            RecipeError: if it is not a list.
        """
        value = self.get(key) or []
        if not isinstance(value, list):
            raise self._error(key, "a list")
        return self._below(key, dict(enumerate(value, 1)))

    def texts(self, key: object) -> list[str]:
        """Return the entries of a list of words.

        Raises:
            RecipeError: if it is none.
        """
        entries = self.entries(key)
        return [entries.text(number) for number in entries]

    def mappings(self, key: object) -> list[Settings]:
        """Return the entries of a list of mappings.

        Raises:
            RecipeError: if it is none.
        """
        entries = self.entries(key)
        return [entries.within(number) for number in entries]

    def _below(self, key: object, data: Mapping[Any, Any]) -> Settings:
        return self.inner.setdefault(key, Settings(self.path, data, f"{self.at}{key}."))

    def _error(self, key: object, what: str) -> RecipeError:
        value = repr(self.data.get(key))
        shown = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
        message = f"{self.at}{key} must be {what}, not {shown}"
        return RecipeError(message, path=self.path, hint=_HINT)


def _is_set(value: object) -> bool:
    """Tell whether a value, or one of those in it, says something; OmegaConf's users write None."""
    if isinstance(value, dict):
        return any(map(_is_set, value.values()))
    return bool(value) and value != "None"


def _number(value: object) -> float | None:
    """Return a finite number that is one or is written as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # of a text, and of a number of 400 digits
        return None
    return number if math.isfinite(number) else None
