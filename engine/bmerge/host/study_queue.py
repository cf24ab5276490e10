"""What a study tries before its optimiser has a say: baselines, ``try``, the initial design."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import BmergeError, RecipeError, StudyError, nearest
from bmerge.expr import reduces_to_input
from bmerge.host.numbers import spread_over, steps_of
from bmerge.host.outside import outside_recipe
from bmerge.host.registry import Registry
from bmerge.plan import Matching, graph_of
from bmerge.recipe import (
    BlockWeights,
    Recipe,
    Value,
    dump_recipe,
    load_presets,
    parse_weights,
)
from bmerge.space.space import SearchSpace
from bmerge.storage.warm import warm_proposals
from bmerge.study.queue import Queue
from bmerge.study.study import initial_proposals
from bmerge.study_file.config import StudyConfig
from bmerge.trials.baselines import baselines, pure_models
from bmerge.trials.trial import Proposal

__all__ = ["given_proposals", "queue_of", "weights_of_try", "whole_recipes"]


def queue_of(config: StudyConfig, search: SearchSpace, given: Sequence[Proposal]) -> Queue:
    """Return the proposals that need no optimiser: those that are given, and the initial design.

    Of a space with a finite number of points, the design has none that came before.

    Args:
        config: of the study.
        search: its space.
        given: from :func:`given_proposals`.
    """
    design = config.optimiser
    make = partial(initial_proposals, search, design.init, design.init_points, design.seed)
    if search.space.size is None:
        return Queue(given, make, design.init_points)
    tried = [proposal.values for proposal in given]
    fresh = []
    for proposal in make():
        if proposal.values not in tried:
            tried.append(proposal.values)
            fresh.append(proposal)
    return Queue([*given, *fresh], tuple, 0)


def given_proposals(
    config: StudyConfig,
    architecture: Architecture,
    search: SearchSpace,
    registry: Registry,
    warm: Sequence[Mapping[str, float]] = (),
    wholes: Sequence[tuple[int, Recipe]] = (),
) -> Iterator[Proposal]:
    """Yield baselines, attempts and warm start.

    Args:
        config: of the study.
        architecture: of its models.
        search: its space.
        registry: where names are looked up.
        warm: points of the space that another study found best.
        wholes: of a merge of steps, the index of each model that can be given as it is, and how.
    """
    merge = config.merge
    if config.baselines:
        yield from _whole(merge, wholes)
        yield from baselines(search, *_pure(merge, registry))
    for number, attempt in enumerate(config.attempts, start=1):
        if isinstance(attempt, Path):
            recipe = outside_recipe(attempt, registry)
            yield Proposal("try", attempt.name, {}, {}, recipe=recipe)
            continue
        weights = _weights(attempt, merge, registry, architecture, f"try[{number - 1}]")
        yield Proposal("try", f"try {number}", _values(search, weights), weights)
    yield from warm_proposals(warm, search)


def whole_recipes(merge: Recipe, matching: Matching) -> Iterator[tuple[int, Recipe]]:
    """Yield the models of a merge of steps that are whole: index, and the recipe of it as it is.

    Those are models with every tensor of the merge; a VAE alone, or a difference, is none.
    """
    if not merge.steps:
        return
    for index, (model, checkpoint) in enumerate(
        zip(merge.models, matching.checkpoints, strict=True)
    ):
        has_all = all(output.key in checkpoint.tensors for output in matching.outputs)
        if model.content == "model" and has_all:
            only = replace(merge, models=(model,), steps=(), exclude=(), plugins=())
            yield index, replace(only, result=Value(model.name))


def _whole(merge: Recipe, wholes: Sequence[tuple[int, Recipe]]) -> Iterator[Proposal]:
    for index, recipe in wholes:
        source = f"model {merge.models[index].name}"
        yield Proposal("baseline", source, {}, {}, model=index, recipe=recipe)


def _pure(merge: Recipe, registry: Registry) -> tuple[dict[int, dict[str, float]], int]:
    """Return index of a model → numbers that give it, and how many models are given by index."""
    if merge.steps:
        return {}, 0
    method, count = registry.method(merge.method), len(merge.models)
    graph = graph_of(merge, method)
    reduces = partial(reduces_to_input, graph)
    groups = method.groups_of(count)
    return pure_models(groups, reduces, count, operations=len(graph.nodes)), count


def _weights(
    attempt: Mapping[str, Any],
    merge: Recipe,
    registry: Registry,
    architecture: Architecture,
    place: str,
) -> dict[str, BlockWeights]:
    weights: dict[str, BlockWeights] = {}
    for name, value in attempt.items():
        try:
            weights[name] = parse_weights(value, architecture, presets=load_presets())
            for number in (weights[name].default, *weights[name].blocks.values()):
                _check(name, number, merge, registry)
        except BmergeError as error:
            raise RecipeError(f"{place}.{name}: {error}", hint=error.hint) from error
    return spread_over(weights, merge, registry)


def _check(name: str, number: float, merge: Recipe, registry: Registry) -> None:
    """Complain if a merge takes no such number."""
    head, _, short = name.rpartition(".")
    steps = {step.name: step for step in steps_of(merge)}
    if head not in steps:
        message = f"no step of the merge is called {head!r}" if head else "it must be STEP.NAME"
        raise RecipeError(message, hint=nearest(head, steps))
    step = steps[head]
    registry.method(step.method).validate({short: number}, len(step.inputs))


def _values(search: SearchSpace, weights: Mapping[str, BlockWeights]) -> dict[str, float]:
    """Return the point of the space that means ``weights``, or {} where it lies outside."""
    try:
        return search.values(weights)
    except StudyError:
        return {}


def weights_of_try(given: Iterable[Proposal]) -> list[dict[str, Any]]:
    """Return the block weights of the merges that a person wants to have tried."""
    return [
        {name: weights.assignments for name, weights in proposal.weights.items()}
        if proposal.recipe is None
        else {"recipe": dump_recipe(proposal.recipe)}
        for proposal in given
        if proposal.phase == "try"
    ]
