"""Making a plan: hyperparameters meet the matched tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.expr import Graph, Node, clamped, reduces_to_input
from bmerge.formats import Checkpoint, TensorInfo
from bmerge.lora import PatchedTensor
from bmerge.method import MergeMethod
from bmerge.plan.jobs import CopyJob, FillJob, MergeJob, OutputTensor, Plan, SplitJob
from bmerge.plan.match import Match, Matching, match_tensors
from bmerge.recipe import BlockWeights, Recipe

__all__ = ["build_plan", "graph_of", "make_plan"]

_IDENTITY = Graph((Node("input", (), (0,)),), 0, 1, ())
"""What is computed where a tensor keeps its values and changes its dtype."""


def make_plan(
    recipe: Recipe,
    *,
    method: MergeMethod,
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
) -> Plan:
    """Turn a recipe into jobs and an exact layout; reads no weights.

    Args:
        recipe: what to do.
        method: the merge method that it names.
        checkpoints: the inputs, in the order of its models.
        architecture: the block map.

    Returns:
        The plan; equal arguments give equal plans.

    Raises:
        MethodError: if the method takes another number of models or other hyperparameters.
        ArchitectureError: if the inputs do not fit together.
        RecipeError: if weights name a block that the architecture has not, or the recipe has
            another number of models.
    """
    if len(recipe.models) != len(checkpoints):
        message = f"the recipe names {len(recipe.models)} models, {len(checkpoints)} are given"
        raise RecipeError(message)
    method.check_models(len(checkpoints))
    weights = _hyperparameters(recipe, method, architecture)
    matching = match_tensors(recipe, checkpoints, architecture)
    return _build(recipe, method, matching, weights)


def build_plan(recipe: Recipe, *, method: MergeMethod, matching: Matching) -> Plan:
    """Make a plan of tensors that are already matched.

    Raises:
        MethodError: if the method takes other hyperparameters.
        RecipeError: if weights name a block that the architecture has not.
    """
    weights = _hyperparameters(recipe, method, matching.architecture)
    return _build(recipe, method, matching, weights)


def graph_of(recipe: Recipe, method: MergeMethod) -> Graph:
    """Return what is computed for each tensor: the method's graph, limited if that is asked for.

    Raises:
        MethodError: if the method takes another number of models or other options.
    """
    count = len(recipe.models)
    graph = method.graph(count, recipe.options)
    if recipe.clamp == "none":
        return graph
    return clamped(graph, tuple(range(count if recipe.clamp == "all" else min(count, 2))))


def _build(
    recipe: Recipe, method: MergeMethod, matching: Matching, weights: Sequence[BlockWeights]
) -> Plan:
    graph = graph_of(recipe, method)
    scalars = {
        block: tuple(_value(weight, block, matching.architecture) for weight in weights)
        for block in matching.architecture.blocks
    }
    merges: list[MergeJob] = []
    copies: list[CopyJob] = []
    fills: list[FillJob] = []
    splits: list[SplitJob] = []
    for match in matching.matches:
        job = _job(match, graph, scalars[match.block], recipe.seed)
        if isinstance(job, MergeJob):
            merges.append(job)
        elif isinstance(job, CopyJob):
            copies.append(job)
        elif isinstance(job, FillJob):
            fills.append(job)
        else:
            splits.append(job)
    return Plan(
        recipe, method, matching.architecture, matching.checkpoints, tuple(merges), tuple(copies),
        tuple(fills), tuple(splits), tuple(match.output for match in matching.matches),
        matching.notes,
    )  # fmt: skip


def _job(
    match: Match, graph: Graph, scalars: tuple[float, ...], seed: int
) -> MergeJob | CopyJob | FillJob | SplitJob:
    output = match.output
    seed = _seed(seed, output.key)
    if match.fill is not None:
        return FillJob(output.key, match.fill)
    if not match.merged:
        return _keep(match, 0, seed)
    same = [match.inputs.index(info) for info in match.inputs]
    chosen = reduces_to_input(graph, scalars, same)
    if match.channels is not None:
        shape = (output.shape[0], match.channels, *output.shape[2:])
        widest = max(match.inputs, key=lambda info: info.shape[1])
        if chosen is None:
            return SplitJob(_merge(match, graph, scalars, shape, seed), widest)
        return SplitJob(_convert(match, match.inputs[chosen], shape, seed), widest)
    if chosen is not None:
        return _keep(match, chosen, seed)
    return _merge(match, graph, scalars, output.shape, seed)


def _keep(match: Match, index: int, seed: int) -> CopyJob | MergeJob:
    """Take one input's values: its bytes, or converted if the output has another dtype."""
    source, output = match.inputs[index], match.output
    if source.dtype == output.dtype and not isinstance(source, PatchedTensor):
        return CopyJob(output.key, source, match.block)
    return _convert(match, source, output.shape, seed)


def _convert(match: Match, source: TensorInfo, shape: tuple[int, ...], seed: int) -> MergeJob:
    output = match.output
    return MergeJob(output.key, match.block, _IDENTITY, (source,), (), shape, output.dtype, seed)


def _merge(
    match: Match, graph: Graph, scalars: tuple[float, ...], shape: tuple[int, ...], seed: int
) -> MergeJob:
    output: OutputTensor = match.output
    return MergeJob(
        output.key, match.block, graph, match.inputs, scalars, shape, output.dtype, seed
    )


def _seed(seed: int, key: str) -> int:
    """Return a seed of 64 bits that differs from tensor to tensor."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _value(weights: BlockWeights, block: str, architecture: Architecture) -> float:
    return weights.of(architecture.leader(block, weights.blocks))


def _hyperparameters(
    recipe: Recipe, method: MergeMethod, architecture: Architecture
) -> tuple[BlockWeights, ...]:
    """Return the method's hyperparameters in its order, all checked."""
    n_models = len(recipe.models)
    given: Mapping[str, BlockWeights] = recipe.hyperparameters
    complete = method.complete(given, n_models, BlockWeights)
    for name, weights in given.items():
        for block in weights.blocks:
            if block not in architecture.blocks:
                message = f"{name}: unknown block {block!r} of {architecture.id}"
                raise RecipeError(message, hint=nearest(block, architecture.blocks))
        for block in architecture.blocks:
            method.validate({name: weights.of(block)}, n_models)
    return tuple(complete.values())
