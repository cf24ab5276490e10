"""The notation in which files say how two layouts of a model are made of one another.

A rule has a path of names on either side, ``{i}`` in it for a number, and holds for all tensors
whose names are or begin with it; the longest path counts, and of equal ones the first. Where one
side has several paths, its tensors are those of the other side's one, cut along the first axis.
The third entry says what is done to the tensor beside: ``halves swapped`` along the first axis,
``matrix`` (two extents of 1 left out), ``matrix 3D`` (three), ``vector`` (three left
out), ``transposed``, ``{"rows": n}`` (a vector as so many rows),
``{"shares": [1, 1, 4]}`` (how large the parts of a cut are to each other; else they are equal).

``{"under": [left, right], "rules": …}`` puts paths before those of the rules in it, ``"table"``
before those of a named table; ``{"for": {"b": 3}, "rules": …}`` repeats rules with ``b`` = 0, 1, 2,
and ``{3b+1}`` then is a number. ``counts`` are numbers that a model has: of a list of layers.
``without`` are names that a layout does not have, ``with`` tensors of it that are the same in all
models: dtype, shape, and the file of their bytes, ``apart`` such as the other layout has in a file
of its own, which no conversion can give. What a file does not say is as in the one that is
named by ``like``, whose rules come after its own, and whose tables those rules go by.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bmerge.records import dataclass

__all__ = ["LayoutRule", "expanded"]

_TERM = re.compile(r"([+-]?)(\d*)([a-z]?)")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class LayoutRule:
    """How tensors under a path of one layout are made of those of another.

    Args:
        left: paths in the first layout.
        right: paths in the second; one, if there are several in the first.
        how: what else is done to the tensor on the way from left to right.
        shares: sizes of the parts of a cut, in proportion.
        rows: of the tensor on the right, which is a vector on the left; 0 if that is not so.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    how: str = ""
    shares: tuple[int, ...] = (1,)
    rows: int = 0


def expanded(
    rules: Sequence[Any], tables: Mapping[str, Sequence[Any]], numbers: Mapping[str, int]
) -> Iterator[LayoutRule]:
    """Yield the rules of a file one by one, groups and tables written out.

    Args:
        rules: as the file has them.
        tables: its tables, by name.
        numbers: letters that stand for numbers; others stay for numbers of the names.

    Raises:
        KeyError, TypeError, ValueError: if the file is not sound.
    """
    for rule in rules:
        if isinstance(rule, list):
            yield _rule(rule, numbers)
            continue
        if "for" in rule:
            ranges = {
                name: range(numbers[end] if isinstance(end, str) else end)
                for name, end in rule["for"].items()
            }
            for values in itertools.product(*ranges.values()):
                known = {**numbers, **dict(zip(ranges, values, strict=True))}
                yield from expanded(rule["rules"], tables, known)
            continue
        inner = tables[rule["table"]] if "table" in rule else rule["rules"]
        left, right = (_filled(path, numbers) for path in rule["under"])
        for each in expanded(inner, tables, numbers):
            yield replace(each, left=_under(left, each.left), right=_under(right, each.right))


def _rule(entry: Sequence[Any], numbers: Mapping[str, int]) -> LayoutRule:
    *sides, extra = entry if len(entry) > 2 else [*entry, {}]
    left, right = (
        tuple(_filled(path, numbers) for path in ([side] if isinstance(side, str) else side))
        for side in sides
    )
    how = extra if isinstance(extra, str) else ""
    given = {} if isinstance(extra, str) else extra
    shares = tuple(given.get("shares", (1,) * max(len(left), len(right))))
    return LayoutRule(left, right, how, shares, given.get("rows", 0))


def _under(start: str, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{start}.{path}" if path else start for path in paths)


def _filled(path: str, numbers: Mapping[str, int]) -> str:
    """Return a path with the numbers that are known; ``{i}`` stays where ``i`` is not."""

    def value(found: re.Match[str]) -> str:
        terms: list[tuple[str, str, str]] = [t for t in _TERM.findall(found[1]) if any(t)]
        if any(letter and letter not in numbers for _, _, letter in terms):
            return found[0]
        return str(sum(_value(numbers, *term) for term in terms))

    return _BRACES.sub(value, path)


def _value(numbers: Mapping[str, int], sign: str, digits: str, letter: str) -> int:
    size = int(digits or 1) * (numbers[letter] if letter else 1)
    return -size if sign == "-" else size
