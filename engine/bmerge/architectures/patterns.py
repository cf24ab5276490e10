"""How keys are spoken of: the notation of rules and of what tells architectures apart.

A pattern says how a key starts. ``{i}`` is a number, ``[a|b]`` what may stand there or not,
``(a|b)`` one of several, and ``~`` at the beginning any of :data:`PREFIXES` or none: the same
picture model lies about under all of them. A condition is a pattern of which a checkpoint has a
key; with ``!`` before it, of which it has none; with a shape behind it, ``x.weight (3n, n)``, a
whole key whose tensor has that shape: a number, ``_`` for any, or a multiple of an unknown ``n``.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from bmerge.errors import ArchitectureError
from bmerge.formats.extents import is_of

__all__ = ["PREFIXES", "Contents", "bare", "compiled", "starts_of"]

PREFIXES = (
    "model.diffusion_model.", "diffusion_model.", "model.model.", "net.", "unet.", "transformer.",
    "model.",
)  # fmt: skip
"""What stands before the keys of a picture model, by who has written the file."""

_PREFIX = re.compile("|".join(map(re.escape, PREFIXES)))
_TOKENS = re.compile(r"\{i\}|[\[\]()|~]|[^\[\]{()|~]+")
_CHOICE = re.compile(r"[\[(]([^\[\]{()~]*)[\])]")
_NOTATION = re.compile(r"[\[\]{()|~]")


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a pattern.

    Raises:
        ArchitectureError: if it is not sound.
    """
    replacements = {
        "{i}": r"(?P<i>\d{1,9})", "[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|",
        "~": f"(?:{_PREFIX.pattern})?",
    }  # fmt: skip
    tokens = _tokens(pattern)
    try:
        return re.compile("".join(replacements.get(token, re.escape(token)) for token in tokens))
    except re.error as error:
        raise ArchitectureError(f"bad key pattern {pattern!r}: {error}") from error


def _tokens(pattern: str) -> list[str]:
    """Return what a pattern consists of, after a check that there is nothing else in it."""
    tokens: list[str] = _TOKENS.findall(pattern)
    if "".join(tokens) != pattern or tokens.count("{i}") > 1 or "~" in tokens[1:]:
        hint = "allowed: {i} once, [ ], ( ), | within these, and ~ at the beginning"
        raise ArchitectureError(f"bad key pattern {pattern!r}", hint=hint)
    return tokens


@lru_cache(maxsize=4096)
def starts_of(pattern: str) -> tuple[str, ...]:
    """Return texts with one of which every key starts that a pattern speaks of.

    Most keys are told from it by them, in a fraction of the time that the expression takes, which
    often need not be compiled at all.

    Raises:
        ArchitectureError: if its notation is not sound.
    """
    name = pattern.removeprefix("~")
    if _NOTATION.search(name) is None:
        starts = [name]
    else:
        _tokens(pattern)
        starts = _starts(name)
    prefixes = ("", *PREFIXES) if name != pattern else ("",)
    return tuple([prefix + start for prefix in prefixes for start in starts])


def _starts(name: str) -> list[str]:
    """Return how the keys of a pattern start, up to the second choice or number in it."""
    head = _NOTATION.split(name, maxsplit=1)[0]
    choice = None if head else _CHOICE.match(name)
    if choice is None:
        return [head]
    behind = name[choice.end() :]
    then = _NOTATION.split(behind, maxsplit=1)[0]
    starts = [each + then for each in choice[1].split("|")]
    return [*starts, *_starts(behind)] if choice[0].endswith("]") else starts


def _is_plain(pattern: str) -> bool:
    """Tell whether a pattern leaves nothing open but the prefix."""
    return _NOTATION.search(pattern.removeprefix("~")) is None


def bare(key: str) -> str:
    """Return a picture model's key without what is before it in some files."""
    found = _PREFIX.match(key)
    return key if found is None else key[found.end() :]


class Contents:
    """What a checkpoint has: the names of its tensors and, where they are known, their shapes.

    Args:
        keys: the names; of a mapping, the values are the tensors' table of contents, or None.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self.keys = keys
        self._infos: Mapping[str, Any] = keys if isinstance(keys, Mapping) else {}
        self._sorted = sorted(keys)

    def sizes(self) -> dict[str, int]:
        """Return how many numbers each tensor has; nothing where shapes are not known."""
        shapes = ((key, self._shape(key)) for key in self.keys)
        return {key: math.prod(shape) for key, shape in shapes if shape is not None}

    def fulfil(self, conditions: Iterable[str]) -> bool:
        """Tell whether all conditions hold."""
        return all(map(self._fulfils, conditions))

    def _fulfils(self, condition: str) -> bool:
        if condition.startswith("!"):
            return not self._fulfils(condition[1:])
        pattern, _, shape = condition.partition(" ")
        if not shape:
            return any(True for _ in self._spoken_of(pattern))
        try:
            return any(is_of(self._shape(key), shape) for key in self._named(pattern))
        except ValueError as error:
            hint = "as in (3n, n), (_, 36)"
            raise ArchitectureError(f"bad shape {shape!r}", hint=hint) from error

    def _spoken_of(self, pattern: str) -> Iterator[str]:
        """Yield the keys that start as a pattern says."""
        likely = self._likely(pattern)
        if _is_plain(pattern):
            return likely
        # Most patterns are of other architectures: to compile them all takes a while.
        return (key for key in likely if compiled(pattern).match(key))

    def _named(self, pattern: str) -> Iterator[str]:
        """Yield the keys that a pattern names whole."""
        if _is_plain(pattern):
            return (name for name in starts_of(pattern) if name in self.keys)
        return (key for key in self._likely(pattern) if compiled(pattern).fullmatch(key))

    def _likely(self, pattern: str) -> Iterator[str]:
        """Yield the keys that may be those of a pattern, by what they start with."""
        for start in starts_of(pattern):
            for place in range(bisect_left(self._sorted, start), len(self._sorted)):
                if not self._sorted[place].startswith(start):
                    break
                yield self._sorted[place]

    def _shape(self, key: str) -> Sequence[int] | None:
        shape: Sequence[int] | None = getattr(self._infos.get(key), "shape", None)
        return shape
