"""Matching the inputs' tensors with each other, before any hyperparameter is known.

What the output holds follows the first model: its keys, their order and their dtypes. All that
is decided here is the same for every trial of a study, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bmerge.architectures import Architecture
from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError, RecipeError
from bmerge.formats import Checkpoint, CodedTensor, Tensor, TensorInfo, decoded, in_one_layout
from bmerge.lora.patched import unpatched
from bmerge.method import MergeMethod
from bmerge.plan.alike import Found
from bmerge.plan.checks import check_architectures, check_blocks, check_merged, check_models
from bmerge.plan.contents import contents_of
from bmerge.plan.forms import Form, Leaf, leaves
from bmerge.plan.jobs import OutputTensor
from bmerge.plan.notes import notes_of, some
from bmerge.plan.positions import repaired_ids
from bmerge.plan.selection import excluded, kept
from bmerge.plan.steps import Methods, methods_of
from bmerge.plan.values import Values
from bmerge.recipe import Recipe

__all__ = ["Match", "Matching", "match_tensors"]


@dataclass(frozen=True, slots=True)
class Match:
    """One tensor of the output, and what it is made of.

    Args:
        output: its name, dtype, shape and place.
        block: that its key is in.
        form: what it is made of; a model alone is kept as it is.
        inputs: the tensor in each of the models that the form needs, in their order.
        channels: for a tensor of which only some channels are merged, how many.
        widest: what its other channels come from.
        fill: its bytes, if they are known beforehand.
        base: the model's tensor that merging changes, if all its channels are merged.
    """

    output: OutputTensor
    block: str
    form: Form
    inputs: tuple[Tensor, ...]
    channels: int | None = None
    widest: Tensor | None = None
    fill: bytes | None = None
    base: Tensor | None = None

    @property
    def merged(self) -> bool:
        """Whether it is more than one model's tensor."""
        return not isinstance(self.form, Leaf)


@dataclass(frozen=True, slots=True)
class Matching:
    """All tensors of the output.

    Args:
        checkpoints: the inputs.
        architecture: the block map.
        methods: step → its method.
        matches: in the order of the first model.
        notes: what the user should know.
        warnings: what more likely than not is a mistake.
    """

    checkpoints: tuple[Checkpoint, ...]
    architecture: Architecture
    methods: Mapping[str, MergeMethod]
    matches: tuple[Match, ...]
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
        message = f"the recipe names {len(recipe.models)} models, {len(checkpoints)} are given"
        raise RecipeError(message)
    recipe = recipe.as_steps()
    if recipe.clamp != "none":
        raise RecipeError("a recipe of steps has 'clamp' in its steps only")
    methods = methods_of(recipe, method)
    contents = contents_of(recipe, methods)
    checkpoints = [decoded(checkpoint) for checkpoint in checkpoints]
    check_models(checkpoints)
    checkpoints = in_one_layout(checkpoints, whole_first=recipe.picks)
    check_architectures(checkpoints, architecture)
    values = Values(recipe, checkpoints, architecture, contents)
    matches = _matches(recipe, values, architecture)
    check_merged(recipe, matches, values.findings)
    check_blocks(recipe, matches, architecture)
    if recipe.on_missing == "error" and values.findings.missing:
        (lacking, _), keys = next(iter(values.findings.missing.items()))
        message = f"{lacking} has no {some(keys)}"
        raise ArchitectureError(message, hint="on_missing 'keep' takes the first model's")
    said = notes_of(values, matches, checkpoints, architecture)
    return Matching(tuple(checkpoints), architecture, methods, matches, said.notes, said.warnings)


def _matches(recipe: Recipe, values: Values, architecture: Architecture) -> tuple[Match, ...]:
    assert recipe.result is not None
    keys = values.keys(recipe.result)
    origins = ((key, values.origin(recipe.result, key)) for key in keys)
    names = {origin.info.key: key for key, origin in origins if origin is not None}
    findings = values.findings
    wanted: Collection[str] = names
    if recipe.prune:
        wanted = dict.fromkeys(kept(names, architecture))
        findings.pruned = [name for name in names if name not in wanted]
    findings.excluded = excluded(recipe.exclude, wanted, architecture)
    matches: list[Match] = []
    offset = 0
    for name in wanted:
        key = names[name]
        stays = name in findings.excluded
        look = values.origin if stays else values.find
        found = look(recipe.result, key)
        if found is not None:
            dtype = None if stays else recipe.dtype
            match = _match(found, key, values, dtype, architecture, offset)
            offset += match.output.nbytes
            matches.append(match)
    return tuple(matches)


def _match(
    found: Found,
    key: str,
    values: Values,
    dtype: str | None,
    architecture: Architecture,
    offset: int,
) -> Match:
    info = found.info
    block = architecture.block_of(info.key)
    repaired = repaired_ids(info)
    if repaired is not None:
        output = OutputTensor(info.key, "I64", info.shape, offset)
        return Match(output, block, found.form, (), fill=repaired)
    wanted = dtype if dtype is not None and is_float(info.dtype) else info.dtype
    output = OutputTensor(info.key, wanted, found.extent.shape, offset)
    form, inputs = _distinct(found.form, key, values)
    extent = found.extent
    stored = unpatched(info)
    base = (
        stored
        if extent.channels is None and isinstance(stored, (TensorInfo, CodedTensor))
        else None
    )
    return Match(output, block, form, inputs, extent.channels, extent.widest, base=base)


def _distinct(form: Form, key: str, values: Values) -> tuple[Form, tuple[Tensor, ...]]:
    """Return a form that names each tensor by one model only, and its tensors.

    The same file may be several models, with different LoRAs on it that change other tensors.
    """
    models = leaves(form)
    inputs = tuple(values.tables[model][key] for model in models)
    if not values.repeated:
        return form, inputs
    first = {model: models[inputs.index(info)] for model, info in zip(models, inputs, strict=True)}
    form = values.forms.renamed(form, first)
    return form, tuple(values.tables[model][key] for model in leaves(form))
