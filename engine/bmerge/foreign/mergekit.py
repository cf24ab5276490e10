"""Configurations of mergekit as recipes.

A value may be a number, a list over the layers, or several of these, each for the tensors whose
name contains a word. Lists become weights of the layers' blocks; words become a step for each,
and the result picks from these by the names of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import nearest
from bmerge.foreign.builder import RecipeBuilder
from bmerge.foreign.mergekit_methods import METHODS, KitMethod
from bmerge.recipe import BlockWeights, ModelRef, Node, Recipe, Value
from bmerge.recipe.settings import read_settings

__all__ = ["is_mergekit", "read_mergekit"]

ArchitectureOf: TypeAlias = Callable[[Recipe], Architecture]

_KEYS = (
    "merge_method", "models", "slices", "base_model", "parameters", "dtype", "out_dtype",
    "tokenizer", "tokenizer_source", "chat_template", "modules",
)  # fmt: skip
_NO_WORD = "*"
_LAYER = "L"


def is_mergekit(node: Node) -> bool:
    """Tell whether a document is a configuration of mergekit."""
    return isinstance(node.value, dict) and "merge_method" in node.value


def read_mergekit(node: Node, architecture_of: ArchitectureOf | None = None) -> Recipe:
    """Return the recipe that a configuration of mergekit is.

    Args:
        node: the document.
        architecture_of: finds the blocks of the first model; needed for lists over layers.

    Raises:
        RecipeError: if it has what has no counterpart here.
    """
    fields = node.mapping(_KEYS)
    for key in ("modules", "tokenizer", "tokenizer_source"):
        if key in fields:
            raise fields[key].error(f"mergekit's {key!r} has no counterpart here")
    name = fields["merge_method"].text()
    if name not in METHODS:
        message = f"mergekit's method {name!r} has no counterpart here"
        raise fields["merge_method"].error(message, nearest(name, METHODS))
    dtype = fields.get("out_dtype", fields.get("dtype"))
    settings = {} if dtype is None else read_settings({"dtype": dtype})
    models, own = _models(node, fields)
    reader = _Reader(fields["merge_method"], METHODS[name], models, _base(fields), architecture_of)
    return replace(reader.recipe([*own, *_parameters(fields)]), **settings)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model and its own parameters."""

    path: str
    parameters: Mapping[str, Node]
    node: Node


def _parameters(fields: Mapping[str, Node]) -> list[Mapping[str, Node]]:
    return [fields["parameters"].mapping()] if "parameters" in fields else []


def _base(fields: Mapping[str, Node]) -> str | None:
    return _path(fields["base_model"]) if "base_model" in fields else None


def _path(node: Node) -> str:
    """Return a model's path; what else may be said of it has no counterpart here."""
    path = node.text()
    if "+" in path:
        raise node.error("LoRAs on models have no counterpart here", "bake them in beforehand")
    return path


def _models(
    node: Node, fields: Mapping[str, Node]
) -> tuple[list[_Model], list[Mapping[str, Node]]]:
    """Return the models, and the parameters of the slice if they are in one."""
    if "models" in fields:
        return [_model(each, ("model", "parameters")) for each in fields["models"].sequence()], []
    if "slices" not in fields:
        raise node.error("the configuration has neither models nor slices")
    slices = fields["slices"].sequence()
    if len(slices) != 1:
        message = "slices that put layers elsewhere have no counterpart here"
        raise fields["slices"].error(message, "one slice of the same layers of each model has")
    inner = slices[0].mapping(("sources", "parameters", "base_model"))
    if "sources" not in inner:
        raise slices[0].error("the slice has no 'sources'")
    sources = inner["sources"].sequence()
    ranges = [s.mapping().get("layer_range", s).plain() for s in sources]
    if any(each != ranges[0] for each in ranges) or list(ranges[0])[:1] != [0]:
        raise slices[0].error("layers that are put elsewhere have no counterpart here")
    keys = ("model", "parameters", "layer_range")
    return [_model(each, keys) for each in sources], _parameters(inner)


def _model(node: Node, keys: Sequence[str]) -> _Model:
    if isinstance(node.value, str):
        return _Model(_path(node), {}, node)
    fields = node.mapping(keys)
    if "model" not in fields:
        raise node.error(f"{node.name} has no 'model'")
    own = _parameters(fields)
    return _Model(_path(fields["model"]), own[0] if own else {}, node)


class _Reader:
    """Makes the steps of one method."""

    def __init__(
        self,
        method: Node,
        known: KitMethod,
        models: Sequence[_Model],
        base: str | None,
        architecture_of: ArchitectureOf | None,
    ) -> None:
        self._method = method
        self._known = known
        self._base = base
        self._architecture_of = architecture_of
        self._builder = RecipeBuilder()
        self._models = self._in_order(models)
        self._inputs = tuple(self._builder.model(ModelRef(m.path)) for m in self._models)

    def recipe(self, shared: Sequence[Mapping[str, Node]]) -> Recipe:
        """Return the recipe.

        Args:
            shared: parameters of all models; the first that has one goes before the others.
        """
        settings = self._settings(shared)
        words = list(dict.fromkeys(w for s in settings.values() for w, _ in s if w != _NO_WORD))
        if not words:
            return self._builder.recipe(self._step(settings, _NO_WORD))
        lists = {tuple(w for w, _ in s) for s in settings.values()}
        if any(len(each) > 1 and set(words) - set(each) for each in lists):
            message = "parameters with different filters have no counterpart here"
            raise self._method.error(message)
        parts = {f"*{word}*": self._step(settings, word) for word in words}
        parts["*"] = self._step(settings, _NO_WORD)
        return self._builder.recipe(self._builder.pick(parts))

    def _in_order(self, models: Sequence[_Model]) -> list[_Model]:
        """Return the models in the order that the method takes, the base first."""
        if self._known.base == "none":
            if self._base is not None and self._method.value != "linear":
                raise self._method.error(f"{self._method.value} with a base_model is not known")
            return list(models)
        if self._base is None:
            raise self._method.error(f"{self._method.value} needs a base_model")
        others = [model for model in models if model.path != self._base]
        listed = [model for model in models if model.path == self._base]
        first = listed[0] if listed else _Model(self._base, {}, self._method)
        if self._known.base == "first" and len(others) != 1:
            raise self._method.error(f"{self._method.value} takes two models")
        return [first, *others]

    def _settings(
        self, shared: Sequence[Mapping[str, Node]]
    ) -> dict[str, list[tuple[str, float | list[float]]]]:
        """Return hyperparameter → its values, each for a word in the names of keys."""
        known = self._known
        allowed = {*known.per_model, *known.shared, *known.options, *known.refused}
        for parameters in (*shared, *(model.parameters for model in self._models)):
            for name, node in parameters.items():
                if name not in allowed:
                    message = f"{name!r} of {self._method.value} has no counterpart here"
                    raise node.error(message, nearest(name, allowed))
                if name in known.refused and node.value != known.refused[name]:
                    message = f"{name}: {node.value} of {self._method.value} has no counterpart"
                    raise node.error(f"{message} here")
        further = self._models[1:] if known.base == "base" else self._models
        found: dict[str, list[tuple[str, float | list[float]]]] = {}
        for name, (ours, default) in known.per_model.items():
            for number, model in enumerate(further, start=1):
                given = _first(name, [model.parameters, *shared])
                if given is None and default is None:
                    raise model.node.error(f"{model.path} has no {name!r}")
                label = ours if known.ours == "passthrough" else f"{ours}_{number}"
                found[label] = _values(given, default)
        for name, (ours, value) in known.shared.items():
            found[ours] = _values(_first(name, shared), value)
        self._options = dict(known.fixed)
        for name, (ours, choice) in known.options.items():
            said = _first(name, shared)
            self._options[ours] = choice if said is None else said.boolean()
        return found

    def _step(
        self, settings: Mapping[str, list[tuple[str, float | list[float]]]], word: str
    ) -> Value:
        weights = {name: self._weights(values, word) for name, values in settings.items()}
        return self._builder.step(self._known.ours, self._inputs, weights, self._options)

    def _weights(self, values: list[tuple[str, float | list[float]]], word: str) -> BlockWeights:
        matching = (v for w, v in values if w == _NO_WORD or (word != _NO_WORD and w in word))
        value = next(matching, None)
        if value is None:
            raise self._method.error("a parameter has no value for all other tensors")
        if isinstance(value, float):
            return BlockWeights(value)
        return self._over_layers(value)

    def _over_layers(self, values: list[float]) -> BlockWeights:
        if self._architecture_of is None:
            raise self._method.error("a list over layers needs the first model's file")
        first = ModelRef(self._models[0].path)
        blocks = self._architecture_of(Recipe("", (first,))).blocks
        layers = [b for b in blocks if b[:1] == _LAYER and b[1:].isdigit()]
        if not layers:
            message = f"a list over layers: {first.path} has no layers that are known"
            raise self._method.error(message)
        last = max(len(layers) - 1, 1)
        given = {b: _at(values, index / last) for index, b in enumerate(layers)}
        return BlockWeights(values[0], given)


def _first(name: str, places: Sequence[Mapping[str, Node]]) -> Node | None:
    return next((place[name] for place in places if name in place), None)


def _values(node: Node | None, default: float | None) -> list[tuple[str, float | list[float]]]:
    """Return the values of a parameter, each for a word in the names of keys."""
    if node is None:
        assert default is not None
        return [(_NO_WORD, default)]
    conditions = node.value if isinstance(node.value, list) else [node]
    if not any(isinstance(each.value, dict) for each in conditions):
        return [(_NO_WORD, _number(node))]
    found = []
    for each in conditions:
        fields = each.mapping(("filter", "value"))
        if "value" not in fields:
            raise each.error(f"{each.name} has no 'value'")
        word = fields["filter"].text() if "filter" in fields else _NO_WORD
        found.append((word, _number(fields["value"])))
    return found


def _number(node: Node) -> float | list[float]:
    if isinstance(node.value, list):
        return [item.number() for item in node.value]
    return node.number()


def _at(values: Sequence[float], t: float) -> float:
    """Return the value at a place from 0 to 1 of a list, between two of which it is linear."""
    scaled = t * (len(values) - 1)
    index = int(scaled)
    share = scaled - index
    return (1 - share) * values[index] + share * values[min(index + 1, len(values) - 1)]
