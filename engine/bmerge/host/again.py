"""Making a merged file again from what its metadata tells, to the byte.

Inputs that are gone and were merged themselves are made first, under their own names, and must
come out as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from bmerge import system
from bmerge.errors import RecipeError
from bmerge.foreign.own import OwnFile, Reference
from bmerge.formats import sha256_of
from bmerge.formats.target import PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES
from bmerge.recipe import Recipe

__all__ = ["Make", "recipe_again"]

Make = Callable[[Recipe, Path, bool], None]
"""Writes the merge of a recipe to a file, with the inputs' hashes in it or without."""


def recipe_again(own: OwnFile, folder: Path, make: Make) -> Recipe:
    """Return the recipe of a merged file, all of whose inputs are there.

    Args:
        own: the file.
        folder: for inputs that are made again, and links to those whose name has changed.
        make: makes one.

    Raises:
        RecipeError: if an input is gone and cannot be made, or comes out as another file; the
            merge's own errors pass through.
    """
    own.check(lambda reference: _can_be_written(reference["name"]))
    return _Again(own, folder, make).recipe(own.data)


class _Again:
    """Places inputs; each that is gone is made once."""

    def __init__(self, own: OwnFile, folder: Path, make: Make) -> None:
        self._own = own
        self._folder = folder
        self._make = make
        self._made: dict[int, Path] = {}
        self._count = 0

    def recipe(self, data: Mapping[str, Any]) -> Recipe:
        """Return a recipe of the metadata with paths of files that are there."""
        return self._own.recipe(data, self._place)

    def _place(self, reference: Reference) -> Path:
        found = self._own.find(reference)
        if found is None:
            return self._again(reference)
        name: str = reference["name"]
        if found.name == name or not _is_plain(name):
            return found
        link = self._fresh() / name  # which stands in the metadata
        system.link(link, found)
        return link

    def _again(self, reference: Reference) -> Path:
        number: int = reference["ancestor"]
        if number not in self._made:
            data = self._own.made_of(reference)
            assert data is not None, "checked before"
            path = self._fresh() / str(reference["name"])
            models = data.get("models", ())
            known = models.values() if isinstance(models, dict) else models
            self._make(self.recipe(data), path, any("sha256" in model for model in known))
            self._check(reference, path)
            self._made[number] = path
        return self._made[number]

    def _check(self, reference: Reference, path: Path) -> None:
        wanted = reference.get("sha256")
        if wanted is not None and sha256_of(path) != wanted:
            message = f"{path.name} is gone, and made again it is another file than it was"
            hint = "'bmerge recipe import' makes a recipe of steps of it"
            raise RecipeError(message, path=self._own.path, hint=hint)

    def _fresh(self) -> Path:
        """Return a new folder: several inputs may have one name."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder


def _is_plain(name: str) -> bool:
    return PurePath(name).name == name and name not in {"", ".", ".."}


def _can_be_written(name: object) -> bool:
    """Tell whether a file of that name can be made."""
    if not isinstance(name, str) or not _is_plain(name):
        return False
    return PurePath(name).suffix.lower() in PICKLED_SUFFIXES | SAFETENSORS_SUFFIXES
