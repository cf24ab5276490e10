"""Putting LoRAs on a checkpoint: which tensors they change, and by what. Nothing is computed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bmerge.architectures.first_layers import differ_in_channels
from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError, FormatError, counted
from bmerge.formats import Checkpoint, Tensor, decoded
from bmerge.formats.unwrapped import common_start
from bmerge.lora.changes import AppliedLora, Change
from bmerge.lora.modules import Lora, Module, rows_of_module
from bmerge.lora.names import Fused, LayerNames, LayerPlace, index_names
from bmerge.lora.patched import PatchedCheckpoint, PatchedTensor
from bmerge.lora.peft_shapes import WHOLE

__all__ = ["apply_loras"]

_EXAMPLES = 2


def apply_loras(
    checkpoint: Checkpoint,
    loras: Sequence[tuple[Lora, Callable[[str], float]]],
    block_of: Callable[[str], str],
    *,
    partial: bool = False,
) -> PatchedCheckpoint:
    """Put LoRAs on a checkpoint.

    Args:
        checkpoint: the model.
        loras: each with what gives its weight in a block.
        block_of: gives the block of one of the checkpoint's keys.
        partial: take those of which most layers find no place.

    Raises:
        ArchitectureError: if one changes no tensor, is for a model of other sizes, or finds no
            place for most of its layers.
        FormatError: if the model's weights are quantised in a way that cannot be decoded, or a LoRA
            has two names for one of its layers.
    """
    checkpoint = decoded(checkpoint)
    floats = {key: i.shape for key, i in checkpoint.tensors.items() if is_float(i.dtype)}
    names = index_names(floats)
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    applied = []
    for lora, weight_of in loras:
        found = _match(lora, names, floats)
        if not found.changes:
            found = _match(_without_start(lora), names, floats)
        if not found.changes:
            raise _nothing_changed(lora, names, checkpoint)
        if not partial:
            _check_most(lora, found.unmatched, checkpoint)
        weights = {}
        for change in found.changes:
            block = block_of(change.place.key)
            weights[block] = weight_of(block)
            if weights[block]:
                changes[change.place.key].append(replace(change, weight=weights[block]))
        keys = tuple(dict.fromkeys(change.place.key for change in found.changes))
        applied.append(AppliedLora(lora, weights, keys, (*found.unmatched, *found.biases)))
    tensors = {
        key: _patched(info, changes[key]) if key in changes else info
        for key, info in checkpoint.tensors.items()
    }
    return PatchedCheckpoint(
        checkpoint.path, tensors, checkpoint.metadata, checkpoint.origin, tuple(applied)
    )


def _without_start(lora: Lora) -> Lora:
    """Return a LoRA without the words with which the names of all its layers start."""
    start = common_start([module.name for module in lora.modules])
    modules = (replace(each, name=each.name.removeprefix(start)) for each in lora.modules)
    return replace(lora, modules=tuple(modules))


def _patched(info: Tensor, changes: Sequence[Change]) -> PatchedTensor:
    """Return a tensor with changes on it, with as many channels as the widest of them has."""
    stored = max(info.shape[1:2], default=0)
    most = max(change.channels or stored for change in changes)
    if most <= stored:
        return PatchedTensor(info, tuple(changes))
    cut = (replace(change, channels=change.channels or stored) for change in changes)
    return PatchedTensor(info, tuple(cut), most)


class _Match(NamedTuple):
    """Where the layers of a LoRA are in a model.

    Args:
        changes: of those that are there.
        unmatched: names of the others.
        biases: names of the biases that it changes and the layers have not.
    """

    changes: list[Change]
    unmatched: tuple[str, ...]
    biases: tuple[str, ...]


def _match(lora: Lora, names: LayerNames, shapes: Mapping[str, tuple[int, ...]]) -> _Match:
    """Find the layers of a LoRA among those of a model."""
    found: list[Change] = []
    unmatched: list[str] = []
    biases: list[str] = []
    taken: dict[tuple[object, ...], Module] = {}
    for module in lora.modules:
        layer = names.find(module.name)
        fused = {} if layer else names.find_fused(module.name) or {}
        changes = list(_changes(module, layer or {}, shapes))
        changes += _parts_of(module, fused, shapes)
        changes = [_fitted(lora, change, shapes[change.place.key]) for change in changes]
        for change in changes:
            what = change.place.key, change.place.rows
            first = taken.setdefault(what, module)
            if first is not module:
                message = f"{lora.path.name}: {first.name!r} and {module.name!r} are one layer"
                raise FormatError(message, path=lora.path, hint="a file holds one LoRA of each")
        found += changes
        if not changes:
            unmatched.append(module.name)
        elif module.bias is not None and not any(change.is_bias for change in changes):
            biases.append(f"{module.name}.bias")
    return _Match(found, tuple(unmatched), tuple(biases))


def _check_most(lora: Lora, unmatched: Sequence[str], checkpoint: Checkpoint) -> None:
    """Refuse a LoRA of which most layers would be left out."""
    unknown = dict.fromkeys(key.rpartition(".")[0] for key in lora.unknown)
    without, count = [*unmatched, *unknown], len(lora.modules) + len(unknown)
    if 2 * len(without) > count:
        message = (
            f"{lora.path.name}: {len(without)} of its {counted(count, 'layer')} do not fit "
            f"{checkpoint.path.name} ({without[0]!r}, …)"
        )
        hint = "--partial-loras, or partial_loras: true, adds the others anyway"
        raise ArchitectureError(message, hint=hint)


def _changes(
    module: Module, layer: Mapping[str, LayerPlace], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Change]:
    has_weight = module.matrix is not None or module.reparametrised or module.is_of_peft
    if has_weight and "weight" in layer:
        place = _place(module, layer["weight"], shapes)
        # PEFT says it once for all layers, though it holds for those of one kind alone.
        matrix = module.matrix
        turned = module.inputs_first and matrix and shapes[place.key] == matrix[::-1]
        yield Change(module, replace(place, turn="transposed") if turned else place)
    if (module.bias is not None or module.scales_bias) and "bias" in layer:
        yield Change(module, layer["bias"], is_bias=True)


def _place(module: Module, place: LayerPlace, shapes: Mapping[str, tuple[int, ...]]) -> LayerPlace:
    """Return where the weight lies that a module changes: some rows of its layer's, perhaps."""
    begin, end = place.rows or (0, shapes[place.key][0] if shapes[place.key] else 1)
    if module.part is None or place.turn or module.part[1] != end - begin:
        return place
    first = begin + module.part[0]
    return replace(place, rows=(first, first + (module.rotated or 0)))


def _parts_of(
    module: Module, fused: Fused, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Change]:
    """Yield the changes of the tensors that a layer of the LoRA is in this model."""
    for role, places in fused.items():
        parts = [_part(module, place) for place in places]
        if all(parts):
            for module_of_rows, place in filter(None, parts):
                yield from _changes(module_of_rows, {role: place}, shapes)


def _part(module: Module, place: LayerPlace) -> tuple[Module, LayerPlace] | None:
    """Return what changes a tensor that has some rows of a layer: of factors, or of their product.

    None if no such rows are named, or the change depends on the weight of the whole layer.
    """
    if place.of is None:
        return None
    rows = rows_of_module(module, *place.of)
    if rows is not None:
        return rows, replace(place, of=None)
    if module.network in {"OFTv2", "HRA"} or (module.network == "IA3" and not module.of_rows):
        return module, replace(place, of=None)
    if module.is_of_peft:
        return None if module.network in WHOLE else (module, place)
    return None if module.needs_weight or module.matrix is None else (module, place)


def _fitted(lora: Lora, change: Change, shape: tuple[int, ...]) -> Change:
    """Return a change of a tensor of a shape, with how many of its channels it is for.

    Raises:
        ArchitectureError: if it is for a tensor of another size.
    """
    wanted = _rows(change.place, shape), math.prod(shape[1:])
    if change.place.turn == "transposed":
        wanted = wanted[1], wanted[0]
    rows, columns = _size(change, wanted, shape)
    if (rows, columns) == wanted:
        return change
    channels = columns // max(math.prod(shape[2:]), 1)
    meant = (rows, channels, *shape[2:])
    whole = change.place == LayerPlace(change.place.key) and math.prod(meant[1:]) == columns
    if not (whole and differ_in_channels(change.place.key, [shape, meant])):
        message = (
            f"{lora.path.name}: {change.module.name!r} changes {rows} x {columns} numbers, "
            f"and {change.place.key!r} has {wanted[0]} x {wanted[1]}"
        )
        raise ArchitectureError(message, hint="this LoRA is for another model")
    return replace(change, channels=channels)


def _size(change: Change, wanted: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a change: its tensor's where it has no number of its own."""
    module, of = change.module, change.place.of
    if change.is_bias:
        return (module.bias or module.scaling).numel, 1
    rows, columns = module.fits(wanted[0], max(shape[1:2], default=1), wanted[1])
    return (rows if of is None else of[1] - of[0]), columns


def _rows(place: LayerPlace, shape: tuple[int, ...]) -> int:
    if place.rows is not None:
        return place.rows[1] - place.rows[0]
    return shape[0] if shape else 1


def _nothing_changed(lora: Lora, names: LayerNames, checkpoint: Checkpoint) -> ArchitectureError:
    there = ", ".join(module.name for module in lora.modules[:_EXAMPLES])
    here = ", ".join(names.examples(_EXAMPLES))
    message = f"{lora.path.name} changes nothing in {checkpoint.path.name}"
    return ArchitectureError(message, hint=f"its layers: {there}, …; the model's: {here}, …")
