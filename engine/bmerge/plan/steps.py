"""Steps whose names have become objects: method, checked hyperparameters, graph."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import BmergeError, MethodError, RecipeError, nearest
from bmerge.expr import Graph, clamped, with_seed
from bmerge.method import MergeMethod
from bmerge.recipe import BlockWeights, Recipe, Step
from bmerge.records import dataclass

__all__ = [
    "UNKNOWN", "Methods", "PlannedStep", "graph_of", "methods_of", "naming", "plan_steps",
]  # fmt: skip

UNKNOWN: Final = math.nan
"""Stands for a statistic of the models until they have been measured."""

Methods: TypeAlias = MergeMethod | Mapping[str, MergeMethod]
"""The method of a recipe without steps, or name → method."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that can be computed.

    Args:
        step: as the recipe has it.
        method: the merge method that it names.
        weights: name → value per block of every hyperparameter; one per model is name_1, ….
        graph: what the method computes, with the step's seed; its scalars are the hyperparameters
            and then the statistics, as they are called in the whole recipe.
    """

    step: Step
    method: MergeMethod
    weights: Mapping[str, BlockWeights]
    graph: Graph

    @property
    def labels(self) -> tuple[str, ...]:
        """What its hyperparameters are called in the whole recipe."""
        return tuple(map(self.label, self.weights))

    def label(self, name: str) -> str:
        """Return what one of its numbers is called in the whole recipe."""
        return self.step.label(name)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of keys that have values of their own."""
        return tuple(pattern for weights in self.weights.values() for pattern in weights.keys)

    def scalars(
        self, block: str, patterns: Collection[str], architecture: Architecture
    ) -> tuple[float, ...]:
        """Return the values of ``graph.scalars`` in a block; of statistics, :data:`UNKNOWN`.

        Args:
            block: the block.
            patterns: those of :attr:`patterns` that the key matches.
            architecture: for blocks that follow others.
        """
        known = tuple(
            weights.of(architecture.leader(block, weights.blocks), patterns)
            for weights in self.weights.values()
        )
        return known + (UNKNOWN,) * len(self.method.statistics)


@contextmanager
def naming(step: str) -> Iterator[None]:
    """Let errors say which step is to blame; the one of a recipe without steps has no name."""
    try:
        yield
    except BmergeError as error:
        if not step:
            raise
        raise type(error)(f"step {step!r}: {error}", hint=error.hint) from error


def methods_of(recipe: Recipe, methods: Methods) -> dict[str, MergeMethod]:
    """Return the method of each step of a recipe in the form of steps, each with its models.

    Raises:
        MethodError: if there is none of that name, or it takes another number of models.
    """
    found: dict[str, MergeMethod] = {}
    for step in _applying(recipe):
        with naming(step.name):
            known = {step.method: methods} if isinstance(methods, MergeMethod) else methods
            if step.method not in known:
                message = f"unknown merge method {step.method!r}"
                raise MethodError(message, hint=nearest(step.method, known))
            found[step.name] = known[step.method]
            found[step.name].check_models(len(step.inputs))
    return found


def plan_steps(
    recipe: Recipe, methods: Mapping[str, MergeMethod], architecture: Architecture
) -> tuple[PlannedStep, ...]:
    """Return the steps of a recipe in the form of steps, each after those that it needs.

    Raises:
        MethodError: if a method takes other hyperparameters or options.
        RecipeError: if weights name a block that the architecture has not.
    """
    return tuple(
        _planned(step, methods[step.name], recipe.seed, architecture) for step in _applying(recipe)
    )


def _applying(recipe: Recipe) -> Iterator[Step]:
    return (step for step in recipe.in_order() if isinstance(step, Step))


def _planned(step: Step, method: MergeMethod, seed: int, architecture: Architecture) -> PlannedStep:
    with naming(step.name):
        weights = _hyperparameters(step, method, architecture)
        graph = _graph(step, method)
    seeded = with_seed(graph, seed if step.seed is None else step.seed)
    planned = PlannedStep(step, method, weights, seeded)
    labels = tuple(map(planned.label, graph.scalars))
    return replace(planned, graph=replace(seeded, scalars=labels))


def graph_of(recipe: Recipe, method: MergeMethod) -> Graph:
    """Return what a recipe of one method computes for each tensor, limited if that is asked for.

    Raises:
        MethodError: if the method takes another number of models or other options.
    """
    (step,) = recipe.as_steps().steps
    assert isinstance(step, Step)
    return _graph(step, method)


def _graph(step: Step, method: MergeMethod) -> Graph:
    count = len(step.inputs)
    graph = method.graph(count, step.options)
    if step.clamp == "none":
        return graph
    return clamped(graph, tuple(range(count if step.clamp == "all" else min(count, 2))))


def _hyperparameters(
    step: Step, method: MergeMethod, architecture: Architecture
) -> dict[str, BlockWeights]:
    """Return the method's hyperparameters in its order, all checked."""
    count = len(step.inputs)
    complete = method.complete(step.hyperparameters, count, BlockWeights)
    for name, weights in step.hyperparameters.items():
        for block in weights.blocks:
            if block not in architecture.blocks:
                message = f"{name}: unknown block {block!r} of {architecture.id}"
                raise RecipeError(message, hint=nearest(block, architecture.blocks))
        for value in (*map(weights.of, architecture.blocks), *weights.keys.values()):
            method.validate({name: value}, count)
    return complete
