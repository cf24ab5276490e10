"""A LoRA from the difference of two checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from bmerge import _native
from bmerge.architectures import detect, outlines
from bmerge.architectures.patterns import Contents
from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError, FormatError
from bmerge.formats import POSITION_IDS, Checkpoint, Tensor, checkpoint_sha256, decoded, values_of
from bmerge.formats.unchanged import Unchanged
from bmerge.lora.arrays import Array
from bmerge.lora.decompose import Factors, Wanted, factorise
from bmerge.lora.kohya import base_version, kohya_layers
from bmerge.lora.names import LayerPlace
from bmerge.lora.spread import in_order
from bmerge.lora.write import LoraWriter, rank_metadata
from bmerge.records import dataclass

__all__ = ["Layers", "extract_lora"]

_STEP = 1 << 18
"""Elements that are read at once."""
_EMBEDDINGS = ("embedding.weight", "embedding", "text_projection", "logit_scale", "shared.weight")


@dataclass(slots=True)
class Layers:
    """What became of each layer.

    Args:
        ranks: name of a layer → its rank.
        total: energy of all differences that have a rank.
        kept: what of it is kept.
        unchanged: tensors that are equal in both models.
        whole: tensors whose difference is stored as it is.
        left_out: tensors whose difference is not stored.
        nbytes: size of the file.
    """

    ranks: dict[str, int] = field(default_factory=dict)
    total: float = 0.0
    kept: float = 0.0
    unchanged: int = 0
    whole: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    nbytes: int = 0

    def count(self, name: str, factors: Factors) -> None:
        """Count a layer that was factorised."""
        self.ranks[name] = factors.rank
        self.total += factors.total
        self.kept += factors.kept


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a layer: whether it changed, and what of it is stored."""

    name: str
    role: str
    place: LayerPlace
    changed: bool
    found: Factors | Array | None = None
    shape: tuple[int, ...] = ()


def extract_lora(
    base: Checkpoint,
    tuned: Checkpoint,
    output: Path,
    *,
    wanted: Wanted,
    dtype: str = "F16",
    everything: bool = False,
    canonical: Callable[[str], str] = str,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> Layers:
    """Write what turns one model into another as a LoRA, some tensors at a time.

    Linear layers and convolutions get a product of two factors, of their own rank each where an
    energy is wanted. Other tensors that differ are left out, or stored as they are.

    Args:
        base: the model that the LoRA is for.
        tuned: what it becomes with it.
        output: the file.
        wanted: rank or energy of each layer.
        dtype: F16, BF16 or F32.
        everything: whether differences of biases, norms and embeddings are stored.
        canonical: gives the name by which a key is the same tensor in both models.
        progress: called with the bytes of ``base`` that are done, and all of them.

    Raises:
        ArchitectureError: if the models have no layer in common, or do not differ.
        FormatError: if a file cannot be read or written, or a model holds NaN or is
            quantised in a way that cannot be decoded.
        RecipeError: if a model was changed meanwhile.
    """
    unchanged = Unchanged.of((base, tuned))
    base, tuned = decoded(base), decoded(tuned)
    pairs = _pairs(base, tuned, canonical)
    shapes = {key: info.shape for key, (info, _) in pairs.items()}
    found = Layers()
    done, total = 0, sum(info.nbytes for info, _ in pairs.values())
    with LoraWriter(output, dtype) as writer:
        for outcomes in in_order(_tasks(pairs, shapes, wanted, everything=everything)):
            for outcome in outcomes:
                _write(outcome, writer, shapes, found)
            done += pairs[outcomes[-1].place.key][0].nbytes
            progress(done, total)
        if not found.ranks and not found.whole:
            raise _nothing(base, tuned, found)
        metadata = _metadata(base, tuned, shapes, found, wanted)
        unchanged.check()
        found.nbytes = writer.commit(metadata)
    return found


def _pairs(
    base: Checkpoint, tuned: Checkpoint, canonical: Callable[[str], str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the float tensors that both models have in the same shape, by the base's keys."""
    others = {canonical(key): info for key, info in tuned.tensors.items()}
    pairs = {}
    for key, info in base.tensors.items():
        other = others.get(canonical(key))
        if other is None or other.shape != info.shape or key.endswith(POSITION_IDS):
            continue
        if 0 in info.shape:  # of which there is nothing to tell apart
            continue
        if is_float(info.dtype) and is_float(other.dtype):
            pairs[key] = (info, other)
    return pairs


def _tasks(
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Wanted,
    *,
    everything: bool,
) -> Iterator[tuple[int, Callable[[], list[_Outcome]]]]:
    """Yield what is to be done for each tensor, and the bytes that it takes."""
    for key, layers in groupby(kohya_layers(shapes), key=lambda layer: layer[2].key):
        mine = list(layers)
        first, second = pairs[key]
        ranked = _has_rank(key, mine[0][1], first.shape)
        if ranked or everything:
            need = 4 * first.numel + _STEP
            yield need, partial(_compared, mine, first, second, wanted if ranked else None)
        else:
            yield 4 * _STEP, partial(_looked_at, mine, first, second)


def _has_rank(key: str, role: str, shape: tuple[int, ...]) -> bool:
    return role == "weight" and len(shape) > 1 and not key.endswith(_EMBEDDINGS)


def _compared(
    layers: Sequence[tuple[str, str, LayerPlace]],
    first: Tensor,
    second: Tensor,
    wanted: Wanted | None,
) -> list[_Outcome]:
    """Return a tensor's differences, as factors if a rank is wanted."""
    whole = np.empty(first.numel, "f4")
    for begin, difference in _differences(first, second):
        whole[begin : begin + difference.size] = difference
    whole = whole.reshape(first.shape)
    outcomes = []
    for name, role, place in layers:
        values = whole if place.rows is None else whole[slice(*place.rows)]
        found: Factors | Array | None = values
        if not values.any():
            found = None
        elif wanted is not None:
            found = factorise(values.reshape(len(values), -1), wanted)
        outcomes.append(_Outcome(name, role, place, found is not None, found, values.shape))
    return outcomes


def _looked_at(
    layers: Sequence[tuple[str, str, LayerPlace]], first: Tensor, second: Tensor
) -> list[_Outcome]:
    """Tell whether the parts of a tensor differ whose differences are not stored."""
    row = first.numel // first.shape[0] if first.shape else 1
    parts = [place.rows or (0, first.shape[0] if first.shape else 1) for _, _, place in layers]
    differ = [False] * len(layers)
    for begin, difference in _differences(first, second):
        for index, (low, high) in enumerate(parts):
            part = difference[max(low * row - begin, 0) : max(high * row - begin, 0)]
            differ[index] = differ[index] or bool(part.any())
    return [_Outcome(*layer, changed) for layer, changed in zip(layers, differ, strict=True)]


def _differences(first: Tensor, second: Tensor) -> Iterator[tuple[int, Array]]:
    """Yield differences of some elements at a time, and the index of the first of them."""
    for begin in range(0, first.numel, _STEP):
        count = min(_STEP, first.numel - begin)
        before, after = (_values(tensor, begin, count) for tensor in (first, second))
        difference = after - before
        if not np.isfinite(difference).all():
            message = f"{first.key!r} holds NaN or infinity in {first.file} or {second.file}"
            raise FormatError(message, path=second.file, key=first.key)
        yield begin, difference


def _values(tensor: Tensor, begin: int, count: int) -> Array:
    try:
        return np.frombuffer(values_of(tensor, begin, count), "<f4")
    except _native.NativeError as error:
        raise FormatError(str(error), path=tensor.file, key=tensor.key) from error


def _write(
    outcome: _Outcome,
    writer: LoraWriter,
    shapes: Mapping[str, tuple[int, ...]],
    found: Layers,
) -> None:
    name, key = outcome.name, outcome.place.key
    if not outcome.changed:
        found.unchanged += 1
    elif outcome.found is None:
        found.left_out.append(key)
    elif isinstance(outcome.found, Factors):
        writer.add_factors(name, outcome.found, outcome.shape)
        found.count(name, outcome.found)
    else:
        values = _turned(outcome.found, outcome.place)
        writer.add(f"{name}.{_role(key, outcome.role, shapes)}", values)
        found.whole.append(key)


def _role(key: str, role: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return what LyCORIS calls a difference that is stored as it is."""
    if role == "bias":
        sibling = shapes.get(key.removesuffix("bias") + "weight", ())
        return "b_norm" if len(sibling) == 1 else "diff_b"
    return "w_norm" if len(shapes[key]) == 1 and key.endswith("weight") else "diff"


def _turned(difference: Array, place: LayerPlace) -> Array:
    return difference.T if place.turn == "transposed" else difference


def _nothing(base: Checkpoint, tuned: Checkpoint, found: Layers) -> ArchitectureError:
    names = f"{base.path.name} and {tuned.path.name}"
    if found.left_out:
        message = f"{names} differ in biases, norms or embeddings only"
        return ArchitectureError(message, hint="--everything stores them")
    if found.unchanged:
        return ArchitectureError(f"{names} are equal in all layers: there is nothing to extract")
    return ArchitectureError(f"{names} have no layer in common: they are different models")


def _metadata(
    base: Checkpoint,
    tuned: Checkpoint,
    shapes: Mapping[str, tuple[int, ...]],
    found: Layers,
    wanted: Wanted,
) -> dict[str, str]:
    models = {
        role: {"name": model.path.name, "sha256": checkpoint_sha256(model)}
        for role, model in (("base", base), ("tuned", tuned))
    }
    version = base_version(shapes)
    return {
        **rank_metadata(found.ranks.values(), wanted.rank if wanted.energy is None else None),
        **({} if version is None else {"ss_base_model_version": version}),
        **_modelspec(base, tuned),
        "bmerge.lora.extracted": json.dumps(models, separators=(",", ":")),
    }


def _modelspec(base: Checkpoint, tuned: Checkpoint) -> dict[str, str]:
    """Return what the modelspec standard says of a LoRA for a model; nothing of an unknown one."""
    spec = detect(base.tensors, outlines()).modelspec_of(Contents(base.tensors))
    if "modelspec.architecture" not in spec:
        return {}
    # A LoRA is for all models of its size, whichever picture they are given besides.
    identity = spec["modelspec.architecture"].partition("/")[0].removesuffix("-inpainting")
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{identity}/lora",
        "modelspec.implementation": spec["modelspec.implementation"],
        "modelspec.title": f"{tuned.path.stem} less {base.path.stem}",
    }
