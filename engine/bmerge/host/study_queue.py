"""What a study tries before its optimiser has a say: baselines, ``try``, the initial design."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import BmergeError, RecipeError, StudyError
from bmerge.expr import reduces_to_input
from bmerge.host.outside import outside_recipe
from bmerge.host.registry import Registry
from bmerge.method import MergeMethod
from bmerge.plan import graph_of
from bmerge.recipe import (
    BlockWeights,
    dump_recipe,
    load_presets,
    parse_weights,
)
from bmerge.study.baselines import baselines, pure_models
from bmerge.study.config import StudyConfig
from bmerge.study.space import SearchSpace
from bmerge.study.study import initial_proposals
from bmerge.study.trial import Proposal
from bmerge.study.warm import warm_proposals

__all__ = ["queue_of", "weights_of_try"]


def queue_of(
    config: StudyConfig,
    method: MergeMethod,
    architecture: Architecture,
    search: SearchSpace,
    registry: Registry,
    warm: Sequence[Mapping[str, float]] = (),
) -> Iterator[Proposal]:
    """Yield the proposals that need no optimiser: baselines, attempts, warm start, design."""
    count = len(config.merge.models)
    if config.baselines:
        graph = graph_of(config.merge, method)
        reduces = partial(reduces_to_input, graph)
        groups = method.groups_of(count)
        pure = pure_models(groups, reduces, count, operations=len(graph.nodes))
        yield from baselines(search, pure, count)
    for number, attempt in enumerate(config.attempts, start=1):
        if isinstance(attempt, Path):
            recipe = outside_recipe(attempt, registry)
            yield Proposal("try", attempt.name, {}, {}, recipe=recipe)
            continue
        weights = _weights(attempt, method, count, architecture, f"try[{number - 1}]")
        yield Proposal("try", f"try {number}", _values(search, weights), weights)
    yield from warm_proposals(warm, search)
    design = config.optimiser
    yield from initial_proposals(search, design.init, design.init_points, design.seed)


def _weights(
    attempt: Mapping[str, Any],
    method: MergeMethod,
    n_models: int,
    architecture: Architecture,
    place: str,
) -> dict[str, BlockWeights]:
    weights: dict[str, BlockWeights] = {}
    for name, value in attempt.items():
        try:
            weights[name] = parse_weights(value, architecture, presets=load_presets())
            for number in (weights[name].default, *weights[name].blocks.values()):
                method.validate({name: number}, n_models)
        except BmergeError as error:
            raise RecipeError(f"{place}.{name}: {error}", hint=error.hint) from error
    return method.spread(weights, n_models)


def _values(search: SearchSpace, weights: Mapping[str, BlockWeights]) -> dict[str, float]:
    """Return the point of the space that means ``weights``, or {} where it lies outside."""
    try:
        return search.values(weights)
    except StudyError:
        return {}


def weights_of_try(queue: Iterable[Proposal]) -> list[dict[str, Any]]:
    """Return the block weights of the merges that a person wants to have tried."""
    return [
        {name: weights.assignments for name, weights in proposal.weights.items()}
        if proposal.recipe is None
        else {"recipe": dump_recipe(proposal.recipe)}
        for proposal in queue
        if proposal.phase == "try"
    ]
