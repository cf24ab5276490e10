"""Matching the inputs' tensors with each other, before any hyperparameter is known.

What the output holds follows the first model: its keys, their order and their dtypes. All that
is decided here is the same for every trial of a study, so it is computed once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bmerge.architectures import Architecture, builtin, detect
from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError
from bmerge.formats import Checkpoint, TensorInfo
from bmerge.lora import is_lora, loras_of
from bmerge.plan.jobs import OutputTensor
from bmerge.plan.selection import excluded, kept
from bmerge.recipe import Recipe

__all__ = ["Match", "Matching", "match_tensors"]

_FIRST_CONVOLUTIONS = ("input_blocks.0.0.weight", "conv_in.weight")
_CHANNELS = frozenset({4, 8, 9})
"""Input channels of text-to-image, pix2pix and inpainting models."""
_SCALES = (".scale_weight", ".weight_scale")
_POSITION_IDS = "embeddings.position_ids"


@dataclass(frozen=True, slots=True)
class Match:
    """One tensor of the output, and what it is made of.

    Args:
        output: its name, dtype, shape and place.
        block: that its key is in.
        inputs: the tensor in every model, or only the first model's if it is not merged.
        merged: whether the method is applied; otherwise the first input is kept.
        channels: for a tensor of which only some channels are merged, how many.
        fill: its bytes, if they are known beforehand.
    """

    output: OutputTensor
    block: str
    inputs: tuple[TensorInfo, ...]
    merged: bool
    channels: int | None = None
    fill: bytes | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """All tensors of the output.

    Args:
        checkpoints: the inputs.
        architecture: the block map.
        matches: in the order of the first model.
        notes: what the user should know.
    """

    checkpoints: tuple[Checkpoint, ...]
    architecture: Architecture
    matches: tuple[Match, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Findings:
    """What is to be told when all tensors have been looked at."""

    excluded: frozenset[str] = frozenset()
    pruned: list[str] = field(default_factory=list)
    missing: dict[int, list[str]] = field(default_factory=dict)
    repaired: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)


def match_tensors(
    recipe: Recipe, checkpoints: Sequence[Checkpoint], architecture: Architecture
) -> Matching:
    """Match the tensors of all inputs.

    Args:
        recipe: for its dtype, ``on_missing``, ``exclude`` and ``prune``.
        checkpoints: the inputs, in the order of the recipe's models.
        architecture: the block map.

    Raises:
        ArchitectureError: if the inputs do not fit together.
        RecipeError: if ``exclude`` names what is not there, or nothing is known to ``prune``.
    """
    for checkpoint in checkpoints:
        _check_scaled(checkpoint)
    _check_architectures(checkpoints, architecture)
    lookups = [_by_canonical_key(checkpoint, architecture) for checkpoint in checkpoints[1:]]
    tensors = checkpoints[0].tensors
    keys = dict.fromkeys(kept(tensors, architecture) if recipe.prune else tensors)
    findings = _Findings(
        excluded=excluded(recipe.exclude, keys, architecture),
        pruned=[key for key in tensors if key not in keys],
    )
    matches: list[Match] = []
    offset = 0
    for key in keys:
        info = tensors[key]
        match = _match(info, lookups, recipe, architecture, checkpoints, findings, offset)
        offset += match.output.nbytes
        matches.append(match)
    if recipe.on_missing == "error" and findings.missing:
        index, missing = next(iter(findings.missing.items()))
        message = f"{_name(checkpoints[index])} has no {_some(missing)}"
        raise ArchitectureError(message, hint="on_missing 'keep' takes the first model's")
    notes = _notes(findings, checkpoints, architecture)
    return Matching(tuple(checkpoints), architecture, tuple(matches), notes)


def _match(
    info: TensorInfo,
    lookups: Sequence[Mapping[str, TensorInfo]],
    recipe: Recipe,
    architecture: Architecture,
    checkpoints: Sequence[Checkpoint],
    findings: _Findings,
    offset: int,
) -> Match:
    key, block = info.key, architecture.block_of(info.key)
    if not is_float(info.dtype) or key.endswith(_POSITION_IDS):
        return _unmerged(info, block, findings, offset)
    if key in findings.excluded:
        output = OutputTensor(key, info.dtype, info.shape, offset)
        return Match(output, block, (info,), merged=False)
    dtype = recipe.dtype or info.dtype
    others = [lookup.get(architecture.canonical(key)) for lookup in lookups]
    for index, other in enumerate(others, start=1):
        if other is None:
            findings.missing.setdefault(index, []).append(key)
    found = [other for other in others if other is not None]
    if any(not is_float(other.dtype) for other in found):
        findings.unlike.append(key)
    if len(found) < len(others) or key in findings.unlike[-1:]:
        return Match(OutputTensor(key, dtype, info.shape, offset), block, (info,), merged=False)
    inputs = (info, *found)
    shape, channels = _common_shape(key, inputs, checkpoints)
    if channels is not None:
        findings.split.append(key)
    output = OutputTensor(key, dtype, shape, offset)
    return Match(output, block, inputs, merged=True, channels=channels)


def _unmerged(info: TensorInfo, block: str, findings: _Findings, offset: int) -> Match:
    """Keep an integer tensor; replace position ids that other tools have averaged or cast."""
    repaired = _repaired(info) if info.key.endswith(_POSITION_IDS) else None
    if repaired is None:
        output = OutputTensor(info.key, info.dtype, info.shape, offset)
        return Match(output, block, (info,), merged=False)
    findings.repaired.append(info.key)
    output = OutputTensor(info.key, "I64", info.shape, offset)
    return Match(output, block, (), merged=False, fill=repaired)


def _repaired(info: TensorInfo) -> bytes | None:
    """Return what position ids must hold, or None if they do: a few hundred bytes are read."""
    counted = struct.pack(f"<{info.numel}q", *range(info.numel))
    if is_float(info.dtype):
        return counted
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return None if info.dtype != "I64" or file.read(info.nbytes) == counted else counted


def _common_shape(
    key: str, inputs: Sequence[TensorInfo], checkpoints: Sequence[Checkpoint]
) -> tuple[tuple[int, ...], int | None]:
    """Return the output's shape, and the number of shared channels if they differ in these."""
    shapes = [info.shape for info in inputs]
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0], None
    if _differ_in_channels(key, shapes):
        return max(shapes, key=lambda shape: shape[1]), min(shape[1] for shape in shapes)
    index = next(index for index, shape in enumerate(shapes) if shape != shapes[0])
    message = (
        f"{key!r} has shape {list(shapes[0])} in {_name(checkpoints[0])} "
        f"and {list(shapes[index])} in {_name(checkpoints[index])}"
    )
    raise ArchitectureError(message, hint="these models cannot be merged with each other")


def _differ_in_channels(key: str, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Tell whether this is a first convolution whose inputs differ in its channels alone."""
    if not key.endswith(_FIRST_CONVOLUTIONS) or any(len(shape) != 4 for shape in shapes):
        return False
    without = {(shape[0], *shape[2:]) for shape in shapes}
    return len(without) == 1 and all(shape[1] in _CHANNELS for shape in shapes)


def _check_scaled(checkpoint: Checkpoint) -> None:
    """Refuse F8 weights that mean nothing without the scale that lies beside them."""
    for key in checkpoint.tensors:
        if key.endswith(_SCALES):
            scaled = checkpoint.tensors.get(key.rpartition(".")[0] + ".weight")
            if scaled is not None and scaled.dtype.startswith("F8_"):
                message = f"{_name(checkpoint)} has scaled F8 weights: {scaled.key!r} with {key!r}"
                raise ArchitectureError(message, hint="convert it to F16 or BF16 first")


def _check_architectures(checkpoints: Sequence[Checkpoint], architecture: Architecture) -> None:
    """Refuse inputs of different architectures.

    An input all of whose tensors the first model has (a VAE alone) may be of any.
    """
    known = [*(other for other in builtin() if other.id != architecture.id), architecture]
    first = checkpoints[0]
    detected = detect(first.tensors, known)
    names = {architecture.canonical(key) for key in first.tensors}
    for checkpoint in checkpoints[1:]:
        other = detect(checkpoint.tensors, known)
        same = other.id == detected.id
        if same or all(architecture.canonical(key) in names for key in checkpoint.tensors):
            continue
        message = (
            f"different architectures: {_name(first)} is {detected.id}, "
            f"{_name(checkpoint)} is {other.id}"
        )
        hint = "'bmerge inspect FILE' shows what a file holds"
        if is_lora(checkpoint):
            hint = f"{_name(checkpoint)} is a LoRA: give it by --lora, or under a model's loras"
        raise ArchitectureError(message, hint=hint)


def _by_canonical_key(
    checkpoint: Checkpoint, architecture: Architecture
) -> Mapping[str, TensorInfo]:
    return {architecture.canonical(key): info for key, info in checkpoint.tensors.items()}


def _notes(
    findings: _Findings, checkpoints: Sequence[Checkpoint], architecture: Architecture
) -> tuple[str, ...]:
    first = checkpoints[0]
    notes = [f"{_some(findings.pruned)} pruned"] if findings.pruned else []
    if findings.excluded:
        notes.append(f"{_some(sorted(findings.excluded))} excluded: kept as in {_name(first)}")
    notes += [
        f"{_some(keys)} not in {_name(checkpoints[index])}: taken from {_name(first)}"
        for index, keys in sorted(findings.missing.items())
    ]
    for checkpoint in checkpoints:
        notes += (note for lora in loras_of(checkpoint) for note in lora.notes)
    names = {architecture.canonical(key) for key in first.tensors}
    for checkpoint in checkpoints[1:]:
        extra = [key for key in checkpoint.tensors if architecture.canonical(key) not in names]
        if extra:
            notes.append(f"{_some(extra)} only in {_name(checkpoint)}: left out")
    if findings.unlike:
        notes.append(f"{_some(findings.unlike)} an integer elsewhere: taken from {_name(first)}")
    if findings.repaired:
        notes.append(f"{_some(findings.repaired)} did not count from 0 any more: repaired")
    notes += [
        f"{key!r} differs in input channels: the shared ones are merged" for key in findings.split
    ]
    return tuple(dict.fromkeys(notes))


def _name(checkpoint: Checkpoint) -> str:
    return checkpoint.path.name


def _some(keys: Sequence[str]) -> str:
    """Return a count of tensors with an example."""
    if len(keys) == 1:
        return f"tensor {keys[0]!r}"
    return f"{len(keys)} tensors ({keys[0]!r}, …)"
