"""Configurations of mergekit as recipes.

A value may be a number, a list over the layers, or several of these, each for the tensors whose
name contains a word. Lists become weights of the layers' blocks; words become a step for each,
and the result picks from these by the names of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import nearest
from bmerge.foreign.builder import RecipeBuilder, portable
from bmerge.foreign.mergekit_methods import METHODS, KitMethod
from bmerge.foreign.mergekit_values import (
    NO_WORD,
    ByWord,
    first_of,
    layers_of,
    over_layers,
    values_of,
)
from bmerge.recipe import BlockWeights, ModelRef, Node, Recipe, Value
from bmerge.recipe.settings import read_settings
from bmerge.records import dataclass

__all__ = ["is_mergekit", "read_mergekit"]

ArchitectureOf: TypeAlias = Callable[[Recipe], Architecture]

_KEYS = (
    "merge_method", "models", "slices", "base_model", "parameters", "dtype", "out_dtype",
    "tokenizer", "tokenizer_source", "chat_template", "modules",
)  # fmt: skip


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
    if "slices" in fields:
        reader.check_layers(fields["slices"])
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
    ranges = [_range(source) for source in sources]
    if not ranges or any(each != ranges[0] for each in ranges) or ranges[0][:1] != [0]:
        raise slices[0].error("layers that are put elsewhere have no counterpart here")
    keys = ("model", "parameters", "layer_range")
    return [_model(each, keys) for each in sources], _parameters(inner)


def _range(source: Node) -> list[int]:
    fields = source.mapping()
    if "layer_range" not in fields:
        raise source.error(f"{source.name} has no 'layer_range'")
    return [number.integer() for number in fields["layer_range"].sequence()]


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
        if base is not None and known.with_base:
            known = replace(known, ours=known.with_base, base="base")
        self._known = known
        self._base = base
        self._architecture_of = architecture_of
        self._builder = RecipeBuilder()
        self._models = self._in_order(models)
        self._further = self._models[1:] if known.base == "base" else self._models
        if known.two and len(self._further) != 2:
            raise method.error(f"{method.value} takes two models")
        self._inputs = tuple(self._builder.model(ModelRef(m.path)) for m in self._models)

    def recipe(self, shared: Sequence[Mapping[str, Node]]) -> Recipe:
        """Return the recipe.

        Args:
            shared: parameters of all models; the first that has one goes before the others.
        """
        settings = self._settings(shared)
        words = list(dict.fromkeys(w for s in settings.values() for w, _ in s if w != NO_WORD))
        if not words:
            return self._builder.recipe(self._step(settings, NO_WORD))
        lists = {tuple(w for w, _ in s) for s in settings.values()}
        if any(len(each) > 1 and set(words) - set(each) for each in lists):
            message = "parameters with different filters have no counterpart here"
            raise self._method.error(message)
        parts = {f"*{word}*": self._step(settings, word) for word in words}
        parts["*"] = self._step(settings, NO_WORD)
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
        return [first, *others]

    def _settings(self, shared: Sequence[Mapping[str, Node]]) -> dict[str, ByWord]:
        """Return hyperparameter → its values, each for a word in the names of keys."""
        self._check_names(shared)
        known = self._known
        found: dict[str, ByWord] = {}
        for name, (ours, default) in known.per_model.items():
            for number, model in enumerate(self._further, start=1):
                values = values_of(name, [model.parameters, *shared], default)
                if values is None:
                    raise model.node.error(f"{model.path} has no {name!r}")
                label = ours if known.ours == "passthrough" else f"{ours}_{number}"
                found[label] = values
        for name, (ours, value) in known.shared.items():
            values = values_of(name, shared, value)
            if values is None:
                raise self._method.error(f"{self._method.value} has no {name!r}")
            found[ours] = values
        self._options = dict(known.fixed)
        for name, (ours, choice) in known.options.items():
            said = first_of(name, shared)
            self._options[ours] = choice if said is None else said.boolean()
        return found

    def _check_names(self, shared: Sequence[Mapping[str, Node]]) -> None:
        """Refuse parameters that have no counterpart."""
        known = self._known
        allowed = {*known.per_model, *known.shared, *known.options, *known.refused, *known.ignored}
        for parameters in (*shared, *(model.parameters for model in self._models)):
            for name, node in parameters.items():
                if name not in allowed:
                    message = f"{name!r} of {self._method.value} has no counterpart here"
                    raise node.error(message, nearest(name, allowed))
                if name in known.refused and node.value != known.refused[name]:
                    message = f"{name}: {node.value} of {self._method.value} has no counterpart"
                    raise node.error(f"{message} here")

    def _step(self, settings: Mapping[str, ByWord], word: str) -> Value:
        weights: Mapping[str, BlockWeights] = {
            name: self._weights(values, word) for name, values in settings.items()
        }
        options: Mapping[str, str | bool] = self._options
        if self._known.finish is not None:
            weights, options = self._known.finish(weights, options)
        return self._builder.step(self._known.ours, self._inputs, weights, options)

    def _weights(self, values: ByWord, word: str) -> BlockWeights:
        matching = (v for w, v in values if w == NO_WORD or (word != NO_WORD and w in word))
        value = next(matching, None)
        if value is None:
            raise self._method.error("a parameter has no value for all other tensors")
        if isinstance(value, float):
            return BlockWeights(value)
        return over_layers(value, self._blocks("a list over layers"))

    def _blocks(self, what: str) -> tuple[str, ...]:
        """Return the blocks of the first model, some of which are layers."""
        if self._architecture_of is None:
            raise self._method.error(f"{what} needs the first model's file")
        first = ModelRef(portable(self._models[0].path))
        blocks = self._architecture_of(Recipe("", (first,))).blocks
        if not layers_of(blocks):
            raise self._method.error(f"{what}: {first.path} has no layers that are known")
        return blocks

    def check_layers(self, slices: Node) -> None:
        """Refuse slices that leave layers of the models out, where their files are known.

        Raises:
            RecipeError: says how many layers there are.
        """
        if self._architecture_of is None:
            return
        there = len(layers_of(self._blocks("a slice")))
        (inner,) = slices.sequence()
        source = inner.mapping()["sources"].sequence()[0].mapping()
        given = source["layer_range"].plain()
        if given != [0, there]:
            message = f"layers that are left out have no counterpart here: {given} of {there}"
            raise source["layer_range"].error(message, "merge all layers, from 0 on")
