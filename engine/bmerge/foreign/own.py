"""What a file that bmerge has merged tells, as a recipe whose inputs are found again.

The metadata names inputs by file name and SHA-256. They are looked for in the files and folders
that the user names, beside the file, in the current folder, and among all files that were ever
hashed here. One that is gone and was merged itself is made again, or becomes a step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from bmerge.errors import RecipeError
from bmerge.formats.contents import contents_sha256
from bmerge.formats.hashes import remembered
from bmerge.formats.target import PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES
from bmerge.recipe import Recipe
from bmerge.recipe.document import parse_document
from bmerge.recipe.load import recipe_of

__all__ = ["OwnFile", "Reference"]

_SUFFIXES = SAFETENSORS_SUFFIXES | PICKLED_SUFFIXES

Reference: TypeAlias = "Mapping[str, Any]"
"""An input as the metadata has it."""


class OwnFile:
    """A merged file and what there is of its inputs.

    Args:
        path: the file.
        origin: from :func:`bmerge.recipe.ancestry.origin_of`.
        verified: whether inputs must have the SHA-256 that they had.
        places: files, and folders with all below them, that inputs are looked for in.

    Raises:
        RecipeError: if it was not merged, but made in another way, or what it tells is damaged.
    """

    def __init__(
        self,
        path: Path,
        origin: Mapping[str, Any],
        *,
        verified: bool = True,
        places: Sequence[Path] = (),
    ) -> None:
        if not {"method", "result"} & origin.keys():
            message = "its metadata tells of no merge"
            raise RecipeError(message, path=path, hint="'bmerge inspect FILE' shows what it has")
        if not _is_sound(origin):
            raise RecipeError("the recipe in its metadata cannot be read", path=path)
        self.path = path
        self.data = {key: value for key, value in origin.items() if key != "ancestors"}
        self._ancestors: Sequence[Mapping[str, Any]] = origin["ancestors"]
        self._verified = verified
        self._places = places
        self._found: dict[tuple[str, str | None], Path | None] = {}

    def find(self, reference: Reference) -> Path | None:
        """Return where an input is now, or None."""
        name, digest = str(reference["name"]), reference.get("sha256")
        known = (name, digest if isinstance(digest, str) and self._verified else None)
        if known not in self._found:
            self._found[known] = next(_candidates(self.path, *known, self._places), None)
        return self._found[known]

    def made_of(self, reference: Reference) -> Mapping[str, Any] | None:
        """Return the recipe of an input that was merged itself, if it is known."""
        number = reference.get("ancestor")
        recipe = self._ancestors[number].get("recipe") if isinstance(number, int) else None
        if not isinstance(recipe, dict) or not {"method", "result"} & recipe.keys():
            return None
        return recipe if _is_sound(recipe) else None

    def check(self, can_be_made: Callable[[Reference], bool]) -> None:
        """Refuse a file of whose inputs some are neither there nor can be made.

        Args:
            can_be_made: tells it of one whose recipe is known.

        Raises:
            RecipeError: names them.
        """
        missing: dict[str, None] = {}
        seen: set[int] = set()
        waiting = list(_references(self.data))
        while waiting:
            reference = waiting.pop()
            recipe = self.made_of(reference)
            if self.find(reference) is not None:
                continue
            if recipe is None or not can_be_made(reference):
                missing[_named(reference)] = None
            elif reference["ancestor"] not in seen:
                seen.add(reference["ancestor"])
                waiting += _references(recipe)
        if missing:
            raise RecipeError(
                f"not to be found: {', '.join(sorted(missing))}",
                path=self.path,
                hint="put it beside the merged file, or name its folder: --search FOLDER",
            )

    def recipe(self, data: Mapping[str, Any], place: Callable[[Reference], Path]) -> Recipe:
        """Return a recipe of the metadata with the paths of its inputs.

        Args:
            data: the file's own, or an ancestor's.
            place: returns an input's path.

        Raises:
            RecipeError: if it cannot be read.
        """

        def file_of(reference: Reference) -> dict[str, Any]:
            kept = ("sha256", "weight", "content") if self._verified else ("weight", "content")
            file = {key: reference[key] for key in kept if key in reference}
            if "loras" in reference:
                file["loras"] = [file_of(lora) for lora in reference["loras"]]
            return {"path": str(place(reference)), **file}

        models = data["models"]
        if isinstance(models, dict):
            files: object = {name: file_of(model) for name, model in models.items()}
        else:
            files = [file_of(model) for model in models]
        text = json.dumps({**data, "models": files}, ensure_ascii=False)
        return recipe_of(parse_document(text, path=self.path, name="the recipe in the metadata"))


def _is_sound(recipe: Mapping[str, Any]) -> bool:
    """Tell whether a recipe has inputs, and each of them, LoRAs too, has a name."""
    models = recipe.get("models")
    files = list(models.values()) if isinstance(models, dict) else models
    if not isinstance(files, list) or not files or not all(map(_is_named, files)):
        return False
    loras = [file.get("loras", []) for file in files]
    return all(
        isinstance(each, list) and all(_is_named(lora) and "loras" not in lora for lora in each)
        for each in loras
    )


def _is_named(reference: object) -> bool:
    return isinstance(reference, dict) and isinstance(reference.get("name"), str)


def _references(recipe: Mapping[str, Any]) -> Iterator[Reference]:
    """Yield the inputs of a recipe that is sound, LoRAs too."""
    models = recipe["models"]
    for model in models.values() if isinstance(models, dict) else models:
        yield model
        yield from model.get("loras", ())


def _candidates(
    file: Path, name: str, digest: str | None, places: Sequence[Path]
) -> Iterator[Path]:
    """Yield the files that an input may be: of its name, or of its hash if that is known.

    Those that have to be hashed come last.
    """
    is_plain = PurePath(name).name == name and name not in {"", ".", ".."}
    inside = [path for place in places for path in _models_in(place)]
    named = [path for path in inside if path.name == name]
    named += [place / name for place in places if is_plain and (place / name).is_dir()]
    for path in (*named, *((file.parent / name, Path(name)) if is_plain else ())):
        if path.exists() and (digest is None or contents_sha256(path) == digest):
            yield path.absolute()
    if digest is not None:
        yield from remembered(digest)
        yield from (path.absolute() for path in inside if contents_sha256(path) == digest)


def _models_in(place: Path) -> list[Path]:
    """Return a file, or the models in a folder and below it."""
    if not place.is_dir():
        return [place]
    found = (path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return sorted(path for path in found if path.is_file())


def _named(reference: Reference) -> str:
    """Return what to call an input in a message."""
    digest = reference.get("sha256")
    return str(reference["name"]) + (f" (sha256 {digest[:12]}…)" if isinstance(digest, str) else "")
