"""What must be measured before a merge: its methods' statistics, over what they merge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from bmerge.errors import RecipeError
from bmerge.expr import Extent, Graph, extent_of
from bmerge.method import Statistic
from bmerge.plan.forms import Applied, Form, Leaf, leaves, parts_first
from bmerge.plan.jobs import Measure, MergeJob
from bmerge.plan.match import Matching
from bmerge.plan.matched import Match
from bmerge.plan.steps import PlannedStep, naming

__all__ = ["measures_of"]

_Where: TypeAlias = "tuple[Match, dict[str, Applied]]"
"""A tensor, and where each of its steps is applied."""


def measures_of(steps: Sequence[PlannedStep], matching: Matching) -> tuple[Measure, ...]:
    """Return one measure for all statistics that take the same of the same tensors.

    Args:
        steps: of the recipe.
        matching: the tensors; those that are kept, and those of which only some channels are
            merged, take no part.

    Raises:
        RecipeError: if a statistic is asked of what another step computes.
    """
    if not any(step.method.statistics for step in steps):
        return ()
    applied: dict[Form, dict[str, Applied]] = {}
    for match in matching.matches:
        if match.form not in applied:
            parts = (part for part in parts_first(match.form) if isinstance(part, Applied))
            applied[match.form] = {part.step: part for part in parts}
    where = [(match, applied[match.form]) for match in matching.matches if _is_measured(match)]
    return tuple(measure for step in steps for measure in _of_step(step, where))


def _is_measured(match: Match) -> bool:
    return match.fill is None and match.channels is None and 0 not in match.output.shape


def _of_step(step: PlannedStep, where: Sequence[_Where]) -> Iterator[Measure]:
    groups: dict[tuple[Graph, tuple[str, ...]], list[Statistic]] = {}
    for statistic in step.method.statistics:
        key = statistic.measure_graph(len(step.step.inputs)), statistic.skip
        groups.setdefault(key, []).append(statistic)
    for (graph, skip), statistics in groups.items():
        folds = tuple((step.label(each.name), each.fold_graph()) for each in statistics)
        yield Measure(tuple(_jobs(step, graph, skip, where)), folds)


def _jobs(
    step: PlannedStep, graph: Graph, skip: Sequence[str], where: Sequence[_Where]
) -> Iterator[MergeJob]:
    for match, applied in where:
        skipped = any(fnmatchcase(match.output.key, pattern) for pattern in skip)
        found = applied.get(step.step.name)
        if found is not None and not skipped:
            with naming(step.step.name):
                yield _job(graph, match, found)


def _job(graph: Graph, match: Match, applied: Applied) -> MergeJob:
    models = leaves(match.form)
    if not all(isinstance(form, Leaf) for form in applied.inputs):
        message = "it takes a statistic of whole models, which another step has yet to compute"
        raise RecipeError(message, hint="merge that step into a file first, and name the file")
    inputs = tuple(
        match.inputs[models.index(form.model)] for form in applied.inputs if isinstance(form, Leaf)
    )
    output, columns = match.output, math.prod(match.output.shape[1:])
    wanted = columns if extent_of(graph) is Extent.COLUMNS else 1
    return MergeJob(
        output.key, match.block, graph, inputs, (), output.shape, "F32", seed=0, wanted=wanted
    )
