"""What the shapes of a layer's tensors say: its rank, its size, and whether they fit together.

A factor pair is ``a @ b``; with a core ``t`` (Tucker, "CP" in LyCORIS) of two ranks and a
kernel it is ``a[i, p] t[i, j, …] b[j, q]``, summed over i and j. A rotation has blocks on the
diagonal, or (BOFT) that many stages of them; of OFTv2 what is above the diagonal is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from bmerge.dtypes import is_float
from bmerge.lora.peft_shapes import PEFT

__all__ = [
    "check_factors",
    "check_filled",
    "check_kinds",
    "glora_order",
    "inputs_turned",
    "matrix_of",
    "rank_of",
    "rotated_rows",
]

Shape: TypeAlias = "tuple[int, ...]"
Shapes: TypeAlias = Mapping[str, Shape]
Matrix: TypeAlias = "tuple[int, int]"

_SINGLE = frozenset({"alpha", "scalar", "on_input"})
_FACTORS = frozenset(
    {"up", "down", "mid", "embedding_up", "embedding_down", "hada_w1_a", "hada_w1_b", "hada_w2_a"}
    | {"hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2"}
    | {"lokr_w2_a", "lokr_w2_b", "lokr_t2", "a1", "a2", "b1", "b2", "bm"}
)
_PLAIN = frozenset(
    {"embedding_up", "embedding_down", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
    | {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "a1", "a2"}
)
"""Factors without a kernel."""
_MOST = 5
"""Dimensions of a convolution's weight, at most: of video."""
_NEEDED = {
    "LoRA": (("embedding_up", "up"), ("embedding_down", "down")),
    "LoHa": (("hada_w1_a",), ("hada_w1_b",), ("hada_w2_a",), ("hada_w2_b",)),
    "LoKr": (
        ("lokr_w1", "lokr_w1_a"), ("lokr_w1", "lokr_w1_b"),
        ("lokr_w2", "lokr_w2_a"), ("lokr_w2", "lokr_w2_b"),
    ),
    "GLoRA": (("a1",), ("a2",), ("b1",), ("b2",)),
}  # fmt: skip
"""Network type → the roles that a layer must have, one of each group."""


def rank_of(network: str, shapes: Shapes) -> int | None:
    """Return the rank that alpha is divided by, or None if there is none."""
    if network == "GLoRA":
        return shapes[glora_order(shapes)[3]][0]
    roles = {
        "LoRA": ("down", "embedding_down"),
        "LoHa": ("hada_w1_b",),
        "LoKr": ("lokr_w2_b", "lokr_w1_b"),
    }.get(network, ())
    return next((shapes[role][0] for role in roles if role in shapes), None)


def matrix_of(network: str, shapes: Shapes) -> Matrix | None:
    """Return rows and columns of a layer's change, a convolution's kernel among the columns.

    None if the tensors do not tell, since only a bias changes or rows are rotated.
    """
    if network in {"OFT", "BOFT", "OFTv2", "IA3"} or network in PEFT - {"AdaLoRA"}:
        return None
    if network in {"full", "norm"}:
        shape = shapes.get("diff", shapes.get("w_norm", shapes.get("set")))
        return None if shape is None else _flat(shape)
    if network == "LoHa":
        return _pair(shapes, "hada_w1_", shapes.get("hada_t1"))
    if network == "LoKr":
        (a, b), (c, d) = _kronecker(shapes, 1), _kronecker(shapes, 2)
        return a * c, b * d
    if "embedding_up" in shapes:
        return shapes["embedding_down"][1], shapes["embedding_up"][0]
    up, down, core = "up", "down", "mid"
    if network == "GLoRA":
        (up, down), core = glora_order(shapes)[2:], "bm"
    kernel = math.prod(shapes.get(core, ())[2:])
    return shapes[up][0], math.prod(shapes[down][1:]) * kernel


def rotated_rows(network: str, shapes: Shapes) -> int | None:
    """Return how many rows OFT and BOFT rotate: blocks of so many each; None for other networks."""
    return math.prod(shapes["oft_blocks"][-3:-1]) if network in {"OFT", "BOFT"} else None


def inputs_turned(shapes: Shapes) -> tuple[int, int]:
    """Return how many blocks OFTv2 has, and of how many inputs each is: n (n - 1) / 2 numbers."""
    count, numbers = shapes["oft_R"]
    return count, (1 + math.isqrt(1 + 8 * numbers)) // 2


def glora_order(shapes: Shapes) -> tuple[str, str, str, str]:
    """Return the roles c, d, e, f of GLoRA's ``W @ c @ d + e @ f``.

    The first versions of LyCORIS had them the other way round. Those of a square weight fit both:
    there the rank is taken to be less than the size, as ComfyUI finds by the weight.
    """
    a1, a2, b1, b2 = (shapes[role] for role in ("a1", "a2", "b1", "b2"))
    new = a1[1] == a2[0] == b1[1] == b2[0]
    old = a1[0] == a2[1] == b1[0] == b2[1] and "bm" not in shapes
    if old and (not new or a2[0] >= a2[1]):
        return "a2", "a1", "b2", "b1"
    return "a1", "a2", "b1", "b2"


def check_kinds(tensors: Mapping[str, tuple[str, Shape]]) -> str | None:
    """Return which of a layer's tensors is none of its kind, in a few words, or None.

    Args:
        tensors: role → dtype and shape.
    """
    for role, (dtype, shape) in tensors.items():
        single = role in _SINGLE
        may_be_whole = single or role == "shira_indices"
        if not is_float(dtype) and not (may_be_whole and dtype[0] in "IU"):
            return f"has {role} of the dtype {dtype}, not of floats"
        if single and math.prod(shape) != 1:
            return f"has {role} of shape {list(shape)}, which is not one number"
        most = 2 if role in _PLAIN and set(shape[2:]) - {1} else _MOST
        if len(shape) > most or (role == "up" and set(shape[2:]) - {1}):
            return f"has {role} of shape {list(shape)}, which has too many dimensions"
    return None


def check_factors(network: str, shapes: Shapes) -> str | None:
    """Return what is wrong with the shapes of a layer's tensors, in a few words, or None."""
    for group in _NEEDED.get(network, ()):
        if not any(role in shapes for role in group):
            return f"has no {group[-1]}"
    for role, shape in shapes.items():
        if role in _FACTORS and len(shape) < 2:
            return f"has a {role} of shape {list(shape)}, which is not a matrix"
    return _check_joints(network, shapes) or _check_more(network, shapes)


def _check_joints(network: str, shapes: Shapes) -> str | None:
    for left, i, right, j in _joints(network, shapes):
        both = f"{left} {list(shapes[left])}, {right} {list(shapes[right])}"
        if shapes[left][i] != shapes[right][j]:
            return f"has factors that do not fit each other: {both}"
        if shapes[left][i] == 0:
            return f"has a rank of 0: {both}"
    return None


def _check_more(network: str, shapes: Shapes) -> str | None:
    """Return what is wrong with shapes whose ranks fit."""
    if network == "LoHa":
        first, second = matrix_of(network, shapes), _pair(shapes, "hada_w2_", shapes.get("hada_t2"))
        if first != second:
            return f"has two products of different shapes: {first} and {second}"
    if network == "GLoRA":
        return _check_glora(shapes)
    if network == "OFTv2":
        return _check_triangles(shapes["oft_R"])
    if network == "IA3":
        return _check_factors_of_weight(shapes)
    return _check_rotation(shapes) if network in {"OFT", "BOFT"} else None


def _check_triangles(shape: Shape) -> str | None:
    size = inputs_turned({"oft_R": shape})[1] if len(shape) == 2 else 0
    if len(shape) == 2 and shape[1] and 2 * shape[1] == size * (size - 1):
        return None
    return f"has oft_R of shape {list(shape)}, which are not halves of square blocks"


def _check_factors_of_weight(shapes: Shapes) -> str | None:
    role = next(role for role in ("ia3_l", "ia3") if role in shapes)
    if math.prod(shapes[role]) == max(shapes[role], default=1):
        return None
    return f"has {role} of shape {list(shapes[role])}, which is not one number for each channel"


def _check_glora(shapes: Shapes) -> str | None:
    first, second, up, down = glora_order(shapes)
    if set(shapes[up][2:]) - {1}:
        return f"has {up} of shape {list(shapes[up])}, which has too many dimensions"
    inputs = {shapes[down][1], math.prod(shapes[down][1:])}
    if shapes[first][0] != shapes[second][1] or shapes[first][0] not in inputs:
        some = ", ".join(f"{role} {list(shapes[role])}" for role in (first, second, down))
        return f"has factors of different inputs: {some}"
    return None


def _check_rotation(shapes: Shapes) -> str | None:
    """Return what is wrong with blocks that rotate rows; stage i of BOFT takes 2 ** i at once."""
    blocks, rescale = shapes["oft_blocks"], shapes.get("rescale")
    if len(blocks) not in {3, 4} or blocks[-1] != blocks[-2]:
        return f"has oft_blocks of shape {list(blocks)}, which are not square blocks"
    stages = blocks[0] if len(blocks) == 4 else 0
    if stages and (blocks[-1] % 2 or blocks[1] % 2 ** (stages - 1)):
        return f"has oft_blocks of shape {list(blocks)}, which are not the stages of a butterfly"
    rows = math.prod(blocks[-3:-1])
    if rescale is not None and math.prod(rescale) != rows:
        return f"has a rescale of shape {list(rescale)} for {rows} rows"
    return None


def check_filled(shapes: Shapes) -> str | None:
    """Return which of a layer's tensors holds no numbers, in a few words, or None."""
    role = next((role for role, shape in shapes.items() if 0 in shape), None)
    if role is None:
        return None
    return f"has a {role} of shape {list(shapes[role])}, which holds no numbers"


def _joints(network: str, shapes: Shapes) -> Iterator[tuple[str, int, str, int]]:
    """Yield the dimensions that are summed over: role and axis, role and axis."""
    if network == "LoRA":
        if "up" not in shapes or "down" not in shapes:
            yield "embedding_up", 1, "embedding_down", 0
        elif "mid" in shapes:
            yield from (("up", 1, "mid", 0), ("mid", 1, "down", 0))
        else:
            yield "up", 1, "down", 0
    if network == "GLoRA":
        first, second, up, down = glora_order(shapes)
        yield first, 1, second, 0
        if "bm" in shapes:
            yield from ((up, 1, "bm", 0), ("bm", 1, down, 0))
        else:
            yield up, 1, down, 0
    pairs = {
        "LoHa": (("hada_w1_", "hada_t1"), ("hada_w2_", "hada_t2")),
        "LoKr": (("lokr_w1_", ""), ("lokr_w2_", "lokr_t2")),
    }
    for stem, core in pairs.get(network, ()):
        if f"{stem}a" not in shapes:
            continue
        if core in shapes:
            yield from ((f"{stem}a", 0, core, 0), (core, 1, f"{stem}b", 0))
        else:
            yield f"{stem}a", 1, f"{stem}b", 0


def _kronecker(shapes: Shapes, number: int) -> Matrix:
    """Return the size of the first or second factor of a LoKr."""
    whole = shapes.get(f"lokr_w{number}")
    if whole is not None:
        return _flat(whole)
    return _pair(shapes, f"lokr_w{number}_", shapes.get(f"lokr_t{number}"))


def _pair(shapes: Shapes, stem: str, core: Shape | None) -> Matrix:
    a, b = shapes[f"{stem}a"], shapes[f"{stem}b"]
    if core is None:
        return a[0], math.prod(b[1:])
    return a[1], b[1] * math.prod(core[2:])


def _flat(shape: Shape) -> Matrix:
    return (shape[0] if shape else 1), math.prod(shape[1:])
