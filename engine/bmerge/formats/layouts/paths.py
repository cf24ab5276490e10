"""Finding the path of rules that a name begins with: the longest one, names before numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Generic, TypeVar

from bmerge.records import dataclass

__all__ = ["Found", "Paths", "filled"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a name begins with.

    Args:
        value: what was entered for the path.
        numbers: letter of the path → the number in its place.
        rest: what of the name comes after the path, with its dot; or nothing.
    """

    value: T
    numbers: Mapping[str, str]
    rest: str


@dataclass(slots=True)
class _Node(Generic[T]):
    """Where paths continue, and what the one that ends here stands for."""

    names: dict[str, _Node[T]] = field(default_factory=dict)
    number: _Node[T] | None = None
    letters: tuple[str, ...] = ()
    value: T | None = None


class Paths(Generic[T]):
    """A tree of paths."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def enter(self, path: str, value: T) -> None:
        """Say what is found for a path, unless that has been said before."""
        node, letters = self._root, []
        for part in path.split("."):
            if part.startswith("{"):
                letters.append(part[1:-1])
                node.number = node.number or _Node()
                node = node.number
            else:
                node = node.names.setdefault(part, _Node())
        if node.value is None:
            node.value, node.letters = value, tuple(letters)

    def find(self, name: str) -> Found[T] | None:
        """Return what was entered for the longest path that a name begins with, if there is one."""
        parts = name.split(".")
        best: tuple[int, _Node[T], tuple[str, ...]] | None = None
        pending: list[tuple[int, _Node[T], tuple[str, ...]]] = [(0, self._root, ())]
        while pending:
            depth, node, numbers = pending.pop()
            if node.value is not None and (best is None or depth > best[0]):
                best = depth, node, numbers
            if depth == len(parts):
                continue
            part = parts[depth]
            if node.number is not None and part.isdecimal():
                pending.append((depth + 1, node.number, (*numbers, part)))
            if part in node.names:
                pending.append((depth + 1, node.names[part], numbers))
        if best is None or best[1].value is None:
            return None
        depth, node, numbers = best
        rest = "".join(f".{part}" for part in parts[depth:])
        return Found(best[1].value, dict(zip(node.letters, numbers, strict=True)), rest)


def filled(path: str, numbers: Mapping[str, str]) -> str:
    """Return a path with numbers in the place of its letters."""
    for letter, number in numbers.items():
        path = path.replace(f"{{{letter}}}", number)
    return path
