"""Matching the inputs' tensors with each other, before any hyperparameter is known.

What the output holds follows the first model: its keys, their order and their dtypes. All that
is decided here is the same for every trial of a study, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bmerge.architectures import Architecture
from bmerge.errors import ArchitectureError, RecipeError, counted
from bmerge.formats import Checkpoint
from bmerge.method import MergeMethod
from bmerge.plan.checks import check_architectures, check_blocks, check_merged
from bmerge.plan.contents import contents_of
from bmerge.plan.dtypes import Dtypes
from bmerge.plan.inputs import in_one_form
from bmerge.plan.jobs import Alike, OutputTensor
from bmerge.plan.kinds import kind_warnings
from bmerge.plan.matched import Match, Matched
from bmerge.plan.notes import notes_of, some
from bmerge.plan.steps import Methods, methods_of
from bmerge.plan.values import Values
from bmerge.plan.wider import with_wider
from bmerge.recipe import Recipe
from bmerge.records import dataclass

__all__ = ["Matching", "match_tensors"]


@dataclass(frozen=True, slots=True)
class Matching:
    """All tensors of the output.

    Args:
        checkpoints: the inputs.
        architecture: the block map.
        methods: step → its method.
        matches: in the order of the first model.
        outputs: what each of them gives.
        groups: of matches that are alike.
        notes: what the user should know.
        warnings: what more likely than not is a mistake.
    """

    checkpoints: tuple[Checkpoint, ...]
    architecture: Architecture
    methods: Mapping[str, MergeMethod]
    matches: Sequence[Match]
    outputs: Sequence[OutputTensor]
    groups: Sequence[Alike]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def match_tensors(
    recipe: Recipe,
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
    *,
    method: Methods,
) -> Matching:
    """Match the tensors of all inputs.

    Args:
        recipe: the merge; its hyperparameters do not matter.
        checkpoints: the inputs, in the order of the recipe's models.
        architecture: the block map.
        method: the merge method that it names, or name → method if it has steps.

    Raises:
        ArchitectureError: if the inputs do not fit together, nothing would be merged, or all
            tensors would be in one block of the architecture that the recipe names.
        FormatError: if the weights of an input are quantised in a way that cannot be decoded.
        MethodError: if a method takes another number of models.
        RecipeError: if the recipe has another number of models, a step takes a difference and
            gets a model, or the other way round, ``exclude`` names what is not there or leaves
            nothing, or ``prune`` leaves nothing.
    """
    if len(recipe.models) != len(checkpoints):
        message = (
            f"the recipe names {counted(len(recipe.models), 'model')}, {len(checkpoints)} are given"
        )
        raise RecipeError(message)
    recipe = recipe.as_steps()
    if recipe.clamp != "none":
        raise RecipeError("a recipe of steps has 'clamp' in its steps only")
    methods = methods_of(recipe, method)
    contents = contents_of(recipe, methods)
    checkpoints = in_one_form(recipe, checkpoints)
    check_architectures(checkpoints, architecture)
    checkpoints, widths = with_wider(checkpoints, architecture, picks=recipe.picks)
    values = Values(recipe, checkpoints, architecture, contents, widths)
    matched = _matched(recipe, values, architecture)
    matches = matched.matches
    check_merged(recipe, matched, values.findings)
    check_blocks(recipe, matches, architecture)
    if recipe.on_missing == "error" and values.findings.missing:
        (lacking, _), keys = next(iter(values.findings.missing.items()))
        message = f"{lacking} has no {some(keys)}"
        raise ArchitectureError(message, hint="on_missing 'keep' takes the first model's")
    said = notes_of(values, matched, checkpoints, architecture)
    unlike = kind_warnings(recipe, methods, checkpoints, architecture)
    return Matching(
        tuple(checkpoints), architecture, methods, matches, matched.outputs, matched.groups,
        said.notes, (*unlike, *said.warnings),
    )  # fmt: skip


def _matched(recipe: Recipe, values: Values, architecture: Architecture) -> Matched:
    assert recipe.result is not None
    keys = values.keys(recipe.result)
    origin_of, tensor_of = values.origins(recipe.result), values.tensors(recipe.result)
    findings = values.findings
    if recipe.prune or recipe.exclude:
        from bmerge.plan.selection import excluded, kept  # few recipes leave anything out

        origins = {key: origin_of(key) for key in keys}
        found = ((key, rule.found(values.tables, key)) for key, rule in origins.items())
        names = {origin.info.key: key for key, origin in found if origin is not None}
        wanted: Collection[str] = names
        if recipe.prune:
            wanted = dict.fromkeys(kept(names, architecture))
            findings.pruned = [name for name in names if name not in wanted]
        stay = excluded(recipe.exclude, wanted, architecture)
        for name in sorted(stay):
            source = values.source_of(origins[names[name]], names[name])
            findings.excluded.setdefault(source, []).append(name)
        keys = {names[name]: name in stay for name in wanted}
    matched = Matched(keys, values, architecture)
    dtypes = None if recipe.dtype is None else Dtypes(recipe.dtype, values.tables)
    for key in keys:
        stays = isinstance(keys, dict) and keys[key]
        rule = origin_of(key) if stays else tensor_of(key)
        matched.add(rule, key, None if stays else dtypes)
    return matched
