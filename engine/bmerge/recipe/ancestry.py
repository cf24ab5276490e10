"""How a merged file tells its origin: its recipe, and once each, those of all its ancestors.

The form, in the metadata's ``bmerge.recipe``: a recipe as data whose models are ``name``,
``sha256`` and, of a model that was merged itself, ``ancestor``: the number of an entry of
``ancestors``. Such an entry has a ``recipe`` of the same kind, or what another tool wrote as
``foreign``. Entries only refer to earlier ones; equal ones are one. Version 1 had the recipes of
models nested within; it is read, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["FOREIGN", "RECIPE_KEY", "VERSION", "Ancestors", "distances", "origin_of", "shortened"]

RECIPE_KEY = "bmerge.recipe"
FOREIGN = ("sd_merge_recipe", "sd_merge_models", "mecha_recipe")
"""What other mergers write; kept as it is."""

VERSION = 2


class Ancestors:
    """The ancestors of what is being made, each once, as ``entries`` in the form above."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, metadata: Mapping[str, str]) -> int | None:
        """Take in how a model was made, with all that is known of its own ancestors.

        Args:
            metadata: of the model.

        Returns:
            The number of its entry; None if the metadata tells nothing.
        """
        entry: dict[str, Any] = {}
        if RECIPE_KEY in metadata:
            text = metadata[RECIPE_KEY]
            try:
                entry["recipe"] = self._taken(json.loads(text))
            except (ValueError, RecursionError):
                entry["recipe"] = text  # someone has spoilt it
        foreign = {key: metadata[key] for key in FOREIGN if key in metadata}
        if foreign:
            entry["foreign"] = foreign
        return self._number_of(entry) if entry else None

    def _taken(self, recipe: object) -> object:
        """Return a recipe whose ancestors are among the entries here."""
        if not isinstance(recipe, dict):
            return recipe
        recipe = dict(recipe)
        recipe.pop("version", None)
        numbers: list[int] = []
        for entry in _entries(recipe.pop("ancestors", [])):
            numbers.append(self._number_of({**entry, **self._renumbered(entry, numbers)}))
        return self._with_models(recipe, numbers)

    def _renumbered(self, entry: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
        recipe = entry.get("recipe")
        return {"recipe": self._with_models(recipe, numbers)} if isinstance(recipe, dict) else {}

    def _with_models(self, recipe: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
        models = recipe.get("models")
        if isinstance(models, dict):
            return {**recipe, "models": {n: self._model(m, numbers) for n, m in models.items()}}
        if isinstance(models, list):
            return {**recipe, "models": [self._model(model, numbers) for model in models]}
        return recipe

    def _model(self, model: object, numbers: Sequence[int]) -> object:
        """Return a model or LoRA that refers to the entries here."""
        if not isinstance(model, dict):
            return model
        model = dict(model)
        number = model.pop("ancestor", None)
        if isinstance(number, int) and 0 <= number < len(numbers):
            model["ancestor"] = numbers[number]
        nested = {key: model.pop(key) for key in ("recipe", "foreign") if key in model}
        if nested:  # of version 1
            if "recipe" in nested:
                nested["recipe"] = self._taken(nested["recipe"])
            model["ancestor"] = self._number_of(nested)
        if isinstance(model.get("loras"), list):
            model["loras"] = [self._model(lora, numbers) for lora in model["loras"]]
        return model

    def _number_of(self, entry: dict[str, Any]) -> int:
        key = json.dumps(entry, sort_keys=True)
        if key not in self._numbers:
            self._numbers[key] = len(self.entries)
            self.entries.append(entry)
        return self._numbers[key]


def origin_of(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the recipe that a file of bmerge tells, in the form of today; None if it has none."""
    found = Ancestors()
    number = found.add({key: metadata[key] for key in (RECIPE_KEY,) if key in metadata})
    if number is None or not isinstance(found.entries[number].get("recipe"), dict):
        return None
    return {**found.entries[number]["recipe"], "ancestors": found.entries[:number]}


def shortened(origin: Mapping[str, Any], distance: int) -> dict[str, Any]:
    """Return an origin without those ancestors that are more than so many merges back.

    Args:
        origin: in the form of today.
        distance: 0 leaves out all.
    """
    entries: list[dict[str, Any]] = origin.get("ancestors", [])
    kept = {n for n, steps in distances(origin).items() if steps <= distance}
    numbers = {old: new for new, old in enumerate(sorted(kept))}

    def renumbered(data: Mapping[str, Any]) -> dict[str, Any]:
        models = data.get("models")
        if isinstance(models, dict):
            return {**data, "models": {name: _refer(m, numbers) for name, m in models.items()}}
        return {**data, "models": [_refer(model, numbers) for model in models or ()]}

    def entry_of(entry: dict[str, Any]) -> dict[str, Any]:
        recipe = entry.get("recipe")
        return {**entry, "recipe": renumbered(recipe)} if isinstance(recipe, dict) else entry

    return {**renumbered(origin), "ancestors": [entry_of(entries[n]) for n in sorted(kept)]}


def distances(origin: Mapping[str, Any]) -> dict[int, int]:
    """Return how many merges back each ancestor is, the shortest way."""
    entries: list[dict[str, Any]] = origin.get("ancestors", [])
    found: dict[int, int] = {}
    waiting = [(number, 1) for number in references(origin)]
    for number, steps in waiting:  # it grows meanwhile, in order of distance
        if number not in found:
            found[number] = steps
            recipe = entries[number].get("recipe")
            if isinstance(recipe, dict):
                waiting += [(further, steps + 1) for further in references(recipe)]
    return found


def references(recipe: Mapping[str, Any]) -> Iterator[int]:
    """Yield the numbers of the ancestors that a recipe's models and their LoRAs refer to."""
    models = recipe.get("models")
    for model in models.values() if isinstance(models, dict) else models or ():
        if isinstance(model, dict):
            loras = model.get("loras")
            for file in (model, *(loras if isinstance(loras, list) else ())):
                if isinstance(file, dict) and "ancestor" in file:
                    yield file["ancestor"]


def _refer(model: object, numbers: Mapping[int, int]) -> object:
    if not isinstance(model, dict):
        return model
    model = dict(model)
    if "ancestor" in model:
        number = numbers.get(model.pop("ancestor"))
        model |= {} if number is None else {"ancestor": number}
    if isinstance(model.get("loras"), list):
        model["loras"] = [_refer(lora, numbers) for lora in model["loras"]]
    return model


def _entries(value: object) -> Iterator[dict[str, Any]]:
    for entry in value if isinstance(value, list) else ():
        yield entry if isinstance(entry, dict) else {"recipe": entry}
