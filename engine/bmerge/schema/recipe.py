"""The JSON schema of a recipe file."""

from __future__ import annotations

from bmerge.dtypes import FLOATS
from bmerge.host.registry import Registry
from bmerge.recipe.schema import Recipe
from bmerge.recipe.settings import SETTINGS
from bmerge.schema.types import Schema, properties_of, section

__all__ = [
    "DIALECT",
    "PATH",
    "WEIGHT",
    "method_names",
    "model",
    "plugin",
    "recipe_schema",
    "settings",
]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PATH: Schema = {"type": "string", "description": "a file or folder; relative to this file"}
_NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": ["number", "string"]}}
WEIGHT: Schema = {
    "description": "a number, a value for some blocks, a list in their order, or a preset's name",
    "anyOf": [
        {"type": ["number", "string"]},
        {"type": "array", "items": {"type": "number"}},
        _NUMBERS,
    ],
}
_SHA256: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
_HYPERPARAMETERS: Schema = {"type": "object", "additionalProperties": WEIGHT}
_VALUE: Schema = {"type": ["string", "integer"], "description": "a model or step, or x - base"}


def recipe_schema(registry: Registry) -> Schema:
    """Return the schema of what :func:`bmerge.load_recipe` reads.

    Args:
        registry: whose methods and architectures are offered.
    """
    known = settings(registry)
    keys = {
        "method": method_names(registry),
        "models": models(),
        "hyperparameters": _HYPERPARAMETERS,
        **known,
        **steps(registry),
    }
    return section(keys, "models", **{"$schema": DIALECT, "title": "bmerge recipe"})


def models() -> Schema:
    """Return the schema of a recipe's models: a list, or by name where there are steps."""
    return {
        "anyOf": [
            {"type": "array", "items": model()},
            {"type": "object", "additionalProperties": model()},
        ]
    }


def steps(registry: Registry) -> dict[str, Schema]:
    """Return the schemas of the keys of a recipe that has steps."""
    known = settings(registry)
    values = {"type": "array", "items": _VALUE}
    step = section(
        {
            "method": method_names(registry),
            "models": values,
            "hyperparameters": _HYPERPARAMETERS,
            **{key: known[key] for key in ("options", "seed", "clamp")},
            "pick": {"type": "object", "additionalProperties": _VALUE},
            "fallback": values,
        }
    )
    return {"steps": {"type": "object", "additionalProperties": step}, "result": _VALUE}


def method_names(registry: Registry) -> Schema:
    """Return the schema of a merge method's name."""
    methods = registry.methods.values()
    names = sorted({word for method in methods for word in (method.name, *method.aliases)})
    return {"description": "see `bmerge methods`", "anyOf": [{"enum": names}, {"type": "string"}]}


def settings(registry: Registry) -> dict[str, Schema]:
    """Return the schemas of :data:`bmerge.recipe.settings.SETTINGS`."""
    known = properties_of(Recipe, {name: name for name in SETTINGS})
    known["dtype"] |= {"examples": sorted(FLOATS)}
    known["architecture"] |= {"examples": ["auto", *sorted(registry.architectures)]}
    known["plugins"] = {**known["plugins"], "items": plugin()}
    known["seed"] |= {"minimum": 0}
    known["rebasin"] |= {"minimum": 0}
    return known


def model() -> Schema:
    """Return the schema of one model."""
    keys: dict[str, Schema] = {
        "path": PATH,
        "sha256": _SHA256,
        "loras": {"type": "array", "items": _lora()},
        "content": {"enum": ["model", "difference"]},
    }
    return {"anyOf": [PATH, section(keys, "path")]}


def _lora() -> Schema:
    """Return the schema of a LoRA on a model."""
    keys = {"path": PATH, "weight": WEIGHT, "sha256": _SHA256}
    return {"anyOf": [PATH, section(keys, "path")]}


def plugin() -> Schema:
    """Return the schema of a plugin that is named."""
    text: Schema = {"type": "string"}
    keys = {"path": PATH, "distribution": text, "version": text, "sha256": _SHA256}
    return {"anyOf": [PATH, section(keys)]}
