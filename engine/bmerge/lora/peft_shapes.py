"""Networks that PEFT alone writes: the tensors of their layers, and the weights that these fit.

What they compute is in :mod:`.peft_changes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

__all__ = [
    "OF_WEIGHT",
    "PEFT",
    "PEFT_ROLES",
    "PRODUCTS",
    "SHARED",
    "WHOLE",
    "check_tensors",
    "fitting",
]

Shape: TypeAlias = "tuple[int, ...]"
Shapes: TypeAlias = Mapping[str, Shape]
Joint: TypeAlias = "tuple[str, int, str, int]"


class _Layer(NamedTuple):
    """The tensors of a network's layers.

    Args:
        dimensions: role → how many it may have.
        size: their shapes, rows and columns of a weight → those of the weights that they fit.
        joints: what must be the same size: role and axis, role and axis.
    """

    dimensions: Mapping[str, tuple[int, ...]]
    size: Callable[[Shapes, int, int], tuple[int, int]]
    joints: tuple[Joint, ...] = ()


def _any(_: Shapes, rows: int, columns: int) -> tuple[int, int]:
    return rows, columns


def _of_vera(shapes: Shapes, _: int, columns: int) -> tuple[int, int]:
    return shapes["vera_lambda_b"][0], min(columns, shapes["vera_A"][1])


def _of_miss(shapes: Shapes, _: int, columns: int) -> tuple[int, int]:
    block = shapes["miss_block"]
    if len(block) == 3:
        return block[0] * block[1], columns // block[1] * block[1]
    return block[1], columns


def _of_c3a(shapes: Shapes, _: int, __: int) -> tuple[int, int]:
    down, across, size = shapes["c3a_kernel"]
    return down * size, across * size


_LAYERS = {
    "AdaLoRA": _Layer(
        {"lora_E": (1, 2), "up": (2,), "down": (2,)},
        lambda shapes, _, __: (shapes["up"][0], shapes["down"][1]),
        (("up", 1, "down", 0), ("lora_E", 0, "down", 0)),
    ),
    "VeRA": _Layer(
        {"vera_lambda_b": (1,), "vera_lambda_d": (1,), "vera_A": (2,), "vera_B": (2,)},
        _of_vera,
        (("vera_A", 0, "vera_B", 1), ("vera_lambda_d", 0, "vera_A", 0)),
    ),
    "HRA": _Layer({"hra_u": (2,)}, lambda shapes, rows, _: (rows, shapes["hra_u"][0])),
    "BOFT of PEFT": _Layer(
        {"boft_R": (4,), "boft_s": (2,)},
        lambda shapes, _, __: (math.prod(shapes["boft_s"]), math.prod(shapes["boft_R"][1:3])),
        (("boft_R", 2, "boft_R", 3),),
    ),
    "DeLoRA": _Layer(
        {"delora_A": (2,), "delora_B": (2,), "delora_lambda": (1,), "delora_w_norm": (1,)},
        lambda shapes, _, __: (shapes["delora_B"][0], shapes["delora_A"][1]),
        (("delora_B", 1, "delora_A", 0), ("delora_A", 1, "delora_w_norm", 0)),
    ),
    "MiSS": _Layer({"miss_block": (2, 3)}, _of_miss),
    "FourierFT": _Layer({"fourierft_spectrum": (1,)}, _any),
    "SHiRA": _Layer(
        {"shira_weight": (1,), "shira_indices": (2,)},
        _any,
        (("shira_weight", 0, "shira_indices", 1),),
    ),
    "C3A": _Layer({"c3a_kernel": (3,)}, _of_c3a),
}
PEFT = frozenset(_LAYERS)
"""The networks."""
OF_WEIGHT = frozenset({"HRA", "BOFT of PEFT", "MiSS"})
"""Those that make their change of the weight itself, MiSS where it has blocks."""
PRODUCTS = {
    "AdaLoRA": ("up", 1),
    "VeRA": ("vera_A", 0),
    "DeLoRA": ("delora_A", 0),
    "HRA": ("hra_u", 1),
}
"""Those whose change is of two matrices, in the core: the role and axis that tell their rank."""
WHOLE = frozenset({"FourierFT", "SHiRA"})
"""Those whose numbers have places in the whole weight, so that none of its parts has its own."""
PEFT_ROLES = {next(iter(layer.dimensions)): name for name, layer in _LAYERS.items()}
"""The role that tells a network."""
SHARED = ("vera_A", "vera_B")
"""Roles of tensors that a file has once for all layers."""


def check_tensors(network: str, shapes: Shapes) -> str | None:
    """Return what is wrong with the shapes of a layer's tensors, in a few words, or None."""
    layer = _LAYERS[network]
    for role, dimensions in layer.dimensions.items():
        if role not in shapes:
            return f"has no {role}"
        if len(shapes[role]) not in dimensions:
            return f"has {role} of shape {list(shapes[role])}, which is not that of {network}"
    for one, i, other, j in layer.joints:
        if shapes[one][i] != shapes[other][j]:
            both = f"{one} {list(shapes[one])}, {other} {list(shapes[other])}"
            return f"has tensors that do not fit each other: {both}"
    return _check_more(network, shapes)


def _check_more(network: str, shapes: Shapes) -> str | None:
    """Return what is wrong with tensors that fit each other."""
    if network == "VeRA" and shapes["vera_lambda_b"][0] > shapes["vera_B"][0]:
        return "has more rows than vera_B"
    if network == "BOFT of PEFT":
        stages, blocks, size, _ = shape = shapes["boft_R"]
        if stages > 1 and (size % 2 or blocks % 2 ** (stages - 1)):
            return f"has boft_R of shape {list(shape)}, which are not the stages of a butterfly"
    if network == "MiSS" and len(shape := shapes["miss_block"]) == 3 and shape[1] != shape[2]:
        return f"has miss_block of shape {list(shape)}, which are not square blocks"
    if network == "SHiRA" and shapes["shira_indices"][0] != 2:
        return "has shira_indices that are not pairs of a row and a column"
    return None


def fitting(
    network: str, shapes: Shapes, rows: int, columns: int, *, tiled: bool = False
) -> tuple[int, int]:
    """Return the rows and columns of the weights that a layer's tensors are for.

    Args:
        network: of the layer.
        shapes: role → shape.
        rows: of a weight, which are returned where any will do.
        columns: likewise.
        tiled: whether a block of MiSS is for rows again and again.
    """
    if tiled and rows % shapes["miss_block"][-1] == 0:
        return rows, columns
    return _LAYERS[network].size(shapes, rows, columns)
