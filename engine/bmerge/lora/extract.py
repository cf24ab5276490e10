"""A LoRA from the difference of two checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError, FormatError
from bmerge.formats import Checkpoint, Tensor, checkpoint_sha256, decoded
from bmerge.lora.arrays import Array, read_array
from bmerge.lora.decompose import Factors, Wanted, factorise
from bmerge.lora.kohya import base_version, kohya_layers
from bmerge.lora.names import Place
from bmerge.lora.write import LoraWriter, rank_metadata

__all__ = ["Layers", "extract_lora"]

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
    """Write what turns one model into another as a LoRA, one tensor at a time.

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
    """
    base, tuned = decoded(base), decoded(tuned)
    pairs = _pairs(base, tuned, canonical)
    shapes = {key: info.shape for key, (info, _) in pairs.items()}
    found = Layers()
    with LoraWriter(output, dtype) as writer:
        for (name, role, place), difference in _differences(pairs, shapes, progress):
            if not difference.any():
                found.unchanged += 1
            elif role == "weight" and difference.ndim > 1 and not place.key.endswith(_EMBEDDINGS):
                factors = factorise(difference.reshape(len(difference), -1), wanted)
                writer.add_factors(name, factors, difference.shape)
                found.count(name, factors)
            elif everything:
                writer.add(f"{name}.{_role(place.key, role, shapes)}", _turned(difference, place))
                found.whole.append(place.key)
            else:
                found.left_out.append(place.key)
        if not found.ranks and not found.whole:
            raise _nothing(base, tuned, found)
        found.nbytes = writer.commit(_metadata(base, tuned, shapes, found, wanted))
    return found


def _pairs(
    base: Checkpoint, tuned: Checkpoint, canonical: Callable[[str], str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the float tensors that both models have in the same shape, by the base's keys."""
    others = {canonical(key): info for key, info in tuned.tensors.items()}
    pairs = {}
    for key, info in base.tensors.items():
        other = others.get(canonical(key))
        if other is None or other.shape != info.shape:
            continue
        if is_float(info.dtype) and is_float(other.dtype):
            pairs[key] = (info, other)
    return pairs


def _differences(
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    progress: Callable[[int, int], None],
) -> Iterator[tuple[tuple[str, str, Place], Array]]:
    """Yield each layer's part of a tensor with its difference; a tensor is read once."""
    total = sum(info.nbytes for info, _ in pairs.values())
    done, key, difference = 0, "", np.empty(0, "f4")
    for layer in kohya_layers(shapes):
        place = layer[2]
        if place.key != key:
            key = place.key
            first, second = pairs[key]
            difference = read_array(second)
            difference -= read_array(first)
            if not np.isfinite(difference).all():
                message = f"{key!r} holds NaN or infinity in {first.file} or {second.file}"
                raise FormatError(message, path=second.file, key=key)
            done += first.nbytes
            progress(done, total)
        yield layer, difference if place.rows is None else difference[slice(*place.rows)]


def _role(key: str, role: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return what LyCORIS calls a difference that is stored as it is."""
    if role == "bias":
        sibling = shapes.get(key.removesuffix("bias") + "weight", ())
        return "b_norm" if len(sibling) == 1 else "diff_b"
    return "w_norm" if len(shapes[key]) == 1 and key.endswith("weight") else "diff"


def _turned(difference: Array, place: Place) -> Array:
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
        "bmerge.lora.extracted": json.dumps(models, separators=(",", ":")),
    }
