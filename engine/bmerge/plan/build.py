"""Making a plan: hyperparameters meet the matched tensors."""

from __future__ import annotations

from collections.abc import Sequence

from bmerge.architectures import Architecture
from bmerge.expr import IDENTITY, seed_of_key
from bmerge.formats import Checkpoint, Tensor, runs_of
from bmerge.plan.compose import Composed, Composer
from bmerge.plan.jobs import CopyJob, FillJob, Job, Jobs, MergeJob, Plan, SplitJob
from bmerge.plan.match import Matching, match_tensors
from bmerge.plan.matched import Match
from bmerge.plan.measures import measures_of
from bmerge.plan.steps import Methods, plan_steps
from bmerge.recipe import Recipe

__all__ = ["build_plan", "make_plan"]


def make_plan(
    recipe: Recipe,
    *,
    method: Methods,
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
) -> Plan:
    """Turn a recipe into jobs and an exact layout; reads no weights.

    Args:
        recipe: what to do.
        method: the merge method that it names, or name → method if it has steps.
        checkpoints: the inputs, in the order of its models.
        architecture: the block map.

    Returns:
        The plan; equal arguments give equal plans.

    Raises:
        MethodError: if a method takes another number of models or other hyperparameters.
        ArchitectureError: if the inputs do not fit together.
        RecipeError: if weights name a block that the architecture has not, the recipe has
            another number of models, or models and differences are mixed up.
    """
    matching = match_tensors(recipe, checkpoints, architecture, method=method)
    return build_plan(recipe, matching=matching)


def build_plan(recipe: Recipe, *, matching: Matching) -> Plan:
    """Make a plan of tensors that are already matched.

    Raises:
        MethodError: if a method takes other hyperparameters.
        RecipeError: if weights name a block that the architecture has not.
    """
    steps = plan_steps(recipe.as_steps(), matching.methods, matching.architecture)
    composer = Composer(steps, matching.architecture)
    # Methods have seeds of their own, whoever rounds by chance goes by the job's.
    seed = recipe.seed if recipe.rounding == "stochastic" else None
    matches = matching.matches
    composer.check(match.output.key for match in matches if match.fill is None)
    groups = None if composer.by_key else matching.groups
    jobs = Jobs(len(matches), lambda index: _job(matches[index], composer, seed), groups)
    _ = jobs.totals  # makes one of each kind: what is wrong with it is told here
    return Plan(
        recipe, steps, matching.architecture, matching.checkpoints, jobs, matching.outputs,
        matching.notes, matching.warnings, measures_of(steps, matching),
    )  # fmt: skip


def _job(match: Match, composer: Composer, seed: int | None) -> Job:
    output = match.output
    if match.fill is not None:
        return FillJob(output.key, match.fill)
    composed = composer.of(match.form, match.block, output.key)
    if match.channels is not None:
        assert match.widest is not None
        shape = (output.shape[0], match.channels, *output.shape[2:])
        return SplitJob(_merge(match, composed, shape, seed), match.widest)
    if isinstance(composed, int) and _is_copied(match.inputs[composed], output.dtype):
        return CopyJob(output.key, match.inputs[composed], match.block)
    return _merge(match, composed, output.shape, seed)


def _is_copied(source: Tensor, dtype: str) -> bool:
    """Tell whether a tensor's bytes are those of the output."""
    return source.dtype == dtype and runs_of(source) is not None


def _merge(
    match: Match, composed: Composed | int, shape: tuple[int, ...], seed: int | None
) -> MergeJob:
    """Compute a tensor, or convert a model's to the output's dtype.

    Args:
        match: the tensor and its inputs.
        composed: what to compute, or the input that is the result.
        shape: of the output.
        seed: of the rounding; None if nothing is rounded by chance.
    """
    output = match.output
    if isinstance(composed, int):
        composed = Composed(IDENTITY, (), (composed,))
    inputs = tuple([match.inputs[index] for index in composed.inputs])
    drawn = seed is not None or composed.draws
    return MergeJob(
        output.key, match.block, composed.graph, inputs, composed.scalars, shape, output.dtype,
        seed_of_key(output.key, seed or 0) if drawn else 0, base=match.base,
    )  # fmt: skip
