"""A LoRA with other ranks, and several LoRAs as one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bmerge.dtypes import is_float
from bmerge.errors import FormatError
from bmerge.formats import Tensor, checkpoint_sha256
from bmerge.formats.unchanged import Unchanged
from bmerge.lora.arrays import Array, flat, read_array
from bmerge.lora.decompose import Factors, Wanted, factorise, refactorise
from bmerge.lora.extract import Layers
from bmerge.lora.modules import Lora, Module
from bmerge.lora.networks import change_of
from bmerge.lora.scale import read_number, scale_of
from bmerge.lora.spread import in_order
from bmerge.lora.write import LoraWriter, rank_metadata

__all__ = ["merge_loras", "resize_lora"]

_FACTORED = ("LoRA", "LoHa", "LoKr")
_KEPT = ("dora_scale", "magnitude", "diff_b", "b_norm", "up_bias")
"""Tensors of a layer that have no rank."""


def resize_lora(lora: Lora, output: Path, *, wanted: Wanted, dtype: str = "F16") -> Layers:
    """Write a LoRA with other ranks; LoHa and LoKr become LoRA.

    Args:
        lora: the file.
        output: the new one.
        wanted: rank or energy of each layer; no rank grows.
        dtype: F16, BF16 or F32.

    Raises:
        FormatError: if a file cannot be read or written, or holds NaN or infinity.
        RecipeError: if the LoRA was changed meanwhile.
    """
    found, unchanged = Layers(), Unchanged.of([lora.checkpoint])
    with LoraWriter(output, dtype) as writer:
        tasks = ((_need(module), partial(_resized, module, wanted)) for module in lora.modules)
        for module, factors in zip(lora.modules, in_order(tasks), strict=True):
            if factors is None:
                _check_complete(module)
                _keep(writer, module, tuple(module.tensors), found)
                continue
            _keep(writer, module, _KEPT, found, scale_of(module))
            _add(writer, module, factors)
            found.count(module.name, factors)
        most = wanted.rank if wanted.energy is None else None
        metadata = {**_inherited(lora), **rank_metadata(found.ranks.values(), most)}
        metadata |= _configuration(lora.modules)
        metadata["bmerge.lora.resized"] = json.dumps(_identity(lora), separators=(",", ":"))
        unchanged.check()
        found.nbytes = writer.commit(metadata)
    return found


def merge_loras(loras: Sequence[tuple[Lora, float]], output: Path, *, dtype: str = "F16") -> Layers:
    """Write one LoRA that does what several do together: their factors beside each other.

    The sum is exact, and a layer's rank is the sum of its ranks.

    Args:
        loras: each with the weight of its changes.
        output: the file.
        dtype: F16, BF16 or F32.

    Raises:
        FormatError: if a file cannot be read or written, or one holds NaN, infinity or anything
            but LoRA.
        RecipeError: if a LoRA was changed meanwhile.
    """
    unchanged = Unchanged.of(lora.checkpoint for lora, _ in loras)
    layers: dict[str, list[tuple[Module, float]]] = {}
    for lora, weight in loras:
        for module in lora.modules:
            if set(module.tensors) - {"up", "down", "up_bias", "alpha", "scalar"}:
                message = f"{lora.path}: {module.name!r} is not a plain LoRA layer"
                hint = "bmerge lora resize turns LoHa, LoKr and cores into plain layers"
                raise FormatError(message, path=lora.path, key=module.name, hint=hint)
            layers.setdefault(module.name.replace(".", "_"), []).append((module, weight))
    found = Layers()
    with LoraWriter(output, dtype) as writer:
        for parts in layers.values():
            factors = _beside(parts)
            _add(writer, parts[0][0], factors)
            _add_bias(writer, parts)
            found.count(parts[0][0].name, factors)
        merged = [{**_identity(lora), "weight": weight} for lora, weight in loras]
        metadata = {**_inherited(loras[0][0]), **rank_metadata(found.ranks.values(), None)}
        metadata |= _configuration([module for parts in layers.values() for module, _ in parts])
        metadata["bmerge.lora.merged"] = json.dumps(merged, separators=(",", ":"))
        unchanged.check()
        found.nbytes = writer.commit(metadata)
    return found


def _check_complete(module: Module) -> None:
    """Refuse a layer that could be kept as it is, but whose file does not say what it means."""
    configured = module.is_of_peft or module.network in {"OFTv2", "IA3"}
    if module.configured is not None and configured:
        file = next(iter(module.tensors.values())).file
        message = f"{file}: {module.name!r} is of {module.network}, which has no rank to change"
        raise FormatError(message, path=file, key=module.name)


def _need(module: Module) -> int:
    """Return about how many bytes it takes to resize a layer."""
    sizes = [info.numel for info in module.tensors.values()]
    if "up" not in module.tensors or "mid" in module.tensors:
        sizes.append(math.prod(module.matrix or ()))
    return 16 * sum(sizes)


def _resized(module: Module, wanted: Wanted) -> Factors | None:
    """Return a layer's factors of another rank; None if it has no rank that could change."""
    if module.network not in _FACTORED or "embedding_up" in module.tensors:
        return None
    if "up" in module.tensors and "mid" not in module.tensors:
        try:
            return refactorise(*_factors(module, scale_of(module)), wanted)
        except OverflowError as error:
            raise _beyond(module) from error
    least = min(module.matrix or (1, 1))
    rank = least if wanted.rank is None else wanted.rank
    return factorise(_finite(change_of(module), module), Wanted(min(rank, least), wanted.energy))


def _beside(parts: Sequence[tuple[Module, float]]) -> Factors:
    factors = [_factors(module, weight * scale_of(module)) for module, weight in parts]
    ups, downs = zip(*factors, strict=True)
    return Factors(np.concatenate(ups, axis=1), np.concatenate(downs, axis=0), 1.0, 1.0)


def _add_bias(writer: LoraWriter, parts: Sequence[tuple[Module, float]]) -> None:
    """Write the sum of the changes that a layer's factors bring along for its bias, if any do."""
    found = [
        (module.tensors["up_bias"], weight * scale_of(module))
        for module, weight in parts
        if "up_bias" in module.tensors
    ]
    if found:
        biases = [read_array(info).astype("f8") * scale for info, scale in found]
        writer.add(found[0][0].key, np.sum(biases, axis=0).astype("f4"))


def _factors(module: Module, scale: float) -> tuple[Array, Array]:
    """Return up, which holds the scale, and down."""
    up, down = (flat(read_array(module.tensors[role])) for role in ("up", "down"))
    with np.errstate(over="ignore"):
        return _finite(up * np.float32(scale), module), _finite(down, module)


def _finite(values: Array, module: Module) -> Array:
    """Return values.

    Raises:
        FormatError: if they hold NaN or infinity.
    """
    if np.isfinite(values).all():
        return values
    raise _beyond(module)


def _beyond(module: Module) -> FormatError:
    file = next(iter(module.tensors.values())).file
    message = f"{module.name!r} holds NaN or infinity in {file.name}, or is beyond float32"
    return FormatError(message, path=file, key=module.name)


def _add(writer: LoraWriter, module: Module, factors: Factors) -> None:
    """Write a layer's factors under the keys that the file had, or else kohya's."""
    tensors = module.tensors
    if "up" not in tensors:
        rows, columns = factors.up.shape[0], factors.down.shape[1]
        writer.add_factors(module.name, factors, (rows, columns))
        return
    up, down = tensors["up"], tensors["down"]
    inner = down.shape[1:] if "mid" not in tensors else (down.shape[1], *tensors["mid"].shape[2:])
    writer.add(up.key, factors.up.reshape(-1, factors.rank, *up.shape[2:]))
    writer.add(down.key, factors.down.reshape(factors.rank, *inner))
    if "alpha" in tensors:
        writer.add(tensors["alpha"].key, np.array(factors.rank, "f4"))


def _keep(
    writer: LoraWriter, module: Module, roles: Sequence[str], found: Layers, scale: float = 1.0
) -> None:
    """Write tensors of a layer as they are.

    Args:
        writer: of the file.
        module: the layer.
        roles: of the tensors, as far as they are there.
        found: what is said of them.
        scale: of the factors, which hold it from now on: their bias is multiplied by it.
    """
    for role in roles:
        info: Tensor | None = module.tensors.get(role)
        if info is not None and info.key not in found.whole:  # parts of a layer have one alpha
            number = not is_float(info.dtype)
            values = np.array(read_number(info), "f4") if number else read_array(info)
            if role == "up_bias":
                values *= np.float32(scale)
            writer.add(info.key, values)
            found.whole.append(info.key)


def _inherited(lora: Lora) -> dict[str, str]:
    """Return what stays true of the metadata: all but the scale that PEFT keeps there."""
    metadata: Mapping[str, str] = lora.checkpoint.metadata
    return {key: text for key, text in metadata.items() if key != "lora_adapter_metadata"}


def _configuration(modules: Sequence[Module]) -> dict[str, str]:
    """Return the metadata that say how the layers' weights are stored, if not as elsewhere.

    Raises:
        FormatError: if it is not the same of all.
    """
    first = {module.inputs_first for module in modules if "embedding_up" not in module.tensors}
    if first == {True, False}:
        message = "some of the layers are of weights that are stored transposed, others are not"
        raise FormatError(message, hint="merge LoRAs that agree in fan_in_fan_out")
    return {"lora_adapter_metadata": '{"fan_in_fan_out": true}'} if True in first else {}


def _identity(lora: Lora) -> dict[str, str]:
    return {"name": lora.path.name, "sha256": checkpoint_sha256(lora.checkpoint)}
