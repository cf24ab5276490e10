"""Wildcards: ``__name__`` in a prompt stands for a line of the file ``name.txt``, drawn anew.

What is drawn depends on the picture's seed and on the prompt alone, so it is the same in every
trial. A line may hold further wildcards; a weight goes before it (``3::a red hat``).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path

from bmerge.errors import RecipeError, nearest
from bmerge.reading import NOT_TEXT, SAVE_AS_TEXT, read_text
from bmerge.records import dataclass

__all__ = ["Wildcards", "wildcards_in"]

_LONGEST = 100_000
_DEEPEST = 100
_NAME = re.compile(r"__((?:(?!__)[\w./-])+)__")
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?)::\s*(.*)")


@dataclass(frozen=True, slots=True)
class _Line:
    """One choice: its text, how often it is drawn, and where it stands."""

    text: str
    weight: float
    number: int


def wildcards_in(text: str) -> list[str]:
    """Return the names of the wildcards in a text."""
    return _NAME.findall(text)


class Wildcards:
    """A folder of text files, one choice per line; blank lines and ``#`` comments are none.

    Args:
        folder: files in folders within it go by ``__folder/name__``.

    Raises:
        RecipeError: if there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise RecipeError(f"there is no wildcards folder {str(folder)!r}")
        self._files = {
            file.relative_to(folder).with_suffix("").as_posix(): file
            for file in sorted(folder.rglob("*.txt"))
        }
        self._lines: dict[str, Sequence[_Line]] = {}
        self._sound: dict[str, int] = {}

    def check(self, text: str) -> None:
        """Check that whatever may be drawn for a text exists and comes to an end.

        Raises:
            RecipeError: with file and line, if the fault lies in a wildcard's file.
        """
        for name in wildcards_in(text):
            self._follow(name, ())
        if wildcards_in(text) and self._longest(text) > _LONGEST:
            raise RecipeError(f"its wildcards can make it longer than {_LONGEST} characters")

    def render(self, text: str, seed: int) -> str:
        """Return a text with its wildcards replaced, the same for the same seed.

        Args:
            text: that passed :meth:`check`.
            seed: of the picture.
        """
        # The text is part of the seed: two prompts of one picture's seed draw independently.
        return self._drawn(text, random.Random(f"{seed}/{text}"))  # noqa: S311 - not for secrets

    def _drawn(self, text: str, rng: random.Random) -> str:
        return _NAME.sub(lambda found: self._drawn(self._draw(found[1], rng), rng), text)

    def _draw(self, name: str, rng: random.Random) -> str:
        lines = self._of(name)
        point = rng.random() * sum(line.weight for line in lines)
        for line in lines:
            point -= line.weight
            if point < 0:
                return line.text
        return lines[-1].text

    def _follow(self, name: str, above: tuple[str, ...]) -> None:
        path = (*above, name)
        if len(path) > _DEEPEST:
            raise RecipeError(f"wildcards lead to others more than {_DEEPEST} times: __{path[0]}__")
        if name in above:
            chain = " → ".join(path[path.index(name) :])
            raise RecipeError(f"the wildcard __{name}__ leads back to itself: {chain}")
        if name in self._sound:
            return
        for line in self._of(name):
            for inner in wildcards_in(line.text):
                try:
                    self._follow(inner, path)
                except RecipeError as error:
                    if error.path is not None:
                        raise
                    file = self._files[name]
                    message = str(error)
                    raise RecipeError(
                        message, path=file, line=line.number, hint=error.hint
                    ) from error
        # No more than just too long: the true length may have more digits than can be written.
        longest = max(self._longest(line.text) for line in self._of(name))
        self._sound[name] = min(longest, _LONGEST + 1)

    def _longest(self, text: str) -> int:
        """Return how long a text can become, and how often is drawn for it."""
        names = wildcards_in(text)
        bare = len(text) - sum(len(name) + 4 for name in names)
        return bare + sum(self._sound[name] + 1 for name in names)

    def _of(self, name: str) -> Sequence[_Line]:
        """Return the choices of a wildcard."""
        if name not in self._lines:
            if name not in self._files:
                hint = nearest(name, self._files) or f"there are {len(self._files)} files"
                raise RecipeError(f"there is no wildcard __{name}__", hint=hint)
            self._lines[name] = _read(self._files[name])
        return self._lines[name]


def _read(file: Path) -> Sequence[_Line]:
    try:
        rows = read_text(file).splitlines()
    except UnicodeDecodeError as error:
        raise RecipeError(NOT_TEXT, path=file, hint=SAVE_AS_TEXT) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=file) from error
    lines = []
    for number, row in enumerate(rows, start=1):
        text = row.strip()
        if text and not text.startswith("#"):
            found = _WEIGHT.fullmatch(text)
            weight, bare = (float(found[1]), found[2]) if found else (1.0, text)
            if math.isinf(weight):
                raise RecipeError("the weight is too large", path=file, line=number)
            lines.append(_Line(bare, weight, number))
    if not any(line.weight for line in lines):
        raise RecipeError("the wildcard has nothing to draw from", path=file)
    return tuple(lines)
