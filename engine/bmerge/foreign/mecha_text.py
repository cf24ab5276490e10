"""The text of sd-mecha's ``.mecha`` recipes: one instruction per line, named by its number.

Line 1 is the version. Then ``dict``, ``literal``, ``model`` or ``merge`` with values in order and
by name: words in quotes, numbers, null, true, false, and ``&n`` for the n-th instruction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from bmerge.errors import RecipeError
from bmerge.records import dataclass

__all__ = ["Argument", "Instruction", "Ref", "parse_mecha"]

VERSION = "0.1.0"
_COMMANDS = ("dict", "literal", "model", "merge")
_TOKEN = re.compile(r'\s*(?:(?P<name>[^\s="&]+)=)?(?P<value>"(?:\\.|[^"\\])*"|[^\s"]+)(?=\s|$)')
_CONSTANTS: Mapping[str, bool | None] = {"null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of an instruction.

    Args:
        index: its number, from 0.
    """

    index: int


Argument: TypeAlias = Ref | str | float | bool | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line.

    Args:
        command: its first word.
        values: the values without a name.
        named: the others.
        line: where it stands, from 1.
        path: of the file, or None.
    """

    command: str
    values: tuple[Argument, ...]
    named: Mapping[str, Argument]
    line: int
    path: Path | None

    def error(self, message: str, hint: str | None = None) -> RecipeError:
        """Return an error that points here."""
        return RecipeError(message, path=self.path, line=self.line, hint=hint)


def parse_mecha(text: str, path: Path | None = None) -> tuple[Instruction, ...]:
    """Read the text of a recipe; the last instruction is its result.

    Raises:
        RecipeError: if it is not well-formed, or of another version.
    """
    lines = text.splitlines()
    head = lines[0].split() if lines else []
    if head[:1] != ["version"]:
        raise RecipeError("a .mecha recipe begins with 'version'", path=path, line=1)
    if head[1:] != [VERSION]:
        message = f"version {' '.join(head[1:])!r} of .mecha recipes is not known"
        raise RecipeError(message, path=path, line=1, hint=f"known: {VERSION}")
    found: list[Instruction] = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_instruction(line, number, path, len(found)))
    if not found:
        raise RecipeError("the recipe has no instructions", path=path, line=1)
    return tuple(found)


def _instruction(line: str, number: int, path: Path | None, count: int) -> Instruction:
    command, _, rest = line.strip().partition(" ")
    if command not in _COMMANDS:
        known = f"known: {', '.join(_COMMANDS)}"
        raise RecipeError(f"unknown instruction {command!r}", path=path, line=number, hint=known)
    values: list[Argument] = []
    named: dict[str, Argument] = {}
    end = 0
    while rest[end:].strip():
        token = _TOKEN.match(rest, end)
        if token is None:
            message = f"cannot read {rest[end:].strip()!r}"
            raise RecipeError(message, path=path, line=number)
        end = token.end()
        try:
            value = _value(token["value"], count)
        except ValueError as error:
            raise RecipeError(str(error), path=path, line=number) from error
        if token["name"] is None:
            values.append(value)
        else:
            named[token["name"]] = value
    return Instruction(command, tuple(values), named, number, path)


def _value(word: str, count: int) -> Argument:
    if word.startswith('"'):
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if word.startswith("&"):
        if not word[1:].isdigit() or int(word[1:]) >= count:
            message = f"{word} is not an instruction above"
            raise ValueError(message)
        return Ref(int(word[1:]))
    try:
        return float(word)
    except ValueError:
        message = f"{word!r} is not a value"
        raise ValueError(message) from None
