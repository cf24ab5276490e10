"""The kinds of value in a method's body, and which operation takes and gives which.

A kind says how many values there are (one per tensor, per column, per vector, per element) and
whether they are numbers or booleans. Wrong combinations are found here, while a method is
traced, instead of deep in an executor.

Booleans take part in arithmetic only where torch, run eagerly, would mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import reduce
from typing import Final

from bmerge.expr.graph import Graph
from bmerge.records import dataclass

__all__ = ["FILTERS", "WHOLE", "Extent", "KindError", "ValueKind", "extent_of", "kind_of"]

WHOLE: Final = -2
"""The axis of a reduction over the whole tensor."""
FILTERS: Final = -3
"""The axis of a reduction over filters: all dims but dim 0; a vector is one filter."""


class Extent(Enum):
    """How many values there are."""

    SCALAR = "one per tensor"
    COLUMNS = "one per column"
    VECTORS = "one per vector of the last dimension, or per filter"
    ELEMENTS = "one per element"

    def join(self, other: Extent) -> Extent:
        """Return the extent of a result that is made from values of both extents."""
        if self is other or other is Extent.SCALAR:
            return self
        return other if self is Extent.SCALAR else Extent.ELEMENTS


@dataclass(frozen=True, slots=True)
class ValueKind:
    """Extent of a value, and whether it is a boolean."""

    extent: Extent
    boolean: bool = False


class KindError(Exception):
    """An operation does not take values of these kinds; carries a hint.

    Args:
        message: what is wrong.
        hint: what to write instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


_ELEMENTS = {"input", "row_index", "random_uniform", "random_normal"}
_SCALARS = {"scalar", "constant", "rows", "numel"}
_PREDICATES = {
    "isnan", "isfinite",
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
}  # fmt: skip
_LOGICAL = {"logical_not", "logical_and", "logical_or", "any", "all"}
_AXIS = {
    WHOLE: Extent.SCALAR, 0: Extent.COLUMNS, -1: Extent.VECTORS, FILTERS: Extent.VECTORS,
}  # fmt: skip
_NAMES = {WHOLE: "the whole tensor", FILTERS: "filters"}
_OVER_AXIS = {"sum", "mean", "vector_norm", "min", "max", "any", "all", "vecdot"}
_OF_REDUCED = {"mean", "min", "max", "any", "all"}
_COUNTS_BOOLEANS = {"sum", "mean"}


def kind_of(op: str, kinds: Sequence[ValueKind], constants: Sequence[float]) -> ValueKind:
    """Return the kind of an operation's result.

    Args:
        op: its name.
        kinds: of its arguments.
        constants: its constants.

    Raises:
        KindError: if it does not take arguments of these kinds.
    """
    if op in _ELEMENTS:
        return ValueKind(Extent.ELEMENTS)
    if op in _SCALARS:
        return ValueKind(Extent.SCALAR)
    _check_booleans(op, kinds)
    boolean = op in _LOGICAL or op in _PREDICATES
    if op in _OVER_AXIS:
        _check_extent(op, kinds, int(constants[0]))
        return ValueKind(_AXIS[int(constants[0])], boolean)
    if op == "kth_abs":
        return _kth_abs(kinds)
    return ValueKind(reduce(Extent.join, (kind.extent for kind in kinds)), boolean)


def extent_of(graph: Graph) -> Extent:
    """Return how many values a traced graph gives."""
    kinds: list[ValueKind] = []
    for node in graph.nodes:
        kinds.append(kind_of(node.op, [kinds[arg] for arg in node.args], node.constants))
    return kinds[graph.output].extent


def _check_booleans(op: str, kinds: Sequence[ValueKind]) -> None:
    booleans = [kind.boolean for kind in kinds]
    if op in _LOGICAL:
        if not all(booleans):
            raise KindError(f"{op} takes booleans, got a number", "compare first: x != 0")
    elif op == "where":
        if not booleans[0]:
            raise KindError("where takes a boolean condition", "compare first: x != 0")
        if any(booleans[1:]):
            raise KindError("where chooses between numbers, got a boolean", _AS_NUMBER)
    elif any(booleans) and op not in _COUNTS_BOOLEANS and not _is_masking(op, kinds):
        raise KindError(f"{op} takes numbers, got a boolean", _AS_NUMBER)


_AS_NUMBER = "turn a boolean into a number with ops.where(mask, 1.0, 0.0)"


def _is_masking(op: str, kinds: Sequence[ValueKind]) -> bool:
    """Tell whether this is ``mask * x``, the one product with a boolean that torch has too.

    A boolean per element times one float64 would give float64 elements there.
    """
    if op != "multiply" or all(kind.boolean for kind in kinds):
        return False
    mask, number = sorted(kinds, key=lambda kind: not kind.boolean)
    return mask.extent is Extent.SCALAR or number.extent is not Extent.SCALAR


def _check_extent(op: str, kinds: Sequence[ValueKind], axis: int) -> None:
    extent = reduce(Extent.join, (kind.extent for kind in kinds))
    if extent is Extent.ELEMENTS:
        return
    if extent is Extent.SCALAR:
        raise KindError(f"{op} takes elements, got one value", "it is reduced already")
    if axis != WHOLE or op not in _OF_REDUCED:
        known = ", ".join(sorted(_OF_REDUCED))
        raise KindError(
            f"{op} over {_NAMES.get(axis, f'axis {axis}')} of what was "
            "reduced along an axis already",
            f"only {known} over the whole tensor can follow",
        )


def _kth_abs(kinds: Sequence[ValueKind]) -> ValueKind:
    values, k = kinds
    if values.extent is not Extent.ELEMENTS:
        raise KindError("kth_abs takes elements", "use it before other reductions")
    if k.extent is not Extent.SCALAR:
        raise KindError("kth_abs takes one k per tensor", "make k from hyperparameters and numel")
    return ValueKind(Extent.SCALAR)
