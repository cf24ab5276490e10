"""The JSON schema of a study file."""

from __future__ import annotations

from typing import Any

from bmerge.evaluate.protocols import Payload
from bmerge.executors import ExecutorOptions
from bmerge.host.catalogue import Catalogue
from bmerge.host.kinds import PluginKind
from bmerge.host.registry import Registry
from bmerge.options import annotations_of, meanings_of
from bmerge.schema.recipe import (
    DIALECT,
    PATH,
    WEIGHT,
    method_names,
    models,
    plugin,
    settings,
    steps,
)  # fmt: skip
from bmerge.schema.types import Schema, properties_of, section, type_schema
from bmerge.space.layers import KINDS
from bmerge.study_file.config import ExecutorConfig, OptimiserConfig, ScorerConfig, StudyConfig
from bmerge.study_file.executor import key_of
from bmerge.study_file.load import TOP
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.trials.constraint import Constraint
from bmerge.trials.limits import Limits
from bmerge.trials.objective import NORMALISATIONS

__all__ = ["study_schema"]

_NUMBER: Schema = {"type": "number"}
_RANGE: Schema = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_SEED: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_WORDS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_GROUPS: Schema = {"type": "object", "additionalProperties": _WORDS}
_FIELDS = {"try": "attempts"}
"""Key of the file → field of StudyConfig, where they have two names."""
_PICTURE = (
    "negative_prompt", "steps", "cfg", "width", "height", "sampler", "weight", "tags", "extra",
)  # fmt: skip


def study_schema(registry: Registry) -> Schema:
    """Return the schema of what ``bmerge run`` reads.

    Args:
        registry: whose methods, generators, scorers and optimisers are offered, with options.
    """
    own: dict[str, Schema] = {
        "merge": _merge(registry),
        "space": {"type": "object", "additionalProperties": _space()},
        "payloads": _payloads(),
        "generator": _kinds(registry.generators, {}, "what makes the pictures"),
        "scorers": {
            "type": "array",
            "items": _kinds(registry.scorers, _scorer(), "what judges them"),
        },
        "normalise": {"enum": list(NORMALISATIONS), "default": "none"},
        "objectives": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": _NUMBER},
        },
        "constraints": {"type": "array", "items": section(_constraint(), "scorer", "model")},
        "choose": {"type": "object", "additionalProperties": _choice()},
        "optimiser": _kinds(registry.optimisers, _optimiser(), "what proposes merges"),
        "executor": section(_executor()),
        "confirm": section(
            {
                "pictures": {"type": "integer", "minimum": 0},
                "models": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "warm_start": {"anyOf": [{"type": "string"}, section(_warm_start(), "study")]},
        "plugins": {"type": "array", "items": plugin()},
    }
    others = {key: _FIELDS.get(key, key) for key in TOP if key not in own}
    keys = {**properties_of(StudyConfig, others), **own}
    tried: Schema = {"type": "object", "additionalProperties": WEIGHT}
    keys["try"] |= {"items": {"anyOf": [{"type": "string"}, tried]}}
    options: Schema = {"type": "array", "items": {"type": "object"}, "minItems": 1}
    del keys["evaluators"]["type"], keys["evaluators"]["items"]
    keys["evaluators"]["anyOf"] = [
        {"type": "integer", "minimum": 1},
        options,
        section(_ray(), "name", "number"),
    ]
    keys["racing"]["enum"] += [True, False]  # which YAML makes of the words on and off
    needed = ("merge", "payloads", "generator", "scorers")
    ordered = {key: keys[key] for key in TOP}
    return section(ordered, *needed, **{"$schema": DIALECT, "title": "bmerge study"})


def _ray() -> dict[str, Schema]:
    amount: Schema = {"type": "number", "minimum": 0}
    return {
        "name": {"const": "ray"},
        "number": {"type": "integer", "minimum": 1},
        "address": {"type": "string", "default": "auto"},
        "cpus": {**amount, "default": 1},
        "gpus": {**amount, "default": 0},
        "models": _WORDS,
    }


def _warm_start() -> dict[str, Schema]:
    return {"study": {"type": "string"}, "trials": {"type": "integer", "minimum": 1, "default": 5}}


def _constraint() -> dict[str, Schema]:
    return properties_of(Constraint, {name: name for name in ("scorer", "model", "slack")})


def _merge(registry: Registry) -> Schema:
    known = settings(registry)
    kept = {key: known[key] for key in known if key not in {"rebasin", "plugins"}}
    keys = {"method": method_names(registry), "models": models(), **kept, **steps(registry)}
    return section(keys, "models")


def _space() -> Schema:
    meant = meanings_of(HyperparameterSpace)
    blocks: Schema = {"type": "object", "additionalProperties": {"anyOf": [_NUMBER, _RANGE]}}
    keys: dict[str, Schema] = {
        "range": _RANGE,
        "freeze": _NUMBER,
        "per": {"enum": ["block", "single"]},
        "groups": _GROUPS,
        "blocks": blocks,
        "scale": {"enum": ["linear", "log"]},
        "integer": {"type": "boolean"},
        "simplex": {"type": "boolean"},
        "layers": {"anyOf": [{"type": "array", "items": {"enum": list(KINDS)}}, _GROUPS]},
        "presets": _WORDS,
    }
    return section({k: {**v, **_described(meant.get(k))} for k, v in keys.items()})


def _choice() -> Schema:
    blocks: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    keys = {
        "range": _RANGE, "scale": {"enum": ["linear", "log"]}, "integer": {"type": "boolean"},
        "blocks": blocks,
    }  # fmt: skip
    return {"anyOf": [{"type": "array", "minItems": 2}, section(keys, "range")]}


def _payloads() -> Schema:
    pictures = properties_of(Payload, {name: name for name in _PICTURE})
    pictures["tags"] = _WORDS | _described(pictures["tags"].get("description"))
    run = section({"start": _SEED, "count": {"type": "integer", "minimum": 1}}, "start", "count")
    seeds: Schema = {"anyOf": [{"type": "array", "items": _SEED}, run]}
    prompt = {"prompt": {"type": "string"}, "from": PATH, "seed": _SEED, "seeds": seeds, **pictures}
    keys: dict[str, Schema] = {
        "defaults": section(pictures),
        "seeds": seeds,
        "prompts": {"type": "array", "items": {"anyOf": [{"type": "string"}, section(prompt)]}},
        "wildcards": {"anyOf": [PATH, {"const": False}]},
    }
    return section(keys, "prompts")


def _scorer() -> dict[str, Schema]:
    keys = properties_of(
        ScorerConfig, {name: name for name in ("label", "weight", "only", "tally")}
    )
    return {**keys, "only": _WORDS | _described(keys["only"].get("description"))}


def _optimiser() -> dict[str, Schema]:
    names = ("seed", "init", "init_points", "n_iters", "least_gain")
    keys = properties_of(OptimiserConfig, {name: name for name in names})
    limits = properties_of(Limits, {name: name for name in ("trials", "pictures", "minutes")})
    return {**keys, **limits}


def _executor() -> dict[str, Schema]:
    options = {key_of(name): name for name in ExecutorOptions.annotations()}
    scratch = properties_of(ExecutorConfig, {"scratch": "scratch"})
    return {**properties_of(ExecutorOptions, options), **scratch}


def _kinds(kinds: Catalogue[Any], own: dict[str, Schema], meaning: str) -> Schema:
    """Return the schema of a section that names a plugin and has its options beside the name."""
    names = list(kinds)
    rules = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": section({"name": {}, **own, **_options(kinds[name])}, *_required(kinds[name])),
        }
        for name in names
    ]
    name = {
        "description": f"{meaning}: " + "; ".join(f"{n}: {kinds[n].summary}" for n in names),
        "anyOf": [{"enum": names}, {"type": "string"}],
    }
    return {"type": "object", "properties": {"name": name, **own}, "allOf": rules}


def _options(kind: PluginKind[Any]) -> dict[str, Schema]:
    hints, meanings = annotations_of(kind.factory), meanings_of(kind.factory)
    return {
        option.name: {**_described(meanings.get(option.name)), **type_schema(hints[option.name])}
        for option in kind.options
    }


def _required(kind: PluginKind[Any]) -> list[str]:
    return [option.name for option in kind.options if option.required]


def _described(meaning: str | None) -> Schema:
    return {"description": meaning} if meaning else {}
