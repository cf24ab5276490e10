"""The family tree of a merged file, from what its metadata tells: bmerge's and other tools'."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from bmerge.recipe.ancestry import Ancestors
from bmerge.records import dataclass

__all__ = ["HowMade", "Lineage", "Member", "lineage"]

_MECHA_MODEL = re.compile(r'^model "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a family tree.

    Args:
        name: that it had when it was merged.
        sha256: of its bytes then, if it is known.
        role: what it is to the file that was made of it: ``LoRA 0.5``, or nothing for a model.
        made: the number of the merge that it came out of, if one is known.
    """

    name: str
    sha256: str | None = None
    role: str = ""
    made: int | None = None


@dataclass(frozen=True, slots=True)
class HowMade:
    """How a file was made.

    Args:
        how: in a few words.
        parents: what it was made of.
    """

    how: str
    parents: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A family tree, in which merges that files share are there once.

    Args:
        file: the youngest.
        merges: by number.
    """

    file: Member
    merges: tuple[HowMade, ...]

    @property
    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"file": asdict(self.file), "merges": [asdict(made) for made in self.merges]}


def lineage(name: str, metadata: Mapping[str, str]) -> Lineage:
    """Return the family tree of a file.

    Args:
        name: of the file.
        metadata: of it.
    """
    ancestors = Ancestors()
    number = ancestors.add(metadata)
    merges: list[HowMade] = []
    entries = ancestors.entries
    merges += (HowMade("", ()) for _ in entries)
    for index, entry in enumerate(entries):
        recipe, foreign = entry.get("recipe"), entry.get("foreign")
        if isinstance(recipe, dict):
            merges[index] = HowMade(_summary(recipe), tuple(_parents(recipe)))
        elif isinstance(foreign, dict):
            merges[index] = _foreign(foreign, merges)
    return Lineage(Member(name, made=number), tuple(merges))


def _parents(recipe: Mapping[str, Any]) -> Iterator[Member]:
    for model in _listed(recipe.get("models")):
        yield _member(model)
        for lora in _listed(model.get("loras")):
            yield _member(lora, f"LoRA {_value(lora.get('weight', 1.0))}")


def _listed(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings of a list, or of the values of a mapping."""
    items = list(value.values()) if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _member(reference: Mapping[str, Any], role: str = "") -> Member:
    name, digest, number = (reference.get(key) for key in ("name", "sha256", "ancestor"))
    return Member(
        name if isinstance(name, str) else "?",
        digest if isinstance(digest, str) else None,
        role,
        number if isinstance(number, int) else None,
    )


def _summary(recipe: Mapping[str, Any]) -> str:
    """Return a recipe in a few words."""
    steps = recipe.get("steps")
    if isinstance(steps, dict):
        methods = (s.get("method") for s in steps.values() if isinstance(s, dict))
        return ", ".join(dict.fromkeys(m if isinstance(m, str) else "pick" for m in methods))
    if "method" not in recipe and "models" in recipe:  # one model in another form
        told = ("parts", "layout", "dtype", "quantise")
        return ", ".join(
            ["copy", *(f"{key} {_words(recipe[key])}" for key in told if key in recipe)]
        )
    if "method" not in recipe:
        return str(next(iter(recipe), ""))  # rebasin, lora: what was done
    values = recipe.get("hyperparameters")
    items = values.items() if isinstance(values, dict) else ()
    return ", ".join([str(recipe["method"]), *(f"{name} {_value(v)}" for name, v in items)])


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(value: object) -> str:
    """Return a hyperparameter's value in a word."""
    if isinstance(value, dict):
        return "by block" if len(value) > 1 else _value(next(iter(value.values()), ""))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _foreign(entry: Mapping[str, Any], merges: list[HowMade]) -> HowMade:
    """Return how another tool made a file, and of what, as far as it tells."""
    if "mecha_recipe" in entry:
        names = dict.fromkeys(_MECHA_MODEL.findall(str(entry["mecha_recipe"])))
        return HowMade("sd-mecha", tuple(map(Member, names)))
    recipe, models = (_json(entry.get(key)) for key in ("sd_merge_recipe", "sd_merge_models"))
    return _webui(recipe, models, merges, 0)


def _webui(
    recipe: Mapping[str, Any], models: Mapping[str, Any], merges: list[HowMade], depth: int
) -> HowMade:
    """Return what supermerger and its kin tell; models may tell the same of themselves."""
    words = (recipe.get("type"), recipe.get("mode") or recipe.get("interp_method"))
    parents = []
    for digest, model in models.items():
        known = model if isinstance(model, dict) else {}
        own, number = _json(known.get("sd_merge_recipe")), None
        if own and depth < _DEEPEST:
            merges.append(_webui(own, _json(known.get("sd_merge_models")), merges, depth + 1))
            number = len(merges) - 1
        name = known.get("name")
        label = name if isinstance(name, str) else digest[:10]
        parents.append(Member(label, digest, made=number))
    return HowMade(", ".join(str(word) for word in words if word), tuple(parents))


def _json(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
