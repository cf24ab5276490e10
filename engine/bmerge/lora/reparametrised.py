"""Changes of a layer that depend on its weight W, in float32.

- GLoRA: s * (W a1 a2 + b1 b2), where a1 a2 is of input channels; s = alpha / rank
- OFT: rows are rotated in blocks, each by the transpose of R = (I + Q) (I - Q)^-1 (Cayley), where
  Q is the block less its transpose
- BOFT: stages of such blocks, each by R: stage i takes rows that are half a block times 2^i apart
- OFTv2: runs of each row are rotated, by the transpose of R = (I - Q) (I + Q)^-1, or as PEFT has it
  by that of the first terms of the series of its inverse, I + 2 Q + 2 Q^2 + …, the last once; what
  is above the diagonal of Q is stored. One block may be for all runs
- IA3: rows or input channels are multiplied, by what PEFT stores or by 1 more than LyCORIS stores

alpha of OFT and BOFT multiplies nothing: times the number of rows it is the most that the norm of
all Q together may be, as LyCORIS and kohya's trainer have it; 0 sets no bound. rescale multiplies
the rows that were rotated.

Sources: Chavan et al., 2023 (GLoRA, arXiv:2306.07967); Qiu et al., 2023 (OFT, arXiv:2306.07280);
Liu et al., 2023 (BOFT, arXiv:2311.06243); Qiu et al., 2025 (OFTv2, arXiv:2506.19847); Liu et al.,
2022 (IA3, arXiv:2205.05638); Yeh et al., 2023 (LyCORIS, arXiv:2309.14859).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bmerge import _native
from bmerge.errors import FormatError
from bmerge.lora.arrays import Array, flat, read_array
from bmerge.lora.modules import Module
from bmerge.lora.networks import tucker
from bmerge.lora.peft import TERMS
from bmerge.lora.scale import read_number, scale_of
from bmerge.lora.shapes import glora_order, inputs_turned

__all__ = ["change_of_weight", "rotation_of"]

_BATCH = 1 << 20
"""Elements of blocks whose squares are summed at once, in float64."""

Rotation: TypeAlias = "Callable[[Array, Array | None, float], None]"
"""Adds the change of rows, or of some of their columns, times a weight, to values: that of what is
stored, or that of the values themselves."""


def change_of_weight(module: Module, weight: Array) -> Array:
    """Read a layer's tensors and return the change of its weight, as rows and columns.

    Args:
        module: a layer of OFT, BOFT, OFTv2, GLoRA or IA3.
        weight: the layer's, of any shape with its rows first.

    Raises:
        FormatError: if a rotation cannot be computed, or alpha is not finite.
    """
    rows = flat(weight)
    if module.network == "IA3":
        return _scaled(module, weight)
    if module.network == "OFTv2":
        return _inputs_rotated(module, rows)
    if module.network == "GLoRA":
        return _generalised(module, rows) * np.float32(scale_of(module))
    found = np.zeros(rows.shape, np.float32)
    rotation_of(module, len(rows))(found, rows, 1.0)
    return found


def _generalised(module: Module, rows: Array) -> Array:
    roles = glora_order(module.shapes)
    first, second, up, down = (flat(read_array(module.tensors[role])) for role in roles)
    by_inputs = rows.reshape(len(rows), len(first), -1)  # a kernel is last, if they are channels
    inner = np.tensordot(np.tensordot(by_inputs, first, axes=(1, 0)), second, axes=(2, 0))
    found = np.ascontiguousarray(np.moveaxis(inner, 2, 1)).reshape(rows.shape)
    core = module.tensors.get("bm")
    found += up @ down if core is None else tucker(up.T, read_array(core), down)
    return found


def _scaled(module: Module, weight: Array) -> Array:
    factors = read_array(module.scaling).reshape(-1)
    if "ia3_l" in module.tensors:
        factors = factors - np.float32(1)
    after = (1,) * (weight.ndim - (1 if module.of_rows else 2))
    return flat(weight * factors.reshape(-1, *after))


def _inputs_rotated(module: Module, rows: Array) -> Array:
    count, size = inputs_turned(module.shapes)
    info = module.tensors["oft_R"]
    skew = np.zeros((count, size, size))
    above = np.triu_indices(size, 1)
    skew[:, above[0], above[1]] = read_array(info)
    skew -= skew.swapaxes(1, 2).copy()
    terms = TERMS if module.configured is None else module.configured.terms
    bound = 0.0 if module.configured is None else module.configured.bound / count**0.5
    if bound > 0:
        norms = np.linalg.norm(skew, axis=(1, 2), keepdims=True)
        skew *= np.minimum(1, bound / np.maximum(norms, np.finfo("f8").tiny))
    turns: NDArray[Any] = np.zeros_like(skew)
    if terms:
        power = -skew
        for term in range(1, terms):
            if term > 1:
                power = power @ -skew
            turns += power * (1 if term == terms - 1 > 1 else 2)
    else:
        turns = np.linalg.solve(np.eye(size) - skew, 2 * skew)
    runs = np.moveaxis(rows.reshape(len(rows), -1, size), 1, 0)
    turned = runs @ turns.astype("f4")
    return np.ascontiguousarray(np.moveaxis(turned, 0, 1)).reshape(rows.shape)


def rotation_of(module: Module, count: int) -> Rotation:
    """Read a layer of OFT or BOFT; return what adds its change.

    Args:
        module: the layer.
        count: of its rows.

    Raises:
        FormatError: if a rotation cannot be computed, or alpha is not finite.
    """
    turns, rescale = _turns(module, count), module.tensors.get("rescale")
    size, stages = turns.shape[-1], len(turns) if module.network == "BOFT" else 1
    if module.network == "OFT":
        turns = np.ascontiguousarray(turns.swapaxes(1, 2))
    factors = None if rescale is None else read_array(rescale).data
    scale = scale_of(module)

    def add(values: Array, stored: Array | None, weight: float) -> None:
        before = None if stored is None else np.ascontiguousarray(stored).data
        columns, by = values.shape[1], scale * weight
        _native.turn_in_stages(values.data, before, columns, turns.data, size, stages, factors, by)

    return add


def _turns(module: Module, count: int) -> Array:
    """Return R - I = 2 (I - Q)^-1 Q of all blocks.

    Args:
        module: the layer.
        count: of its rows.
    """
    info = module.tensors["oft_blocks"]
    blocks = read_array(info)
    size = blocks.shape[-1]
    flat = blocks.reshape(-1, size, size)
    bound = read_number(module.tensors["alpha"]) * count if "alpha" in module.tensors else 0.0
    shrink = 1.0
    if bound > 0:
        shrink = min(1.0, bound / (_norm(flat) + 1e-8))
    turns = np.frombuffer(_native.rotations(flat.data, size, shrink), "<f4").reshape(blocks.shape)
    if not np.isfinite(turns).all():
        message = f"{info.file}: {info.key!r} holds numbers too large for a rotation"
        raise FormatError(message, path=info.file, key=info.key)
    return turns


def _norm(blocks: Array) -> float:
    """Return the norm of all Q together."""
    step = max(1, _BATCH // blocks.shape[-1] ** 2)
    parts = (_skew(blocks[begin : begin + step]) for begin in range(0, len(blocks), step))
    return math.sqrt(sum(float(np.sum(np.square(part))) for part in parts))


def _skew(blocks: Array) -> NDArray[Any]:
    wide: NDArray[Any] = blocks.astype("f8")
    wide -= wide.swapaxes(1, 2).copy()
    return wide
